//! A hostile origin: what of its bytes reaches a client, held against a strict reading of them (RFC 9112).
//!
//! Inside: the reading and the properties. Kept out: requests, which are plain here (`agreement.rs` has the others).

use super::edge::{Plan, run};
use super::message::{Answer, answers};
use super::reader::{Ending, Field, read_chunked, read_field, values};

/// What an origin's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// A final answer that keeps every rule. What comes after it is nobody's.
    Whole { status: u16, body: Vec<u8> },
    /// One that ends too early, or whose chunks are broken.
    Short,
    /// Something else: it may be refused, or be made into a message that keeps the rules.
    Doubtful,
}

/// What is asked for while the origin sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Get,
    Head,
    Post,
    Upgrade,
}

/// Holds what a client gets against the reading; `times` requests are sent at once and all have the same answer.
pub fn check(script: &[u8], asked: Asked, times: usize, plan: &Plan) {
    let request = match asked {
        Asked::Get => "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n",
        Asked::Head => "HEAD / HTTP/1.1\r\nHost: open.example\r\n\r\n",
        Asked::Post => "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 2\r\n\r\nab",
        Asked::Upgrade => "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    };
    let got = run(request.repeat(times).as_bytes(), plan, Some(script));
    if asked == Asked::Upgrade && got.answers.starts_with(b"HTTP/1.1 101 ") {
        return;
    }
    let shown = || format!("{}\nfor {} as {asked:?}", got.answers.escape_ascii(), script.escape_ascii());
    let (found, result) = answers(&got.answers, |_| asked == Asked::Head);
    assert!(!matches!(result, Err(super::message::Wrong::Malformed(_))), "malformed: {}", shown());
    assert!(found.len() <= times, "more answers than requests: {}", shown());
    let reading = read(script, asked == Asked::Head);
    for answer in &found {
        let is_same = |status: u16, body: &[u8]| answer.status == status && answer.body == body;
        let is_right = match &reading {
            Reading::Whole { status, body } => is_same(*status, body) || is_own_error(answer),
            Reading::Short => is_own_error(answer),
            Reading::Doubtful => true,
        };
        assert!(is_right, "{reading:?} became {}", shown());
    }
    if matches!(reading, Reading::Whole { .. }) {
        assert!(!found.is_empty(), "nothing came of {reading:?}: {}", shown());
    }
}

fn is_own_error(answer: &Answer) -> bool {
    matches!(answer.status, 502 | 504)
        && answer.field("proxy-status").is_some_and(|text| text.starts_with("edge; error="))
}

fn read(bytes: &[u8], is_head: bool) -> Reading {
    read_checked(bytes, is_head).unwrap_or_else(|reading| reading)
}

fn read_checked(mut bytes: &[u8], is_head: bool) -> Result<Reading, Reading> {
    loop {
        let mut lines = Vec::new();
        loop {
            let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Reading::Doubtful)?;
            let line = bytes[..end].strip_suffix(b"\r").ok_or(Reading::Doubtful)?;
            bytes = &bytes[end + 1..];
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let (first, rest) = lines.split_first().ok_or(Reading::Doubtful)?;
        let (status, is_http_10) = read_status_line(first).ok_or(Reading::Doubtful)?;
        let fields: Vec<Field> =
            rest.iter().map(|line| read_field(line)).collect::<Result<_, _>>().map_err(|_| Reading::Doubtful)?;
        let (coding, length) = (values(&fields, "transfer-encoding"), values(&fields, "content-length"));
        if (100..200).contains(&status) && status != 101 && coding.is_empty() && length.is_empty() {
            continue;
        }
        let mut body = Vec::new();
        let has_none = is_head || matches!(status, 204 | 304);
        match (&coding[..], &length[..]) {
            _ if status < 200 => return Err(Reading::Doubtful),
            ([], []) if !has_none => body = bytes.to_vec(),
            ([], []) => {}
            ([], [length]) => {
                let length = number(length).ok_or(Reading::Doubtful)?;
                if !has_none {
                    body = bytes.get(..length).ok_or(Reading::Short)?.to_vec();
                }
            }
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && !is_http_10 => {
                if !has_none && !matches!(read_chunked(bytes, &mut body, &mut Vec::new()), Ending::Whole(_)) {
                    return Err(doubtful_chunks(bytes));
                }
            }
            _ => return Err(Reading::Doubtful),
        }
        return Ok(Reading::Whole { status, body });
    }
}

/// hyper takes more for chunks than we let pass in a request (white space around a size, any bytes in an extension or a
/// trailer): only what has no last chunk at all is short for certain.
fn doubtful_chunks(bytes: &[u8]) -> Reading {
    if bytes.contains(&b'0') { Reading::Doubtful } else { Reading::Short }
}

fn read_status_line(line: &[u8]) -> Option<(u16, bool)> {
    let is_http_10 = line.starts_with(b"HTTP/1.0 ");
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (code, reason) = rest.split_at_checked(3)?;
    let is_good =
        reason.is_empty() || reason.starts_with(b" ") && reason.iter().all(|byte| (b' '..=b'~').contains(byte));
    let code = number(code).filter(|_| is_good)?;
    (100..600).contains(&code).then_some((u16::try_from(code).ok()?, is_http_10))
}

fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.len() < 19 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}
