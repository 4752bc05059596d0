//! A request that the fast path takes, and the head that its upstream gets.
//!
//! Inside: which requests those are, out of a head that keeps every rule (`gate/head.rs`), and their rewriting, which is that of
//! `headers.rs` on bytes. Kept out: the verdict. What is not taken is no error: it goes to hyper, behind the gate.

use ipnet::IpNet;

use crate::host::Authority;
use crate::proxy::context::Client;
use crate::proxy::gate::field::{lines, trim};
use crate::proxy::gate::head::Framing;
use crate::proxy::headers::{self, is_forwarding, is_hop_by_hop};

use super::runs::{NAME_BYTES, Runs, Seen, lower};

/// A request of the fast path's subset: HTTP/1.1, a path, one Host, no upgrade, no expectation, no transfer coding, no trailers.
#[derive(Debug)]
pub(super) struct Request<'h> {
    head: &'h [u8],
    line: &'h [u8],
    kept: Runs,
    /// Host and port, which is none where it is the scheme's default.
    pub(super) authority: Authority,
    pub(super) method: &'h [u8],
    /// Bytes of the body.
    pub(super) body: u64,
    has_length: bool,
    /// The client wants the connection to end after the answer.
    pub(super) closes: bool,
    pub(super) accept: Seen<'h>,
    pub(super) accept_language: Seen<'h>,
    request_id: Seen<'h>,
    forwarded_for: Seen<'h>,
    has_forwarded_proto: bool,
    has_forwarded_host: bool,
}

/// What of the configuration decides which fields are passed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) client: &'a Client,
    pub(super) server_name: &'a str,
    pub(super) trusted_proxies: &'a [IpNet],
}

impl<'h> Request<'h> {
    /// Reads a head that keeps every rule; none where the fast path does not take it.
    pub(super) fn read(head: &'h [u8], framing: Framing, rules: Rules<'_>) -> Option<Self> {
        let line_end = memchr::memchr(b'\n', head)? + 1;
        let line = head.get(..line_end)?;
        let (method, rest) = line.split_at(memchr::memchr(b' ', line)?);
        let is_taken = rest.starts_with(b" /") && rest.ends_with(b" HTTP/1.1\r\n");
        if !is_taken || matches!(method, b"OPTIONS" | b"TRACE" | b"CONNECT") {
            return None;
        }
        let body = match framing {
            Framing::None => 0,
            Framing::Length(length) => length,
            Framing::Chunked => return None,
        };
        let is_trusted = rules.trusted_proxies.iter().any(|network| network.contains(&rules.client.peer));
        let fields = Fields::read(head, line_end, is_trusted, rules.server_name)?;
        // What is asked for in several lines is rare.
        if [fields.accept, fields.accept_language].contains(&Seen::Often) {
            return None;
        }
        let mut authority = Authority::parse(fields.host.once()?).ok()?;
        authority.port = authority.port.filter(|port| *port != rules.client.default_port());
        Some(Self {
            head,
            line,
            kept: fields.kept,
            authority,
            method,
            body,
            has_length: fields.has_length,
            closes: fields.closes,
            accept: fields.accept,
            accept_language: fields.accept_language,
            request_id: fields.request_id,
            forwarded_for: fields.forwarded_for,
            has_forwarded_proto: fields.has_forwarded_proto,
            has_forwarded_host: fields.has_forwarded_host,
        })
    }

    /// Whether its answer has no body (RFC 9110 section 9.3.2).
    pub(super) fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// Writes the head that the upstream gets, and returns where in it the request id stands.
    pub(super) fn put_head(&self, rules: Rules<'_>, out: &mut Vec<u8>) -> std::ops::Range<usize> {
        out.extend_from_slice(self.line);
        out.extend_from_slice(b"Host: ");
        self.put_host(out);
        out.extend_from_slice(b"\r\n");
        self.kept.put(self.head, out);
        if self.body == 0 && !self.has_length && matches!(self.method, b"POST" | b"PUT" | b"PATCH") {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        out.extend_from_slice(b"X-Forwarded-For: ");
        if let Some(chain) = self.forwarded_for.once() {
            out.extend_from_slice(chain);
            out.extend_from_slice(b", ");
        }
        headers::put_address(out, rules.client.peer);
        if !self.has_forwarded_proto {
            out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
            out.extend_from_slice(rules.client.scheme().as_bytes());
        }
        if !self.has_forwarded_host {
            out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
            self.put_host(out);
        }
        out.extend_from_slice(b"\r\nVia: 1.1 ");
        out.extend_from_slice(rules.server_name.as_bytes());
        out.extend_from_slice(b"\r\nX-Request-Id: ");
        let start = out.len();
        match self.request_id.once().filter(|id| headers::is_request_id(id)) {
            Some(id) => out.extend_from_slice(id),
            None => out.extend_from_slice(&headers::made_request_id(fastrand::u128(..))),
        }
        let end = out.len();
        out.extend_from_slice(b"\r\n\r\n");
        start..end
    }

    fn put_host(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.authority.host.as_bytes());
        if let Some(port) = self.authority.port {
            out.push(b':');
            headers::put_decimal(out, port.into());
        }
    }
}

/// What the field lines say.
#[derive(Debug, Default)]
struct Fields<'h> {
    kept: Runs,
    host: Seen<'h>,
    accept: Seen<'h>,
    accept_language: Seen<'h>,
    request_id: Seen<'h>,
    forwarded_for: Seen<'h>,
    has_cookie: bool,
    has_length: bool,
    closes: bool,
    has_forwarded_proto: bool,
    has_forwarded_host: bool,
}

impl<'h> Fields<'h> {
    fn read(head: &'h [u8], start: usize, is_trusted: bool, server_name: &str) -> Option<Self> {
        let mut fields = Self::default();
        for line in lines(head, start) {
            if fields.is_kept(line.field.name, line.field.value, is_trusted, server_name)? {
                fields.kept.add(line.range)?;
            }
        }
        Some(fields)
    }

    /// Whether a line is passed on as it is. None where the request is not for the fast path.
    fn is_kept(&mut self, name: &[u8], value: &'h [u8], is_trusted: bool, server_name: &str) -> Option<bool> {
        let mut room = [0; NAME_BYTES];
        let Some(lower) = lower(name, &mut room) else { return Some(!starts_forwarding(name) || is_trusted) };
        match lower {
            b"host" => self.host.add(value),
            b"upgrade" | b"expect" | b"te" | b"transfer-encoding" | b"trailer" | b"http2-settings" => return None,
            // The fields that it names would have to go.
            b"connection" => self.closes |= closes(value)?,
            // Lines of it are joined for the upstream (RFC 9113 section 8.2.3).
            b"cookie" if std::mem::replace(&mut self.has_cookie, true) => return None,
            b"via" if headers::names_server(value, server_name) => return None,
            b"x-request-id" => self.request_id.add(value),
            b"x-forwarded-for" if is_trusted => {
                // The chain of several lines is joined, which is rare.
                self.forwarded_for.add(value);
                (self.forwarded_for != Seen::Often).then_some(())?;
            }
            lower => return Some(self.is_kept_as_it_is(lower, value, is_trusted)),
        }
        Some(false)
    }

    fn is_kept_as_it_is(&mut self, lower: &[u8], value: &'h [u8], is_trusted: bool) -> bool {
        match lower {
            b"accept" => self.accept.add(value),
            b"accept-language" => self.accept_language.add(value),
            b"content-length" => self.has_length = true,
            b"x-forwarded-proto" if is_trusted => self.has_forwarded_proto = true,
            b"x-forwarded-host" if is_trusted => self.has_forwarded_host = true,
            _ => {
                // It is ASCII: the name is a token.
                let name = std::str::from_utf8(lower).unwrap_or_default();
                return !is_hop_by_hop(name) && (is_trusted || !is_forwarding(name));
            }
        }
        true
    }
}

fn starts_forwarding(name: &[u8]) -> bool {
    name.get(..b"x-forwarded-".len()).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
}

/// Whether a Connection field closes the connection. None where it names a field.
fn closes(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"keep-alive") {
        return Some(false);
    }
    let mut closes = false;
    for option in value.split(|byte| *byte == b',').map(trim).filter(|option| !option.is_empty()) {
        if option.eq_ignore_ascii_case(b"close") {
            closes = true;
        } else if !option.eq_ignore_ascii_case(b"keep-alive") {
            return None;
        }
    }
    Some(closes)
}
