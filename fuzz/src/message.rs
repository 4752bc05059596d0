//! Answers on the wire, read one after the other (RFC 9112).
//!
//! Inside: answers from the bytes of a connection that has ended, each with its own body. Kept out: whether they are the
//! right ones (`agreement.rs`).

use super::reader::{Field, list, values};

/// A final answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
}

/// Why bytes are not a sequence of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is no answer, or has bytes of another one in it.
    Malformed(&'static str),
    /// The connection ended in the middle of one.
    Cut,
}

impl Answer {
    /// The only value of a field, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        match values(&self.fields, name)[..] {
            [only] => std::str::from_utf8(only).ok(),
            _ => None,
        }
    }

    /// Whether the connection ends with it.
    pub fn closes(&self) -> bool {
        let options = values(&self.fields, "connection").into_iter().flat_map(list);
        options.into_iter().any(|option| option.eq_ignore_ascii_case(b"close"))
    }
}

/// Reads the final answers; `is_head` says which of them have no body because of what was asked. Interim ones are left out.
pub fn answers(mut bytes: &[u8], is_head: impl Fn(usize) -> bool) -> (Vec<Answer>, Result<(), Wrong>) {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        match answer(bytes, is_head(found.len())) {
            Ok((answer, rest)) => {
                bytes = rest;
                if answer.status >= 200 {
                    found.push(answer);
                }
            }
            Err(wrong) => return (found, Err(wrong)),
        }
    }
    (found, Ok(()))
}

fn answer(bytes: &[u8], is_head: bool) -> Result<(Answer, &[u8]), Wrong> {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Response::new(&mut room);
    let parsed = head.parse(bytes).map_err(|_| Wrong::Malformed("no answer"))?;
    let httparse::Status::Complete(length) = parsed else { return Err(Wrong::Cut) };
    let fields: Vec<Field> =
        head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    let status = head.code.unwrap_or_default();
    let rest = &bytes[length..];
    let text = |name: &str| match values(&fields, name)[..] {
        [] => Ok(None),
        [only] => std::str::from_utf8(only).map(Some).map_err(|_| Wrong::Malformed("a field that is no text")),
        _ => Err(Wrong::Malformed("framed twice")),
    };
    let (body, rest) = match (text("transfer-encoding")?, text("content-length")?) {
        (Some(_), Some(_)) => return Err(Wrong::Malformed("framed twice")),
        _ if is_head || status < 200 || matches!(status, 204 | 304) => (Vec::new(), rest),
        (Some("chunked"), None) => chunks(rest)?,
        (Some(_), None) => return Err(Wrong::Malformed("another coding")),
        (None, Some(length)) => {
            let length: usize = length.parse().map_err(|_| Wrong::Malformed("a length that is none"))?;
            let (body, rest) = rest.split_at_checked(length).ok_or(Wrong::Cut)?;
            (body.to_vec(), rest)
        }
        (None, None) => (rest.to_vec(), &rest[rest.len()..]),
    };
    Ok((Answer { status, fields, body }, rest))
}

fn chunks(mut bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Wrong> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = line(bytes)?;
        let size = std::str::from_utf8(line).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let size = size.and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or(Wrong::Malformed("no size"))?;
        if size == 0 {
            bytes = rest;
            break;
        }
        let (data, rest) = rest.split_at_checked(size).ok_or(Wrong::Cut)?;
        body.extend_from_slice(data);
        bytes = match rest {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Err(Wrong::Cut),
            _ => return Err(Wrong::Malformed("a chunk without its end")),
        };
    }
    loop {
        let (trailer, rest) = line(bytes)?;
        bytes = rest;
        if trailer.is_empty() {
            return Ok((body, bytes));
        }
    }
}

fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Wrong> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").ok_or(Wrong::Cut)?;
    Ok((&bytes[..end], &bytes[end + 2..]))
}
