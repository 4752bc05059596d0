//! The limits on what an HTTP/2 client may send, keep waiting and hold: each is exceeded, and has its answer.
//!
//! Kept out: floods (http2_floods.rs, http2_resets.rs), and the same limits by HTTP/1.1 (limits.rs).

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::frames::{
    Answer, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, NO_ERROR, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, fields, frame,
};
use crate::support::siege::{besiege, nothing_is_left};
use crate::support::{Edge, Origin, Reply, Setup, eventually};

type Fields = &'static [(&'static [u8], &'static [u8])];

const GET: Fields = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
const POST: Fields = fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
const BLOCKED: Fields =
    fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/"];
const LARGE: Fields =
    fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/large"];

fn edge_before(origin: &Origin) -> Setup {
    Setup::new(origin.address()).server("workers = 1").limit("upstream_pool_idle_timeout = \"100ms\"")
}

fn connect(edge: &Edge) -> Frames {
    Frames::connect(edge.address("https"), Some("open.example"))
}

/// Everything but `/large` is small.
fn origin() -> Origin {
    let large = "x".repeat(400 << 10);
    Origin::answering(move |request| Reply::ok(if request.target == "/large" { &large } else { "small" }))
}

#[test]
fn heads_that_are_too_large_are_refused_and_counted() {
    let origin = origin();
    let edge = edge_before(&origin)
        .limit("http2_header_list_bytes = 4096")
        .limit("request_headers = 20")
        .limit("request_target_bytes = 1024")
        .start();
    let ask = |more: &[(&[u8], &[u8])], path: &[u8]| {
        let mut list: Vec<(&[u8], &[u8])> = GET[..3].to_vec();
        list.push((b":path", path));
        list.extend(more);
        let mut client = connect(&edge);
        let answer = client.ask(&list);
        if answer != Answer::Gone {
            assert_eq!(client.ask(GET), Answer::Status(200), "other streams go on");
        }
        answer
    };
    let (fits, too_long, long) = ([b'/'; 1_024], [b'/'; 1_025], [b'x'; 3_000]);
    let list = |bytes: usize| vec![b'x'; bytes];
    // The four pseudo-fields with their values count for 178 bytes, the field for 33 and its value (RFC 9113 section 6.5.2).
    let (whole, more, twice, four_times) = (list(4_096 - 211), list(4_096 - 210), list(7_900), list(4 * 8_192));
    for (what, more, path, expected, reason) in [
        ("a target as long as may be", &[][..], &fits[..], Answer::Status(200), None),
        ("a target that is longer", &[], &too_long, Answer::Status(414), Some("target-too-long")),
        ("as many fields as may be", &[(b"a" as &[u8], b"b" as &[u8]); 20], b"/", Answer::Status(200), None),
        ("one field more", &[(b"a" as &[u8], b"b" as &[u8]); 21], b"/", Answer::Status(431), Some("head-too-large")),
        ("a list as large as may be", &[(b"a", &whole)], b"/", Answer::Status(200), None),
        ("one byte more", &[(b"a", &more)], b"/", Answer::Status(431), Some("head-too-large")),
        ("large fields", &[(b"a", &long), (b"b", &long)], b"/", Answer::Status(431), Some("head-too-large")),
        ("nearly twice as much", &[(b"a", &twice)], b"/", Answer::Status(431), Some("head-too-large")),
        // Beyond that the HTTP stack answers alone, or ends the connection.
        ("more than that", &[(b"a", &long), (b"b", &long), (b"c", &long)], b"/", Answer::Status(431), None),
    ] {
        let before = edge.metrics();
        assert_eq!(ask(more, path), expected, "{what}");
        let after = edge.settled(what);
        for name in ["target-too-long", "head-too-large"] {
            let counted = after.rejected(name) - before.rejected(name);
            assert_eq!(counted, f64::from(u8::from(reason == Some(name))), "{what}: {name}");
        }
    }
    let mut client = connect(&edge);
    for piece in four_times.chunks(8_000) {
        client.open(&[GET, &[(b"a", piece)]].concat(), END_STREAM);
    }
    drop(client);
    assert_eq!(connect(&edge).ask(GET), Answer::Status(200));
}

#[test]
fn body_that_is_too_slow_or_too_large_is_refused_on_its_stream_alone() {
    let origin = origin();
    let edge =
        edge_before(&origin).limit("request_body_idle_timeout = \"500ms\"").limit("request_body_bytes = 20000").start();
    let mut client = connect(&edge);
    let declared: Fields = fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"content-length" b"20001"];
    let stream = client.open(declared, 0);
    assert_eq!(client.end_of(stream), Answer::Status(413));
    let stream = client.open(POST, 0);
    for _ in 0..3 {
        client.send(DATA, 0, stream, &[b'x'; 8_000]);
    }
    assert_eq!(client.end_of(stream), Answer::Status(413));
    let silent = client.open(POST, 0);
    client.send(DATA, 0, silent, b"half");
    assert_eq!(client.end_of(silent), Answer::Status(408));
    // A byte now and then is not progress (R-U-Dead-Yet).
    let begun = Instant::now();
    let dripping = client.open(POST, 0);
    for _ in 0..10 {
        client.send(DATA, 0, dripping, b"x");
        thread::sleep(Duration::from_millis(100));
    }
    client.send(DATA, END_STREAM, dripping, b"x");
    assert_eq!(client.end_of(dripping), Answer::Status(408), "after {:?}", begun.elapsed());
    // 1 KiB is.
    let steady = client.open(POST, 0);
    for _ in 0..4 {
        client.send(DATA, 0, steady, &[b'x'; 1_024]);
        thread::sleep(Duration::from_millis(200));
    }
    client.send(DATA, END_STREAM, steady, b"");
    assert_eq!(client.end_of(steady), Answer::Status(200));
    let metrics = edge.settled("bodies");
    assert_eq!((metrics.rejected("body-too-large"), metrics.rejected("body-timeout")), (2.0, 2.0));
    assert_eq!(client.ask(GET), Answer::Status(200), "other streams go on");
}

#[test]
fn trailers_that_are_too_many_or_too_large_do_not_pass() {
    let origin = origin();
    let edge = edge_before(&origin).start();
    let upload = |client: &mut Frames, trailers: &[(&[u8], &[u8])]| {
        let stream = client.open(POST, 0);
        client.send(DATA, 0, stream, b"body");
        client.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(trailers));
        client.end_of(stream)
    };
    let mut client = connect(&edge);
    let field: (&[u8], &[u8]) = (b"x-a", b"b");
    assert_eq!(upload(&mut client, &[field; 100]), Answer::Status(200));
    assert_eq!(upload(&mut client, &[field; 101]), Answer::Status(431));
    // Of what is beyond the list that HTTP/2 takes at all, a part comes through to be refused.
    let large: (&[u8], &[u8]) = (b"x-a", &[b'x'; 8_000]);
    let mut other = connect(&edge);
    other.open(POST, 0);
    let piece = block(&[large]);
    other.send(HEADERS, END_STREAM, 1, &piece);
    for flags in [0, 0, 0, 0, END_HEADERS] {
        other.send(crate::support::frames::CONTINUATION, flags, 1, &piece);
    }
    assert_eq!(other.end_of(1), Answer::Status(431));
    assert_eq!(client.ask(GET), Answer::Status(200));
    assert_eq!(edge.settled("trailers").rejected("head-too-large"), 2.0);
    assert_eq!(origin.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[test]
fn bytes_beyond_a_window_end_the_stream_or_the_connection() {
    let origin = origin();
    let edge = edge_before(&origin).limit("http2_stream_window = 2000\nhttp2_connection_window = 65535").start();
    // RFC 9113 section 6.9: FLOW_CONTROL_ERROR, for the stream or for the connection.
    let mut client = connect(&edge);
    let stream = client.next_stream();
    let opening = frame(HEADERS, END_HEADERS, stream, &block(POST));
    // Ours is in force once the client says that it knows it (section 6.5.3).
    let acknowledgement = frame(SETTINGS, 1, 0, b"");
    client.push(&[acknowledgement, opening, frame(DATA, 0, stream, &[b'x'; 2_001])].concat());
    assert!(matches!(client.end_of(stream), Answer::Reset | Answer::Gone), "more than the window of the stream");
    drop(client);
    besiege(&edge, "windows that are passed over", || {
        for _ in 0..10 {
            let mut client = connect(&edge);
            let mut packet = Vec::new();
            for _ in 0..40 {
                let stream = client.next_stream();
                packet.extend(frame(HEADERS, END_HEADERS, stream, &block(POST)));
                packet.extend(frame(DATA, 0, stream, &[b'x'; 2_000]));
            }
            client.push(&packet);
            drop(client);
        }
    });
    // Within both, a body of any length passes.
    let mut client = connect(&edge);
    let stream = client.open(POST, 0);
    client.send(DATA, END_STREAM, stream, &[b'x'; 2_000]);
    assert_eq!(client.end_of(stream), Answer::Status(200));
    drop(client);
    nothing_is_left(&edge, "windows");
}

/// Reads to the end of a connection that the edge ends in order, and says which of its GOAWAYs came.
fn leaves_in_order(client: &mut Frames, what: &str) {
    assert!(matches!(client.farewell(), Some(NO_ERROR)), "{what}: no GOAWAY without an error");
}

#[test]
fn idle_old_and_used_up_connections_end_by_goaway() {
    let origin = origin();
    let edge = |limits: &str| edge_before(&origin).limit(limits).start();
    let idle = edge("keep_alive_timeout = \"300ms\"");
    let mut client = connect(&idle);
    assert_eq!(client.ask(GET), Answer::Status(200));
    leaves_in_order(&mut client, "idle");
    let used_up = edge("requests_per_connection = 3");
    let mut client = connect(&used_up);
    let streams: Vec<u32> = (0..3).map(|_| client.open(GET, END_STREAM)).collect();
    let mut ended = 0;
    while let Some((kind, flags, _, payload)) = client.read() {
        ended += usize::from(kind <= HEADERS && flags & END_STREAM != 0);
        if kind == GOAWAY {
            assert_eq!(payload[4..8], [0; 4]);
        }
    }
    assert_eq!(ended, streams.len(), "each request that counts is answered");
    let old = edge("connection_age = \"1s\"");
    let mut client = connect(&old);
    let begun = Instant::now();
    let busy = eventually("it is too old", || client.ask(GET) == Answer::Gone);
    assert!(busy > Duration::from_millis(500) && begun.elapsed() < Duration::from_secs(5), "{busy:?}");
    for edge in [idle, used_up, old] {
        assert_eq!(connect(&edge).ask(GET), Answer::Status(200));
        assert_eq!(edge.settled("ends").rejected("protocol"), 0.0);
    }
}

#[test]
fn client_that_never_begins_http2_or_never_ends_a_head_is_let_go() {
    let origin = origin();
    let edge = edge_before(&origin).limit("request_head_timeout = \"300ms\"").start();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let head = frame(HEADERS, END_STREAM, 1, &block(GET));
    let begun = [&preface[..], &head].concat();
    for (what, bytes) in [
        ("silence", &b""[..]),
        ("half a preface", &preface[..10]),
        ("a preface without SETTINGS", &preface[..24]),
        ("a preface and no request", &preface[..]),
        ("half a frame", &[&preface[..], &head[..12]].concat()),
        ("a head without an end", &begun),
    ] {
        let mut client = Frames::silent(edge.address("https"), Some("open.example"));
        client.push(bytes);
        let waiting = Instant::now();
        assert!(client.connection().is_closed(), "{what}");
        assert!(waiting.elapsed() < Duration::from_secs(3), "{what}: {:?}", waiting.elapsed());
    }
    // What is no HTTP/2 at all.
    for bytes in [&b"GET / HTTP/1.1\r\nHost: open.example\r\n\r\n"[..], &[0; 64]] {
        let mut client = Frames::silent(edge.address("https"), Some("open.example"));
        client.push(bytes);
        assert!(client.connection().is_closed());
    }
    assert_eq!(origin.requests().len(), 0);
    nothing_is_left(&edge, "beginnings");
}

#[test]
fn window_that_stays_shut_ends_the_connection() {
    let origin = origin();
    let edge = edge_before(&origin).limit("response_write_timeout = \"400ms\"").start();
    let with_window = |bytes| {
        Frames::connect_with(edge.address("https"), Some("open.example"), &[(1, 0), (INITIAL_WINDOW_SIZE, bytes)])
    };
    let window = |stream: u32, bytes: u32| frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    for (what, fields, initial, update) in [
        ("shut from the start", LARGE, 0, 0),
        ("shut from the start, for our own answer", BLOCKED, 0, 0),
        ("shut from the start, for a small answer", GET, 0, 0),
        ("shut later", LARGE, 100_000, 0),
        ("a byte at a time", LARGE, 0, 1),
        ("a byte at a time from the middle", LARGE, 100_000, 1),
    ] {
        besiege(&edge, what, || {
            let mut client = with_window(initial);
            client.push(&[window(0, 1 << 30), frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields))].concat());
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(6) {
                if update > 0 {
                    client.push(&window(1, update));
                    thread::sleep(Duration::from_millis(30));
                    if client.connection().stays_quiet_for(Duration::from_millis(1)) {
                        continue;
                    }
                }
                if update == 0 || client.connection().take_buffered().is_empty() {
                    break;
                }
            }
            assert!(client.connection().is_closed(), "{what}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{what}: {:?}", begun.elapsed());
        });
    }
    nothing_is_left(&edge, "windows");
}

#[test]
fn many_streams_with_shut_windows_hold_little_memory_and_are_ended_together() {
    let origin = origin();
    let edge = edge_before(&origin).limit("response_write_timeout = \"1s\"").start();
    let cost = besiege(&edge, "shut windows", || {
        let clients: Vec<Frames> = (0..4)
            .map(|_| {
                let settings = [(1, 0), (INITIAL_WINDOW_SIZE, 1)];
                let mut client = Frames::connect_with(edge.address("https"), Some("open.example"), &settings);
                for _ in 0..100 {
                    client.open(LARGE, END_STREAM);
                }
                client
            })
            .collect();
        eventually("all are asked for", || origin.requests().iter().filter(|r| r.target == "/large").count() >= 400);
        for mut client in clients {
            assert!(client.connection().is_closed());
        }
    });
    eprintln!("shut windows: {} KiB for 400 streams", cost.memory >> 10);
    let metrics = nothing_is_left(&edge, "shut windows");
    assert_eq!(metrics.outcome("aborted"), 400);
}

#[test]
fn stream_that_the_client_resets_in_the_midst_of_its_upload_is_the_clients_doing() {
    let origin = origin();
    let edge = edge_before(&origin).start();
    let mut client = connect(&edge);
    let stream = client.open(POST, 0);
    client.push(&[frame(DATA, 0, stream, b"half"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat());
    assert_eq!(client.ask(GET), Answer::Status(200));
    let metrics = edge.settled("a reset");
    assert_eq!((metrics.outcome("aborted"), metrics.outcome("failed")), (1, 0));
}
