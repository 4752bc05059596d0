//! A hostile origin: what of its bytes reaches a client, held against a strict reading of them (RFC 9112).
//!
//! Inside: the reading and the properties, of the codec alone and of the edge as a whole. Kept out: requests, which are plain
//! here (`agreement.rs` has the others).

use sluis::proxy::Http1Path;
use sluis::proxy::upstream::decoder::{Decoder, Then};
use sluis::proxy::upstream::response_head::{Framing, Progress, ResponseHead, ResponseParser, fields};

use super::edge::{Plan, Run, run};
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
    for http1 in [Http1Path::Fast, Http1Path::Hyper] {
        let got = run(http1, request.repeat(times).as_bytes(), plan, Some(script));
        check_got(&got, script, asked, times);
    }
}

fn check_got(got: &Run, script: &[u8], asked: Asked, times: usize) {
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

/// The codec alone: the same verdict in pieces of `cut` and at once, and what it finds another parser and another reader
/// find too.
pub fn check_codec(bytes: &[u8], is_head: bool, cut: usize) {
    let whole = ResponseParser::new(is_head).advance(bytes);
    assert_eq!(whole, head_in_pieces(bytes, is_head, cut), "{}", bytes.escape_ascii());
    let Progress::Complete(head) = whole else { return };
    let ResponseHead { status, length, framing, .. } = head;
    let mut lines = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut lines);
    assert_eq!(response.parse(bytes), Ok(httparse::Status::Complete(length)), "{}", bytes.escape_ascii());
    assert_eq!(response.code, Some(status.as_u16()));
    let theirs = response.headers.iter().map(|line| (line.name.as_bytes(), line.value));
    assert!(fields(&bytes[..length]).eq(theirs), "other fields: {}", bytes.escape_ascii());
    let body = &bytes[length..];
    let decoded = decode(framing, body, body.len().max(1));
    assert_eq!(decoded, decode(framing, body, cut), "{}", body.escape_ascii());
    if framing == Framing::Chunked {
        let mut expected = Vec::new();
        let ending = read_chunked(body, &mut expected, &mut Vec::new());
        let (data, then) = decoded;
        match then {
            Then::End => assert!(matches!(ending, Ending::Whole(_)) && data == expected, "{}", body.escape_ascii()),
            Then::More => assert!(matches!(ending, Ending::Short), "{}", body.escape_ascii()),
            // It bounds more than the other reader does.
            Then::Broken => {}
        }
    }
}

fn head_in_pieces(bytes: &[u8], is_head: bool, cut: usize) -> Progress {
    let mut parser = ResponseParser::new(is_head);
    let ends = (0..bytes.len()).step_by(cut).map(|at| (at + cut).min(bytes.len()));
    let mut verdicts = ends.map(|end| parser.advance(&bytes[..end]));
    verdicts.find(|verdict| *verdict != Progress::Incomplete).unwrap_or(Progress::Incomplete)
}

/// The data of a body that comes in pieces of `cut`, and how it ended.
fn decode(framing: Framing, body: &[u8], cut: usize) -> (Vec<u8>, Then) {
    let (mut decoder, mut data) = (Decoder::new(framing), Vec::new());
    for mut piece in body.chunks(cut) {
        while !piece.is_empty() {
            let decoded = decoder.decode(piece);
            data.extend_from_slice(&piece[decoded.data]);
            if decoded.then != Then::More {
                return (data, decoded.then);
            }
            piece = &piece[decoded.consumed..];
        }
    }
    (data, Then::More)
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
                    return Err(Reading::Short);
                }
            }
            _ => return Err(Reading::Doubtful),
        }
        return Ok(Reading::Whole { status, body });
    }
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
