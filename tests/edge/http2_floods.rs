//! Floods of HTTP/2 frames that ask for nothing: each is bounded, or ends the connection, while others are served.
//!
//! Inside: CONTINUATION, HPACK, empty and small frames, SETTINGS, PING, PRIORITY, WINDOW_UPDATE. Kept out: streams
//! that are opened to be reset (http2_resets.rs), and clients that are slow (http2_limits.rs).

use std::time::Duration;

use crate::support::frames::{
    Answer, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE, PING,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, fields, frame, settings_payload,
};
use crate::support::setup::record;
use crate::support::siege::{besiege, nothing_is_left};
use crate::support::{Edge, Origin, Setup, eventually};

type Fields = &'static [(&'static [u8], &'static [u8])];

const GET: Fields = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
const GET_BLOCKED: Fields =
    fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/"];
const POST: Fields = fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];

fn edge_before(origin: &Origin) -> Setup {
    // One worker, so that the normal client shares it with the attack.
    Setup::new(origin.address()).server("workers = 1").limit("upstream_pool_idle_timeout = \"100ms\"")
}

fn connect(edge: &Edge) -> Frames {
    Frames::connect(edge.address("https"), Some("open.example"))
}

/// Sends the same bytes again and again until the connection ends; whether it did.
fn flood(client: &mut Frames, bytes: &[u8], times: usize) -> bool {
    (0..times).any(|_| !client.push(bytes))
}

#[test]
fn header_block_without_an_end_ends_the_connection() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).start();
    let junk = block(&[(b"x-junk", &[b'x'; 4_000][..])]);
    let large = block(&[(b"x-junk", &[b'x'; 16_000][..])]);
    // RFC 9113 section 6.10, RUSTSEC-2024-0332: what each CONTINUATION carries.
    let payloads: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("one byte of a field that never ends", b"\0"),
        ("small fields", &block(fields![b"a" b"b"])),
        ("fields", &junk),
        ("large fields", &large),
    ];
    for (number, (what, payload)) in payloads.into_iter().enumerate() {
        besiege(&edge, what, || {
            let mut client = connect(&edge);
            client.send(HEADERS, END_STREAM, 1, &block(GET));
            let batch = frame(CONTINUATION, 0, 1, payload).repeat(1 + 4_096 / (payload.len() + 9));
            flood(&mut client, &batch, 5_000);
            assert!(client.connection().is_closed(), "{what}: it goes on");
        });
        assert_eq!(edge.settled(what).rejected("protocol"), (number + 1) as f64, "{what}");
    }
    assert_eq!(
        origin.requests().iter().filter(|request| request.header("x-forwarded-proto") == Some("https")).count(),
        0
    );
    nothing_is_left(&edge, "CONTINUATION");
}

#[test]
fn fields_that_grow_when_they_are_unpacked_are_bounded() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).start();
    // A field of 4,000 bytes put into the dynamic table (RFC 7541 section 6.2.1), then a byte for each time it is meant.
    let mut inserted = block(&[(b"x-bomb", &[b'x'; 3_900][..])]);
    inserted[0] = 0x40;
    for (what, first, byte, count, many) in [
        ("an HPACK bomb", inserted.clone(), 0xbe_u8, 16_000, true),
        ("a small HPACK bomb", inserted, 0xbe, 20, false),
        // `accept-encoding: gzip, deflate` of the static table, `cookie` without a value (RFC 7541 appendix A).
        ("many fields of one byte", Vec::new(), 0x90, 15_000, true),
        ("many crumbs of Cookie", Vec::new(), 0xa0, 15_000, true),
        ("as many fields as just do not pass", Vec::new(), 0x90, 101, false),
    ] {
        besiege(&edge, what, || {
            for _ in 0..if many { 20 } else { 1 } {
                let mut client = connect(&edge);
                let payload = [&block(GET)[..], &first, &vec![byte; count]].concat();
                let (head, rest) = payload.split_at(payload.len().min(16_000));
                let flags = if rest.is_empty() { END_HEADERS } else { 0 };
                client.send(HEADERS, END_STREAM | flags, 1, head);
                if !rest.is_empty() {
                    client.send(CONTINUATION, END_HEADERS, 1, rest);
                }
                let answer = client.end_of(1);
                assert!(matches!(answer, Answer::Status(431) | Answer::Gone), "{what}: {answer:?}");
            }
        });
        edge.settled(what);
    }
    assert_eq!(edge.metrics().rejected("head-too-large"), 1.0, "one field too many is ours to count");
    assert!(origin.requests().iter().all(|request| request.header("x-forwarded-proto") == Some("http")));
    nothing_is_left(&edge, "HPACK");
}

#[test]
fn games_with_the_size_of_the_header_table_are_refused_or_do_no_harm() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).start();
    // RFC 7541 section 6.3: a size update above what we allow (4,096) is a COMPRESSION_ERROR.
    let mut client = connect(&edge);
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &[&[0x3f, 0xe2, 0x1f][..], &block(GET)].concat());
    assert_eq!(client.end_of(1), Answer::Gone, "a size that was not offered");
    besiege(&edge, "size updates", || {
        let mut client = connect(&edge);
        let updates = [0x20, 0x3f, 0xe1, 0x1f].repeat(4_000);
        client.send(HEADERS, END_STREAM | END_HEADERS, 1, &[&updates[..], &block(GET)].concat());
        assert!(matches!(client.end_of(1), Answer::Status(200) | Answer::Gone));
    });
    besiege(&edge, "table sizes of ours", || {
        let mut client = connect(&edge);
        for _ in 0..20 {
            let sizes =
                [0, u32::MAX].map(|size| frame(SETTINGS, 0, 0, &settings_payload(&[(HEADER_TABLE_SIZE, size)])));
            client.push(&sizes.concat().repeat(20));
            // Read what it acknowledges, so that it can go on.
            let mut acknowledged = 0;
            while acknowledged < 40 {
                let Some((kind, ..)) = client.read() else { return };
                acknowledged += usize::from(kind == SETTINGS);
            }
        }
    });
    assert_eq!(connect(&edge).ask(GET), Answer::Status(200));
    nothing_is_left(&edge, "table sizes");
}

#[test]
fn data_that_carries_next_to_nothing_ends_the_connection() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).start();
    let padded = [&[200_u8][..], &[0; 200]].concat();
    for (number, (what, flags, payload)) in
        [("empty DATA", 0, &b""[..]), ("padding alone", 8, &padded), ("a byte at a time", 0, b"x")]
            .into_iter()
            .enumerate()
    {
        besiege(&edge, what, || {
            let mut client = connect(&edge);
            client.send(HEADERS, END_HEADERS, 1, &block(POST));
            // Within the window of the stream, which nobody has to open for bytes that count for nothing.
            let batch = frame(DATA, flags, 1, payload).repeat(200);
            let closed = flood(&mut client, &batch, 300) || client.connection().is_closed();
            assert!(closed, "{what}: it goes on");
        });
        assert!(edge.settled(what).rejected("protocol") <= (number + 1) as f64, "{what}");
    }
    nothing_is_left(&edge, "small DATA");
}

/// What broke the protocol, and the requests that were refused and that were given up, when all has ended.
fn refusals(edge: &Edge) -> [u64; 3] {
    let metrics = edge.settled("after the break");
    [metrics.rejected("protocol") as u64, metrics.outcome("rejected"), metrics.outcome("aborted")]
}

/// The connection breaks, and with it the request: that is one refusal, of one request.
#[test]
fn flood_on_a_request_that_is_being_served_is_counted_once() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).start();
    for number in 1..=3 {
        let mut client = connect(&edge);
        client.send(HEADERS, END_HEADERS, 1, &block(POST));
        eventually("the request is served", || edge.metrics().sum("sluis_requests_in_flight", &[]) > 0.0);
        flood(&mut client, &frame(DATA, 0, 1, b"").repeat(200), 300);
        assert_eq!(refusals(&edge), [number, number, 0]);
    }
}

/// An answer waits for room that the client does not give, a page of ours whole already: the connection breaks, and that is one refusal.
#[test]
fn connection_that_breaks_before_its_answers_are_taken_is_counted_once() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).records(record("first", "blocked.example")).start();
    for (number, request) in (1..).zip([GET, GET_BLOCKED, GET, GET_BLOCKED]) {
        let no_room = &[(INITIAL_WINDOW_SIZE, 0)];
        let mut client = Frames::connect_with(edge.address("https"), Some("open.example"), no_room);
        client.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(request));
        while client.read().is_some_and(|(kind, ..)| kind != HEADERS) {}
        // RFC 9113 section 6.1: DATA belong to a stream.
        client.send(DATA, 0, 0, b"x");
        while client.read().is_some() {}
        eventually("it is counted", || edge.metrics().rejected("protocol") as u64 >= number);
        assert_eq!(refusals(&edge), [number, number, 0]);
    }
}

#[test]
fn frames_that_ask_for_nothing_end_the_connection_when_they_are_too_many() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).start();
    let priority = [&3_u32.to_be_bytes()[..], &[5]].concat();
    for (number, (what, one)) in [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("PING that is an answer", frame(PING, 1, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &settings_payload(&[(INITIAL_WINDOW_SIZE, 65_535)]))),
        ("PRIORITY", frame(PRIORITY, 0, 1, &priority)),
        ("PRIORITY of an idle stream", frame(PRIORITY, 0, 99_999, &priority)),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("WINDOW_UPDATE of an old stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("RST_STREAM of an old stream", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        ("a frame of an unknown kind", frame(0xfa, 0, 0, b"grease")),
    ]
    .into_iter()
    .enumerate()
    {
        besiege(&edge, what, || {
            let mut client = connect(&edge);
            assert_eq!(client.ask(GET), Answer::Status(200), "{what}");
            flood(&mut client, &one.repeat(100), 1_000);
            assert!(client.connection().is_closed(), "{what}: it goes on");
        });
        assert_eq!(edge.settled(what).rejected("protocol"), (number + 1) as f64, "{what}");
    }
    // What the libraries have to say of each frame is not written.
    assert!(edge.log().lines().count() < 20, "{}", edge.log());
    nothing_is_left(&edge, "frames");
}

#[test]
fn frames_that_ask_for_nothing_keep_no_connection_open() {
    let origin = Origin::hello();
    let edge = edge_before(&origin).limit("keep_alive_timeout = \"300ms\"").start();
    let mut client = connect(&edge);
    assert_eq!(client.ask(GET), Answer::Status(200));
    // Few enough for every budget, and answered each.
    let mut pings = 0;
    let took = eventually("it is idle, whatever else comes", || {
        client.send(PING, 0, 0, &[7; 8]);
        pings += 1;
        loop {
            match client.read() {
                Some((PING, 1, _, payload)) if payload == [7; 8] => return false,
                Some(_) => {}
                None => return true,
            }
        }
    });
    assert!(took < Duration::from_secs(3) && pings > 3, "{took:?}, {pings} times");
    assert_eq!(nothing_is_left(&edge, "PING").rejected("protocol"), 0.0);
}
