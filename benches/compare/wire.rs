//! Heads of HTTP/1.1 messages, as the load generator and the origin need them.
//!
//! Inside: reading a head with `httparse`, and where its body ends. Kept out: sockets, and every freedom of HTTP that no proxy
//! of the comparison uses: an answer without Content-Length is a failure, not a case.

/// Where an answer's body ends, and what it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResponseHead {
    pub status: u16,
    pub head_bytes: usize,
    pub body_bytes: u64,
}

/// A request as the origin sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestHead {
    pub page: Page,
    pub head_bytes: usize,
    pub body_bytes: u64,
}

/// What the origin is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// 1 KiB.
    Small,
    /// 1 MiB.
    Large,
    /// The head of the request itself, so that its edits can be checked.
    Echo,
    /// A few bytes, after a body was taken.
    Taken,
}

/// The paths by which pages are asked for.
pub const SMALL: &str = "/";
pub const LARGE: &str = "/large";
pub const ECHO: &str = "/echo";
pub const TAKE: &str = "/take";

const FIELDS: usize = 64;

/// A response's head; nothing while it is incomplete.
pub fn response_head(bytes: &[u8]) -> Result<Option<ResponseHead>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).map_err(|error| unreadable(&error, bytes))? else {
        return Ok(None);
    };
    let status = head.code.unwrap_or_default();
    let body_bytes = content_length(head.headers)?.ok_or_else(|| format!("{status} without Content-Length"))?;
    Ok(Some(ResponseHead { status, head_bytes, body_bytes }))
}

/// A request's head; nothing while it is incomplete.
pub fn request_head(bytes: &[u8]) -> Result<Option<RequestHead>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).map_err(|error| unreadable(&error, bytes))? else {
        return Ok(None);
    };
    let page = match head.path.unwrap_or_default() {
        SMALL => Page::Small,
        LARGE => Page::Large,
        ECHO => Page::Echo,
        TAKE => Page::Taken,
        other => return Err(format!("the origin has no {other}")),
    };
    let body_bytes = content_length(head.headers)?.unwrap_or_default();
    Ok(Some(RequestHead { page, head_bytes, body_bytes }))
}

/// All values of a field in a head, in order.
pub fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

fn content_length(fields: &[httparse::Header<'_>]) -> Result<Option<u64>, String> {
    let mut length = None;
    for field in fields {
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("Transfer-Encoding where Content-Length was sent".to_owned());
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = str::from_utf8(field.value).ok().and_then(|text| text.parse().ok());
            length = Some(digits.ok_or_else(|| format!("Content-Length {:?}", field.value))?);
        }
    }
    Ok(length)
}

fn unreadable(error: &httparse::Error, bytes: &[u8]) -> String {
    format!("{error} in {:?}", String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)))
}
