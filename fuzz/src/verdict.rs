//! What becomes of the requests in a client's bytes, by the words of the contract.
//!
//! Inside: the list that the edge in memory has, a naive look at it, and the sequence of outcomes up to where the connection
//! ends. Kept out: reading a message (`reader.rs`) and what the program does (`agreement.rs`).

use super::host::authority;
use super::reader::{Bounds, Ending, Read, Request, list, read, values};

/// Our pseudonym.
pub const SERVER_NAME: &str = "edge";

/// The limits of the edge: small, so that short inputs exceed them.
pub const BOUNDS: Bounds = Bounds { bytes: 1_024, fields: 12, target: 128 };

/// What is blocked, by which decision.
pub const LIST: [(&str, &str); 6] = [
    (".blocked.example", "subtree"),
    ("only.example", "exact"),
    ("*.below.example", "below"),
    ("192.0.2.66", "ipv4"),
    ("[2001:db8::66]", "ipv6"),
    (".b\u{fc}cher.example", "idn"),
];

/// The decision that blocks a canonical host.
pub fn blocked(host: &str) -> Option<&'static str> {
    let is_below = |name: &str| host.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
    match host {
        "only.example" => Some("exact"),
        "192.0.2.66" => Some("ipv4"),
        "[2001:db8::66]" => Some("ipv6"),
        _ if host == "blocked.example" || is_below("blocked.example") => Some("subtree"),
        _ if is_below("below.example") => Some("below"),
        _ if host == "xn--bcher-kva.example" || is_below("xn--bcher-kva.example") => Some("idn"),
        _ => None,
    }
}

/// What becomes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The notice of this decision.
    Blocked(&'static str),
    /// An OPTIONS that is for the edge itself.
    Answered,
    /// It came back to us.
    Loop,
    /// An answer that says what is wrong, and the end of the connection.
    Refused(&'static str),
    /// It reaches the origin.
    Forwarded { host: String, path: Vec<u8> },
}

/// A request that has its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub request: Request,
    pub outcome: Outcome,
}

/// How the connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// After the last answer.
    Done,
    /// In a head: nothing, or one refusal.
    PartOfHead,
    /// With a refusal: the head was wrong.
    Refused(&'static str),
    /// In the body of this request, which would be forwarded: nothing, or one refusal.
    PartOfBody(Box<Step>),
}

/// The requests in a client's bytes, and what comes of each.
pub fn expected(mut bytes: &[u8]) -> (Vec<Step>, End) {
    let mut steps = Vec::new();
    loop {
        let (request, ending) = match read(bytes, &BOUNDS) {
            Read::Nothing => return (steps, End::Done),
            Read::PartOfHead => return (steps, End::PartOfHead),
            Read::Wrong(why) => return (steps, End::Refused(why)),
            Read::Message(request, ending) => (request, ending),
        };
        let outcome = outcome(&request);
        let is_forwarded = matches!(outcome, Outcome::Forwarded { .. });
        // RFC 9112 section 9.3: an own answer to a request with a body is not worth reading the body for.
        let mut closes =
            !persists(&request) || matches!(outcome, Outcome::Refused(_)) || !is_forwarded && request.has_body;
        let step = Step { request, outcome };
        match ending {
            Ending::Whole(length) => bytes = &bytes[length..],
            _ if is_forwarded => return (steps, End::PartOfBody(Box::new(step))),
            _ => closes = true,
        }
        steps.push(step);
        if closes {
            return (steps, End::Done);
        }
    }
}

/// RFC 9112 section 9.3.
fn persists(request: &Request) -> bool {
    let options: Vec<Vec<u8>> = values(&request.fields, "connection").into_iter().flat_map(list).collect();
    let names = |name: &str| options.iter().any(|option| option.eq_ignore_ascii_case(name.as_bytes()));
    !names("close") && (!request.is_http_10 || names("keep-alive"))
}

fn outcome(request: &Request) -> Outcome {
    outcome_checked(request).unwrap_or_else(Outcome::Refused)
}

fn outcome_checked(request: &Request) -> Result<Outcome, &'static str> {
    let (named, path) = split_target(request)?;
    let field = values(&request.fields, "host")[0];
    let (host, port) = authority(field).ok_or("a host that is none")?;
    // RFC 9112 section 3.2.2, stricter: both must say the same.
    if let Some(named) = named
        && authority(named).ok_or("an authority that is none")? != (host.clone(), port)
    {
        return Err("two hosts");
    }
    if let Some(decision) = blocked(&host) {
        return Ok(Outcome::Blocked(decision));
    }
    let mut via = values(&request.fields, "via").into_iter().flat_map(list);
    let is_us = |entry: Vec<u8>| {
        let mut words = entry.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|word| word.eq_ignore_ascii_case(SERVER_NAME.as_bytes()))
    };
    if via.any(is_us) {
        return Ok(Outcome::Loop);
    }
    if request.method == b"OPTIONS" {
        // RFC 9110 section 7.6.2.
        let left = match values(&request.fields, "max-forwards")[..] {
            [] => None,
            [only] if !only.is_empty() && only.iter().all(u8::is_ascii_digit) => Some(only),
            _ => return Err("a Max-Forwards that is no number"),
        };
        if path == b"*" || left.is_some_and(|digits| digits.iter().all(|digit| *digit == b'0')) {
            return Ok(Outcome::Answered);
        }
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{host}{port}");
    Ok(Outcome::Forwarded { host, path })
}

/// RFC 9112 section 3.2: the authority of an absolute-form, and what is asked for.
fn split_target(request: &Request) -> Result<(Option<&[u8]>, Vec<u8>), &'static str> {
    let target = &request.target[..];
    if target == b"*" && request.method == b"OPTIONS" {
        return Ok((None, target.to_vec()));
    }
    let (authority, path) = match target {
        [b'/', ..] => (None, target),
        _ if target.len() > 7 && target[..7].eq_ignore_ascii_case(b"http://") => {
            let rest = &target[7..];
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        _ => return Err("a target of no form"),
    };
    let before_query = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    if before_query.contains(&b'`') {
        return Err("a path with a byte that some take for another");
    }
    let slash: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
    Ok((authority, [slash, path].concat()))
}
