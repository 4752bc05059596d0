//! The rules of a header field: its syntax, and what its name or value may not be (RFC 9110 section 5, RFC 9112
//! sections 5 to 7).
//!
//! Inside: pure functions on one field. Kept out: rules over several fields (`head.rs`), and the syntax of a host
//! (`target.rs`).

use std::ops::Range;

use crate::telemetry::outcome::Rejection;

/// A field line, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was sent.
    pub name: &'a [u8],
    /// The value without the whitespace around it.
    pub value: &'a [u8],
}

/// A transfer coding that is understood, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Exactly `chunked`.
    Chunked,
    /// Well-formed, but not implemented: 501 (RFC 9112 section 6.1).
    Unknown,
    /// Ambiguous or malformed: 400.
    Malformed,
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// [`is_token_byte`] of every byte: names are read a byte at a time, and a table is quicker than the ranges.
const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = is_token_byte(byte);
        byte += 1;
    }
    table
};

/// Whether a byte may stand in a field value (RFC 9110 section 5.5): no control but the tab.
pub const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..=0xff)
}

/// Takes a field line apart; the line comes without its CRLF.
///
/// # Errors
/// No name, a name that is not a token (a fold and a space before the colon are that too, RFC 9112 section 5.1 and 5.2),
/// or a control in the value.
pub fn parse(line: &[u8]) -> Result<Field<'_>, Rejection> {
    let colon = line.iter().position(|byte| !TOKEN_BYTES[usize::from(*byte)]).ok_or(Rejection::MalformedHead)?;
    let (name, rest) = line.split_at(colon);
    let Some((b':', value)) = rest.split_first() else { return Err(Rejection::MalformedHead) };
    // Looking at all bytes without stopping at a wrong one lets the compiler look at many at once.
    let is_value = value.iter().fold(true, |so_far, byte| so_far & is_value_byte(*byte));
    if name.is_empty() || !is_value {
        return Err(Rejection::MalformedHead);
    }
    Ok(Field { name, value: trim(value) })
}

/// A field line of a head or a trailer section, and where it stands in it, its CRLF included.
#[derive(Debug)]
pub struct Line<'s> {
    /// The line, taken apart.
    pub field: Field<'s>,
    /// Where it stands.
    pub range: Range<usize>,
}

/// The field lines of a section that was found to keep every rule, from `start`, which is behind a first line that is none.
pub fn lines(section: &[u8], start: usize) -> impl Iterator<Item = Line<'_>> {
    let mut next = start;
    std::iter::from_fn(move || {
        let rest = section.get(next..)?;
        let end = memchr::memchr(b'\n', rest)? + 1;
        let line = rest.get(..end)?;
        let (name, value) = line.split_at(memchr::memchr(b':', line)?);
        let range = next..next + end;
        next = range.end;
        let value = value.strip_suffix(b"\r\n").and_then(|value| value.get(1..)).unwrap_or_default();
        Some(Line { field: Field { name, value: trim(value) }, range })
    })
}

/// Takes the whitespace off both ends: space and tab, nothing else (RFC 9110 section 5.6.3).
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A Content-Length: digits only, none of them padding, and few enough (RFC 9110 section 8.6): a zero in front is octal to
/// some readers, and what a signed number of 64 bits does not hold is negative to others.
pub fn content_length(value: &[u8]) -> Option<u64> {
    if matches!(value, [] | [b'0', _, ..]) {
        return None;
    }
    let add = |sum: i64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    value.iter().try_fold(0, add).map(i64::unsigned_abs)
}

/// What a Transfer-Encoding asks for (RFC 9112 section 6.1 and 7).
pub fn transfer_encoding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let codings: Vec<&[u8]> = value.split(|byte| *byte == b',').map(trim).collect();
    if !codings.iter().all(|coding| is_token(coding)) {
        return Coding::Malformed;
    }
    // Chunked is applied once, and last; where it is not, the end of the body cannot be told (section 6.3).
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match codings.iter().position(is_chunked) {
        Some(position) if position + 1 != codings.len() => Coding::Malformed,
        _ => Coding::Unknown,
    }
}

/// Whether bytes are a token.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Fields that decide how a message is framed, where it goes, or who it is from.
const GUARDED: [&[u8]; 19] = [
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"forwarded",
    b"via",
    b"trailer",
    b"expect",
    b"te",
    b"upgrade",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"http2-settings",
    b"max-forwards",
    b"x-real-ip",
    b"x-host",
    b"x-original-host",
    b"x-original-url",
    b"x-rewrite-url",
];

const FORWARDING_PREFIX: &[u8] = b"x-forwarded-";

const WEBSOCKET_PREFIX: &[u8] = b"sec-websocket-";

/// Whether a name has a `_` and spells a framing, forwarding or host field when `_` is read as `-`, as many origins do.
pub fn is_disguised(name: &[u8]) -> bool {
    name.contains(&b'_') && (starts_forwarding(name) || GUARDED.iter().any(|guarded| spells(name, guarded)))
}

/// Whether a Connection field is a list of tokens, none of which would have a field removed that the next one down the
/// line relies on (RFC 9110 section 7.6.1).
pub fn is_connection_safe(value: &[u8]) -> bool {
    let mut options = value.split(|byte| *byte == b',').map(trim).filter(|option| !option.is_empty());
    options.all(|option| is_token(option) && !is_end_to_end(option))
}

fn is_end_to_end(option: &[u8]) -> bool {
    const END_TO_END: [&[u8]; 11] = [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"forwarded",
        b"via",
        b"max-forwards",
        b"x-real-ip",
        b"x-host",
        b"x-original-host",
        b"x-original-url",
        b"x-rewrite-url",
    ];
    // Without them, a handshake that was checked here would be none for the origin (RFC 6455 section 4.1).
    let starts_websocket = option.get(..WEBSOCKET_PREFIX.len()).is_some_and(|start| spells(start, WEBSOCKET_PREFIX));
    starts_websocket || starts_forwarding(option) || END_TO_END.iter().any(|name| spells(option, name))
}

fn starts_forwarding(name: &[u8]) -> bool {
    name.get(..FORWARDING_PREFIX.len()).is_some_and(|start| spells(start, FORWARDING_PREFIX))
}

/// Whether a name is another one, letter case aside and `_` read as `-`.
fn spells(name: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == other.len() && name.iter().map(fold).eq(other.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_line_is_a_token_a_colon_and_a_value_without_controls() {
        let field =
            |name: &'static str, value: &'static str| Ok(Field { name: name.as_bytes(), value: value.as_bytes() });
        let wrong = Err(Rejection::MalformedHead);
        let table: [(&[u8], Result<Field<'_>, Rejection>); 20] = [
            (b"Host: a", field("Host", "a")),
            (b"Host:a", field("Host", "a")),
            (b"X:\t a b \t", field("X", "a b")),
            (b"X:", field("X", "")),
            (b"X_y: 1", field("X_y", "1")),
            (b"!#$%&'*+-.^_`|~09azAZ: 1", field("!#$%&'*+-.^_`|~09azAZ", "1")),
            (b"X: \xe9\xff", Ok(Field { name: b"X", value: b"\xe9\xff" })),
            (b"X: a:b", field("X", "a:b")),
            (b"Host : a", wrong),
            (b" Host: a", wrong),
            (b"\tHost: a", wrong),
            (b"Host", wrong),
            (b": a", wrong),
            (b"Ho st: a", wrong),
            (b"H\xc3\xb6st: a", wrong),
            (b"H(: a", wrong),
            (b"X: a\rb", wrong),
            (b"X: a\0", wrong),
            (b"X: a\x0bb", wrong),
            (b"X: a\x7f", wrong),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_content_length_is_digits_that_fit() {
        // RFC 9110 section 8.6; a list of equal values is refused too, which is stricter.
        for (value, expected) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("007", None),
            ("9223372036854775807", Some(i64::MAX.unsigned_abs())),
            ("9223372036854775808", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 2", None),
            ("1,1", None),
            ("0x1", None),
            ("1_0", None),
            ("18446744073709551616", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(content_length(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn only_exactly_chunked_is_a_transfer_coding_that_is_known() {
        for (value, expected) in [
            ("chunked", Coding::Chunked),
            ("CHUNKED", Coding::Chunked),
            ("gzip", Coding::Unknown),
            ("identity", Coding::Unknown),
            ("xchunked", Coding::Unknown),
            ("gzip, chunked", Coding::Unknown),
            ("gzip,deflate", Coding::Unknown),
            ("", Coding::Malformed),
            ("chunked, chunked", Coding::Malformed),
            ("chunked, gzip", Coding::Malformed),
            (",chunked", Coding::Malformed),
            ("chunked,", Coding::Malformed),
            ("chunked;q=1", Coding::Malformed),
            ("\"chunked\"", Coding::Malformed),
            ("chunked gzip", Coding::Malformed),
            ("chunked\u{e9}", Coding::Malformed),
        ] {
            assert_eq!(transfer_encoding(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn a_name_in_disguise_is_seen_through_and_other_underscores_are_not_touched() {
        for (name, expected) in [
            ("content_length", true),
            ("Content_Length", true),
            ("TRANSFER_ENCODING", true),
            ("x_forwarded_for", true),
            ("X-Forwarded_Proto", true),
            ("x_forwarded_anything", true),
            ("keep_alive", true),
            ("x_real_ip", true),
            ("x_rewrite_url", true),
            ("content-length", false),
            ("x-forwarded-for", false),
            ("my_field", false),
            ("content_lengths", false),
            ("x_content_length", false),
            ("host_name", false),
        ] {
            assert_eq!(is_disguised(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn connection_may_not_name_what_others_rely_on() {
        for (value, expected) in [
            ("close", true),
            ("keep-alive, Upgrade", true),
            ("TE, x-trace", true),
            ("", true),
            ("close, , te", true),
            ("host", false),
            ("close, Content-Length", false),
            ("transfer-encoding", false),
            ("X-Forwarded-For", false),
            ("x_forwarded_host", false),
            ("forwarded", false),
            ("via", false),
            ("Upgrade, Sec-WebSocket-Key", false),
            (":authority", false),
            ("close;q=1", false),
            ("a b", false),
        ] {
            assert_eq!(is_connection_safe(value.as_bytes()), expected, "{value:?}");
        }
    }
}
