//! What the head of an upstream's response may be, and what of it is passed on.
//!
//! Inside: the checks that hyper's client leaves out, as pure functions. Kept out: reading it, and our own fields.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};

use crate::notice::SLUIS_DECISION;
use crate::telemetry::outcome::Failure;

use super::headers::remove_hop_by_hop;

/// Checks the framing of a response and takes off what belongs to the upstream's connection. The transfer coding is gone
/// with it: the client's side frames the body anew.
///
/// # Errors
/// [`Failure::UpstreamMalformed`] where the framing is ambiguous (RFC 9112 section 6.3): a transfer coding beside a
/// length or other than chunked, lengths that differ or are no numbers. hyper looks at the last coding only, and not at
/// all where the response has no body; another reader on the way might.
pub fn clean(head: &mut Parts) -> Result<(), Failure> {
    let has_coding = head.headers.contains_key(TRANSFER_ENCODING);
    if has_coding && !is_chunked_alone(head) {
        return Err(Failure::UpstreamMalformed);
    }
    settle_length(&mut head.headers, has_coding)?;
    // RFC 9110 section 8.6 forbids it there, and a client that believes it waits for a body.
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        head.headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(&mut head.headers);
    // What is decided here, nobody else says.
    head.headers.remove(SLUIS_DECISION);
    Ok(())
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
    clean(head)?;
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, token);
    Ok(())
}

fn names_upgrade(fields: &HeaderMap) -> bool {
    let mut tokens = fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn is_chunked_alone(head: &Parts) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let (Some(coding), None) = (codings.next(), codings.next()) else { return false };
    head.version == Version::HTTP_11 && coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Makes one length of several that are the same, and refuses every other case of doubt (RFC 9110 section 8.6).
fn settle_length(fields: &mut HeaderMap, has_coding: bool) -> Result<(), Failure> {
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return Ok(()) };
    if has_coding {
        return Err(Failure::UpstreamMalformed);
    }
    if values.next().is_none() && length(first.as_bytes()).is_some() {
        return Ok(());
    }
    let mut lengths =
        fields.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let only = lengths.next().and_then(length).ok_or(Failure::UpstreamMalformed)?;
    if lengths.any(|other| length(other) != Some(only)) {
        return Err(Failure::UpstreamMalformed);
    }
    fields.insert(CONTENT_LENGTH, HeaderValue::from(only));
    Ok(())
}

fn length(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use http::header::HeaderName;

    fn head(status: u16, version: Version, fields: &[(&str, &str)]) -> Parts {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        *response.version_mut() = version;
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            response.headers_mut().append(name, HeaderValue::from_str(value).expect("a value"));
        }
        response.into_parts().0
    }

    fn fields(head: &Parts) -> Vec<(&str, &str)> {
        head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect()
    }

    #[test]
    fn a_response_whose_framing_is_in_doubt_is_malformed() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        for sent in [
            &[(CODING, "chunked"), (LENGTH, "5")][..],
            &[(LENGTH, "5"), (CODING, "chunked")],
            &[(CODING, "gzip, chunked")],
            &[(CODING, "gzip"), (CODING, "chunked")],
            &[(CODING, "chunked"), (CODING, "chunked")],
            &[(CODING, "chunked, chunked")],
            &[(CODING, "identity")],
            &[(CODING, "xchunked")],
            &[(CODING, "")],
            &[(LENGTH, "5"), (LENGTH, "6")],
            &[(LENGTH, "5, 6")],
            &[(LENGTH, "5,")],
            &[(LENGTH, "+5")],
            &[(LENGTH, "-5")],
            &[(LENGTH, "0x5")],
            &[(LENGTH, "")],
            &[(LENGTH, "99999999999999999999")],
        ] {
            for status in [200, 204, 304] {
                let mut head = head(status, Version::HTTP_11, sent);
                assert_eq!(clean(&mut head), Err(Failure::UpstreamMalformed), "{status} {sent:?}");
            }
        }
        let mut old = head(200, Version::HTTP_10, &[(CODING, "chunked")]);
        assert_eq!(clean(&mut old), Err(Failure::UpstreamMalformed));
    }

    #[test]
    fn what_belongs_to_the_connection_is_taken_off_and_the_rest_stays() {
        for (status, sent, left) in [
            (200, &[("content-length", "5"), ("etag", "x")][..], &[("content-length", "5"), ("etag", "x")][..]),
            (200, &[("content-length", "5"), ("content-length", "5")], &[("content-length", "5")]),
            (200, &[("content-length", "5, 5")], &[("content-length", "5")]),
            (304, &[("content-length", "5")], &[("content-length", "5")]),
            (204, &[("content-length", "0")], &[]),
            (200, &[("transfer-encoding", "Chunked"), ("trailer", "digest")], &[("trailer", "digest")]),
            (200, &[("connection", "close, x-inner"), ("x-inner", "1"), ("x-outer", "2")], &[("x-outer", "2")]),
            (200, &[("keep-alive", "timeout=5"), ("proxy-connection", "x"), ("upgrade", "websocket")], &[]),
        ] {
            let mut head = head(status, Version::HTTP_11, sent);
            assert_eq!(clean(&mut head), Ok(()), "{sent:?}");
            assert_eq!(fields(&head), left, "{sent:?}");
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
            let mut old = head(101, Version::HTTP_10, sent);
            assert_eq!(clean_switch(&mut old, asked), Err(Failure::UpstreamMalformed), "{sent:?} in HTTP/1.0");
            let mut head = head(101, Version::HTTP_11, sent);
            assert_eq!(clean_switch(&mut head, asked).is_ok(), is_good, "{sent:?}");
            if is_good {
                assert_eq!(
                    fields(&head),
                    [("sec-websocket-accept", "x"), ("connection", "upgrade"), ("upgrade", "WebSocket")]
                );
            }
        }
    }
}
