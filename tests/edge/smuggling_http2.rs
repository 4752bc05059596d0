//! Requests by HTTP/2 whose end is in doubt, and frames that are in no order: none looks whole to the origin, and each is
//! counted once.
//!
//! Inside: RFC 9113 sections 5.1 and 8.1.1, in frames of our own making, and what follows a refused stream. Kept out:
//! which host a request names (bypass_http2.rs), and floods.

use crate::support::frames::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block, fields,
};
use crate::support::http2::Http2;
use crate::support::{Connection, Edge, Metrics, Origin, Reply, Setup};

/// The fields of a POST to open.example, with a length.
fn post(length: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut fields: Vec<(&[u8], &[u8])> =
        fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"].to_vec();
    fields.push((b"content-length", length));
    fields
}

/// Holds the counters to one request that was begun and refused, for one of these reasons.
fn refused_once(edge: &Edge, before: &Metrics, reasons: &[&str], what: &str) {
    let after = edge.settled(what);
    let grown = |count: &dyn Fn(&Metrics) -> f64| count(&after) - count(before);
    assert_eq!(grown(&|metrics| metrics.sum("sluis_rejected_total", &[])), 1.0, "{what}: refusals");
    let named: f64 = reasons.iter().map(|reason| grown(&|metrics| metrics.rejected(reason))).sum();
    assert_eq!(named, 1.0, "{what}: refused for one of {reasons:?}");
    assert_eq!(grown(&|metrics| metrics.outcome("rejected") as f64), 1.0, "{what}: outcomes");
    assert_eq!(grown(&|metrics| metrics.sum("sluis_requests_started_total", &[])), 1.0, "{what}: requests begun");
}

#[test]
fn http2_body_that_is_not_as_long_as_its_length_never_looks_whole_to_the_origin() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    // RFC 9113 section 8.1.1: the length, and the DATA frames, the last of which ends the stream.
    let table: &[(&[u8], &[&[u8]])] = &[
        (b"5", &[b"abcd"]),
        (b"5", &[b"abcdef"]),
        (b"5", &[b"abc", b""]),
        (b"5", &[b"abc", b"def"]),
        (b"5", &[b""]),
        (b"0", &[b"GET /hidden HTTP/1.1\r\n"]),
        (b"5,5", &[b"abcde"]),
        (b"5, 6", &[b"abcde"]),
        (b"+5", &[b"abcde"]),
        (b"-5", &[b"abcde"]),
        (b"0x5", &[b"abcde"]),
        (b"5 ", &[b"abcde"]),
        (b" 5", &[b"abcde"]),
        (b"5_0", &[b"abcde"]),
        (b"05", &[b"abcde"]),
        (b"", &[b"abcde"]),
        (b"18446744073709551616", &[b"abcde"]),
        (b"18446744073709551615", &[b"abcde"]),
    ];
    for (length, data) in table {
        let what = format!("RFC 9113 8.1.1: {} {data:?}", length.escape_ascii());
        let before = edge.metrics();
        let mut client = Frames::connect(edge.address("https"), Some("open.example"));
        let stream = client.open(&post(length), 0);
        for (at, part) in data.iter().enumerate() {
            client.send(DATA, if at + 1 == data.len() { END_STREAM } else { 0 }, stream, part);
        }
        assert!(matches!(client.end_of(stream), Answer::Reset | Answer::Gone | Answer::Status(400)), "{what}");
        refused_once(&edge, &before, &["protocol", "malformed-framing", "malformed-head"], &what);
    }
    let before = edge.metrics();
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let stream = client.open(&post(b"5"), END_STREAM);
    assert!(matches!(client.end_of(stream), Answer::Reset | Answer::Gone), "a length, and END_STREAM with the fields");
    refused_once(&edge, &before, &["protocol"], "END_STREAM with the fields");
    assert_eq!(origin.requests().len(), 0, "no request was whole");
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let stream = client.open(&post(b"5"), 0);
    client.send(DATA, END_STREAM, stream, b"abcde");
    assert_eq!(client.end_of(stream), Answer::Status(200));
    assert_eq!(origin.only_request().body, b"abcde");
}

/// What a client sends behind the end of a stream.
type Sends<'s> = &'s dyn Fn(&mut Frames, u32);

#[test]
fn frames_behind_the_end_of_a_stream_are_not_of_another_request() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    // A reset and DATA after it in one go (CVE-2026-26311), and a second head on the same stream.
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let stream = client.open(&post(b"5"), 0);
    client.send(DATA, 0, stream, b"ab");
    client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    client.send(DATA, END_STREAM, stream, b"cde");
    client.send(HEADERS, END_STREAM, stream, b"");
    edge.settled("all have ended");
    assert_eq!(origin.requests().len(), 0, "no request was whole");
    // RFC 9113 section 5.1: DATA and HEADERS behind END_STREAM, on a stream that was never opened, and on stream 0.
    let behind: [Sends<'_>; 5] = [
        &|client, stream| client.send(DATA, END_STREAM, stream, b"GET /hidden HTTP/1.1\r\nHost: open.example\r\n\r\n"),
        &|client, stream| client.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(&post(b"0"))),
        &|client, stream| client.send(DATA, 0, stream + 2, b"x"),
        &|client, _| client.send(DATA, 0, 0, b"x"),
        &|client, _| client.send(CONTINUATION, END_HEADERS, 1, b""),
    ];
    for (case, send) in behind.iter().enumerate() {
        let before = origin.requests().len();
        let mut client = Frames::connect(edge.address("https"), Some("open.example"));
        let stream = client.open(&post(b"0"), END_STREAM);
        send(&mut client, stream);
        client.end_of(stream);
        edge.settled("all have ended");
        let requests = &origin.requests()[before..];
        assert!(requests.len() <= 1 && requests.iter().all(|request| request.target == "/"), "case {case}");
    }
    Connection::tls(edge.address("https"), Some("open.example")).get("open.example", "/");
}

#[test]
fn connection_that_breaks_the_protocol_is_one_refusal() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let frames: &[(&str, u8, u8, u32, &[u8])] = &[
        ("9113 4.2 too large a frame", DATA, 0, 1, &[0; 20_000]),
        ("9113 5.1 DATA on an idle stream", DATA, 0, 1, b"x"),
        ("9113 5.1.1 a client's stream of even number", HEADERS, END_HEADERS | END_STREAM, 2, b"\x82"),
        ("9113 6.1 DATA on stream 0", DATA, 0, 0, b"x"),
        ("9113 6.2 HEADERS on stream 0", HEADERS, END_HEADERS, 0, b"\x82"),
        ("9113 6.4 a reset of a wrong size", RST_STREAM, 0, 1, b"x"),
        ("9113 6.5 SETTINGS of a wrong size", 4, 0, 0, b"x"),
        ("9113 6.9 WINDOW_UPDATE by 0", 8, 0, 0, &[0; 4]),
        ("9113 6.10 CONTINUATION of nothing", CONTINUATION, END_HEADERS, 1, b""),
        ("9113 8.4 a client's push", 5, END_HEADERS, 1, b"\0\0\0\x02\x82"),
        ("7541 2.3.3 an index that is not there", HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\x0f"),
        ("7541 4.2 a table larger than allowed", HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xff\xff\xff\x0f"),
    ];
    for (rule, kind, flags, stream, payload) in frames {
        let before = edge.metrics();
        let mut client = Frames::connect(edge.address("https"), Some("open.example"));
        client.send(*kind, *flags, *stream, payload);
        assert_eq!(client.end_of(1), Answer::Gone, "RFC {rule}");
        refused_once(&edge, &before, &["protocol"], &format!("RFC {rule}"));
    }
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(Http2::connect(edge.address("https"), None).get("open.example", "/").status, 200, "others go on");
}

#[test]
fn malformed_requests_between_good_ones_are_counted_one_by_one() {
    let origin = Origin::answering(|request| Reply::ok(&request.target));
    let edge = Setup::new(origin.address()).start();
    let good = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
    let bad = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"connection" b"x"];
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    // All on their way before the first answer is read.
    let streams: Vec<(u32, bool)> =
        (0..20).map(|at| (client.open(if at % 3 == 0 { bad } else { good }, END_STREAM), at % 3 == 0)).collect();
    let mut answers = client.ends_of(streams.len());
    assert_eq!(answers.len(), streams.len());
    answers.sort_unstable_by_key(|(stream, _)| *stream);
    for ((stream, is_bad), (of, answer)) in streams.iter().zip(&answers) {
        let expected = if *is_bad { Answer::Reset } else { Answer::Status(200) };
        assert_eq!((stream, *answer), (of, expected));
    }
    let metrics = edge.settled("all have ended");
    assert_eq!((metrics.rejected("protocol"), metrics.sum("sluis_rejected_total", &[])), (7.0, 7.0));
    assert_eq!((metrics.outcome("rejected"), metrics.outcome("forwarded")), (7, 13));
    assert_eq!(origin.requests().len(), 13);
}

#[test]
fn extended_connect_is_not_offered() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    // RFC 8441 section 3: SETTINGS_ENABLE_CONNECT_PROTOCOL (8) would offer it, RFC 9113 section 6.5.2: push (2) is for servers.
    let settings = client.settings();
    assert!(settings.iter().any(|(name, _)| *name == 3), "streams are limited: {settings:?}");
    assert!(settings.iter().all(|(name, value)| *name != 8 || *value == 0), "{settings:?}");
}

#[test]
fn trailers_of_an_http2_request_cannot_say_what_only_a_head_may() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let head = fields![
        b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"trailer" b"x-sum, host"
    ];
    let stream = client.open(head, 0);
    client.send(DATA, 0, stream, b"abc");
    let trailers = fields![
        b"host" b"blocked.example", b"content-length" b"3", b"authorization" b"x", b"x-forwarded-for" b"203.0.113.1",
        b"x-sum" b"1", b"cookie" b"a=b", b"x_forwarded_host" b"blocked.example"
    ];
    client.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(trailers));
    assert_eq!(client.end_of(stream), Answer::Status(200));
    let request = origin.only_request();
    let names: Vec<String> = request.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
    // RFC 9110 section 6.5.1.
    assert_eq!((request.body.as_slice(), names), (&b"abc"[..], vec!["x-sum".to_owned()]));
    assert_eq!(request.all("host"), ["open.example"]);
    // RFC 9113 section 8.1: `h2` drops a pseudo-field in trailers; the origin sees nothing of it.
    let stream = client.open(head, 0);
    client.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields![b":authority" b"blocked.example"]));
    assert_eq!(client.end_of(stream), Answer::Status(200));
    let request = origin.requests().pop().unwrap();
    assert_eq!((request.all("host"), request.trailers.len()), (vec!["open.example"], 0));
    // What else may not be in trailers, and trailers end the stream.
    for (fields, flags) in
        [(fields![b"transfer-encoding" b"chunked"], END_STREAM | END_HEADERS), (fields![b"x-sum" b"1"], END_HEADERS)]
    {
        let before = edge.metrics();
        let mut client = Frames::connect(edge.address("https"), Some("open.example"));
        let stream = client.open(head, 0);
        client.send(DATA, 0, stream, b"abc");
        client.send(HEADERS, flags, stream, &block(fields));
        assert!(matches!(client.end_of(stream), Answer::Reset | Answer::Gone), "{fields:?}");
        refused_once(&edge, &before, &["protocol"], "trailers");
    }
    assert_eq!(origin.requests().len(), 2, "no request was whole");
}
