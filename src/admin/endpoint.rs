//! Which path and method leads where.
//!
//! Inside: the table of paths, and what every request is asked before it is answered. Kept out: connections
//! (`server.rs`) and the answers themselves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;

use super::guard;
use super::places::Place;
use super::query::Query;
use super::reply::{self, Reply};
use super::state::Admin;
use super::{api, health, metrics, page};

/// A body larger than this is refused.
const BODY_BYTES: usize = 64 * 1024;

/// A body that takes longer than this is refused.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the endpoint an address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// Everything.
    Whole,
    /// Health and metrics.
    Metrics,
}

/// Who asks, and where.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) peer: IpAddr,
    pub(super) surface: Surface,
    pub(super) place: Arc<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Livez,
    Readyz,
    Metrics,
    Page,
    Status,
    Lookup,
    Decisions,
    Reload,
}

impl Resource {
    fn of(path: &str, surface: Surface) -> Option<Self> {
        match (path, surface) {
            ("/livez", _) => Some(Self::Livez),
            ("/readyz", _) => Some(Self::Readyz),
            ("/metrics", _) => Some(Self::Metrics),
            ("/", Surface::Whole) => Some(Self::Page),
            ("/api/v1/status", Surface::Whole) => Some(Self::Status),
            ("/api/v1/lookup", Surface::Whole) => Some(Self::Lookup),
            ("/api/v1/decisions", Surface::Whole) => Some(Self::Decisions),
            ("/api/v1/reload", Surface::Whole) => Some(Self::Reload),
            _ => None,
        }
    }

    /// Whether it is for probes and scrapers, which may know this machine by any name.
    const fn is_for_probes(self) -> bool {
        matches!(self, Self::Livez | Self::Readyz | Self::Metrics)
    }

    /// The methods that it answers, as `Allow` lists them.
    const fn allow(self) -> &'static str {
        match self {
            Self::Reload => "POST",
            _ => "GET, HEAD",
        }
    }

    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Reload => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}

/// Answers one request. The body of an answer to HEAD is left out by the server.
pub(super) async fn answer<B>(admin: &Admin, client: &Client, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // RFC 9112 section 3.2.
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return reply::problem(StatusCode::BAD_REQUEST, "A request has one Host.");
    }
    if !guard::names_one_host(request.uri(), request.headers()) {
        return reply::problem(StatusCode::BAD_REQUEST, "The target and the Host name different hosts.");
    }
    let Some(resource) = Resource::of(request.uri().path(), client.surface) else {
        return reply::problem(StatusCode::NOT_FOUND, "There is nothing at this path.");
    };
    if !resource.is_for_probes()
        && let Err(forbidden) = guard::may_see(request.uri(), request.headers())
    {
        return reply::problem(StatusCode::FORBIDDEN, forbidden.to_string());
    }
    if !resource.allows(request.method()) {
        return reply::method_not_allowed(resource.allow());
    }
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return reply::problem(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let now = Timestamp::now();
    match resource {
        Resource::Livez => health::live(),
        Resource::Readyz => health::ready(admin, query.has("verbose")),
        Resource::Metrics => metrics::metrics(admin, now),
        Resource::Page => page::page(admin, now),
        Resource::Status => api::status(admin),
        Resource::Lookup => api::lookup(admin, &query, now),
        Resource::Decisions => api::decisions(admin, now),
        Resource::Reload => reload(admin, client, &query, request).await,
    }
}

async fn reload<B>(admin: &Admin, client: &Client, query: &Query, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(forbidden) = guard::may_change(client.peer, request.headers()) {
        return reply::problem(StatusCode::FORBIDDEN, forbidden.to_string());
    }
    if let Err(refused) = no_body(request.into_body()).await {
        return refused;
    }
    match client.place.work() {
        Some(_working) => api::reload(admin, query).await,
        None => reply::too_much("Too many reloads are under way already; come back later."),
    }
}

/// Reads a body that should be empty; an empty JSON object is as good, since some clients always send one.
async fn no_body<B>(body: B) -> Result<(), Reply>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES).collect()).await;
    let bytes = match read {
        Err(_) => return Err(closing(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time.")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(closing(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 64 KiB."));
        }
        Ok(Err(_)) => return Err(closing(StatusCode::BAD_REQUEST, "The body broke off or is malformed.")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    match bytes.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(reply::problem(StatusCode::BAD_REQUEST, "A reload takes no body; its parameters go into the query.")),
    }
}

/// A refusal after which the connection is of no use: what is left of the body would be in the way.
fn closing(status: StatusCode, detail: &str) -> Reply {
    let mut reply = reply::problem(status, detail);
    reply.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    reply
}
