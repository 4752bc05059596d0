//! Responses of a hostile origin: what reaches the client is one well-formed message, or visibly cut.
//!
//! Inside: framing, heads, interim responses and what stands behind a response, over HTTP/1.1 in the clear, over TLS and
//! over HTTP/2, with the RFC section in each row. Kept out: origins that are slow or gone (upstream_faults.rs).

use std::io::Write;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;

use crate::support::http2::Http2;
use crate::support::origin::Step;
use crate::support::{Connection, Edge, Metrics, Origin, Reply, Setup};

/// How a client comes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Clear,
    Tls,
    Http2,
}

const WAYS: [Way; 3] = [Way::Clear, Way::Tls, Way::Http2];

/// What a client got.
#[derive(Debug)]
struct Got {
    /// 0 where there was no head.
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    whole: bool,
}

impl Got {
    const NOTHING: Self = Self { status: 0, fields: Vec::new(), body: Vec::new(), whole: false };

    fn all(&self, name: &str) -> Vec<&str> {
        let matching = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str()).collect()
    }
}

/// Asks on a connection of its own.
fn ask(edge: &Edge, way: Way, method: &str, target: &str) -> Got {
    let connection = match way {
        Way::Clear => edge.http(),
        Way::Tls => edge.https("open.example"),
        Way::Http2 => return ask_http2(edge, method, target),
    };
    ask_http1(connection, method, target)
}

fn ask_http2(edge: &Edge, method: &str, target: &str) -> Got {
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    let request = Request::builder().method(method).uri(format!("https://open.example{target}"));
    match client.send(request.body(Full::default()).unwrap()) {
        Ok(response) => Got { status: response.status, fields: response.headers, body: response.body, whole: true },
        Err(_) => Got::NOTHING,
    }
}

/// Reads everything that comes and takes it apart without any leniency: it must be one message, or the beginning of one.
fn ask_http1(mut connection: Connection, method: &str, target: &str) -> Got {
    connection.send(format!("{method} {target} HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n"));
    let _ = connection.read_to_end();
    let bytes = connection.take_buffered();
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        assert!(bytes.is_empty(), "half a head: {}", bytes.escape_ascii());
        return Got::NOTHING;
    };
    let (head, body) = (&bytes[..end + 4], &bytes[end + 4..]);
    let text = String::from_utf8(head.to_vec()).expect("a head of ASCII");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text:?}");
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut lines);
    assert!(parsed.parse(head).is_ok_and(|status| status.is_complete()), "{text:?}");
    assert!(text.starts_with("HTTP/1.1 "), "{text:?}");
    let status = parsed.code.expect("a status");
    let field = |line: &httparse::Header<'_>| (line.name.to_owned(), String::from_utf8_lossy(line.value).into_owned());
    let got = Got { status, fields: parsed.headers.iter().map(field).collect(), body: body.to_vec(), whole: false };
    framed(got, method == "HEAD" || status == 204 || status == 304)
}

/// The body without its framing, of which there must be exactly one.
fn framed(mut got: Got, is_bodyless: bool) -> Got {
    let (lengths, codings) = (got.all("content-length"), got.all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "more than one framing: {:?}", got.fields);
    if is_bodyless {
        assert!(got.body.is_empty(), "a body where there is none: {}", got.body.escape_ascii());
        got.whole = true;
    } else if let [length] = lengths[..] {
        let length: usize = length.parse().expect("a length");
        assert!(got.body.len() <= length, "more than the length: {}", got.body.escape_ascii());
        got.whole = got.body.len() == length;
    } else {
        assert_eq!(codings, ["chunked"]);
        let (body, whole) = dechunked(&got.body);
        (got.body, got.whole) = (body, whole);
    }
    got
}

/// The content of chunks as sluis writes them: no extension, no trailer that nobody asked for.
fn dechunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return (content, false) };
        let line = str::from_utf8(&bytes[..end]).expect("a chunk size");
        let size = usize::from_str_radix(line, 16).expect("a chunk size");
        bytes = &bytes[end + 2..];
        if size == 0 {
            assert_eq!(bytes, b"\r\n", "behind the last chunk");
            return (content, true);
        }
        if bytes.len() < size + 2 {
            return (content, false);
        }
        content.extend_from_slice(&bytes[..size]);
        assert_eq!(&bytes[size..size + 2], b"\r\n");
        bytes = &bytes[size + 2..];
    }
}

/// An origin that answers `/N` with the bytes of row N, and all else with `mine`; and an edge before it.
fn hostile(rows: Vec<Vec<u8>>) -> (Origin, Edge) {
    let origin = Origin::answering(move |request| {
        let row = request.target[1..].parse::<usize>().ok().and_then(|row| rows.get(row));
        // What stands behind a response comes with it, or a moment later.
        row.map_or_else(|| Reply::ok("mine"), |row| Reply::raw(row.clone()).then(Step::Wait(Duration::from_millis(5))))
    });
    let edge = Setup::new(origin.address()).server("workers = 1").start();
    (origin, edge)
}

/// Nothing of an earlier response comes up later.
fn others_go_on(edge: &Edge, what: &str) {
    let got = ask(edge, Way::Clear, "GET", "/");
    assert_eq!((got.status, got.body.as_slice()), (200, &b"mine"[..]), "{what}: the next client");
}

/// Asks for row N each way; then holds the counters to `reason`, once for each way.
fn check_failure(edge: &Edge, row: usize, reason: &str, what: &str, is_right: impl Fn(&Got) -> bool) {
    for way in WAYS {
        let before = edge.metrics();
        let got = ask(edge, way, "GET", &format!("/{row}"));
        assert!(is_right(&got), "{what}, {way:?}: {got:?}");
        others_go_on(edge, what);
        let metrics = edge.settled(what);
        let all = |metrics: &Metrics| metrics.sum("sluis_failed_total", &[]);
        let one = |metrics: &Metrics| metrics.sum("sluis_failed_total", &[("reason", reason)]);
        assert_eq!((all(&metrics) - all(&before), one(&metrics) - one(&before)), (1.0, 1.0), "{what}, {way:?}");
        assert_eq!(metrics.outcome("failed") - before.outcome("failed"), 1, "{what}, {way:?}");
    }
}

/// RFC section, what the origin sends, which is 502 in each case.
#[rustfmt::skip]
const MALFORMED: &[(&str, &[u8])] = &[
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
    ("9112 2.3", b"hello, this is HTTP/0.9\r\n"),
    ("9112 2.3", b"<html>no head at all</html>"),
    ("9112 4", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4", b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.2", b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\rX-Injected: y\r\nContent-Length: 0\r\n\r\n"),
    ("9110 5.5", b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\0b\r\nContent-Length: 0\r\n\r\n"),
    ("9112 5", b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n"),
    ("9112 5", b"HTTP/1.1 200 OK\r\n: nameless\r\nContent-Length: 0\r\n\r\n"),
    ("9112 5.2", b"HTTP/1.1 200 OK\r\n X: first line folded\r\nContent-Length: 0\r\n\r\n"),
    ("9112 6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    ("9112 6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nab"),
    ("9110 8.6", b"HTTP/1.1 200 OK\r\nContent-Length: 2,\r\n\r\nab"),
    ("9110 8.6", b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    ("9112 2.2", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ("9112 2.2", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok"),
    ("9112 2.2", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
    ("9112 2.2", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
];

#[test]
fn response_whose_framing_is_in_doubt_is_a_bad_gateway_over_each_protocol() {
    let mut rows: Vec<(&str, Vec<u8>)> = MALFORMED.iter().map(|(section, bytes)| (*section, bytes.to_vec())).collect();
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(1 << 20));
    rows.push(("9110 5.4", large.into()));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X: y\r\n".repeat(100_000));
    rows.push(("9110 5.4", many.into()));
    let (_origin, edge) = hostile(rows.iter().map(|(_, bytes)| bytes.clone()).collect());
    for (row, (section, bytes)) in rows.iter().enumerate() {
        let what = format!("RFC {section}: {}", bytes.get(..80).unwrap_or(bytes).escape_ascii());
        check_failure(&edge, row, "upstream-malformed", &what, |got| {
            let proxy_status = got.all("proxy-status").concat();
            got.status == 502 && got.whole && proxy_status.contains("error=http_protocol_error")
        });
    }
}

/// RFC section, what follows `Transfer-Encoding: chunked` in a response.
#[rustfmt::skip]
const BROKEN_CHUNKS: &[(&str, &[u8])] = &[
    ("9112 7.1", b"2\r\nok\r\ng\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n0x1\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n+1\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n-1\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n10000000000000001\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok!\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok0\r\n\r\n"),
    ("9112 7.1", b"2\r\nokXX0\r\n\r\n"),
    ("9112 2.2", b"2\r\nok\n0\r\n\r\n"),
    ("9112 2.2", b"2\nok\n0\n\n"),
    ("9112 7.1.1", b"2\r\nok\r\n1 ;x\r\na\r\n0\r\n\r\n"),
    ("9112 7.1", b"2\r\nok\r\n1 \r\na\r\n0\r\n\r\n"),
    ("9112 7.1.1", b"2\r\nok\r\n1;\nx\r\na\r\n0\r\n\r\n"),
    ("9112 7.1.1", b"2\r\nok\r\n1\r\r;x\r\na\r\n0\r\n\r\n"),
    ("9112 7.1.2", b"2\r\nok\r\n0\r\nX : y\r\n\r\n"),
    ("9112 7.1.2", b"2\r\nok\r\n0\r\nX: \0\r\n\r\n"),
];

#[test]
fn response_whose_chunks_are_broken_is_cut_and_never_looks_whole_over_each_protocol() {
    let response =
        |(_, chunks): &(&str, &[u8])| [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks].concat();
    let (_origin, edge) = hostile(BROKEN_CHUNKS.iter().map(response).collect());
    for (row, (section, chunks)) in BROKEN_CHUNKS.iter().enumerate() {
        let what = format!("RFC {section}: {}", chunks.escape_ascii());
        check_failure(&edge, row, "upstream-malformed", &what, |got| !got.whole || got.status == 502);
    }
}

#[test]
fn response_that_ends_too_soon_is_cut_over_each_protocol() {
    let rows: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ];
    let origin = Origin::answering(move |request| {
        let row = request.target[1..].parse::<usize>().ok().and_then(|row| rows.get(row));
        row.map_or_else(|| Reply::ok("mine"), |row| Reply::raw(*row).then(Step::Close))
    });
    let edge = Setup::new(origin.address()).server("workers = 1").start();
    for (row, bytes) in rows.iter().enumerate() {
        // RFC 9112 section 8.
        check_failure(&edge, row, "upstream-closed", &bytes.escape_ascii().to_string(), |got| !got.whole);
    }
}

/// RFC section, method, what the origin sends before a second response that nobody asked for, and the body.
#[rustfmt::skip]
const WITH_MORE_BEHIND: &[(&str, &str, &str, &str)] = &[
    ("9112 6.3", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", ""),
    ("9112 6.3", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""),
    ("9112 6.3", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", ""),
    ("9112 6.3", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""),
    ("9112 6.3", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", ""),
    ("9112 6.3", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ("9112 6.3", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ("9112 7.1", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
    ("9112 7.1", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
    ("9110 15.2", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
];

#[test]
fn bytes_beyond_a_response_reach_nobody() {
    const MORE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    let rows = WITH_MORE_BEHIND.iter().map(|(_, _, head, _)| [head, MORE].concat().into_bytes());
    let (_origin, edge) = hostile(rows.collect());
    for (row, (section, method, head, body)) in WITH_MORE_BEHIND.iter().enumerate() {
        for way in WAYS {
            let what = format!("RFC {section}: {method} {head:?}, {way:?}");
            let got = ask(&edge, way, method, &format!("/{row}"));
            assert!(got.whole && (200..400).contains(&got.status), "{what}: {got:?}");
            assert_eq!(got.body, body.as_bytes(), "{what}");
            for _ in 0..3 {
                others_go_on(&edge, &what);
            }
        }
    }
    edge.settled("all have ended");
}

/// RFC section, what the origin sends: `ok`, and a field `X-Kept: a`.
#[rustfmt::skip]
const LENIENT: &[(&str, &str)] = &[
    ("9110 8.6", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 8.6", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nContent-Length: 2, 2\r\n\r\nok"),
    ("9112 7.1.1", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nok\r\n0\r\n\r\n"),
    ("9112 4", "HTTP/1.1 200\r\nX-Kept: a\r\nContent-Length: 2\r\n\r\nok"),
    ("9112 2.3", "HTTP/1.0 200 OK\r\nX-Kept: a\r\nContent-Length: 2\r\n\r\nok"),
    // What Connection names is of one hop; the framing is made anew.
    ("9110 7.6.1", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nConnection: close, content-length\r\nContent-Length: 2\r\n\r\nok"),
    ("9110 7.6.1", "HTTP/1.1 200 OK\r\nX-Kept: a\r\nConnection: transfer-encoding, x-hop\r\nX-Hop: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
];

#[test]
fn response_that_is_read_with_leniency_is_sent_on_clean() {
    let (_origin, edge) = hostile(LENIENT.iter().map(|(_, bytes)| bytes.as_bytes().to_vec()).collect());
    for (row, (section, bytes)) in LENIENT.iter().enumerate() {
        for way in WAYS {
            let got = ask(&edge, way, "GET", &format!("/{row}"));
            let what = format!("RFC {section}: {bytes:?}, {way:?}: {got:?}");
            assert_eq!((got.status, got.body.as_slice(), got.whole), (200, &b"ok"[..], true), "{what}");
            assert_eq!((got.all("x-kept"), got.all("x-hop")), (vec!["a"], vec![]), "{what}");
            others_go_on(&edge, &what);
        }
    }
}

#[test]
fn flood_of_interim_responses_and_a_head_without_end_are_bounded() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let rows = [
        "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000) + ok,
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(10_000) + ok,
        format!("HTTP/1.1 100 Continue\r\n\r\n{ok}"),
        format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(300_000)),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n", "X: y\r\n".repeat(40_000)),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\na\r\n0\r\n\r\n", "y".repeat(300_000)),
    ];
    let (_origin, edge) = hostile(rows.iter().map(|row| row.as_bytes().to_vec()).collect());
    for (row, bytes) in rows.iter().enumerate() {
        for way in WAYS {
            let what = format!("{:?}, {way:?}", &bytes[..60]);
            let got = ask(&edge, way, "GET", &format!("/{row}"));
            assert!(got.status == 502 || !got.whole || got.body == b"ok", "{what}: {got:?}");
            others_go_on(&edge, &what);
        }
    }
    edge.settled("all have ended");
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
