//! What the fast path sends is what the other way sends: the same fields to the upstream, and the same to the client.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, Uri, Version};
use proptest::prelude::*;
use tokio::time::Instant;

use super::request::{Request, Rules};
use super::response::{self, Added};
use crate::drain::Phase;
use crate::proxy::connection::tests::shared;
use crate::proxy::context::{Client, ClientTls, Protocol, Worker};
use crate::proxy::gate::head::{Head, HeadLimits, HeadParser, Progress};
use crate::proxy::upstream::response_head::{self, ResponseParser};
use crate::proxy::{Limits, SniMismatch, headers, target, upstream_head};
use crate::telemetry::counter::WorkerId;

const LIMITS: HeadLimits = HeadLimits { bytes: 32_768, fields: 100, target_bytes: 8_192 };

fn client(is_tls: bool) -> Rc<Client> {
    let (shared, _lists) = shared(Limits::default());
    let facts = ClientTls { sni: None, sni_mismatch: SniMismatch::Allow, certificate_names: Arc::default() };
    Rc::new(Client {
        worker: Rc::new(Worker::new(WorkerId(0), shared, Phase::Running)),
        listener: 0,
        peer: [192, 0, 2, 7].into(),
        tls: is_tls.then(|| Box::new(facts)),
        protocol: Protocol::Http1,
        closing: false.into(),
        began: Instant::now(),
        until: Instant::now() + Duration::from_secs(3_600),
        http2: None,
    })
}

/// Names and values of a message's fields, in the order of names.
type Fields = Vec<(String, Vec<u8>)>;

fn fields_of(head: &[u8]) -> Fields {
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let end = head.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&head[end..], &mut lines) else {
        panic!("no head: {}", head.escape_ascii());
    };
    let mut fields: Fields =
        fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    fields.sort();
    fields
}

fn fields_in(map: &http::HeaderMap) -> Fields {
    let mut fields: Fields =
        map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    fields.sort();
    fields
}

fn read<'h>(head: &'h [u8], rules: Rules<'_>) -> Option<Request<'h>> {
    let Progress::Complete(Head { framing, .. }) = HeadParser::default().advance(head, &LIMITS) else {
        panic!("the gate does not let it through: {}", head.escape_ascii());
    };
    Request::read(head, framing, rules)
}

/// What the way through `http::HeaderMap` sends to the upstream, but for the framing.
fn rewritten(head: &[u8], client: &Client, trusted: &[ipnet::IpNet]) -> Fields {
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut lines);
    parsed.parse(head).expect("a head");
    let mut request = http::Request::new(());
    *request.method_mut() = parsed.method.expect("a method").parse().expect("a method");
    *request.uri_mut() = parsed.path.expect("a path").parse::<Uri>().expect("a path");
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
        request.headers_mut().append(name, HeaderValue::from_bytes(field.value).expect("a value"));
    }
    let (mut parts, ()) = request.into_parts();
    let target = target::target(&parts, client).expect("a target");
    headers::rewrite_request(&mut parts.headers, &target, client, trusted, None);
    headers::append_via(&mut parts.headers, Version::HTTP_11, "edge");
    headers::settle_request_id(&mut parts.headers, || 0);
    fields_in(&parts.headers)
}

/// A made request id is random: the same for both ways here.
fn without_made_id(fields: Fields) -> Fields {
    let is_made = |name: &str, value: &[u8]| {
        name == "x-request-id" && value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit)
    };
    let masked = |(name, value): (String, Vec<u8>)| {
        let value = if is_made(&name, &value) { b"made".to_vec() } else { value };
        (name, value)
    };
    fields.into_iter().map(masked).collect()
}

/// Lines that are passed on, and others that are not, or make the request one for hyper.
const LINES: [&str; 34] = [
    "Accept: text/html",
    "Accept-Language: nl",
    "User-Agent: x",
    "Cookie: a=b",
    "cookie: c=d",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: x-mine",
    "Connection: , Close",
    "Keep-Alive: 5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: x",
    "TE: trailers",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "X-Mine: 1",
    "X-Forwarded-For: 198.51.100.1",
    "x-forwarded-for: 198.51.100.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: other.example",
    "X-Forwarded-Port: 1",
    "X-Forwarded-A-Name-That-Is-Longer-Than-All-Others: 1",
    "Forwarded: for=x",
    "X-Real-IP: 198.51.100.1",
    "X-Original-URL: /admin",
    "Via: 1.1 other",
    "Via: 1.0 a, 1.1 EDGE",
    "X-Request-Id: client-made_1",
    "X-Request-Id: not one",
    "Max-Forwards: 1",
    "Trailer: x",
    "HTTP2-Settings: AAMA",
    "Content-Length: 5",
    "Empty:",
];

fn head(method: &str, host: &str, picks: &[usize]) -> Vec<u8> {
    let mut lines = vec![format!("Host: {host}")];
    lines.extend(picks.iter().map(|pick| LINES[pick % LINES.len()].to_owned()));
    // Where Host stands does not matter.
    let place = picks.first().copied().unwrap_or_default() % lines.len();
    lines.swap(0, place);
    let lengths = lines.iter().filter(|line| line.starts_with("Content-Length")).count();
    lines.retain(|line| lengths < 2 || !line.starts_with("Content-Length"));
    format!("{method} /a/b?c=d HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

proptest! {
    #[test]
    fn what_the_upstream_gets_is_what_it_gets_the_other_way(
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "REPORT"]),
        host in prop::sample::select(vec!["Shop.example", "shop.example.", "shop.example:80", "shop.example:443", "shop.example:8080", "192.0.2.1", "[2001:DB8::1]:81"]),
        picks in prop::collection::vec(any::<usize>(), 0..12),
        is_tls in any::<bool>(),
        is_trusted in any::<bool>(),
    ) {
        let client = client(is_tls);
        let trusted: Vec<ipnet::IpNet> = is_trusted.then(|| "192.0.2.0/24".parse().expect("a network")).into_iter().collect();
        let rules = Rules { client: &client, server_name: "edge", trusted_proxies: &trusted };
        let bytes = head(method, host, &picks);
        let Some(request) = read(&bytes, rules) else { return Ok(()) };
        let mut out = Vec::new();
        let id = request.put_head(rules, &mut out);
        prop_assert!(headers::is_request_id(&out[id]));
        let line = format!("{method} /a/b?c=d HTTP/1.1\r\nHost: ");
        prop_assert!(out.starts_with(line.as_bytes()));
        let mut expected = rewritten(&bytes, &client, &trusted);
        let has_length = expected.iter().any(|(name, _)| name == "content-length");
        if !has_length && matches!(method, "POST" | "PUT" | "PATCH") {
            expected.push(("content-length".to_owned(), b"0".to_vec()));
            expected.sort();
        }
        prop_assert_eq!(without_made_id(fields_of(&out)), without_made_id(expected));
    }
}

#[test]
fn what_is_not_plain_beyond_doubt_is_left_to_the_other_way() {
    let client = client(false);
    let rules = Rules { client: &client, server_name: "edge", trusted_proxies: &[] };
    let taken = |head: &str| read(format!("{head}\r\n\r\n").as_bytes(), rules).is_some();
    let lines = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a.example{lines}");
    for (head, expected) in [
        (lines(""), true),
        (lines("\r\nConnection: close"), true),
        (lines("\r\nConnection: Keep-Alive, close"), true),
        (lines("\r\nContent-Length: 5"), true),
        (lines("\r\nCookie: a"), true),
        (lines("\r\nConnection: x-mine"), false),
        (lines("\r\nConnection: upgrade"), false),
        (lines("\r\nUpgrade: websocket"), false),
        (lines("\r\nTransfer-Encoding: chunked"), false),
        (lines("\r\nExpect: 100-continue"), false),
        (lines("\r\nTE: trailers"), false),
        (lines("\r\nCookie: a\r\nCookie: b"), false),
        (lines("\r\nAccept: a\r\nAccept: b"), false),
        (lines("\r\nVia: 1.1 edge"), false),
        ("GET / HTTP/1.0\r\nHost: a.example".to_owned(), false),
        ("OPTIONS / HTTP/1.1\r\nHost: a.example".to_owned(), false),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example".to_owned(), false),
        ("TRACE / HTTP/1.1\r\nHost: a.example".to_owned(), false),
        ("GET http://a.example/ HTTP/1.1\r\nHost: a.example".to_owned(), false),
        ("GET / HTTP/1.1\r\nHost: a b".to_owned(), false),
        ("GET / HTTP/1.1\r\nHost:".to_owned(), false),
    ] {
        assert_eq!(taken(&head), expected, "{head:?}");
    }
}

/// Lines of an upstream's head.
const ANSWERED: [&str; 21] = [
    "Server: x",
    "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    "Content-Length: 5",
    "Content-Length: 5, 5",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Connection: keep-alive, X-Inner",
    "Connection: date, x-request-id",
    "X-Inner: 1",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "Upgrade: h2c",
    "Sluis-Decision: x",
    "X-Request-Id: theirs",
    "Via: 1.1 inner",
    "Set-Cookie: a",
    "set-cookie: b",
    "Trailer: x",
    "TE: trailers",
    "X-A-Name-That-Is-Longer-Than-All-Others-That-Count: 1",
    "Empty:",
];

proptest! {
    #[test]
    fn what_the_client_gets_is_what_it_gets_the_other_way(
        status in prop::sample::select(vec!["200 OK", "200", "204 No Content", "304 Not Modified", "404 Not  Found ", "500 "]),
        picks in prop::collection::vec(any::<usize>(), 0..10),
        is_head in any::<bool>(),
        closes in any::<bool>(),
    ) {
        let lines: Vec<&str> = picks.iter().map(|pick| ANSWERED[pick % ANSWERED.len()]).collect();
        let bytes = format!("HTTP/1.1 {status}\r\n{}\r\n\r\n", lines.join("\r\n")).replace("\r\n\r\n\r\n", "\r\n\r\n");
        let response_head::Progress::Complete(found) = ResponseParser::new(is_head).advance(bytes.as_bytes()) else { return Ok(()) };
        let worker = Rc::clone(&client(false).worker);
        let added = Added { server_name: "edge", request_id: b"ours", worker: &worker, closes };
        let mut out = Vec::new();
        response::put_head(bytes.as_bytes(), &found, added, &mut out);
        let mut parts = upstream_head::parts(&found, &Bytes::from(bytes.clone())).expect("fields");
        upstream_head::clean(&mut parts, found.content_length);
        headers::append_via(&mut parts.headers, Version::HTTP_11, "edge");
        parts.headers.entry(headers::X_REQUEST_ID).or_insert(HeaderValue::from_static("ours"));
        if parts.headers.get("date").is_none() {
            let made = fields_of(&out).into_iter().find(|(name, _)| name == "date").expect("a date").1;
            prop_assert!(httpdate::parse_http_date(&String::from_utf8(made.clone()).expect("text")).is_ok());
            parts.headers.insert("date", HeaderValue::from_bytes(&made).expect("a value"));
        }
        if closes {
            parts.headers.insert("connection", HeaderValue::from_static("close"));
        }
        let is_framed_anew = matches!(found.framing, response_head::Framing::Chunked | response_head::Framing::UntilClose);
        if is_framed_anew {
            parts.headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        }
        prop_assert_eq!(fields_of(&out), fields_in(&parts.headers), "{}", bytes);
        let line = format!("HTTP/1.1 {} ", found.status.as_str());
        prop_assert!(out.starts_with(line.as_bytes()));
    }
}

#[test]
fn answer_of_our_own_has_its_length_and_to_head_no_body() {
    let mut response = Response::new(Bytes::from_static(b"no"));
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    for (is_head, closes, expected) in [
        (false, false, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\ndate: D\r\n\r\nno"),
        (true, true, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\ndate: D\r\nconnection: close\r\n\r\n"),
    ] {
        let mut out = Vec::new();
        response::put_own(&response, is_head, closes, b"D", &mut out);
        assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
    }
}

#[test]
fn idle_connection_is_small() {
    use crate::proxy::connection::Connections;
    let (shared, _lists) = shared(Limits::default());
    let worker = Rc::new(Worker::new(WorkerId(0), shared, Phase::Running));
    let connections = Rc::new(Connections::new(worker, crate::proxy::service::Edge));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (socket, _listener) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let socket = tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        (socket, listener)
    });
    let serving = connections.serve_http1(socket, [192, 0, 2, 7].into(), 0);
    // What the task of a connection holds. With what the runtime adds to it, it has 256 bytes; with eight more, it would have 384.
    assert!(size_of_val(&serving) <= 136, "{} bytes", size_of_val(&serving));
}
