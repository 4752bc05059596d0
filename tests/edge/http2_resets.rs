//! Streams that are opened to be reset, by the client or by what it makes us do: the connection ends, the origin is told,
//! others are served, nothing is left.
//!
//! Inside: CVE-2023-44487, CVE-2025-8671 in all its ways, CVE-2019-9514, streams beyond the limit, GOAWAY. Kept out:
//! floods of frames that open no stream (http2_floods.rs), and clients that reset now and then (client_faults.rs).

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::frames::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, HEADERS, PRIORITY,
    PRIORITY_FLAG, REFUSED_STREAM, RST_STREAM, WINDOW_UPDATE, block, fields, frame,
};
use crate::support::siege::{besiege, nothing_is_left};
use crate::support::{Edge, Origin, Setup, eventually};

const CANCEL: &[u8] = &[0, 0, 0, 8];

type Fields = &'static [(&'static [u8], &'static [u8])];

const HANGING: Fields =
    fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/hang"];
const ORDINARY: Fields = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
const UPLOAD: Fields =
    fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/hang"];

/// What an origin has seen of requests for `/hang`, which it never answers.
#[derive(Default)]
struct Hung {
    begun: AtomicUsize,
    cancelled: AtomicUsize,
}

fn hanging_origin() -> (Origin, Arc<Hung>) {
    let hung = Arc::new(Hung::default());
    let seen = Arc::clone(&hung);
    let origin = Origin::raw(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        loop {
            let (mut head, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                head.push_str(&std::mem::take(&mut line));
            }
            if head.is_empty() {
                return;
            }
            if head.contains(" /hang ") {
                seen.begun.fetch_add(1, Ordering::SeqCst);
                // The edge ends the connection, whatever part of a body comes before.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                seen.cancelled.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    });
    (origin, hung)
}

fn edge_before(origin: &Origin) -> Setup {
    // One worker, so that the normal client shares it with the attack.
    Setup::new(origin.address()).server("workers = 1").limit("upstream_pool_idle_timeout = \"100ms\"")
}

fn connect(edge: &Edge) -> Frames {
    Frames::connect(edge.address("https"), Some("open.example"))
}

fn headers(client: &mut Frames, fields: Fields, flags: u8) -> (u32, Vec<u8>) {
    let stream = client.next_stream();
    (stream, frame(HEADERS, flags | END_HEADERS, stream, &block(fields)))
}

/// Nothing that was begun at the origin goes on there.
fn all_is_cancelled(hung: &Hung, what: &str) {
    eventually(&format!("{what}: the origin is told"), || {
        hung.cancelled.load(Ordering::SeqCst) == hung.begun.load(Ordering::SeqCst)
    });
}

#[test]
fn rapid_reset_ends_the_connection_and_costs_the_origin_next_to_nothing() {
    let (origin, hung) = hanging_origin();
    let edge = edge_before(&origin).start();
    let mut farewells = Vec::new();
    besiege(&edge, "rapid reset", || {
        for _ in 0..20 {
            let mut client = connect(&edge);
            // As many as fit into one write, as the attack of 2023 had it.
            let mut packet = Vec::new();
            for _ in 0..500 {
                let (stream, opening) = headers(&mut client, HANGING, END_STREAM);
                packet.extend(opening);
                packet.extend(frame(RST_STREAM, 0, stream, CANCEL));
            }
            client.push(&packet);
            farewells.push(client.farewell());
        }
    });
    assert!(farewells.iter().all(|code| matches!(code, Some(ENHANCE_YOUR_CALM) | None)), "{farewells:?}");
    assert!(farewells.contains(&Some(ENHANCE_YOUR_CALM)), "no GOAWAY says why: {farewells:?}");
    all_is_cancelled(&hung, "rapid reset");
    assert!(
        hung.begun.load(Ordering::SeqCst) <= 20 * 20,
        "{} of 10,000 came through",
        hung.begun.load(Ordering::SeqCst)
    );
    let metrics = nothing_is_left(&edge, "rapid reset");
    assert_eq!(metrics.rejected("protocol"), 20.0, "each connection is counted");
}

#[test]
fn request_that_is_reset_after_it_was_sent_on_is_cancelled_at_the_origin() {
    let (origin, hung) = hanging_origin();
    let edge = edge_before(&origin).start();
    let mut client = connect(&edge);
    for round in 1..=30 {
        let (stream, opening) = headers(&mut client, HANGING, END_STREAM);
        client.push(&opening);
        eventually("it is at the origin", || hung.begun.load(Ordering::SeqCst) == round);
        // A reset, and DATA behind it in one packet (RFC 9113 section 5.1: closed).
        client.push(&[frame(RST_STREAM, 0, stream, CANCEL), frame(DATA, END_STREAM, stream, b"late")].concat());
        eventually("it is told", || hung.cancelled.load(Ordering::SeqCst) == round);
    }
    // Each DATA on a closed stream was a reset of ours at most: other streams go on.
    assert_eq!(client.ask(ORDINARY), Answer::Status(200));
    drop(client);
    assert_eq!(nothing_is_left(&edge, "resets").outcome("aborted"), 30);
}

/// Ways to make a server reset a stream (RFC 9113 sections 5.1, 5.4.2 and 6; CVE-2025-8671, CVE-2019-9514): what is
/// sent for the opening, and what after it.
type Way = (&'static str, fn(u32) -> Vec<u8>, fn(u32) -> Vec<u8>);

fn opening(fields: Fields, flags: u8, stream: u32) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

fn get(stream: u32) -> Vec<u8> {
    opening(HANGING, END_STREAM, stream)
}

fn upload(stream: u32) -> Vec<u8> {
    opening(UPLOAD, 0, stream)
}

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

fn depending_on_itself(stream: u32) -> Vec<u8> {
    [&stream.to_be_bytes()[..], &[1]].concat()
}

const WAYS: &[Way] = &[
    ("WINDOW_UPDATE of 0", get, |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
    ("WINDOW_UPDATE over 2^31-1", get, |stream| frame(WINDOW_UPDATE, 0, stream, &[0x7f, 255, 255, 255])),
    ("DATA on a half-closed stream", get, |stream| frame(DATA, 0, stream, b"late")),
    ("HEADERS on a half-closed stream", get, |stream| opening(HANGING, END_STREAM, stream)),
    ("HEADERS twice", upload, |stream| opening(UPLOAD, 0, stream)),
    ("PRIORITY of the wrong length", get, |stream| frame(PRIORITY, 0, stream, &[0; 4])),
    ("PRIORITY on itself", get, |stream| frame(PRIORITY, 0, stream, &depending_on_itself(stream))),
    (
        "HEADERS that depend on themselves",
        |stream| {
            let payload = [depending_on_itself(stream), block(HANGING)].concat();
            frame(HEADERS, END_STREAM | END_HEADERS | PRIORITY_FLAG, stream, &payload)
        },
        nothing,
    ),
    (
        "more DATA than Content-Length",
        |stream| {
            let payload = [block(UPLOAD), block(fields![b"content-length" b"2"])].concat();
            frame(HEADERS, END_HEADERS, stream, &payload)
        },
        |stream| frame(DATA, END_STREAM, stream, b"three"),
    ),
    (
        "a field that is not allowed",
        |stream| {
            let payload = [block(HANGING), block(fields![b"connection" b"close"])].concat();
            frame(HEADERS, END_STREAM | END_HEADERS, stream, &payload)
        },
        nothing,
    ),
    (
        "a field that is not allowed, in CONTINUATION",
        |stream| {
            [
                frame(HEADERS, END_STREAM, stream, &block(HANGING)),
                frame(CONTINUATION, END_HEADERS, stream, &block(fields![b"te" b"gzip"])),
            ]
            .concat()
        },
        nothing,
    ),
    ("a request without a path", |stream| opening(fields![b":method" b"GET"], END_STREAM, stream), nothing),
    ("DATA that is nothing but padding", upload, |stream| frame(DATA, 8, stream, &[9, 0, 0])),
];

#[test]
fn client_that_makes_us_reset_streams_is_sent_away() {
    const STREAMS: usize = 300;
    let (origin, hung) = hanging_origin();
    let edge = edge_before(&origin).start();
    for (number, (what, open, then)) in WAYS.iter().enumerate() {
        let begun = hung.begun.load(Ordering::SeqCst);
        besiege(&edge, what, || {
            let mut client = connect(&edge);
            let mut packet = Vec::new();
            for _ in 0..STREAMS {
                let stream = client.next_stream();
                packet.extend(open(stream));
                packet.extend(then(stream));
            }
            client.push(&packet);
            // By GOAWAY, which a client that goes on sending may lose to a reset of the connection.
            let _ = client.farewell();
        });
        all_is_cancelled(&hung, what);
        // The default of `http2_local_resets`, and what was open beside them.
        let begun = hung.begun.load(Ordering::SeqCst) - begun;
        assert!(begun <= 200, "{what}: {begun} of {STREAMS} came through");
        assert_eq!(edge.settled(what).rejected("protocol"), (number + 1) as f64, "{what}");
    }
    nothing_is_left(&edge, "all ways");
}

#[test]
fn resets_that_we_are_made_to_send_are_counted_over_the_life_of_a_connection() {
    let (origin, _) = hanging_origin();
    let edge = edge_before(&origin).limit("http2_local_resets = 5").start();
    let mut client = connect(&edge);
    // One after the other, each waited for, so that there is never more than one at a time.
    let bad = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b"te" b"gzip"];
    let answers: Vec<Answer> = (0..7).map(|_| client.ask(bad)).collect();
    assert_eq!(answers[..5], [Answer::Reset; 5], "{answers:?}");
    assert_eq!(answers[6], Answer::Gone, "{answers:?}");
    // Each request, and the connection with the one that went beyond the limit.
    assert_eq!(nothing_is_left(&edge, "resets").rejected("protocol"), 6.0);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_those_before_go_on() {
    let (origin, hung) = hanging_origin();
    let edge = edge_before(&origin).limit("http2_streams = 4").start();
    let mut client = connect(&edge);
    let streams: Vec<u32> = (0..4).map(|_| client.open(HANGING, END_STREAM)).collect();
    eventually("they are at the origin", || hung.begun.load(Ordering::SeqCst) == 4);
    for _ in 0..3 {
        let beyond = client.open(ORDINARY, END_STREAM);
        assert_eq!(client.reset_code(beyond), Some(REFUSED_STREAM));
    }
    client.send(RST_STREAM, 0, streams[0], CANCEL);
    eventually("there is room", || hung.cancelled.load(Ordering::SeqCst) == 1);
    assert_eq!(client.ask(ORDINARY), Answer::Status(200));
    // Whoever goes on regardless is sent away: each refusal is a reset of ours.
    besiege(&edge, "streams beyond the limit", || {
        let mut client = connect(&edge);
        let packet: Vec<u8> = (0..300).flat_map(|_| headers(&mut client, HANGING, END_STREAM).1).collect();
        client.push(&packet);
        let _ = client.farewell();
    });
    drop(client);
    all_is_cancelled(&hung, "streams beyond the limit");
    assert!(hung.begun.load(Ordering::SeqCst) <= 8);
    nothing_is_left(&edge, "streams beyond the limit");
}

#[test]
fn client_that_takes_leave_gets_what_it_had_asked_for_and_no_more_harm() {
    let (origin, _) = hanging_origin();
    let edge = edge_before(&origin).start();
    for code in [0, 2, 11, 0xffff_ffff_u32] {
        let mut client = connect(&edge);
        let (stream, opening) = headers(&mut client, ORDINARY, END_STREAM);
        let leave = frame(GOAWAY, 0, 0, &[&[0; 4][..], &code.to_be_bytes(), b"debug"].concat());
        client.push(&[opening, leave.repeat(50)].concat());
        assert_eq!(client.end_of(stream), Answer::Status(200), "{code}");
        // RFC 9113 section 6.8: it is the client that opens no more; one that does all the same is served or let go.
        let answer = client.ask(ORDINARY);
        assert!(matches!(answer, Answer::Status(200) | Answer::Gone), "{code}: {answer:?}");
        drop(client);
    }
    // Last stream identifiers that grow, and one that is broken off.
    for payload in [&[0, 0, 0, 1, 0, 0, 0, 0][..], &[0; 3]] {
        let mut client = connect(&edge);
        client.push(&[frame(GOAWAY, 0, 0, &[0; 8]), frame(GOAWAY, 0, 0, payload)].concat());
        let _ = client.farewell();
    }
    assert_eq!(connect(&edge).ask(ORDINARY), Answer::Status(200));
    nothing_is_left(&edge, "GOAWAY");
}
