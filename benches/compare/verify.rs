//! Whether a proxy does what it is compared for, before anything is measured.
//!
//! Inside: edits of the head both ways, bodies, verdicts. Kept out: speed. A proxy that fails here has no result.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::engine::Engine;
use crate::engine::client::Answer;
use crate::engine::origin::{LARGE_BYTES, SMALL_BYTES};
use crate::engine::transport::Security;
use crate::load::{Exchange, Expected, fetch};
use crate::proxies::site::{BLOCKED, NEAR_MISS, PASS, SERVER_NAME, Site};
use crate::proxies::{Ability, Addresses, Kind};
use crate::wire::{self, ECHO, LARGE, SMALL};

/// What a proxy was seen to do right, and may be measured by. What it cannot do is nothing.
pub struct Verified {
    pub plain: Exchanges,
    pub tls: Option<Exchanges>,
}

/// The requests over one listener.
pub struct Exchanges {
    pub forward: Exchange,
    pub blocked: Option<Exchange>,
    pub down: Exchange,
    pub up: Exchange,
}

/// Checks everything that the rows ask for.
pub fn verify(engine: &mut Engine, site: &Site, kind: &Kind, at: Addresses) -> io::Result<Verified> {
    let plain = listener(engine, site, kind, (at.http, false))?;
    let tls = kind.can(Ability::Tls).then(|| listener(engine, site, kind, (at.https, true))).transpose()?;
    Ok(Verified { plain, tls })
}

fn listener(engine: &mut Engine, site: &Site, kind: &Kind, (to, tls): (SocketAddr, bool)) -> io::Result<Exchanges> {
    let security = |host| if tls { site.security(host, false) } else { Ok(None) };
    let (pass, scheme) = (security(PASS)?, if tls { "https" } else { "http" });
    edits(engine, to, &pass, scheme).map_err(|error| within("header edits", &error))?;
    let body: Rc<[u8]> = vec![b'x'; SMALL_BYTES].into();
    let exchange = |request: Vec<u8>, security: &Security, status, body: &Rc<[u8]>| Exchange {
        to,
        security: security.clone(),
        request: request.into(),
        expected: Expected { status, body: Rc::clone(body) },
    };
    let forward = exchange(get(PASS, SMALL), &pass, 200, &body);
    let down = exchange(get(PASS, LARGE), &pass, 200, &vec![b'x'; LARGE_BYTES].into());
    let up = exchange(post(PASS, LARGE_BYTES), &pass, 200, &b"taken\n".as_slice().into());
    for (what, exchange) in [("the small page", &forward), ("a large answer", &down), ("a large request", &up)] {
        once(engine, exchange).map_err(|error| within(what, &error))?;
    }
    let mut blocked = None;
    if kind.can(Ability::Block) {
        let near_miss = exchange(get(NEAR_MISS, SMALL), &security(NEAR_MISS)?, 200, &body);
        once(engine, &near_miss).map_err(|error| within("a host that is not on the list", &error))?;
        let security = security(BLOCKED)?;
        let notice = notice(engine, to, &security).map_err(|error| within("a host on the list", &error))?;
        blocked = Some(exchange(get(BLOCKED, SMALL), &security, 403, &notice.into()));
    }
    Ok(Exchanges { forward, blocked, down, up })
}

/// The notice: 403 with its decision, and the same bytes each time.
pub fn notice(engine: &mut Engine, to: SocketAddr, security: &Security) -> io::Result<Vec<u8>> {
    let first = fetch(engine, to, security, &get(BLOCKED, SMALL))?;
    let second = fetch(engine, to, security, &get(BLOCKED, SMALL))?;
    let (head, body) = parts(&first)?;
    require(first.status == 403, &format!("answered with {} and not 403", first.status))?;
    require(wire::values(&head, "sluis-decision") == ["phishing-feed"], "no Sluis-Decision")?;
    require(wire::values(&head, "content-security-policy").len() == 1, "no Content-Security-Policy")?;
    require(parts(&second)?.1 == body, "the notice is not the same each time")?;
    Ok(body)
}

/// What the origin gets, and what the client gets, of a request that claims to have come through another proxy.
fn edits(engine: &mut Engine, to: SocketAddr, security: &Security, scheme: &str) -> io::Result<()> {
    let forged = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Forwarded-Proto: gopher\r\n";
    let answer = fetch(engine, to, security, &request("GET", PASS, ECHO, forged))?;
    require(answer.status == 200, &format!("answered with {} and not 200", answer.status))?;
    let (head, body) = parts(&answer)?;
    let received = String::from_utf8_lossy(&body).into_owned();
    for (field, value) in
        [("host", PASS), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", scheme), ("x-forwarded-host", PASS)]
    {
        require(wire::values(&received, field) == [value], &format!("{field} is not {value} in {received}"))?;
    }
    require(wire::values(&received, "forwarded").is_empty(), &format!("Forwarded was passed on: {received}"))?;
    for (whose, head) in [("request", &received), ("answer", &head)] {
        let via = wire::values(head, "via");
        let named = via.len() == 1 && via.iter().all(|via| via.ends_with(&format!("1.1 {SERVER_NAME}")));
        require(named, &format!("Via of the {whose} does not name the proxy: {head}"))?;
    }
    let id = wire::values(&received, "x-request-id");
    require(id.len() == 1 && id.iter().all(|id| !id.is_empty()), &format!("no X-Request-Id in {received}"))?;
    require(wire::values(&head, "x-request-id") == id, &format!("the answer has another X-Request-Id: {head}"))
}

fn once(engine: &mut Engine, exchange: &Exchange) -> io::Result<()> {
    let answer = fetch(engine, exchange.to, &exchange.security, &exchange.request)?;
    exchange.check(&answer)
}

/// Head and body of an answer that was kept.
fn parts(answer: &Answer) -> io::Result<(String, Vec<u8>)> {
    let kept = answer.kept.as_deref().unwrap_or_default();
    let length = usize::try_from(answer.body_bytes).map_err(io::Error::other)?;
    let (head, body) = kept.split_at_checked(kept.len().saturating_sub(length)).unwrap_or_default();
    Ok((String::from_utf8_lossy(head).into_owned(), body.to_vec()))
}

/// A request of a browser.
pub fn get(host: &str, path: &str) -> Vec<u8> {
    request("GET", host, path, "")
}

fn post(host: &str, body_bytes: usize) -> Vec<u8> {
    let mut bytes = request("POST", host, wire::TAKE, &format!("Content-Length: {body_bytes}\r\n"));
    bytes.resize(bytes.len() + body_bytes, b'x');
    bytes
}

/// The fields of a browser, as h2load takes them too.
pub const BROWSER: [(&str, &str); 3] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.5"),
];

fn request(method: &str, host: &str, path: &str, more: &str) -> Vec<u8> {
    let browser: String = BROWSER.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{browser}{more}\r\n").into_bytes()
}

fn require(is_so: bool, otherwise: &str) -> io::Result<()> {
    if is_so { Ok(()) } else { Err(io::Error::other(otherwise.to_owned())) }
}

fn within(what: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}
