//! Messages whose end is in doubt, from a hostile client and from a hostile origin: nobody may read another one's bytes.
//!
//! Inside: the rules of RFC 9112 sections 6 and 7, of RFC 9113 section 8.1.1, as tables with the section in
//! each row; a second request is hidden behind each message, and must not be seen at the origin. Kept out: which host a
//! request names (bypass.rs).

use std::io::Write;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;

use crate::support::frames::{Answer, DATA, END_STREAM, Frames, HEADERS, RST_STREAM, fields};
use crate::support::http2::Http2;
use crate::support::origin::{Reply, Step};
use crate::support::{Connection, Edge, Origin, Setup};

/// What is hidden behind every message.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: open.example\r\n\r\n";

/// Both ways that HTTP/1.1 comes.
fn connections(edge: &Edge) -> [Connection; 2] {
    [edge.http(), edge.https("open.example")]
}

/// RFC section, first line and fields below Host, the status, the reason.
type Head = (&'static str, &'static str, &'static [u8], u16, &'static str);

const FRAMING: &str = "malformed-framing";
const HEAD: &str = "malformed-head";
const CODING: &str = "transfer-coding-not-implemented";

const POST: &str = "POST / HTTP/1.1\r\n";

#[rustfmt::skip]
const AMBIGUOUS_HEADS: &[Head] = &[
    ("9112 6.1", POST, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, FRAMING),
    ("9112 6.1", POST, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400, FRAMING),
    ("9112 6.1", POST, b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400, FRAMING),
    ("9112 6.1", POST, b"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", 400, FRAMING),
    ("9112 6.1", "POST / HTTP/1.0\r\n", b"Transfer-Encoding: chunked\r\n", 400, FRAMING),
    ("9112 6.1", "GET / HTTP/1.0\r\n", b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", 400, FRAMING),
    ("9112 6.1", POST, b"Transfer-Encoding: gzip, chunked\r\n", 501, CODING),
    ("9112 6.1", POST, b"Transfer-Encoding: xchunked\r\n", 501, CODING),
    ("9112 6.1", POST, b"Transfer-Encoding: identity\r\n", 501, CODING),
    ("9112 6.1", POST, b"Transfer-Encoding: cow\r\n", 501, CODING),
    ("9112 7", POST, b"Transfer-Encoding: ,chunked\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: chunked,\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: chunked, chunked\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: chunked, identity\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: chunked;q=1\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: \"chunked\"\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", 400, FRAMING),
    ("9112 7", POST, b"Transfer-Encoding:\r\n", 400, FRAMING),
    ("9110 5.5", POST, b"Transfer-Encoding: \x0bchunked\r\n", 400, HEAD),
    ("9110 5.5", POST, b"Transfer-Encoding: \x0cchunked\r\n", 400, HEAD),
    ("9110 5.6.3", POST, b"Transfer-Encoding: chunked\xa0\r\n", 400, FRAMING),
    ("9112 5.1", POST, b"Transfer-Encoding : chunked\r\n", 400, HEAD),
    ("9112 5.2", POST, b"Transfer-Encoding:\r\n chunked\r\n", 400, HEAD),
    ("9112 5.2", POST, b"X: y\r\n Transfer-Encoding: chunked\r\n", 400, HEAD),
    ("9112 2.2", POST, b"X: y\nTransfer-Encoding: chunked\r\n", 400, HEAD),
    ("9112 2.2", POST, b"X: y\rTransfer-Encoding: chunked\r\n", 400, HEAD),
    ("9110 5.1", POST, b"Transfer_Encoding: chunked\r\n", 400, HEAD),
    ("9110 5.1", POST, b"Content_Length: 5\r\n", 400, HEAD),
    ("9110 8.6", POST, b"Content-Length: 5\r\nContent-Length: 5\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 5\r\nContent-Length: 6\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 0\r\ncontent-length: 49\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 5, 5\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 5,\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: +5\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: -5\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 0x5\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 5_0\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 5 5\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length:\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 18446744073709551616\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 18446744073709551615\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: \xb25\r\n", 400, FRAMING),
    ("9110 7.6.1", POST, b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", 400, HEAD),
    ("9110 10.1.1", POST, b"Expect: 100-continue, x\r\nContent-Length: 5\r\n", 417, "expectation-failed"),
    ("9110 10.1.1", POST, b"Expect: y 100-continue\r\nContent-Length: 5\r\n", 417, "expectation-failed"),
];

#[test]
fn head_whose_framing_is_in_doubt_is_refused_and_nothing_behind_it_is_read() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    for (section, line, fields, status, reason) in AMBIGUOUS_HEADS {
        for mut connection in connections(&edge) {
            let what = format!("RFC {section}: {line:?} {}", fields.escape_ascii());
            let before = edge.metrics();
            let bytes =
                [line.as_bytes(), b"Host: open.example\r\n", fields, b"\r\n0\r\n\r\n", HIDDEN.as_bytes()].concat();
            let response = connection.send(bytes).read_response();
            assert_eq!(response.status, *status, "{what}");
            assert_eq!(response.header("connection"), Some("close"), "{what}");
            let proxy_status = response.header("proxy-status").unwrap_or_else(|| panic!("{what}: says not why"));
            assert!(proxy_status.contains(&format!("details=\"{reason}\"")), "{what}: {proxy_status}");
            assert!(connection.is_closed() && connection.take_buffered().is_empty(), "{what}: it goes on");
            let metrics = edge.settled(&what);
            assert_eq!(metrics.rejected(reason) - before.rejected(reason), 1.0, "{what}");
        }
    }
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(origin.connections(), 0, "not a byte was sent on");
}

#[test]
fn body_whose_chunks_are_broken_never_looks_whole_to_the_origin() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let long_extension = [b"1;".as_slice(), &[b'x'; 70_000], b"\r\na\r\n0\r\n\r\n"].concat();
    let long_trailer = [b"0\r\nX: ".as_slice(), &[b'x'; 70_000], b"\r\n\r\n"].concat();
    let table: &[(&str, &[u8])] = &[
        ("9112 7.1", b"g\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"\r\n0\r\n\r\n"),
        ("9112 7.1", b" 1\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"1 \r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"0x1\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"+1\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"-1\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
        ("9112 7.1", b"10000000000000000\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"00000000000000001\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"1\r\nab\r\n0\r\n\r\n"),
        ("9112 7.1", b"2\r\na\r\n0\r\n\r\n"),
        ("9112 7.1", b"1\r\na0\r\n\r\n"),
        ("9112 7.1", b"1\r\naXX0\r\n\r\n"),
        ("9112 2.2", b"1\na\n0\n\n"),
        ("9112 2.2", b"1\r\na\n0\r\n\r\n"),
        ("9112 2.2", b"1\r\na\r0\r\n\r\n"),
        ("9112 2.2", b"0\r\n\n"),
        ("9112 7.1.1", b"1;\nx\r\na\r\n0\r\n\r\n"),
        ("9112 7.1.1", b"1;x\r\r\na\r\n0\r\n\r\n"),
        ("9112 7.1.1", b"1;x\0\r\na\r\n0\r\n\r\n"),
        ("9112 7.1.1", b"1\r\r;x\r\na\r\n0\r\n\r\n"),
        ("9112 7.1.1", &long_extension),
        ("9112 7.1.2", &long_trailer),
        ("9112 7.1.2", b"0\r\nX : y\r\n\r\n"),
        ("9112 7.1.2", b"0\r\n X: y\r\n\r\n"),
        ("9112 7.1.2", b"0\r\nX\r\n\r\n"),
        ("9112 7.1.2", b"0\r\nX: \0\r\n\r\n"),
    ];
    for (section, chunks) in table {
        for mut connection in connections(&edge) {
            let what = format!("RFC {section}: {}", chunks.get(..40).unwrap_or(chunks).escape_ascii());
            let before = edge.metrics();
            let head = "POST / HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n";
            // The edge may have closed before all of a long one was sent.
            let _ = connection.try_send([head.as_bytes(), chunks, HIDDEN.as_bytes()].concat());
            let response = connection.read_response();
            assert_eq!(response.status, 400, "{what}");
            assert_eq!(response.header("connection"), Some("close"), "{what}");
            assert!(connection.is_closed() && connection.take_buffered().is_empty(), "{what}: it goes on");
            let metrics = edge.settled(&what);
            assert_eq!(metrics.rejected(FRAMING) - before.rejected(FRAMING), 1.0, "{what}");
        }
    }
    assert_eq!(origin.requests().len(), 0, "no request was whole");
}

#[test]
fn body_that_nobody_reads_closes_the_connection_and_is_never_read_as_a_request() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    for (line, host, status) in [
        ("POST /", "blocked.example", 403),
        ("GET /", "blocked.example", 403),
        ("POST http://other.example/", "other.example:81", 400),
        ("OPTIONS *", "open.example", 204),
        ("TRACE /", "open.example", 405),
    ] {
        for (fields, body) in [
            (format!("Content-Length: {}\r\n", HIDDEN.len()), HIDDEN.to_owned()),
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())),
            // RFC 9110 section 10.1.1: the client waits for 100, and need not send the body after another answer.
            (format!("Expect: 100-continue\r\nContent-Length: {}\r\n", HIDDEN.len()), HIDDEN.to_owned()),
        ] {
            for late in [false, true] {
                let what = format!("{line} {host} {fields:?} {late}");
                let mut connection = edge.http();
                let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
                connection.send(if late { head } else { head + &body });
                let response = connection.read_response();
                assert_eq!((response.status, response.interim.len()), (status, 0), "{what}");
                assert_eq!(response.header("connection"), Some("close"), "{what}");
                if late {
                    let _ = connection.try_send(&body);
                }
                let _ = connection.try_send(HIDDEN);
                assert!(connection.is_closed() && connection.take_buffered().is_empty(), "{what}");
            }
        }
    }
    edge.settled("all have ended");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn request_that_is_framed_well_arrives_as_one_and_what_follows_as_another() {
    let origin = Origin::answering(|request| Reply::ok(&request.target));
    let edge = Setup::new(origin.address()).start();
    // RFC 9110 section 9.3.1: content of GET and the like is passed on, never dropped.
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "BREW"] {
        for (fields, body) in [
            (format!("Content-Length: {}\r\n", HIDDEN.len()), HIDDEN.to_owned()),
            (format!("Content-Length: 000{}\r\n", HIDDEN.len()), HIDDEN.to_owned()),
            ("tRANSFER-eNCODING: Chunked\r\n".to_owned(), format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("{:X};a=b\r\n{HIDDEN}\r\n000\r\nX: y\r\n\r\n", HIDDEN.len()),
            ),
        ] {
            for mut connection in connections(&edge) {
                let what = format!("{method} {fields}");
                let before = origin.requests().len();
                connection.send(format!(
                    "{method} /first HTTP/1.1\r\nHost: open.example\r\n{fields}\r\n{body}{}",
                    HIDDEN.replace("hidden", "next")
                ));
                let first = connection.try_read_response(method == "HEAD").unwrap();
                assert_eq!((first.status, connection.read_response().text().as_str()), (200, "/next"), "{what}");
                let requests = &origin.requests()[before..];
                let targets: Vec<&str> = requests.iter().map(|request| request.target.as_str()).collect();
                assert_eq!(targets, ["/first", "/next"], "{what}");
                assert_eq!(requests[0].body, HIDDEN.as_bytes(), "{what}");
                assert_eq!(
                    requests[0].all("content-length").len() + requests[0].all("transfer-encoding").len(),
                    1,
                    "{what}"
                );
            }
        }
    }
}

/// RFC section, what the origin sends to `/bad`.
#[rustfmt::skip]
const AMBIGUOUS_RESPONSES: &[(&str, &[u8])] = &[
    ("9112 6.3", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("9112 6.3", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.3", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.3", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.3", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nabc"),
    ("9112 6.1", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.1", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("9112 6.3", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\na"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\na"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na"),
    ("9110 8.6", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    ("9112 5.2", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("9112 5.1", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    ("9110 5.5", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("9110 5.1", b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.2", b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"220 mail.example ESMTP\r\n"),
    ("9112 4", b"\x15\x03\x03\x00\x02\x02\x28"),
    ("9110 15.2.2", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("9110 15.2.2", b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"),
];

/// Answers `/bad` as told, and everything else with `mine`.
fn hostile(bytes: Vec<u8>) -> (Origin, Edge) {
    let origin = Origin::answering(move |request| {
        if request.target != "/bad" {
            return Reply::ok("mine");
        }
        Reply::raw(bytes.clone()).then(Step::Wait(Duration::from_millis(50)))
    });
    let edge = Setup::new(origin.address()).server("workers = 1").start();
    (origin, edge)
}

#[test]
fn response_whose_framing_is_in_doubt_is_a_bad_gateway_over_each_protocol() {
    for (section, bytes) in AMBIGUOUS_RESPONSES {
        let what = format!("RFC {section}: {}", bytes.escape_ascii());
        let (_origin, edge) = hostile(bytes.to_vec());
        let mut connection = edge.http();
        let response = connection.get("open.example", "/bad");
        assert_eq!(response.status, 502, "{what}");
        assert!(response.header("proxy-status").is_some_and(|text| text.contains("http_protocol_error")), "{what}");
        assert_eq!(connection.get("open.example", "/").text(), "mine", "{what}: the same client goes on");
        let mut client = Http2::connect(edge.address("https"), Some("open.example"));
        assert_eq!(client.get("open.example", "/bad").status, 502, "{what} by HTTP/2");
        assert_eq!(client.get("open.example", "/").text(), "mine", "{what}");
        let metrics = edge.settled(&what);
        assert_eq!(metrics.sum("sluis_failed_total", &[("reason", "upstream-malformed")]), 2.0, "{what}");
    }
}

#[test]
fn bytes_beyond_a_response_reach_nobody() {
    const MORE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    for (section, method, head) in [
        ("9112 6.3", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"),
        ("9112 6.3", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("9112 6.3", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n"),
        ("9112 6.3", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n"),
        ("9112 6.3", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("9112 7.1", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "9110 15.2",
            "GET",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        let what = format!("RFC {section}: {method} {head:?}");
        let (_origin, edge) = hostile(format!("{head}{MORE}").into_bytes());
        let mut connection = edge.http();
        connection.send(format!("{method} /bad HTTP/1.1\r\nHost: open.example\r\n\r\n"));
        let response = connection.try_read_response(method == "HEAD").unwrap();
        assert!(response.status < 400 && response.body.is_empty(), "{what}: {response:?}");
        for _ in 0..3 {
            assert_eq!(connection.get("open.example", "/").text(), "mine", "{what}");
            assert_eq!(edge.get("open.example", "/").text(), "mine", "{what}");
        }
        let mut client = Http2::connect(edge.address("https"), Some("open.example"));
        let request = Request::builder().method(method).uri("https://open.example/bad").body(Full::default()).unwrap();
        let response = client.send(request).unwrap();
        assert!(response.status < 400 && response.body.is_empty(), "{what} by HTTP/2: {response:?}");
        assert_eq!(client.get("open.example", "/").text(), "mine", "{what} by HTTP/2");
        edge.settled(&what);
    }
}

#[test]
fn response_that_is_read_with_leniency_is_sent_on_clean() {
    for (section, bytes) in [
        ("9112 2.2", "HTTP/1.1 200 OK\nX-Kept: a\nContent-Length: 2\n\nok"),
        ("9110 8.6", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        ("9110 8.6", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nContent-Length: 2, 2\r\n\r\nok"),
        ("9112 7.1.1", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nTransfer-Encoding: chunked\r\n\r\n2 ;x\r\nok\r\n0\r\n\r\n"),
        ("9112 4", "HTTP/1.1 200\r\nX-Kept: a\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let (_origin, edge) = hostile(bytes.into());
        let mut connection = edge.http();
        connection.send("GET /bad HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n");
        let sent = String::from_utf8(connection.read_to_end().unwrap()).unwrap();
        let what = format!("RFC {section}: {bytes:?}: {sent:?}");
        assert!(sent.starts_with("HTTP/1.1 200 "), "{what}");
        assert!(!sent.replace("\r\n", "").contains(['\r', '\n']), "{what}");
        let fields =
            sent.matches("content-length: 2\r\n").count() + sent.matches("transfer-encoding: chunked\r\n").count();
        assert_eq!((fields, sent.matches("x-kept: a\r\n").count()), (1, 1), "{what}");
        assert_eq!(edge.get("open.example", "/").text(), "mine", "{what}");
    }
}

#[test]
fn flood_of_interim_responses_and_a_head_without_end_are_bounded() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_origin, edge) = hostile(interim.into_bytes());
    assert!([200, 502].contains(&edge.get("open.example", "/bad").status));
    assert_eq!(edge.get("open.example", "/").text(), "mine");
    for head in [
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(40_000)),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(300_000)),
        format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(300_000)),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n", "X: y\r\n".repeat(40_000)),
    ] {
        let (_origin, edge) = hostile(head.into_bytes());
        if let Ok(response) =
            edge.http().send("GET /bad HTTP/1.1\r\nHost: open.example\r\n\r\n").try_read_response(false)
        {
            assert!(response.status == 502 || !response.complete, "{:?}", response.status);
        }
        assert_eq!(edge.get("open.example", "/").text(), "mine");
        edge.settled("a head without end");
    }
}

#[test]
fn http2_body_that_is_not_as_long_as_its_length_never_looks_whole_to_the_origin() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let fields = |length: &'static [u8]| {
        let mut fields: Vec<(&[u8], &[u8])> =
            fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"].to_vec();
        fields.push((b"content-length", length));
        fields
    };
    // RFC 9113 section 8.1.1: the length, and the DATA frames, the last of which ends the stream.
    let table: [(&[u8], &[&[u8]]); 7] = [
        (b"5", &[b"abcd"]),
        (b"5", &[b"abcdef"]),
        (b"5", &[b"abc", b""]),
        (b"5", &[b""]),
        (b"0", &[b"GET /hidden HTTP/1.1\r\n"]),
        (b"5,5", &[b"abcde"]),
        (b"+5", &[b"abcde"]),
    ];
    for (length, data) in table {
        let what = format!("{} {data:?}", length.escape_ascii());
        let mut client = Frames::connect(edge.address("https"), Some("open.example"));
        let stream = client.open(&fields(length), 0);
        for (at, part) in data.iter().enumerate() {
            client.send(DATA, if at + 1 == data.len() { END_STREAM } else { 0 }, stream, part);
        }
        assert!(matches!(client.end_of(stream), Answer::Reset | Answer::Gone | Answer::Status(400)), "{what}");
        edge.settled(&what);
    }
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let stream = client.open(&fields(b"5"), END_STREAM);
    assert!(matches!(client.end_of(stream), Answer::Reset | Answer::Gone), "a length, and END_STREAM with the fields");
    // A reset and DATA after it in one go (CVE-2026-26311).
    let stream = client.open(&fields(b"5"), 0);
    client.send(DATA, 0, stream, b"ab");
    client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    client.send(DATA, END_STREAM, stream, b"cde");
    client.send(HEADERS, END_STREAM, stream, b"");
    assert_eq!(origin.requests().len(), 0, "no request was whole");
    edge.settled("all have ended");
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let stream = client.open(&fields(b"5"), 0);
    client.send(DATA, END_STREAM, stream, b"abcde");
    assert_eq!(client.end_of(stream), Answer::Status(200));
    assert_eq!(origin.only_request().body, b"abcde");
}

#[test]
fn trailers_are_filtered_both_ways_over_each_protocol() {
    let trailers = "Host: blocked.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\n\
                    X-Forwarded-For: 203.0.113.1\r\nX_Forwarded_Host: x\r\nSet-Cookie: a=b\r\nX-Sum: 1\r\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Host, Authorization, Set-Cookie, Content-Length\r\n\r\n2\r\nok\r\n0\r\n{trailers}\r\n"
    );
    let origin = Origin::raw(move |mut stream, _| {
        let mut client = Connection::over(Box::new(stream.try_clone().unwrap()));
        while client.read_head().is_ok() {
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let edge = Setup::new(origin.address()).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    let response = client.get("open.example", "/");
    assert_eq!((response.text().as_str(), response.trailers), ("ok", vec![("x-sum".to_owned(), "1".to_owned())]));
    let mut connection = edge.http();
    let response = connection.send("GET / HTTP/1.1\r\nHost: open.example\r\nTE: trailers\r\n\r\n").read_response();
    let names: Vec<String> = response.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(names, ["x-sum"]);
    let response = connection.get("open.example", "/");
    assert!(response.complete && response.trailers.is_empty(), "RFC 9110 section 6.5.1: {:?}", response.trailers);
}
