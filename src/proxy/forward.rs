//! A request on its way to an upstream, and the answer on its way back.
//!
//! Inside: which connection takes it, how often it is tried, when it is given up, and whose fault that is. Kept out: the
//! fields of the request, which are rewritten before (`headers.rs`), and the checks of the answer (`upstream_head.rs`).

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
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
use super::upstream::connection::Connection;
use super::upstream::outgoing::{self, Outgoing, SendError};
use super::upstream::received::{Content, Received};
use super::upstream::response_head::ResponseHead;
use super::upstream_body::{Lease, UpstreamBody};
use super::upstream_head;

/// How often one request is tried at most: each further time only where the one before cannot have had an effect.
pub const MAX_ATTEMPTS: usize = 3;

/// Sends a request that is already rewritten (origin-form target, Host, no hop-by-hop fields; `Upgrade` where one is
/// passed on) and returns the head of the answer, checked and clean, with its body to come. A 101 starts a tunnel, which
/// what `judge` makes watches over.
///
/// # Errors
/// Why there is no answer: the upstream's fault, ours, or the client's where its body broke off.
pub async fn forward<J: Judge>(
    client: &Rc<Client>,
    settings: &Settings,
    upstream: &Arc<Upstream>,
    mut request: Request<Incoming>,
    judge: impl FnOnce() -> J,
) -> Result<Response<UpstreamBody>, Fault> {
    let worker = &*client.worker;
    let errand = Errand { worker, limits: &settings.limits, upstream };
    let upgrade = take_upgrade(&mut request);
    let sending = errand.pack(request, client.protocol)?;
    let permit = worker.pools.admit(upstream, &settings.limits).await?;
    let upload = sending.upload.clone();
    let Answer { head, bytes, received, connection, outgoing, alarm } = errand.send(sending).await?;
    let idle = alarm.unwrap_or_else(|| worker.sweep.alarm());
    let mut parts = upstream_head::parts(&head, &bytes)?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        upstream_head::clean_switch(&mut parts, upgrade.as_ref().map(|upgrade| &upgrade.token))?;
        let client_side = upgrade.filter(|_| outgoing.is_sent()).ok_or(Failure::UpstreamMalformed)?.client_side;
        let idle_timeout = settings.limits.upgraded_idle_timeout;
        let (client, judge, upstream_side) = (Rc::clone(client), judge(), (connection, received.into_rest()));
        Tunnel { client, client_side, upstream_side, idle_timeout, judge, permit }.start();
        return Ok(Response::from_parts(parts, UpstreamBody::none()));
    }
    let content = Content::new(received, head.framing);
    if content.is_broken() {
        return Err(Failure::UpstreamMalformed.into());
    }
    upstream_head::clean(&mut parts, head.content_length);
    parts.version = Version::HTTP_11;
    let may_keep = head.keeps_alive && (outgoing.goes_on() || outgoing.is_sent());
    let keep = may_keep.then_some(settings.limits.upstream_pool_idle_timeout);
    let outgoing = outgoing.goes_on().then(|| Box::new(outgoing));
    let lease = Lease { connection, outgoing, pools: worker.pools.clone(), keep, permit };
    let idle_timeout = settings.limits.upstream_body_idle_timeout;
    Ok(Response::from_parts(parts, UpstreamBody::new(content, lease, upload, idle, idle_timeout)))
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

/// A request, framed for the upstream.
struct Sending {
    outgoing: Outgoing<RequestBody>,
    /// None where it has no body.
    upload: Option<Rc<Upload>>,
    is_head: bool,
    is_idempotent: bool,
}

/// A head that has come back, and the connection that the rest comes on.
struct Answer {
    head: ResponseHead,
    bytes: Bytes,
    /// What has come behind the head.
    received: Received,
    connection: Connection,
    /// What of the request is still to be sent.
    outgoing: Outgoing<RequestBody>,
    /// The alarm that counted the time to the head, free again.
    alarm: Option<Alarm>,
}

/// Why an attempt has no answer.
enum Lost {
    /// No byte of the request was written.
    Unsent,
    /// The request was sent and the connection ended before a byte of the answer.
    Silent,
    /// Anything else.
    Failed(Fault),
}

impl Errand<'_> {
    /// Frames a request for the upstream, and begins to follow its body where it has one.
    fn pack(&self, request: Request<Incoming>, protocol: Protocol) -> Result<Sending, Fault> {
        let (head, incoming) = request.into_parts();
        let framing = outgoing::framing(&incoming);
        let (body, upload) = if incoming.is_end_stream() {
            (RequestBody::none(), None)
        } else {
            let Worker { id, sweep, shared, .. } = self.worker;
            let context = UploadContext { metrics: &shared.metrics, worker: *id, sweep, limits: self.limits };
            let (body, upload) = RequestBody::new(incoming, protocol == Protocol::Http2, &context)?;
            (body, Some(upload))
        };
        Ok(Sending {
            outgoing: Outgoing::new(&head, body, framing),
            upload,
            is_head: head.method == Method::HEAD,
            is_idempotent: is_idempotent(head.method.as_str().as_bytes()),
        })
    }

    /// Sends a request until there is an answer, or it may not be sent again.
    async fn send(&self, mut sending: Sending) -> Result<Answer, Fault> {
        let pools = &self.worker.pools;
        let (mut failure, mut last_server) = (Failure::UpstreamClosed, None);
        for attempt in 0..MAX_ATTEMPTS {
            let server = pools.choose(self.upstream, last_server)?;
            if attempt > 0 {
                if pools.is_down(server) {
                    break;
                }
                self.upstream.metrics().retries.increment(self.worker.id);
            }
            last_server = Some(server.id());
            let pooled = if attempt == 0 { pools.take(server, Instant::now()) } else { None };
            let mut connection = match pooled {
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
            let mut received = Received::new(sending.is_head);
            let own_alarm = if sending.upload.is_none() { Some(self.worker.sweep.alarm()) } else { None };
            match self.head(&mut sending, &mut connection, &mut received, own_alarm.as_ref()).await {
                Ok((head, bytes)) => {
                    let outgoing = sending.outgoing;
                    return Ok(Answer { head, bytes, received, connection, outgoing, alarm: own_alarm });
                }
                Err(Lost::Failed(fault)) => return Err(fault),
                Err(Lost::Unsent) => {}
                // It may have been heard: what is said twice is kept a small part of all (`retry_budget.rs`).
                Err(Lost::Silent) => {
                    let is_repeatable = sending.upload.is_none() && sending.is_idempotent && connection.is_reused();
                    if !is_repeatable || !pools.may_repeat(self.upstream) {
                        return Err(Failure::UpstreamClosed.into());
                    }
                    sending.outgoing.rewind();
                }
            }
            failure = Failure::UpstreamClosed;
        }
        Err(failure.into())
    }

    /// Sends a request, as far as the upstream takes it, and waits for the head of the answer.
    async fn head(
        &self,
        sending: &mut Sending,
        connection: &mut Connection,
        received: &mut Received,
        own_alarm: Option<&Alarm>,
    ) -> Result<(ResponseHead, Bytes), Lost> {
        let started = Instant::now();
        let Sending { outgoing, upload, .. } = sending;
        let alarm = upload.as_ref().map(|upload| upload.response_alarm()).or(own_alarm);
        if let Some(alarm) = alarm {
            alarm.set(self.limits.upstream_response_timeout);
        }
        let found = poll_fn(|cx| {
            match outgoing.poll_send(connection, cx) {
                Poll::Ready(Err(SendError::Body(fault))) => return Poll::Ready(Err(Lost::Failed(fault))),
                Poll::Ready(Err(SendError::Connection)) if outgoing.is_untouched() => {
                    return Poll::Ready(Err(Lost::Unsent));
                }
                // A server that has heard enough may have answered before it closed.
                Poll::Ready(Err(SendError::Connection)) => {
                    outgoing.give_up();
                    if let Some(alarm) = alarm {
                        alarm.set(self.limits.upstream_response_timeout);
                    }
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if let Poll::Ready(found) = received.poll_head(connection, cx) {
                return Poll::Ready(found.map_err(|failure| lost(failure, outgoing, received, upload.as_deref())));
            }
            let due = alarm.map_or(Poll::Pending, |alarm| alarm.poll_due(cx));
            due.map(|()| Err(Lost::Failed(blame(Failure::ResponseTimeout, upload.as_deref()))))
        })
        .await;
        let metrics = self.upstream.metrics();
        match &found {
            Ok((head, _)) => {
                metrics.count_request(self.worker.id, CodeClass::of(head.status.as_u16()));
                metrics.response_seconds.observe(self.worker.id, started.elapsed());
            }
            Err(Lost::Unsent) => {}
            Err(Lost::Silent | Lost::Failed(_)) => metrics.count_request(self.worker.id, CodeClass::None),
        }
        found
    }
}

/// What it means that there is no head.
fn lost(failure: Failure, outgoing: &Outgoing<RequestBody>, received: &Received, upload: Option<&Upload>) -> Lost {
    match blame(failure, upload) {
        Fault::Failed(Failure::UpstreamClosed) if outgoing.is_untouched() => Lost::Unsent,
        Fault::Failed(Failure::UpstreamClosed) if !received.has_begun() => Lost::Silent,
        fault => Lost::Failed(fault),
    }
}

/// The client's fault where its body broke off, which ends the upstream's connection too.
fn blame(failure: Failure, upload: Option<&Upload>) -> Fault {
    upload.and_then(Upload::fault).unwrap_or(Fault::Failed(failure))
}

/// Whether a request may be sent twice (RFC 9110 section 9.2.2).
pub fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}
