//! The rules of a response's head (RFC 9112 sections 2 to 6), applied as its bytes come in.
//!
//! Inside: a parser that judges line by line, allocates nothing, and gives the same verdict however the bytes are cut up; and
//! the fields of a head that it has found whole. Kept out: single fields (`gate/field.rs`), reading (`received.rs`), and what
//! of a head is passed on (`upstream_head.rs`). What is in doubt is malformed: between a server and its next answer stands
//! nothing but this.

use http::StatusCode;

use crate::proxy::gate::field::{self, Field};

/// Bytes of a head, over which it is malformed: as with requests, an endless head would fill memory.
pub const HEAD_BYTES: usize = 64 * 1_024;

/// Fields of a head.
const FIELDS: usize = 100;

/// How the body of a response is framed (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks and a trailer section.
    Chunked,
    /// Whatever comes until the connection ends.
    UntilClose,
}

/// A head that keeps every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// Whether it came in HTTP/1.0.
    pub is_http_10: bool,
    /// Bytes of the head, its empty line with them.
    pub length: usize,
    /// What follows it.
    pub framing: Framing,
    /// Whether the server takes another request on the connection when the body has ended (RFC 9112 section 9.3). What
    /// speaks HTTP/1.0 may close whenever it likes.
    pub keeps_alive: bool,
    /// What Content-Length says, where there is one; also where there is no body, as in the answer to HEAD. Several that are
    /// the same are one.
    pub content_length: Option<u64>,
    /// How many field lines there are.
    pub fields: usize,
}

/// How far a head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Incomplete,
    /// It is there, and keeps every rule.
    Complete(ResponseHead),
    /// It breaks one.
    Malformed,
}

/// Reads one head.
#[derive(Debug, Clone)]
pub struct ResponseParser {
    /// Whether the request was HEAD, whose answer has no body.
    is_head: bool,
    /// Where the line begins that has no end yet.
    line: usize,
    /// Up to where its end was looked for.
    searched: usize,
    status: Option<StatusLine>,
    fields: Fields,
}

#[derive(Debug, Clone, Copy)]
struct StatusLine {
    status: StatusCode,
    is_http_10: bool,
}

#[derive(Debug, Clone, Default)]
struct Fields {
    count: usize,
    content_length: Option<u64>,
    is_chunked: bool,
    says_close: bool,
}

/// A rule is broken.
struct Malformed;

impl ResponseParser {
    /// A parser of the answer to a request, which was HEAD or not.
    pub fn new(is_head: bool) -> Self {
        Self { is_head, line: 0, searched: 0, status: None, fields: Fields::default() }
    }

    /// Judges the bytes of a head from its first one, of which more may have come since the last call.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        loop {
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            let step = match memchr::memchr(b'\n', unsearched) {
                None => {
                    self.searched = bytes.len();
                    self.take_part(bytes).map(|()| Some(Progress::Incomplete))
                }
                Some(offset) => {
                    let end = self.searched + offset + 1;
                    self.searched = end;
                    self.take_line(bytes, end)
                }
            };
            match step {
                Ok(None) => {}
                Ok(Some(progress)) => return progress,
                Err(Malformed) => return Progress::Malformed,
            }
        }
    }

    /// A line whose end is not there yet: it may already be too long, and a status line already wrong.
    fn take_part(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let part = bytes.get(self.line..).unwrap_or_default();
        if bytes.len() > HEAD_BYTES {
            return Err(Malformed);
        }
        if self.status.is_none() { status_line(part).map(|_| ()) } else { Ok(()) }
    }

    fn take_line(&mut self, bytes: &[u8], end: usize) -> Result<Option<Progress>, Malformed> {
        if end > HEAD_BYTES {
            return Err(Malformed);
        }
        let whole = bytes.get(self.line..end).unwrap_or_default();
        self.line = end;
        let Some(status) = self.status else {
            self.status = status_line(whole)?;
            return self.status.map(|_| None).ok_or(Malformed);
        };
        // A line ends with CRLF; a bare LF is no line end here (RFC 9112 section 2.2).
        let line = whole.strip_suffix(b"\r\n").ok_or(Malformed)?;
        if line.is_empty() {
            return self.conclude(status, end).map(|head| Some(Progress::Complete(head)));
        }
        self.fields.take(line).map(|()| None)
    }

    /// The rules over all fields, when the last one was read.
    fn conclude(&self, line: StatusLine, length: usize) -> Result<ResponseHead, Malformed> {
        let StatusLine { status, is_http_10 } = line;
        let Fields { count, content_length, is_chunked, says_close } = self.fields;
        // Both, or a coding in HTTP/1.0: whoever reads it otherwise finds another end (RFC 9112 sections 6.1 and 6.3).
        if is_chunked && (content_length.is_some() || is_http_10) {
            return Err(Malformed);
        }
        let has_none = self.is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match content_length {
            _ if has_none => Framing::None,
            _ if is_chunked => Framing::Chunked,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        };
        let keeps_alive = !is_http_10 && !says_close && framing != Framing::UntilClose;
        Ok(ResponseHead { status, is_http_10, length, framing, keeps_alive, content_length, fields: count })
    }
}

impl Fields {
    /// Judges one field line.
    fn take(&mut self, line: &[u8]) -> Result<(), Malformed> {
        self.count += 1;
        let Field { name, value } = field::parse(line).map_err(|_| Malformed)?;
        if self.count > FIELDS {
            return Err(Malformed);
        }
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',').map(field::trim);
                self.says_close |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.take_lengths(value)?,
            // One field, one word: whatever else it is, the end of the body cannot be told.
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed);
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Several lengths that are the same, listed or in lines of their own, are one; every other case of doubt is malformed
    /// (RFC 9110 section 8.6).
    fn take_lengths(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for text in value.split(|byte| *byte == b',').map(field::trim) {
            let length = length(text).ok_or(Malformed)?;
            if self.content_length.replace(length).is_some_and(|before| before != length) {
                return Err(Malformed);
            }
        }
        Ok(())
    }
}

/// Digits alone that fit 64 bits.
fn length(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// Judges a status line (RFC 9112 section 4) from its first byte, as far as it is there: with its CRLF it is whole. None where
/// more must come. The earliest wrong byte decides, so that it does not matter how the bytes came.
fn status_line(line: &[u8]) -> Result<Option<StatusLine>, Malformed> {
    const PATTERN: &[u8] = b"HTTP/1.0 000";
    // Only the last digit of the version differs, and the code's first digit is not 0.
    let fits = |(at, (byte, pattern)): (usize, (&u8, &u8))| match at {
        7 => matches!(byte, b'0' | b'1'),
        9 => matches!(byte, b'1'..=b'9'),
        10 | 11 => byte.is_ascii_digit(),
        _ => byte == pattern,
    };
    if !line.iter().zip(PATTERN).enumerate().all(fits) {
        return Err(Malformed);
    }
    let Some((start, rest)) = line.split_at_checked(PATTERN.len()) else { return Ok(None) };
    // Some servers leave out the reason, and the space before it with it.
    let reason = match rest.split_first() {
        None => return Ok(None),
        Some((b' ', reason)) => reason,
        Some((b'\r', _)) => rest,
        Some(_) => return Err(Malformed),
    };
    let end = reason.iter().position(|byte| !field::is_value_byte(*byte));
    match end.and_then(|end| reason.get(end..)) {
        None | Some(b"\r") => return Ok(None),
        Some(b"\r\n") => {}
        Some(_) => return Err(Malformed),
    }
    let status = start.get(9..).and_then(|code| StatusCode::from_bytes(code).ok()).ok_or(Malformed)?;
    Ok(Some(StatusLine { status, is_http_10: start.get(7) == Some(&b'0') }))
}

/// Names and values of the field lines of a head that was found whole.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let status_line = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    names_and_values(head, status_line)
}

/// Names and values of the field lines of a trailer section that was found whole.
pub fn trailer_fields(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    names_and_values(section, 0)
}

fn names_and_values(section: &[u8], start: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
    field::lines(section, start).map(|line| (line.field.name, line.field.value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(bytes: &[u8]) -> Progress {
        ResponseParser::new(false).advance(bytes)
    }

    fn judge_in_pieces(bytes: &[u8], cut: usize, is_head: bool) -> Progress {
        let mut parser = ResponseParser::new(is_head);
        let ends = (0..bytes.len()).step_by(cut).map(|at| (at + cut).min(bytes.len()));
        let mut verdicts = ends.map(|end| parser.advance(&bytes[..end]));
        verdicts.find(|verdict| *verdict != Progress::Incomplete).unwrap_or(Progress::Incomplete)
    }

    fn found(bytes: &[u8]) -> ResponseHead {
        let Progress::Complete(head) = judge(bytes) else { panic!("not a head: {}", bytes.escape_ascii()) };
        head
    }

    #[test]
    fn heads_that_keep_every_rule_are_found_with_their_framing() {
        // RFC 9112 section 6.3 for each framing, section 9.3 for what may follow.
        let table: [(&[u8], u16, Framing, bool); 27] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: \t5 \r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Framing::None, true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 005\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", 200, Framing::Length(u64::MAX), true),
            // RFC 9110 section 8.6: the same length more than once.
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 05\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, Framing::Chunked, true),
            (b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked \r\n\r\n", 200, Framing::Chunked, true),
            (b"HTTP/1.1 200 OK\r\n\r\n", 200, Framing::UntilClose, false),
            (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, Framing::UntilClose, false),
            // Without a body, whatever the fields say.
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, Framing::None, true),
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, Framing::None, true),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, Framing::None, true),
            (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, Framing::None, true),
            (b"HTTP/1.1 100 Continue\r\n\r\n", 100, Framing::None, true),
            (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 101, Framing::None, true),
            // RFC 9112 section 4: the reason is of no use, and some leave it out, with its space too.
            (b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), true),
            (b"HTTP/1.1 404 Nicht da\t\xe4\r\nContent-Length: 5\r\n\r\n", 404, Framing::Length(5), true),
            (b"HTTP/1.1 999 X\r\nContent-Length: 5\r\n\r\n", 999, Framing::Length(5), true),
            // RFC 9112 section 9.3.
            (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), false),
            (b"HTTP/1.1 200 OK\r\nConnection: x,\tCLOSE\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), false),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), false),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), false),
            // RFC 9110 section 5.5: opaque bytes in values.
            (b"HTTP/1.1 200 OK\r\nX: \xe9\tb\r\nEmpty:\r\nContent-Length: 5\r\n\r\n", 200, Framing::Length(5), true),
        ];
        for (bytes, status, framing, keeps_alive) in table {
            let head = found(&[bytes, b"HTTP/1.1 200 OK\r\n\r\n"].concat());
            let shown = bytes.escape_ascii();
            assert_eq!(
                (head.status.as_u16(), head.framing, head.keeps_alive),
                (status, framing, keeps_alive),
                "{shown}"
            );
            assert_eq!(head.length, bytes.len(), "{shown}");
            assert_eq!(judge_in_pieces(bytes, 1, false), Progress::Complete(head), "{shown}");
        }
    }

    #[test]
    fn the_answer_to_head_has_no_body_and_keeps_its_length() {
        for (fields, length) in
            [("", None), ("Content-Length: 5\r\n", Some(5)), ("Transfer-Encoding: chunked\r\n", None)]
        {
            let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let Progress::Complete(head) = ResponseParser::new(true).advance(bytes.as_bytes()) else {
                panic!("not a head: {bytes}");
            };
            assert_eq!((head.framing, head.content_length, head.keeps_alive), (Framing::None, length, true), "{bytes}");
        }
    }

    #[rustfmt::skip]
    const MALFORMED: [&[u8]; 68] = [
        // RFC 9112 section 4.
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1\t200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 200\tOK\r\n",
        b"HTTP/1.1 099 X\r\n",
        b"HTTP/1.1 000 X\r\n",
        b"HTTP/1.1 20x OK\r\n",
        b"HTTP/1.1 -20 OK\r\n",
        b"HTTP/1.1 +20 OK\r\n",
        b"HTTP/1.1 200 O\0K\r\n",
        b"HTTP/1.1 200 O\rK\r\n",
        b"HTTP/1.1 200 O\x7fK\r\n",
        b"HTTP/1.1 200 OK\n",
        b"HTTP/1.1 200\n",
        b"HTTP/1.1 200 OK\r\r\n",
        b" HTTP/1.1 200 OK\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n",
        b"\nHTTP/1.1 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"HTTP/1.2 200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/0.9 200 OK\r\n",
        b"HTTP/1.10 200 OK\r\n",
        b"ICY 200 OK\r\n",
        b"220 mail.example ESMTP\r\n",
        b"<html>",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"GET / HTTP/1.1\r\n",
        // RFC 9112 sections 2.2 and 5, RFC 9110 section 5.5.
        b"HTTP/1.1 200 OK\r\nX: a\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n\n",
        b"HTTP/1.1 200 OK\r\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x0bb\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x7fb\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n",
        b"HTTP/1.1 200 OK\r\nX Y: a\r\n",
        b"HTTP/1.1 200 OK\r\nX\xe9: a\r\n",
        b"HTTP/1.1 200 OK\r\n: a\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n",
        b"HTTP/1.1 200 OK\r\n X: a\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n\t\r\n",
        // RFC 9110 section 8.6.
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ,5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5;x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n",
        // RFC 9112 sections 6.1 and 6.3.
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];

    #[test]
    fn a_head_that_breaks_a_rule_is_malformed_at_the_line_that_does() {
        for bytes in MALFORMED {
            assert_eq!(judge(bytes), Progress::Malformed, "{}", bytes.escape_ascii());
            assert_eq!(judge_in_pieces(bytes, 1, false), Progress::Malformed, "{}", bytes.escape_ascii());
            assert_eq!(ResponseParser::new(true).advance(bytes), Progress::Malformed, "HEAD: {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_head_is_bounded_in_bytes_and_fields() {
        let with_value = |bytes: usize| format!("HTTP/1.1 204 X\r\nX: {}\r\n\r\n", "y".repeat(bytes - 23)).into_bytes();
        assert_eq!(found(&with_value(HEAD_BYTES)).length, HEAD_BYTES);
        let large = with_value(HEAD_BYTES + 1);
        assert_eq!(judge(&large), Progress::Malformed);
        assert_eq!(judge(&large[..HEAD_BYTES]), Progress::Incomplete);
        assert_eq!(judge_in_pieces(&large, HEAD_BYTES / 2, false), Progress::Malformed);
        let with_fields = |count: usize| format!("HTTP/1.1 204 X\r\n{}\r\n", "X: y\r\n".repeat(count)).into_bytes();
        assert_eq!(found(&with_fields(FIELDS)).fields, FIELDS);
        assert_eq!(judge(&with_fields(FIELDS + 1)), Progress::Malformed);
    }

    /// Parts of heads, of which most keep the rules.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("HTTP/1.1 200 OK\r\n".to_owned()),
            Just("HTTP/1.0 304\r\n".to_owned()),
            Just("Content-Length: 5\r\n".to_owned()),
            Just("Transfer-Encoding: chunked\r\n".to_owned()),
            Just("Connection: close, x\r\n".to_owned()),
            Just("\r\n".to_owned()),
            "[a-z]{1,3}:[ -~]{0,6}\r\n",
            "[HTP/1. 0-9a-z:\r\n\t,]{0,5}",
        ]
    }

    proptest! {
        #[test]
        fn a_head_is_judged_the_same_however_it_is_cut_up(
            pieces in prop::collection::vec(piece(), 0..8),
            is_whole in any::<bool>(),
            is_head in any::<bool>(),
            cut in 1_usize..40,
        ) {
            let start = if is_whole { "HTTP/1.1 200 OK\r\n" } else { "" };
            let bytes = format!("{start}{}\r\n", pieces.concat()).into_bytes();
            let whole = ResponseParser::new(is_head).advance(&bytes);
            prop_assert_eq!(whole, judge_in_pieces(&bytes, cut, is_head));
        }

        #[test]
        fn what_is_found_another_parser_finds_with_the_same_status_length_and_fields(
            pieces in prop::collection::vec(piece(), 0..8),
        ) {
            let bytes = format!("HTTP/1.1 200 OK\r\n{}\r\n", pieces.concat()).into_bytes();
            if let Progress::Complete(head) = judge(&bytes) {
                let mut lines = [httparse::EMPTY_HEADER; FIELDS];
                let mut response = httparse::Response::new(&mut lines);
                prop_assert_eq!(response.parse(&bytes), Ok(httparse::Status::Complete(head.length)));
                prop_assert_eq!(response.code, Some(head.status.as_u16()));
                let theirs: Vec<_> = response.headers.iter().map(|line| (line.name.as_bytes(), line.value)).collect();
                let ours: Vec<_> = fields(&bytes[..head.length]).collect();
                prop_assert_eq!(ours.len(), head.fields);
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
