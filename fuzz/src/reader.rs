//! A reader of HTTP/1.1 requests that is slow, strict and simple (RFC 9112), to compare the program with.
//!
//! Inside: one message at the beginning of bytes that are all there. Kept out: what a request is for (`verdict.rs`), and
//! every line of the program: what both have in common would be wrong in both.

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the head.
    pub bytes: usize,
    /// Its field lines.
    pub fields: usize,
    /// Bytes of the request target.
    pub target: usize,
}

/// No bound that a message of a test could reach.
pub const UNBOUNDED: Bounds = Bounds { bytes: usize::MAX, fields: usize::MAX, target: usize::MAX };

/// Name in lower case, and value.
pub type Field = (String, Vec<u8>);

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub is_http_10: bool,
    pub fields: Vec<Field>,
    /// Chunked, or a length above 0.
    pub has_body: bool,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Whole, after so many bytes of the input.
    Whole(usize),
    /// Its framing is broken.
    Broken,
    /// The bytes end first.
    Short,
}

/// What stands at the beginning of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Nothing but empty lines.
    Nothing,
    /// A head that is not whole. It may be wrong already.
    PartOfHead,
    /// What breaks a rule.
    Wrong(&'static str),
    /// A head that keeps every rule, and its body as far as it goes.
    Message(Request, Ending),
}

/// Reads the first request.
pub fn read(bytes: &[u8], bounds: &Bounds) -> Read {
    match read_checked(bytes, bounds) {
        Ok(read) => read,
        Err(why) => Read::Wrong(why),
    }
}

fn read_checked(bytes: &[u8], bounds: &Bounds) -> Result<Read, &'static str> {
    // RFC 9112 section 2.2: empty lines before the request line; four are let pass.
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    if start > 8 {
        return Err("too many empty lines");
    }
    let head = &bytes[start..];
    if head.is_empty() {
        return Ok(Read::Nothing);
    }
    let mut lines = Vec::new();
    let mut at = 0;
    loop {
        let Some(length) = head[at..].iter().position(|byte| *byte == b'\n') else {
            return Ok(Read::PartOfHead);
        };
        let line = &head[at..at + length];
        at += length + 1;
        let line = line.strip_suffix(b"\r").ok_or("a bare LF")?;
        if line.is_empty() {
            break;
        }
        lines.push(line);
        if at > bounds.bytes {
            return Err("a head that is too large");
        }
    }
    if at > bounds.bytes {
        return Err("a head that is too large");
    }
    let mut request = Request::default();
    read_request_line(lines[0], bounds, &mut request)?;
    if lines.len() - 1 > bounds.fields {
        return Err("too many fields");
    }
    request.fields = lines[1..].iter().map(|line| read_field(line)).collect::<Result<_, _>>()?;
    let body = &head[at..];
    let ending = match check_fields(&request)? {
        Framing::Length(0) => Ending::Whole(0),
        Framing::Length(length) => {
            request.has_body = true;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            request.body = body[..length.min(body.len())].to_vec();
            if length <= body.len() { Ending::Whole(length) } else { Ending::Short }
        }
        Framing::Chunked => {
            request.has_body = true;
            read_chunked(body, &mut request.body, &mut request.trailers)
        }
    };
    let ending = match ending {
        Ending::Whole(length) => Ending::Whole(start + at + length),
        other => other,
    };
    Ok(Read::Message(request, ending))
}

/// RFC 9112 section 3.
fn read_request_line(line: &[u8], bounds: &Bounds, request: &mut Request) -> Result<(), &'static str> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err("not three words") };
    if !is_token(method) {
        return Err("a method that is no token");
    }
    if method == b"CONNECT" || method == b"TRACE" {
        return Err("a method that is not for us");
    }
    request.is_http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err("another version"),
    };
    if target.len() > bounds.target {
        return Err("a target that is too long");
    }
    if target.is_empty() || !target.iter().all(|byte| matches!(byte, 0x21..=0x7e) && !b"#<>".contains(byte)) {
        return Err("a target with other bytes");
    }
    request.method = method.to_vec();
    request.target = target.to_vec();
    Ok(())
}

/// RFC 9112 section 5 and RFC 9110 section 5.5.
pub(super) fn read_field(line: &[u8]) -> Result<Field, &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a field without a colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err("a field name that is no token");
    }
    if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err("a control in a value");
    }
    let text = String::from_utf8_lossy(name).to_ascii_lowercase();
    Ok((text, trim(value).to_vec()))
}

enum Framing {
    Length(u64),
    Chunked,
}

/// What fields of others are spelled with `_`, or named by Connection, to get at.
const GUARDED: &str = "host content-length transfer-encoding forwarded via trailer expect te upgrade connection keep-alive \
     proxy-connection http2-settings max-forwards x-real-ip x-host x-original-host x-original-url x-rewrite-url";

const NOT_FOR_CONNECTION: &str = "host content-length transfer-encoding forwarded via max-forwards x-real-ip x-host \
     x-original-host x-original-url x-rewrite-url";

fn check_fields(request: &Request) -> Result<Framing, &'static str> {
    let all = |name: &str| -> Vec<&[u8]> { values(&request.fields, name) };
    let is_in = |list: &str, name: &str| name.starts_with("x-forwarded-") || list.split(' ').any(|other| other == name);
    for (name, value) in &request.fields {
        if name.contains('_') && is_in(GUARDED, &name.replace('_', "-")) {
            return Err("a field in disguise");
        }
        if name == "expect" && !value.eq_ignore_ascii_case(b"100-continue") {
            return Err("another expectation");
        }
        if name == "connection" {
            for option in list(value) {
                let option = String::from_utf8_lossy(&option).to_ascii_lowercase();
                let is_handshake = option.replace('_', "-").starts_with("sec-websocket-");
                if is_handshake || !is_token(option.as_bytes()) || is_in(NOT_FOR_CONNECTION, &option.replace('_', "-"))
                {
                    return Err("a Connection that is not safe");
                }
            }
        }
    }
    if all("host").len() != 1 {
        return Err("not one Host");
    }
    match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [length]) => {
            // No zeros in front, and no more than a signed number holds.
            let is_number = length.iter().all(u8::is_ascii_digit) && (*length == b"0" || !length.starts_with(b"0"));
            let number = std::str::from_utf8(length).ok().filter(|_| is_number);
            let number = number.and_then(|text| text.parse::<i64>().ok());
            number.map(|number| Framing::Length(number.unsigned_abs())).ok_or("a length that is none")
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && !request.is_http_10 => Ok(Framing::Chunked),
        _ => Err("framing that is in doubt"),
    }
}

/// RFC 9112 section 7.1, without white space around a size.
pub(super) fn read_chunked(bytes: &[u8], body: &mut Vec<u8>, trailers: &mut Vec<Field>) -> Ending {
    let mut at = 0;
    loop {
        let line = match line_at(bytes, at) {
            Ok(line) => line,
            Err(ending) => return if is_size_line(&bytes[at..]) { ending } else { Ending::Broken },
        };
        if !is_size_line(line) || line.first().is_none_or(|byte| *byte == b';') {
            return Ending::Broken;
        }
        at += line.len() + 2;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let size = u64::from_str_radix(digits, 16).map_or(usize::MAX, |size| size.try_into().unwrap_or(usize::MAX));
        if size == 0 {
            break;
        }
        let rest = &bytes[at..];
        if size > rest.len() {
            body.extend_from_slice(rest);
            return Ending::Short;
        }
        body.extend_from_slice(&rest[..size]);
        match &rest[size..] {
            [] | [b'\r'] => return Ending::Short,
            [b'\r', b'\n', ..] => at += size + 2,
            _ => return Ending::Broken,
        }
    }
    loop {
        let line = match line_at(bytes, at) {
            Ok(line) => line,
            Err(ending) => return if is_trailer_start(&bytes[at..]) { ending } else { Ending::Broken },
        };
        at += line.len() + 2;
        if line.is_empty() {
            return Ending::Whole(at);
        }
        match read_field(line) {
            Ok(field) if trailers.len() < 100 => trailers.push(field),
            _ => return Ending::Broken,
        }
    }
}

/// The line at a place, up to its CRLF. A CR without its LF, and an LF without its CR, break it.
fn line_at(bytes: &[u8], at: usize) -> Result<&[u8], Ending> {
    let rest = &bytes[at..];
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(Ending::Short)?;
    match &rest[end..] {
        [b'\r', b'\n', ..] => Ok(&rest[..end]),
        [b'\r'] => Err(Ending::Short),
        _ => Err(Ending::Broken),
    }
}

/// Whether a line, or what there is of it, may be the size of a chunk with its extensions.
fn is_size_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = &line[digits..];
    let has_good_rest =
        rest.is_empty() || rest[0] == b';' && digits > 0 && rest.iter().all(|byte| is_value_byte(*byte));
    digits <= 16 && has_good_rest
}

fn is_trailer_start(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let name = line.iter().take_while(|byte| is_token(&[**byte])).count();
    let rest = &line[name..];
    rest.is_empty() || name > 0 && rest[0] == b':' && rest.iter().all(|byte| is_value_byte(*byte))
}

fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// RFC 9110 section 5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The values of a field, in order.
pub fn values<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|field| field.0 == name).map(|field| &field.1[..]).collect()
}

/// The entries of a list that are not empty (RFC 9110 section 5.6.1).
pub fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let entries = value.split(|byte| *byte == b',').map(|entry| trim(entry).to_vec());
    entries.filter(|entry| !entry.is_empty()).collect()
}

/// Space and tab off both ends (RFC 9110 section 5.6.3).
pub fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(first) = bytes.iter().position(is_text) else { return b"" };
    let last = bytes.iter().rposition(is_text).unwrap_or(first);
    &bytes[first..=last]
}
