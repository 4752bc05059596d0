//! A request on its way to an upstream, and the answer on its way back.
//!
//! Inside: which connection takes it, how often it is tried, when it is given up, and whose fault that is. Kept out: the
//! fields of the request, which are rewritten before (`headers.rs`), and the checks of the answer (`upstream_head.rs`).

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Extensions, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::telemetry::outcome::{CodeClass, Failure};

use super::Limits;
use super::context::{Client, Protocol, Worker};
use super::error::Fault;
use super::request_body::{RequestBody, Upload, UploadContext};
use super::settings::Settings;
use super::sweep::Alarm;
use super::upgrade::{Judge, Tunnel};
use super::upstream::Upstream;
use super::upstream::connect::connect;
use super::upstream::pool::Connection;
use super::upstream::received::Received;
use super::upstream_body::{Lease, UpstreamBody};
use super::upstream_head;

/// How often one request is tried at most: each further time only where the one before cannot have had an effect.
const MAX_ATTEMPTS: usize = 3;

/// Sends a request that is already rewritten (origin-form target, Host, no hop-by-hop fields; `Upgrade` where one is
/// passed on) and returns the head of the answer, checked and clean, with its body to come. A 101 starts a tunnel, which
/// what `judge` makes watches over.
///
/// # Errors
/// Why there is no answer: the upstream's fault, ours, or the client's where its body broke off.
pub async fn forward<J: Judge>(
    client: &Rc<Client>,
    settings: &Arc<Settings>,
    upstream: &Arc<Upstream>,
    mut request: Request<Incoming>,
    judge: impl FnOnce() -> J,
) -> Result<Response<UpstreamBody>, Fault> {
    let worker = &*client.worker;
    let errand = Errand { worker, limits: &settings.limits, upstream };
    let upgrade = take_upgrade(&mut request);
    let (request, upload) = errand.pack(request, client.protocol)?;
    let permit = worker.pools.admit(upstream, &settings.limits).await?;
    let mut answer = errand.send(request, upload.as_ref()).await?;
    let idle = answer.alarm.take().unwrap_or_else(|| worker.sweep.alarm());
    let idle_timeout = settings.limits.upstream_body_idle_timeout;
    if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream_side = hyper::upgrade::on(&mut answer.response);
        let (mut head, body) = answer.response.into_parts();
        upstream_head::clean_switch(&mut head, upgrade.as_ref().map(|upgrade| &upgrade.token))?;
        let client_side = upgrade.ok_or(Failure::UpstreamMalformed)?.client_side;
        let idle_timeout = settings.limits.upgraded_idle_timeout;
        let (client, judge) = (Rc::clone(client), judge());
        Tunnel { client, client_side, upstream_side, idle_timeout, judge, permit }.start();
        return Ok(Response::from_parts(head, UpstreamBody::new(body, None, None, idle, idle_timeout)));
    }
    let (mut head, body) = answer.response.into_parts();
    upstream_head::clean(&mut head)?;
    // A server that speaks HTTP/1.0 may close whenever it likes, and hyper would speak HTTP/1.0 to it from now on.
    let keep = (head.version == Version::HTTP_11).then_some(settings.limits.upstream_pool_idle_timeout);
    head.version = Version::HTTP_11;
    let lease = Lease { connection: answer.connection, pools: worker.pools.clone(), keep, permit };
    Ok(Response::from_parts(head, UpstreamBody::new(body, Some(lease), upload, idle, idle_timeout)))
}

/// An upgrade that the client asked for.
struct Upgrade {
    token: HeaderValue,
    client_side: OnUpgrade,
}

/// The upgrade that a request asks for. One with a body asks for none: the upstream could not tell where the body ends
/// and the tunnel begins before it has answered (RFC 9931 section 3).
fn take_upgrade(request: &mut Request<Incoming>) -> Option<Upgrade> {
    let token = request.headers().get(UPGRADE)?.clone();
    if !request.body().is_end_stream() {
        request.headers_mut().remove(UPGRADE);
        request.headers_mut().remove(CONNECTION);
        return None;
    }
    Some(Upgrade { token, client_side: hyper::upgrade::on(request) })
}

/// What one request is sent by.
struct Errand<'a> {
    worker: &'a Worker,
    limits: &'a Limits,
    upstream: &'a Upstream,
}

/// A head that has come back, and the connection that the rest comes on.
struct Answer {
    response: Response<Incoming>,
    connection: Connection,
    /// The alarm that counted the time to the head, free again.
    alarm: Option<Alarm>,
}

/// What hyper says about a request that it was given.
type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// Why an attempt has no answer.
enum Lost {
    /// No byte of the request was written; here it is again.
    Unsent(Box<Request<RequestBody>>),
    /// The request was sent and the connection ended before a byte of the answer.
    Silent,
    /// Anything else.
    Failed(Fault),
}

impl Errand<'_> {
    /// Frames a request for the upstream, and begins to follow its body where it has one.
    fn pack(
        &self,
        request: Request<Incoming>,
        protocol: Protocol,
    ) -> Result<(Request<RequestBody>, Option<Rc<Upload>>), Fault> {
        let (mut head, incoming) = request.into_parts();
        frame(&mut head, &incoming);
        head.version = Version::HTTP_11;
        head.extensions = Extensions::new();
        if incoming.is_end_stream() {
            return Ok((Request::from_parts(head, RequestBody::none()), None));
        }
        let Worker { id, sweep, shared, .. } = self.worker;
        let context = UploadContext { metrics: &shared.metrics, worker: *id, sweep, limits: self.limits };
        let (body, upload) = RequestBody::new(incoming, protocol == Protocol::Http2, &context)?;
        Ok((Request::from_parts(head, body), Some(upload)))
    }

    /// Sends a request until there is an answer, or it may not be sent again.
    async fn send(&self, request: Request<RequestBody>, upload: Option<&Rc<Upload>>) -> Result<Answer, Fault> {
        let pools = &self.worker.pools;
        let is_repeatable = upload.is_none() && is_idempotent(request.method());
        let (mut request, mut failure, mut last_server) = (request, Failure::UpstreamClosed, None);
        for attempt in 0..MAX_ATTEMPTS {
            let server = pools.choose(self.upstream, last_server)?;
            if attempt > 0 {
                if pools.is_down(server) {
                    break;
                }
                self.upstream.metrics().retries.increment(self.worker.id);
            }
            last_server = Some(server.id());
            let pooled = if attempt == 0 { pools.take(server) } else { None };
            let connection = match pooled {
                Some(connection) => connection,
                None => {
                    // Boxed, since it is rare and large: with it inside, every request would carry its size.
                    let connecting =
                        Box::pin(connect(server, self.upstream, pools, self.limits.upstream_connect_timeout));
                    match connecting.await {
                        Ok(connection) => connection,
                        // Another server would need what is short, too.
                        Err(Failure::OutOfResources) => return Err(Failure::OutOfResources.into()),
                        Err(reason) => {
                            failure = reason;
                            continue;
                        }
                    }
                }
            };
            let copy = (is_repeatable && connection.is_reused()).then(|| copy_without_body(&request));
            // Handed over here and not in the future that waits: what a future is given is moved into it, and a request is large.
            let mut connection = connection;
            connection.received.begin();
            let sending = connection.sender.try_send_request(request);
            match self.head(sending, connection, upload).await {
                Ok(answer) => return Ok(answer),
                Err(Lost::Failed(fault)) => return Err(fault),
                Err(Lost::Unsent(unsent)) => request = *unsent,
                // It may have been heard: what is said twice is kept a small part of all (`retry_budget.rs`).
                Err(Lost::Silent) => {
                    let copy = copy.filter(|_| pools.may_repeat(self.upstream));
                    request = copy.ok_or(Failure::UpstreamClosed)?;
                }
            }
            failure = Failure::UpstreamClosed;
        }
        Err(failure.into())
    }

    /// Waits for the head of the answer to a request that is being sent.
    async fn head(
        &self,
        sending: impl Future<Output = Sent>,
        connection: Connection,
        upload: Option<&Rc<Upload>>,
    ) -> Result<Answer, Lost> {
        let started = Instant::now();
        let own_alarm = if upload.is_none() { Some(self.worker.sweep.alarm()) } else { None };
        let alarm = upload.map(|upload| upload.response_alarm()).or(own_alarm.as_ref());
        if let Some(alarm) = alarm {
            alarm.set(self.limits.upstream_response_timeout);
        }
        let mut sending = pin!(sending);
        let sent = poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(sent) => Poll::Ready(Some(sent)),
            Poll::Pending => alarm.map_or(Poll::Pending, |alarm| alarm.poll_due(cx).map(|()| None)),
        })
        .await;
        let metrics = self.upstream.metrics();
        let lost = match sent {
            Some(Ok(response)) => {
                connection.received.set_head();
                metrics.count_request(self.worker.id, CodeClass::of(response.status().as_u16()));
                metrics.response_seconds.observe(self.worker.id, started.elapsed());
                return Ok(Answer { response, connection, alarm: own_alarm });
            }
            Some(Err(error)) => lost(error, &connection.received, upload),
            None => Lost::Failed(blame(Failure::ResponseTimeout, upload)),
        };
        if !matches!(lost, Lost::Unsent(_)) {
            metrics.count_request(self.worker.id, CodeClass::None);
        }
        Err(lost)
    }
}

/// Why hyper has no answer.
fn lost(mut error: TrySendError<Request<RequestBody>>, received: &Received, upload: Option<&Rc<Upload>>) -> Lost {
    if let Some(request) = error.take_message() {
        return Lost::Unsent(Box::new(request));
    }
    let error = error.into_error();
    let failure = if error.is_parse() || received.is_flood() {
        Failure::UpstreamMalformed
    } else if error.is_user() {
        Failure::Internal
    } else {
        Failure::UpstreamClosed
    };
    match blame(failure, upload) {
        Fault::Failed(Failure::UpstreamClosed) if !received.has_begun() => Lost::Silent,
        fault => Lost::Failed(fault),
    }
}

/// The client's fault where its body broke off, which ends the upstream's connection too.
fn blame(failure: Failure, upload: Option<&Rc<Upload>>) -> Fault {
    upload.and_then(|upload| upload.fault()).unwrap_or(Fault::Failed(failure))
}

/// Whether a request may be sent twice (RFC 9110 section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

fn copy_without_body(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Sets the fields that frame the body, from what was received and never from what was said of it (RFC 9112 section 6).
/// hyper would drop the body of a GET whose length is not known; with the coding set, it does not.
fn frame(head: &mut Parts, body: &Incoming) {
    head.headers.remove(TRANSFER_ENCODING);
    let had_length = head.headers.remove(CONTENT_LENGTH).is_some();
    if body.is_end_stream() {
        let may_have_content = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
        if had_length || may_have_content {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
    } else if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    } else {
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}
