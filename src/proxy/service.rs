//! The life of a request: canonical host, one snapshot, verdict, notice or route and forward, one outcome.
//!
//! Inside: the order of these steps, for HTTP/1 and HTTP/2 alike. Kept out: what each step does, which is in the files
//! above this one.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::telemetry::outcome::{Outcome, Rejection};

use super::body::ResponseBody;
use super::client_io::Socket;
use super::connection::{Http1, Left, Service};
use super::context::Client;
use super::error::{ALLOWED_METHODS, Fault};
use super::exchange::Exchange;
use super::forward;
use super::headers;
use super::http1;
use super::judge::{self, TunnelJudge};
use super::own_error;
use super::settings::Settings;
use super::sni;
use super::target::{self, Resource, Target};
use super::upstream_body::UpstreamBody;

/// There is nobody to answer, or nothing that can be said: the connection (HTTP/1) or the stream (HTTP/2) ends.
#[derive(Debug, thiserror::Error)]
#[error("the client left")]
pub struct Gone;

/// What every connection hands its requests to.
#[derive(Debug, Clone, Copy)]
pub struct Edge;

impl Service for Edge {
    type Body = ResponseBody;
    type Error = Gone;

    fn serve(
        &self,
        client: &Rc<Client>,
        head: Result<(), Rejection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Gone>> {
        serve(client, head, request)
    }

    fn serve_http1<S>(http1: Http1<S>) -> impl Future<Output = Left<S>> + 'static
    where
        S: AsyncRead + AsyncWrite + Socket + Unpin + 'static,
    {
        http1::Serve::new(http1)
    }
}

/// What answers a request, and how the request ends when the answer is out.
struct Reply {
    response: Response<Content>,
    outcome: Outcome,
}

enum Content {
    Own(Bytes),
    Upstream(UpstreamBody),
}

/// Serves one request. `head` is what the gate found about an HTTP/1 head; HTTP/2 heads come as [`Ok`].
///
/// # Errors
/// [`Gone`] where the client left before there was an answer.
async fn serve(
    client: &Rc<Client>,
    head: Result<(), Rejection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Gone> {
    let exchange = Exchange::begin(Rc::clone(client));
    let settings = client.worker.settings();
    let (parts, body) = request.into_parts();
    let asked = Asked::new(&parts, !body.is_end_stream());
    let reply = match head {
        Ok(()) => answer(client, &settings, parts, body).await,
        Err(rejection) => Err(Fault::Rejected(rejection)),
    };
    let reply = reply.or_else(|fault| own_error(fault, &asked, &settings, &exchange).ok_or(Gone))?;
    Ok(finish(reply, &asked, client, exchange))
}

/// The life of a request.
async fn answer(client: &Rc<Client>, settings: &Settings, mut parts: Parts, body: Incoming) -> Result<Reply, Fault> {
    let target = target::target(&parts, client)?;
    if let Some(notice) = judge::notice(client, &target.host, &parts.headers) {
        return Ok(Reply { response: notice.map(Content::Own), outcome: Outcome::Blocked });
    }
    sni::check(client, &target.host)?;
    if headers::has_been_here(&parts.headers, &settings.server_name) {
        return Err(Rejection::Loop.into());
    }
    if answers_for_itself(&mut parts, &target)? {
        return Ok(Reply { response: options(), outcome: Outcome::Answered });
    }
    let upstream = settings.routes.find(&target.host).and_then(|index| settings.upstreams.get(index));
    let upstream = upstream.ok_or(Rejection::NoRoute)?;
    let request_id = prepare(&mut parts, client, settings, &target);
    let judge = || TunnelJudge::new(Rc::clone(client), target.host.clone());
    let request = Request::from_parts(parts, body);
    let mut response = forward::forward(client, settings, upstream, request, judge).await?;
    headers::append_via(response.headers_mut(), Version::HTTP_11, &settings.server_name);
    response.headers_mut().entry(headers::X_REQUEST_ID).or_insert(request_id);
    Ok(Reply { response: response.map(Content::Upstream), outcome: Outcome::Forwarded })
}

const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// Whether an OPTIONS is for us: for the server as a whole, or with no forwards left; else one forward is taken off
/// (RFC 9110 section 7.6.2).
fn answers_for_itself(parts: &mut Parts, target: &Target) -> Result<bool, Fault> {
    if parts.method != Method::OPTIONS {
        return Ok(false);
    }
    let is_for_all = target.resource == Resource::Server;
    let mut values = parts.headers.get_all(MAX_FORWARDS).iter();
    let Some(value) = values.next() else { return Ok(is_for_all) };
    let left = number(value.as_bytes()).filter(|_| values.next().is_none());
    let left = left.ok_or(Rejection::MalformedHead)?;
    if is_for_all || left == 0 {
        return Ok(true);
    }
    parts.headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
    Ok(false)
}

/// A number of digits alone, as many as there are (RFC 9110 section 7.6.2); one that is too large counts as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        digit.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

fn options() -> Response<Content> {
    let mut response = Response::new(Content::Own(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(http::header::ALLOW, ALLOWED_METHODS);
    response
}

/// Makes a client's head into the one that the upstream gets, and returns the request's id.
fn prepare(parts: &mut Parts, client: &Client, settings: &Settings, target: &Target) -> HeaderValue {
    let upgrade = headers::upgrade_token(parts.version, &parts.headers).filter(|_| parts.method == Method::GET);
    headers::rewrite_request(&mut parts.headers, target, client, &settings.trusted_proxies, upgrade);
    headers::append_via(&mut parts.headers, parts.version, &settings.server_name);
    let request_id = headers::settle_request_id(&mut parts.headers, || fastrand::u128(..));
    if let Resource::Path(path) = &target.resource {
        parts.uri = Uri::from(path.clone());
    }
    parts.version = Version::HTTP_11;
    request_id
}

/// What an answer of our own needs of a request that has been taken apart.
struct Asked {
    method: Method,
    version: Version,
    has_body: bool,
    accept: Vec<HeaderValue>,
}

impl Asked {
    fn new(parts: &Parts, has_body: bool) -> Self {
        let accept = parts.headers.get_all(ACCEPT).iter().cloned().collect();
        Self { method: parts.method.clone(), version: parts.version, has_body, accept }
    }
}

/// Our own answer to a fault; none where there is nobody to answer.
fn own_error(fault: Fault, asked: &Asked, settings: &Settings, exchange: &Exchange) -> Option<Reply> {
    let accept = asked.accept.iter().map(|value| (ACCEPT, value.clone())).collect();
    let (mut response, outcome) = own_error::answer(fault, &accept, settings, exchange)?;
    if asked.version != Version::HTTP_2 && fault.closes() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(Reply { response: response.map(Content::Own), outcome })
}

/// Sends a reply on its way: from here its body carries the exchange.
fn finish(reply: Reply, asked: &Asked, client: &Client, exchange: Exchange) -> Response<ResponseBody> {
    let (mut parts, content) = reply.response.into_parts();
    exchange.expect(reply.outcome, parts.status);
    let is_tunnel = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    // A body that nobody reads ends an HTTP/1 connection; whether hyper has it already is chance, and is not waited for
    // (RFC 9110 section 10.1.1, RFC 9112 section 9.3).
    let leaves_body = asked.has_body && matches!(content, Content::Own(_));
    if (client.closing.get() || leaves_body) && asked.version != Version::HTTP_2 && !is_tunnel {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let body = match content {
        Content::Upstream(body) => ResponseBody::upstream(body, exchange),
        Content::Own(bytes) if asked.method == Method::HEAD => {
            parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(bytes.len()));
            ResponseBody::own(Bytes::new(), exchange)
        }
        Content::Own(bytes) => ResponseBody::own(bytes, exchange),
    };
    Response::from_parts(parts, body)
}
