//! What of the head of an upstream's response is passed on.
//!
//! Inside: its fields as a map, and what of them is taken off, as pure functions. Kept out: the rules of a head
//! (`upstream/response_head.rs`), reading it, and our own fields.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, Version};

use crate::notice::SLUIS_DECISION;
use crate::telemetry::outcome::Failure;

use super::headers::remove_hop_by_hop;
use super::upstream::response_head::{ResponseHead, fields};

/// A head that was found whole as the parts of a response, with every field that it has. The values are parts of `bytes`.
///
/// # Errors
/// [`Failure::UpstreamMalformed`] for a field that cannot be passed on, which the rules of a head leave none of.
pub fn parts(head: &ResponseHead, bytes: &Bytes) -> Result<Parts, Failure> {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = head.status;
    parts.version = if head.is_http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = HeaderMap::with_capacity(head.fields);
    for (name, value) in fields(bytes) {
        let name = HeaderName::from_bytes(name).map_err(|_| Failure::UpstreamMalformed)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| Failure::UpstreamMalformed)?;
        parts.headers.append(name, value);
    }
    Ok(parts)
}

/// Takes off what belongs to the upstream's connection. The transfer coding is gone with it: the client's side frames the
/// body anew. `content_length` is what the head says, however often it does.
pub fn clean(head: &mut Parts, content_length: Option<u64>) {
    settle_length(&mut head.headers, content_length);
    // RFC 9110 section 8.6 forbids it there, and a client that believes it waits for a body.
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        head.headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(&mut head.headers);
    // What is decided here, nobody else says.
    head.headers.remove(SLUIS_DECISION);
}

/// Makes one length of several that are the same (RFC 9110 section 8.6).
fn settle_length(fields: &mut HeaderMap, content_length: Option<u64>) {
    let Some(length) = content_length else { return };
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let first = values.next().filter(|value| value.as_bytes().iter().all(u8::is_ascii_digit));
    if first.is_none() || values.next().is_some() {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Checks a 101 and leaves of its connection's fields those that the client needs. `asked` is the token of the request.
///
/// # Errors
/// [`Failure::UpstreamMalformed`] where it was not asked for, or switches to something else (RFC 9110 section 7.8), or comes
/// in HTTP/1.0, which knows no 101 (section 15.2).
pub fn clean_switch(head: &mut Parts, asked: Option<&HeaderValue>) -> Result<(), Failure> {
    let asked = asked.ok_or(Failure::UpstreamMalformed)?;
    let mut tokens = head.headers.get_all(UPGRADE).iter();
    let (Some(token), None) = (tokens.next(), tokens.next()) else { return Err(Failure::UpstreamMalformed) };
    let is_asked = token.as_bytes().trim_ascii().eq_ignore_ascii_case(asked.as_bytes().trim_ascii());
    if !is_asked || !names_upgrade(&head.headers) || head.version != Version::HTTP_11 {
        return Err(Failure::UpstreamMalformed);
    }
    let token = token.clone();
    clean(head, None);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, token);
    Ok(())
}

fn names_upgrade(fields: &HeaderMap) -> bool {
    let mut tokens = fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::upstream::response_head::{Progress, ResponseParser};

    fn read(head: &str) -> (Parts, Option<u64>) {
        let Progress::Complete(found) = ResponseParser::new(false).advance(head.as_bytes()) else {
            panic!("not a head: {head}");
        };
        (parts(&found, &Bytes::copy_from_slice(head.as_bytes())).expect("fields"), found.content_length)
    }

    fn head(status: u16, version: &str, fields: &[(&str, &str)]) -> (Parts, Option<u64>) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        read(&format!("HTTP/{version} {status} X\r\n{lines}\r\n"))
    }

    fn names_and_values(head: &Parts) -> Vec<(&str, &str)> {
        head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect()
    }

    #[test]
    fn every_field_is_there_with_its_value() {
        let (parts, _) =
            read("HTTP/1.0 404 Not Found\r\nX-A:1\r\nset-cookie: a=b\r\nSet-Cookie:\tc:d \r\nX-Empty:\r\n\r\n");
        assert_eq!((parts.status, parts.version), (StatusCode::NOT_FOUND, Version::HTTP_10));
        let expected = [("x-a", "1"), ("set-cookie", "a=b"), ("set-cookie", "c:d"), ("x-empty", "")];
        assert_eq!(names_and_values(&parts), expected);
    }

    #[test]
    fn what_belongs_to_the_connection_is_taken_off_and_the_rest_stays() {
        for (status, sent, left) in [
            (200, &[("content-length", "5"), ("etag", "x")][..], &[("content-length", "5"), ("etag", "x")][..]),
            (200, &[("content-length", "5"), ("content-length", "5")], &[("content-length", "5")]),
            (200, &[("content-length", "5, 5")], &[("content-length", "5")]),
            (304, &[("content-length", "5")], &[("content-length", "5")]),
            (304, &[("content-length", "5"), ("content-length", "5")], &[("content-length", "5")]),
            (204, &[("content-length", "0")], &[]),
            (200, &[("transfer-encoding", "Chunked"), ("trailer", "digest")], &[("trailer", "digest")]),
            (200, &[("connection", "close, x-inner"), ("x-inner", "1"), ("x-outer", "2")], &[("x-outer", "2")]),
            (200, &[("keep-alive", "timeout=5"), ("proxy-connection", "x"), ("upgrade", "websocket")], &[]),
        ] {
            let (mut head, length) = head(status, "1.1", sent);
            clean(&mut head, length);
            assert_eq!(names_and_values(&head), left, "{sent:?}");
        }
    }

    #[test]
    fn a_switch_is_passed_on_only_when_it_is_the_one_that_was_asked_for() {
        let asked = HeaderValue::from_static("websocket");
        let upgrade = ("connection", "Upgrade");
        for (asked, sent, is_good) in [
            (Some(&asked), &[upgrade, ("upgrade", "WebSocket"), ("sec-websocket-accept", "x")][..], true),
            (None, &[upgrade, ("upgrade", "websocket")], false),
            (Some(&asked), &[upgrade, ("upgrade", "h2c")], false),
            (Some(&asked), &[upgrade, ("upgrade", "websocket"), ("upgrade", "h2c")], false),
            (Some(&asked), &[upgrade, ("upgrade", "websocket, h2c")], false),
            (Some(&asked), &[upgrade], false),
            (Some(&asked), &[("upgrade", "websocket")], false),
        ] {
            let (mut old, _) = head(101, "1.0", sent);
            assert_eq!(clean_switch(&mut old, asked), Err(Failure::UpstreamMalformed), "{sent:?} in HTTP/1.0");
            let (mut head, _) = head(101, "1.1", sent);
            assert_eq!(clean_switch(&mut head, asked).is_ok(), is_good, "{sent:?}");
            if is_good {
                assert_eq!(
                    names_and_values(&head),
                    [("sec-websocket-accept", "x"), ("connection", "upgrade"), ("upgrade", "WebSocket")]
                );
            }
        }
    }
}
