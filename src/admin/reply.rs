//! The answers of the admin endpoint, and the fields that all of them carry.
//!
//! Inside: JSON, text, problems (RFC 9457). Kept out: when which is given.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value};

/// An answer, whole.
pub(super) type Reply = Response<Full<Bytes>>;

/// What every answer carries: nothing here is for caches, sniffing or other sites.
const COMMON: [(HeaderName, HeaderValue); 4] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// An answer of any type.
pub(super) fn of_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().extend(COMMON);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A few words.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    of_type(status, "text/plain; charset=utf-8", body)
}

/// A JSON document.
pub(super) fn json(document: &Value) -> Reply {
    of_type(StatusCode::OK, "application/json", format!("{document}\n"))
}

/// What went wrong, in one or two sentences with what to do.
pub(super) fn problem(status: StatusCode, detail: impl Into<String>) -> Reply {
    problem_with(status, detail, Map::new())
}

/// What went wrong, with members beside those of RFC 9457.
pub(super) fn problem_with(status: StatusCode, detail: impl Into<String>, members: Map<String, Value>) -> Reply {
    let mut document = Map::new();
    document.insert("type".to_owned(), "about:blank".into());
    document.insert("title".to_owned(), status.canonical_reason().unwrap_or("Error").into());
    document.insert("status".to_owned(), status.as_u16().into());
    document.insert("detail".to_owned(), detail.into().into());
    document.extend(members);
    of_type(status, "application/problem+json", format!("{}\n", Value::Object(document)))
}

/// 405, with the methods that there are (RFC 9110 section 15.5.6).
pub(super) fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, format!("This path answers {allow} only."));
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    reply
}

/// 503, with when to come back (RFC 9110 section 10.2.3).
pub(super) fn too_much(detail: &str) -> Reply {
    let mut reply = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    reply
}
