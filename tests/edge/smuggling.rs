//! Requests whose end is in doubt: nobody may read another one's bytes.
//!
//! Inside: the rules of RFC 9112 sections 6 and 7 as tables with the section in each row; a second request is hidden behind
//! each message, and must not be seen at the origin. Kept out: the same by HTTP/2 (smuggling_http2.rs), what an origin
//! does (hostile_origin.rs), and which host a request names (bypass.rs).

use crate::support::{Connection, Edge, Metrics, Origin, Reply, Setup};

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
    ("9110 8.6", POST, b"Content-Length: 05\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 00\r\n", 400, FRAMING),
    // A signed number of 64 bits has no room for it.
    ("9110 8.6", POST, b"Content-Length: 9223372036854775808\r\n", 400, FRAMING),
    ("9110 8.6", POST, b"Content-Length: 5\r\nContent-Length:\r\n", 400, FRAMING),
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
            let all = |metrics: &Metrics| metrics.sum("sluis_rejected_total", &[]);
            assert_eq!(all(&metrics) - all(&before), 1.0, "{what}: all refusals");
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
            let all = |metrics: &Metrics| metrics.sum("sluis_rejected_total", &[]);
            assert_eq!(all(&metrics) - all(&before), 1.0, "{what}: all refusals");
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
        ("POST ftp://other.example/", "other.example", 400),
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
                for mut connection in connections(&edge) {
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
