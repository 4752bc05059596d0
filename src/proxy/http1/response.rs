//! The head of an answer as its client gets it.
//!
//! Inside: what of an upstream's head is passed on, as `upstream_head.rs` has it, on bytes; and our own answers written out. Kept
//! out: whether the upstream's head keeps the rules (`upstream/response_head.rs`), and the body.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Response, StatusCode};

use crate::notice::SLUIS_DECISION;
use crate::proxy::context::Worker;
use crate::proxy::gate::field::{lines, trim};
use crate::proxy::headers::{is_hop_by_hop, put_decimal};
use crate::proxy::upstream::response_head::{Framing, ResponseHead};

use super::runs::{NAME_BYTES, lower};

/// What is added to an upstream's head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Added<'a> {
    pub(super) server_name: &'a str,
    pub(super) request_id: &'a [u8],
    /// Whose date it is.
    pub(super) worker: &'a Worker,
    /// The connection ends after this answer.
    pub(super) closes: bool,
}

/// Writes what the client gets of an upstream's head, which keeps every rule.
pub(super) fn put_head(head: &[u8], parsed: &ResponseHead, added: Added<'_>, out: &mut Vec<u8>) {
    let line_end = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    // `HTTP/1.1 200 OK`: the version is ours, the rest is what came.
    let line = head.get(b"HTTP/1.1 ".len()..line_end).unwrap_or_default();
    let (status, reason) = line.split_at(line.len().min(3));
    for part in [b"HTTP/1.1 ", status, b" ", trim(reason.trim_ascii_end()), b"\r\n"] {
        out.extend_from_slice(part);
    }
    let named = named_by_connection(head, line_end);
    let (mut has_date, mut has_request_id) = (false, false);
    for line in lines(head, line_end) {
        let name = line.field.name;
        if named.iter().any(|named| named.eq_ignore_ascii_case(name)) {
            continue;
        }
        let mut room = [0; NAME_BYTES];
        if let Some(lower) = lower(name, &mut room) {
            match lower {
                b"date" => has_date = true,
                b"x-request-id" => has_request_id = true,
                b"content-length" => continue,
                // What is decided here, nobody else says.
                lower if lower == SLUIS_DECISION.as_str().as_bytes() => continue,
                lower if is_hop_by_hop(std::str::from_utf8(lower).unwrap_or_default()) => continue,
                _ => {}
            }
        }
        out.extend_from_slice(head.get(line.range).unwrap_or_default());
    }
    put_framing(parsed, out);
    if !has_date {
        put_field(out, b"Date: ", &added.worker.date());
    }
    put_field(out, b"Via: 1.1 ", added.server_name.as_bytes());
    if !has_request_id {
        put_field(out, b"X-Request-Id: ", added.request_id);
    }
    if added.closes {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields that frame the body, from what was found and never from what was said of it (RFC 9112 section 6).
fn put_framing(parsed: &ResponseHead, out: &mut Vec<u8>) {
    match (parsed.framing, parsed.content_length) {
        (Framing::Chunked | Framing::UntilClose, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // RFC 9110 section 8.6 forbids a length there, and a client that believes it waits for a body.
        (Framing::None | Framing::Length(_), Some(length)) if parsed.status != StatusCode::NO_CONTENT => {
            put_number(out, b"Content-Length: ", length);
        }
        (Framing::None | Framing::Length(_), _) => {}
    }
}

fn put_number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    put_decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The fields that belong to the upstream's connection because it says so (RFC 9110 section 7.6.1); nearly always none.
fn named_by_connection(head: &[u8], start: usize) -> Vec<&[u8]> {
    let connection = lines(head, start).filter(|line| line.field.name.eq_ignore_ascii_case(b"connection"));
    let options = connection.flat_map(|line| line.field.value.split(|byte| *byte == b',')).map(trim);
    let is_field = |option: &&[u8]| {
        let is_option = option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive");
        !option.is_empty() && !is_option
    };
    options.filter(is_field).collect()
}

/// Writes an answer of our own, its body with it unless the request was HEAD.
pub(super) fn put_own(response: &Response<Bytes>, is_head: bool, closes: bool, date: &[u8], out: &mut Vec<u8>) {
    let status = response.status();
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, status.as_u16().into());
    put_field(out, b" ", status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in response.headers().iter().filter(|(name, _)| **name != CONNECTION) {
        out.extend_from_slice(name.as_str().as_bytes());
        put_field(out, b": ", value.as_bytes());
    }
    if !response.headers().contains_key(CONTENT_LENGTH) {
        put_number(out, b"content-length: ", response.body().len() as u64);
    }
    put_field(out, b"date: ", date);
    if closes {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !is_head {
        out.extend_from_slice(response.body());
    }
}
