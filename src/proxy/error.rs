//! What goes wrong on the request path, by whose fault, and the one table from a fault to its answer.
//!
//! Inside: faults, their status, RFC 9209 token and sentence. Kept out: counting them (`exchange.rs`).

use bytes::{BufMut, BytesMut};
use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::telemetry::outcome::{Failure, Rejection};

/// Why a request is not answered by its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client's fault.
    Rejected(Rejection),
    /// The upstream's fault or ours.
    Failed(Failure),
    /// The client left; there is nobody to answer.
    Aborted,
}

/// Why a body breaks off before its end, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off before its end")]
pub struct BodyFault(pub Fault);

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The error token of RFC 9209 section 2.3.
    pub token: &'static str,
    /// What was wrong, in one sentence.
    pub sentence: &'static str,
}

/// The methods that are forwarded, for 405.
pub const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// The `Proxy-Status` field (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

const fn answer(status: StatusCode, token: &'static str, sentence: &'static str) -> Answer {
    Answer { status, token, sentence }
}

/// The answer to a client's fault.
pub const fn rejection(rejection: Rejection) -> Answer {
    const ERROR: &str = "http_request_error";
    match rejection {
        Rejection::MalformedHead => answer(StatusCode::BAD_REQUEST, ERROR, "The request is not well-formed HTTP."),
        Rejection::MalformedFraming => {
            answer(StatusCode::BAD_REQUEST, ERROR, "The framing of the request body is ambiguous or malformed.")
        }
        Rejection::HostMissing => {
            answer(StatusCode::BAD_REQUEST, ERROR, "The request must name exactly one host in its Host field.")
        }
        Rejection::HostInvalid => answer(StatusCode::BAD_REQUEST, ERROR, "The host of the request is not valid."),
        Rejection::HostMismatch => {
            answer(StatusCode::BAD_REQUEST, ERROR, "The request target and the Host field name different hosts.")
        }
        Rejection::SniMismatch => answer(
            StatusCode::MISDIRECTED_REQUEST,
            ERROR,
            "The host of the request does not belong to this TLS connection.",
        ),
        Rejection::NoRoute => {
            answer(StatusCode::MISDIRECTED_REQUEST, "destination_not_found", "This host is not served here.")
        }
        Rejection::SchemeMismatch => {
            answer(StatusCode::BAD_REQUEST, ERROR, "The scheme of the request is not that of this connection.")
        }
        Rejection::MethodNotAllowed => {
            answer(StatusCode::METHOD_NOT_ALLOWED, ERROR, "The method of the request is not allowed here.")
        }
        Rejection::VersionNotSupported => {
            answer(StatusCode::HTTP_VERSION_NOT_SUPPORTED, ERROR, "The HTTP version of the request is not supported.")
        }
        Rejection::CodingNotImplemented => {
            answer(StatusCode::NOT_IMPLEMENTED, ERROR, "The transfer coding of the request is not implemented.")
        }
        Rejection::ExpectationFailed => {
            answer(StatusCode::EXPECTATION_FAILED, ERROR, "The expectation of the request cannot be met.")
        }
        Rejection::HeadTooLarge => answer(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ERROR,
            "The header section of the request is too large.",
        ),
        Rejection::TargetTooLong => answer(StatusCode::URI_TOO_LONG, ERROR, "The target of the request is too long."),
        Rejection::BodyTooLarge => {
            answer(StatusCode::PAYLOAD_TOO_LARGE, ERROR, "The body of the request is too large.")
        }
        Rejection::HeadTimeout => answer(StatusCode::REQUEST_TIMEOUT, ERROR, "The request did not arrive in time."),
        Rejection::BodyTimeout => {
            answer(StatusCode::REQUEST_TIMEOUT, ERROR, "The body of the request did not arrive in time.")
        }
        Rejection::Loop => {
            answer(StatusCode::LOOP_DETECTED, "proxy_loop_detected", "The request has already been through this proxy.")
        }
        Rejection::Protocol => answer(StatusCode::BAD_REQUEST, ERROR, "The request breaks the rules of its protocol."),
    }
}

/// The answer to a fault of the upstream or of our own.
pub const fn failure(failure: Failure) -> Answer {
    match failure {
        Failure::ConnectRefused => {
            answer(StatusCode::BAD_GATEWAY, "connection_refused", "The origin server could not be reached.")
        }
        Failure::ConnectTimeout => {
            answer(StatusCode::GATEWAY_TIMEOUT, "connection_timeout", "The origin server could not be reached in time.")
        }
        Failure::UpstreamTls => answer(
            StatusCode::BAD_GATEWAY,
            "tls_protocol_error",
            "No secure connection to the origin server could be made.",
        ),
        Failure::NoServer => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "destination_unavailable",
            "No origin server is available at the moment.",
        ),
        Failure::UpstreamClosed => answer(
            StatusCode::BAD_GATEWAY,
            "connection_terminated",
            "The origin server closed the connection before it had answered.",
        ),
        Failure::UpstreamMalformed => answer(
            StatusCode::BAD_GATEWAY,
            "http_protocol_error",
            "The answer of the origin server is not well-formed HTTP.",
        ),
        Failure::ResponseTimeout => {
            answer(StatusCode::GATEWAY_TIMEOUT, "http_response_timeout", "The origin server did not answer in time.")
        }
        Failure::BodyTimeout => answer(
            StatusCode::GATEWAY_TIMEOUT,
            "connection_read_timeout",
            "The origin server did not finish its answer in time.",
        ),
        Failure::Overloaded => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "connection_limit_reached",
            "The origin server has too much to do at the moment.",
        ),
        // Ours, and over soon: not the 500 of a fault that stays (RFC 9209 section 2.3.30 recommends, and does not require it).
        Failure::OutOfResources => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "proxy_internal_error",
            "The proxy has too much to do at the moment.",
        ),
        Failure::Internal => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, "proxy_internal_error", "The proxy failed to handle the request.")
        }
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Fault {
    /// Whether an HTTP/1 connection closes after the answer: where the message was in doubt, so is what follows it, and
    /// a method that would open a tunnel may be followed by the tunnel's bytes (RFC 9112 sections 9.3 and 9.6).
    pub const fn closes(self) -> bool {
        match self {
            Self::Rejected(Rejection::NoRoute | Rejection::Loop | Rejection::SniMismatch) => false,
            Self::Rejected(_) => true,
            Self::Failed(_) | Self::Aborted => false,
        }
    }

    /// The row of the table; none where there is nobody to answer.
    pub const fn row(self) -> Option<Answer> {
        match self {
            Self::Rejected(reason) => Some(rejection(reason)),
            Self::Failed(reason) => Some(failure(reason)),
            Self::Aborted => None,
        }
    }

    /// The fields that go with the status.
    pub fn fields(self, fields: &mut HeaderMap) {
        match self {
            Self::Rejected(Rejection::MethodNotAllowed) => {
                fields.insert(ALLOW, ALLOWED_METHODS);
            }
            Self::Failed(Failure::Overloaded | Failure::NoServer | Failure::OutOfResources) => {
                fields.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
    }

    /// The value of `details` in Proxy-Status, which tells apart what has one token.
    pub const fn details(self) -> Option<&'static str> {
        match self {
            Self::Rejected(Rejection::NoRoute | Rejection::Loop) | Self::Aborted => None,
            Self::Rejected(reason) => Some(reason.label()),
            Self::Failed(_) => None,
        }
    }
}

/// The value of `Proxy-Status`: who answers, the error token, and what tells apart that which has one token.
pub fn proxy_status(server_name: &str, token: &str, details: Option<&str>) -> HeaderValue {
    let mut text = BytesMut::with_capacity(64);
    put_item(&mut text, server_name);
    text.put_slice(b"; error=");
    text.put_slice(token.as_bytes());
    if let Some(details) = details {
        text.put_slice(b"; details=");
        put_string(&mut text, details);
    }
    HeaderValue::from_maybe_shared(text.freeze()).unwrap_or_else(|_| HeaderValue::from_static("sluis"))
}

/// A token where it is one, else a string (RFC 8941 sections 3.3.3 and 3.3.4).
fn put_item(text: &mut BytesMut, item: &str) {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
    let starts_well = item.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    if starts_well && item.bytes().all(is_token_byte) {
        text.put_slice(item.as_bytes());
    } else {
        put_string(text, item);
    }
}

fn put_string(text: &mut BytesMut, content: &str) {
    text.put_u8(b'"');
    for byte in content.bytes().filter(|byte| matches!(byte, b' '..=b'~')) {
        if matches!(byte, b'"' | b'\\') {
            text.put_u8(b'\\');
        }
        text.put_u8(byte);
    }
    text.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_status_is_a_structured_field() {
        for (name, details, expected) in [
            ("edge-1", None, "edge-1; error=x"),
            ("1edge", None, "\"1edge\"; error=x"),
            ("our \"edge\"", Some("sni-mismatch"), "\"our \\\"edge\\\"\"; error=x; details=\"sni-mismatch\""),
        ] {
            assert_eq!(proxy_status(name, "x", details), expected);
        }
    }
}
