//! The rules of a request's head (RFC 9112 sections 2 to 6), applied as its bytes come in.
//!
//! Inside: a parser that judges line by line and gives the same verdict however the bytes are cut up. Kept out: single
//! fields (`field.rs`), reading (`stream.rs`), and the syntax of the host (`target.rs`). It is stricter than the RFC where
//! the RFC lets a recipient be lenient: nothing that is in doubt is let through.

use std::ops::Range;

use crate::telemetry::outcome::Rejection;

use super::field::{self, Coding, Field};

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes in all.
    pub bytes: usize,
    /// Field lines.
    pub fields: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
}

/// The longest target that `http::Uri` holds.
const URI_BYTES: usize = 65_534;

/// Empty lines that may come before a request line (RFC 9112 section 2.2 asks for one at least).
const EMPTY_LINES: u8 = 4;

/// An Accept field that is longer is not kept for the answer to a refused request.
const ACCEPT_BYTES: usize = 512;

/// How the body of a request is framed (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks and a trailer section.
    Chunked,
}

/// A head that keeps every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where it stands in the bytes: after the empty lines before it.
    pub range: Range<usize>,
    /// What follows it.
    pub framing: Framing,
}

/// How far a head has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Incomplete,
    /// It is there, and keeps every rule.
    Complete(Head),
    /// It breaks one.
    Refused(Rejection),
}

/// Reads one head.
#[derive(Debug, Clone, Default)]
pub struct HeadParser {
    /// Where the head begins.
    start: usize,
    /// Where the line begins that has no end yet.
    line: usize,
    /// Up to where its end was looked for.
    searched: usize,
    empty_lines: u8,
    request: Option<RequestLine>,
    fields: Fields,
}

#[derive(Debug, Clone, Copy)]
struct RequestLine {
    is_head: bool,
    is_http_10: bool,
}

#[derive(Debug, Clone, Default)]
struct Fields {
    count: usize,
    hosts: usize,
    content_length: Option<u64>,
    coding: Option<Coding>,
    bad_expectation: bool,
    accept: Range<usize>,
}

impl HeadParser {
    /// Judges the bytes of a head from its first one, of which more may have come since the last call.
    pub fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Progress {
        loop {
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            let step = match memchr::memchr(b'\n', unsearched) {
                None => {
                    self.searched = bytes.len();
                    self.take_part(bytes, limits).map(|()| Some(Progress::Incomplete))
                }
                Some(offset) => {
                    let end = self.searched + offset + 1;
                    self.searched = end;
                    self.take_line(bytes, end, limits)
                }
            };
            match step {
                Ok(None) => {}
                Ok(Some(progress)) => return progress,
                Err(rejection) => return Progress::Refused(rejection),
            }
        }
    }

    /// Whether a byte of the head is among `length` bytes: empty lines before it are none.
    pub fn has_begun(&self, length: usize) -> bool {
        length > self.start
    }

    /// Whether the request line was read and its method is HEAD, whose answer has no body.
    pub fn is_head(&self) -> bool {
        self.request.is_some_and(|request| request.is_head)
    }

    /// Where the value of an Accept field is, if one was read.
    pub fn accept(&self) -> Range<usize> {
        self.fields.accept.clone()
    }

    /// A line whose end is not there yet: it may already be too long, and a request line already wrong.
    fn take_part(&self, bytes: &[u8], limits: &HeadLimits) -> Result<(), Rejection> {
        let end = bytes.len().min(self.start + limits.bytes);
        let part = bytes.get(self.line..end).unwrap_or_default();
        // A lone CR may be the beginning of an empty line.
        if self.request.is_none() && part != b"\r" {
            request_line(part, limits)?;
        }
        if bytes.len() > end { Err(Rejection::HeadTooLarge) } else { Ok(()) }
    }

    fn take_line(&mut self, bytes: &[u8], end: usize, limits: &HeadLimits) -> Result<Option<Progress>, Rejection> {
        if end > self.start + limits.bytes {
            return self.take_part(bytes, limits).and(Err(Rejection::HeadTooLarge));
        }
        let begin = std::mem::replace(&mut self.line, end);
        let whole = bytes.get(begin..end).unwrap_or_default();
        // A line ends with CRLF; a bare LF is no line end here (RFC 9112 section 2.2).
        let line = whole.strip_suffix(b"\r\n");
        let Some(request) = self.request else {
            if line == Some(b"") {
                return self.take_empty_line(end);
            }
            self.request = request_line(whole, limits)?;
            return self.request.map(|_| None).ok_or(Rejection::MalformedHead);
        };
        let line = line.ok_or(Rejection::MalformedHead)?;
        if line.is_empty() {
            let framing = self.fields.conclude(request)?;
            return Ok(Some(Progress::Complete(Head { range: self.start..end, framing })));
        }
        self.fields.take(line, begin, limits).map(|()| None)
    }

    fn take_empty_line(&mut self, end: usize) -> Result<Option<Progress>, Rejection> {
        self.start = end;
        self.empty_lines += 1;
        if self.empty_lines > EMPTY_LINES { Err(Rejection::MalformedHead) } else { Ok(None) }
    }
}

impl Fields {
    /// Judges one field line, which begins at `begin`.
    fn take(&mut self, line: &[u8], begin: usize, limits: &HeadLimits) -> Result<(), Rejection> {
        self.count += 1;
        if self.count > limits.fields {
            return Err(Rejection::HeadTooLarge);
        }
        let Field { name, value } = field::parse(line)?;
        if field::is_disguised(name) {
            return Err(Rejection::MalformedHead);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if !value.is_ascii() {
                    return Err(Rejection::HostInvalid);
                }
            }
            6 if name.eq_ignore_ascii_case(b"accept") => self.note_accept(line, value, begin),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.bad_expectation |= !value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") && !field::is_connection_safe(value) => {
                return Err(Rejection::MalformedHead);
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = field::content_length(value).ok_or(Rejection::MalformedFraming)?;
                // Equal ones too: a recipient may refuse them (RFC 9110 section 8.6).
                if self.content_length.replace(length).is_some() {
                    return Err(Rejection::MalformedFraming);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let coding = field::transfer_encoding(value);
                if self.coding.replace(coding).is_some() {
                    return Err(Rejection::MalformedFraming);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_accept(&mut self, line: &[u8], value: &[u8], begin: usize) {
        if self.accept.is_empty() && value.len() <= ACCEPT_BYTES {
            let name = b"accept:".len();
            let after_colon = line.get(name..).unwrap_or_default();
            let blank = after_colon.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let start = begin + name + blank;
            self.accept = start..start + value.len();
        }
    }

    /// The rules over all fields, when the last one was read.
    fn conclude(&self, request: RequestLine) -> Result<Framing, Rejection> {
        let framing = match (self.coding, self.content_length) {
            // Both, or a coding in HTTP/1.0: an attempt at smuggling as likely as not (RFC 9112 section 6.1).
            (Some(_), Some(_)) => return Err(Rejection::MalformedFraming),
            (Some(_), None) if request.is_http_10 => return Err(Rejection::MalformedFraming),
            (Some(Coding::Malformed), None) => return Err(Rejection::MalformedFraming),
            (Some(Coding::Unknown), None) => return Err(Rejection::CodingNotImplemented),
            (Some(Coding::Chunked), None) => Framing::Chunked,
            (None, Some(0) | None) => Framing::None,
            (None, Some(length)) => Framing::Length(length),
        };
        if self.hosts != 1 {
            return Err(Rejection::HostMissing);
        }
        if self.bad_expectation {
            return Err(Rejection::ExpectationFailed);
        }
        Ok(framing)
    }
}

/// Judges a request line (RFC 9112 section 3) from its first byte, as far as it is there: with its CRLF it is whole.
/// None where more must come. The earliest wrong byte decides, so that it does not matter how the bytes came.
fn request_line(line: &[u8], limits: &HeadLimits) -> Result<Option<RequestLine>, Rejection> {
    let Some((method, rest)) = word(line, field::is_token_byte) else { return Ok(None) };
    let rest = after_space(method, rest)?;
    if method == b"CONNECT" {
        return Err(Rejection::MethodNotAllowed);
    }
    let limit = limits.target_bytes.min(URI_BYTES);
    let allowed = rest.get(..limit + 1).unwrap_or(rest);
    let (target, rest) = match word(allowed, is_target_byte) {
        None if rest.len() > limit => return Err(Rejection::TargetTooLong),
        None => return Ok(None),
        Some((target, _)) => rest.split_at(target.len()),
    };
    let Some(is_http_10) = version(after_space(target, rest)?)? else { return Ok(None) };
    if !is_target(method, target) {
        return Err(Rejection::MalformedHead);
    }
    Ok(Some(RequestLine { is_head: method == b"HEAD", is_http_10 }))
}

/// The bytes before the first one that does not belong, and the rest with it; none where all belong.
fn word(bytes: &[u8], belongs: fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| !belongs(*byte))?;
    Some(bytes.split_at(end))
}

/// What comes after a word that is not empty and exactly one space.
fn after_space<'a>(word: &[u8], rest: &'a [u8]) -> Result<&'a [u8], Rejection> {
    match rest.split_first() {
        Some((b' ', rest)) if !word.is_empty() => Ok(rest),
        _ => Err(Rejection::MalformedHead),
    }
}

/// Judges the version and the end of the line: whether it is HTTP/1.0; none where more must come.
fn version(bytes: &[u8]) -> Result<Option<bool>, Rejection> {
    const PATTERN: &[u8] = b"HTTP/0.0\r\n";
    let fits = |(byte, pattern): (&u8, &u8)| byte == pattern || (*pattern == b'0' && byte.is_ascii_digit());
    let starts_well = bytes.iter().zip(PATTERN).take(8).all(fits);
    if !starts_well {
        return Err(Rejection::MalformedHead);
    }
    let is_http_10 = match bytes.get(5..8) {
        None => return Ok(None),
        Some(b"1.1") => false,
        Some(b"1.0") => true,
        Some(b"0.9") => return Err(Rejection::MalformedHead),
        Some(_) => return Err(Rejection::VersionNotSupported),
    };
    match bytes.get(8..).unwrap_or_default() {
        b"\r\n" => Ok(Some(is_http_10)),
        b"" | b"\r" => Ok(None),
        _ => Err(Rejection::MalformedHead),
    }
}

/// Whether a byte may stand in a request target: visible ASCII, no fragment, and none of the brackets that
/// `http::Uri` does not take.
const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'<' | b'>')
}

/// Whether a target of HTTP/2 is one that could be sent on by HTTP/1.1: a path, or `*`, whose method is looked at later.
pub fn is_path_or_asterisk(target: &[u8]) -> bool {
    match target {
        [b'/', ..] => target.iter().all(|byte| is_target_byte(*byte)) && is_path_and_query(target),
        _ => target == b"*",
    }
}

/// Whether the path and the query have no byte that `http::Uri` takes in the other one alone.
fn is_path_and_query(target: &[u8]) -> bool {
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    !path.contains(&b'`') && !query.contains(&b'"')
}

/// Whether a target has a form that its method allows (RFC 9112 section 3.2); authority-form is CONNECT's alone.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    match target {
        [b'/', ..] => is_path_and_query(target),
        b"*" => method == b"OPTIONS",
        // Absolute-form is rare with us, so that parsing it twice costs nothing.
        _ => http::Uri::try_from(target).is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1_024, fields: 10, target_bytes: 64 };

    fn judge(bytes: &[u8]) -> Progress {
        HeadParser::default().advance(bytes, &LIMITS)
    }

    /// The verdict when the bytes come in pieces of `cut`, until it is not [`Progress::Incomplete`].
    fn judge_in_pieces(bytes: &[u8], cut: usize) -> Progress {
        let mut parser = HeadParser::default();
        let ends = (0..bytes.len()).step_by(cut).map(|at| (at + cut).min(bytes.len()));
        let mut verdicts = ends.map(|end| parser.advance(&bytes[..end], &LIMITS));
        verdicts.find(|verdict| *verdict != Progress::Incomplete).unwrap_or(Progress::Incomplete)
    }

    fn complete(range: Range<usize>, framing: Framing) -> Progress {
        Progress::Complete(Head { range, framing })
    }

    #[test]
    fn heads_that_keep_every_rule_are_let_through_with_their_framing() {
        let table: [(&str, Framing); 22] = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            // RFC 9112 section 2.3: 1.0 with a Host.
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", Framing::None),
            // RFC 9110 section 9.1: any token is a method.
            ("X-Y!z / HTTP/1.1\r\nhost:a\r\n\r\n", Framing::None),
            // RFC 9112 section 3.2.1 to 3.2.4.
            ("GET /a\"/b?c=d&e=%20|{}^\\ HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("GET /?a`b HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("GET //a/../b HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            // RFC 9112 section 6.2.
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", Framing::Length(5)),
            ("POST / HTTP/1.0\r\nHost: a\r\nCONTENT-LENGTH:\t5 \r\n\r\n", Framing::Length(5)),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Framing::None),
            // RFC 9112 section 6.1.
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked),
            ("GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n", Framing::Chunked),
            // RFC 9110 section 10.1.1.
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", Framing::Length(1)),
            // RFC 9110 section 5.5: opaque bytes in values, and 7.6.1.
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n", Framing::None),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: x\r\n\r\n", Framing::None),
            ("GET / HTTP/1.1\r\nHost: a\r\nX_y: 1\r\nEmpty:\r\n\r\n", Framing::None),
            // The host's own syntax is judged elsewhere.
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Framing::None),
            ("GET / HTTP/1.1\r\nHost: user@a b\r\n\r\n", Framing::None),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None),
        ];
        for (head, framing) in table {
            assert_eq!(judge(head.as_bytes()), complete(0..head.len(), framing), "{head:?}");
        }
    }

    #[test]
    fn a_request_line_that_breaks_a_rule_is_refused() {
        use Rejection::*;
        let table: [(&[u8], Rejection); 39] = [
            // RFC 9112 section 3: exactly one space, nothing else.
            (b"GET  / HTTP/1.1\r\n", MalformedHead),
            (b"GET /  HTTP/1.1\r\n", MalformedHead),
            (b"GET\t/ HTTP/1.1\r\n", MalformedHead),
            (b"GET / HTTP/1.1 \r\n", MalformedHead),
            (b" GET / HTTP/1.1\r\n", MalformedHead),
            (b"GET /a b HTTP/1.1\r\n", MalformedHead),
            (b"/ HTTP/1.1\r\n", MalformedHead),
            // Section 3.1: the method is a token.
            (b"G@T / HTTP/1.1\r\n", MalformedHead),
            (b"G\xc3\x89T / HTTP/1.1\r\n", MalformedHead),
            (b"\x16\x03\x01\x02\x00\x01", MalformedHead),
            // Section 2.2: line ends.
            (b"GET / HTTP/1.1\nHost: a\n\n", MalformedHead),
            (b"GET / HTTP/1.1\rHost: a\r\r", MalformedHead),
            (b"GET / HTTP/1.1\r\r\n", MalformedHead),
            (b"\nGET / HTTP/1.1\r\n", MalformedHead),
            (b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", MalformedHead),
            // Section 2.3: versions.
            (b"GET /\r\n", MalformedHead),
            (b"GET / HTTP/0.9\r\n", MalformedHead),
            (b"GET / http/1.1\r\n", MalformedHead),
            (b"GET / HTTP/11\r\n", MalformedHead),
            (b"GET / HTTP/1.11\r\n", MalformedHead),
            (b"GET / HTTP/1,1\r\n", MalformedHead),
            (b"GET / XTTP/1.1\r\n", MalformedHead),
            (b"GET / HTTP/1.2\r\n", VersionNotSupported),
            (b"GET / HTTP/2.0\r\n", VersionNotSupported),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionNotSupported),
            // Section 3.2: forms, and characters of RFC 3986.
            (b"GET admin HTTP/1.1\r\n", MalformedHead),
            (b"GET a:80 HTTP/1.1\r\n", MalformedHead),
            (b"GET * HTTP/1.1\r\n", MalformedHead),
            (b"OPTIONS *a HTTP/1.1\r\n", MalformedHead),
            (b"GET ?a HTTP/1.1\r\n", MalformedHead),
            (b"GET http:///a HTTP/1.1\r\n", MalformedHead),
            (b"GET http://a/#f HTTP/1.1\r\n", MalformedHead),
            (b"GET /a`b HTTP/1.1\r\n", MalformedHead),
            (b"GET /a?b\"c HTTP/1.1\r\n", MalformedHead),
            (b"GET /<a> HTTP/1.1\r\n", MalformedHead),
            (b"GET /\xc3\xa9 HTTP/1.1\r\n", MalformedHead),
            (b"GET /\0 HTTP/1.1\r\n", MalformedHead),
            // RFC 9110 section 9.3.6, whatever the target.
            (b"CONNECT a:443 HTTP/1.1\r\n", MethodNotAllowed),
            (b"CONNECT / HTTP/1.1\r\n", MethodNotAllowed),
        ];
        for (line, rejection) in table {
            let bytes = [line, b"Host: a\r\n\r\n"].concat();
            assert_eq!(judge(&bytes), Progress::Refused(rejection), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn fields_that_break_a_rule_are_refused() {
        use Rejection::*;
        let table: [(&[u8], Rejection); 42] = [
            // RFC 9112 section 5.1, 5.2, 2.2, and RFC 9110 section 5.5.
            (b"Host: a\r\n folded\r\n", MalformedHead),
            (b"Host: a\r\n\tfolded: b\r\n", MalformedHead),
            (b" Host: a\r\n", MalformedHead),
            (b"Host : a\r\n", MalformedHead),
            (b"Host: a\nX: b\r\n", MalformedHead),
            (b"Host: a\rX: b\r\n", MalformedHead),
            (b"Host: a\0\r\n", MalformedHead),
            (b"Host: a\r\nX\r\n", MalformedHead),
            (b"Host: a\r\n: b\r\n", MalformedHead),
            (b"Host: a\r\nX: \x01\r\n", MalformedHead),
            // RFC 9112 section 3.2: one Host.
            (b"X: a\r\n", HostMissing),
            (b"", HostMissing),
            (b"Host: a\r\nHost: a\r\n", HostMissing),
            (b"Host: a\r\nhost: b\r\n", HostMissing),
            (b"Host: \xc3\xa9\r\n", HostInvalid),
            // RFC 9110 section 8.6.
            (b"Host: a\r\nContent-Length: \r\n", MalformedFraming),
            (b"Host: a\r\nContent-Length: +1\r\n", MalformedFraming),
            (b"Host: a\r\nContent-Length: 1, 1\r\n", MalformedFraming),
            (b"Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n", MalformedFraming),
            (b"Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", MalformedFraming),
            (b"Host: a\r\nContent-Length: 18446744073709551616\r\n", MalformedFraming),
            (b"Host: a\r\nContent-Length: 0x1\r\n", MalformedFraming),
            // RFC 9112 section 6.1 and 6.3.
            (b"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: chunked, chunked\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: ,chunked\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: chunked;x=1\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", MalformedFraming),
            (b"Host: a\r\nTransfer-Encoding: \x0bchunked\r\n", MalformedHead),
            (b"Host: a\r\nTransfer-Encoding: gzip\r\n", CodingNotImplemented),
            (b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", CodingNotImplemented),
            (b"Host: a\r\nTransfer-Encoding : chunked\r\n", MalformedHead),
            // Names in disguise.
            (b"Host: a\r\nContent_Length: 1\r\n", MalformedHead),
            (b"Host: a\r\nTRANSFER_ENCODING: chunked\r\n", MalformedHead),
            (b"Host: a\r\nX_Forwarded_For: 192.0.2.1\r\n", MalformedHead),
            // RFC 9110 section 7.6.1.
            (b"Host: a\r\nConnection: host\r\n", MalformedHead),
            (b"Host: a\r\nConnection: close, X-Forwarded-For\r\n", MalformedHead),
            // RFC 9110 section 10.1.1.
            (b"Host: a\r\nExpect: 200-ok\r\n", ExpectationFailed),
            (b"Host: a\r\nExpect: 100-continue, x\r\n", ExpectationFailed),
            (b"Host: a\r\nExpect:\r\n", ExpectationFailed),
        ];
        for (fields, rejection) in table {
            let bytes = [b"GET / HTTP/1.1\r\n", fields, b"\r\n"].concat();
            assert_eq!(judge(&bytes), Progress::Refused(rejection), "{}", fields.escape_ascii());
        }
        let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(judge(old), Progress::Refused(MalformedFraming), "RFC 9112 section 6.1");
    }

    #[test]
    fn a_head_may_be_as_large_as_its_limits_and_no_larger() {
        let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1));
        assert!(matches!(judge(target(64).as_bytes()), Progress::Complete(_)));
        assert_eq!(judge(target(65).as_bytes()), Progress::Refused(Rejection::TargetTooLong));
        let unfinished = format!("GET /{}", "a".repeat(64));
        assert_eq!(judge(unfinished.as_bytes()), Progress::Refused(Rejection::TargetTooLong));

        let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count - 1));
        assert!(matches!(judge(fields(10).as_bytes()), Progress::Complete(_)));
        assert_eq!(judge(fields(11).as_bytes()), Progress::Refused(Rejection::HeadTooLarge));

        let around = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let bytes = |total: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(total - around));
        assert!(matches!(judge(bytes(1_024).as_bytes()), Progress::Complete(_)));
        assert_eq!(judge(bytes(1_025).as_bytes()), Progress::Refused(Rejection::HeadTooLarge));
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1_024));
        assert_eq!(judge(endless.as_bytes()), Progress::Refused(Rejection::HeadTooLarge));
    }

    #[test]
    fn a_few_empty_lines_before_a_head_are_no_part_of_it() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bytes = format!("\r\n\r\n{head}GET /next");
        let mut parser = HeadParser::default();
        assert_eq!(parser.advance(b"\r", &LIMITS), Progress::Incomplete);
        assert_eq!(parser.advance(b"\r\n", &LIMITS), Progress::Incomplete);
        assert!(!parser.has_begun(2));
        assert_eq!(parser.advance(bytes.as_bytes(), &LIMITS), complete(4..4 + head.len(), Framing::None));
        assert!(parser.has_begun(5));
    }

    #[test]
    fn what_the_answer_to_a_refusal_needs_is_known_as_far_as_it_was_read() {
        let bytes = b"HEAD / HTTP/1.1\r\nAccept: \t text/plain \r\nAccept: b\r\nbad line\r\n";
        let mut parser = HeadParser::default();
        assert_eq!(parser.advance(bytes, &LIMITS), Progress::Refused(Rejection::MalformedHead));
        assert!(parser.is_head());
        assert_eq!(&bytes[parser.accept()], b"text/plain");
    }

    /// Pieces of which heads are made, right and wrong ones.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => Just("GET / HTTP/1.1\r\n".to_owned()),
            1 => Just("POST http://a/b?c HTTP/1.0\r\n".to_owned()),
            4 => Just("Host: a\r\n".to_owned()),
            4 => Just("\r\n".to_owned()),
            2 => Just("Content-Length: 5\r\n".to_owned()),
            2 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
            1 => Just("Connection: close\r\n".to_owned()),
            2 => "[!-~]{1,12}: [ -~\t]{0,12}\r\n",
            2 => "GET /[!-~]{0,80} HTTP/1.1\r\n",
            1 => "[ -~\r\n\t\u{0}\u{7f}\u{e9}]{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn a_head_is_judged_the_same_however_it_is_cut_up(
            pieces in prop::collection::vec(piece(), 0..8),
            cut in 1_usize..40,
        ) {
            let bytes = pieces.concat().into_bytes();
            prop_assert_eq!(judge(&bytes), judge_in_pieces(&bytes, cut));
        }

        #[test]
        fn what_is_let_through_the_http_stack_takes_with_the_same_length(
            pieces in prop::collection::vec(piece(), 0..8),
        ) {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", pieces.concat()).into_bytes();
            let other = format!("{}Host: a\r\n\r\n", pieces.concat()).into_bytes();
            for bytes in [bytes, other] {
                let Progress::Complete(head) = judge(&bytes) else { continue };
                let mut fields = [httparse::EMPTY_HEADER; 100];
                let mut request = httparse::Request::new(&mut fields);
                let parsed = request.parse(&bytes[head.range.start..]);
                prop_assert_eq!(parsed, Ok(httparse::Status::Complete(head.range.len())));
                prop_assert!(http::Method::from_bytes(request.method.unwrap_or_default().as_bytes()).is_ok());
                prop_assert!(http::Uri::try_from(request.path.unwrap_or_default()).is_ok());
                for field in request.headers.iter() {
                    prop_assert!(http::HeaderName::from_bytes(field.name.as_bytes()).is_ok());
                    prop_assert!(http::HeaderValue::from_bytes(field.value).is_ok());
                }
            }
        }
    }
}
