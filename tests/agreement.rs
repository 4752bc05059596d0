//! The program against a reader that shares no code with it: the same requests, the same verdicts, the same order.
//!
//! Inside: requests that are made up and damaged, and the inputs that fuzzing has found. Kept out: the comparison itself,
//! which the fuzz target `connection` has too (`fuzz/src`).

#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` marks what the tests use")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use proptest::prelude::*;

use fuzz::agreement::check;
use fuzz::edge::Plan;
use fuzz::elsewhere::check_elsewhere;
use fuzz::response::{self, Asked};
use sluis::host::Authority;

/// Parts of requests, of which most make a good one.
fn request_lines() -> impl Strategy<Value = String> {
    let method =
        prop_oneof![6 => Just("GET"), 3 => Just("POST"), 1 => Just("HEAD"), 1 => Just("OPTIONS"), 1 => Just("X-Y")];
    let target = prop_oneof![
        6 => Just("/a?b=c".to_owned()),
        1 => Just("*".to_owned()),
        2 => hosts().prop_map(|host| format!("http://{host}/x")),
        1 => hosts().prop_map(|host| format!("HTTP://{host}?x")),
        1 => "[!-~]{1,12}",
    ];
    let version = prop_oneof![12 => Just("1.1"), 2 => Just("1.0"), 1 => Just("1.2"), 1 => Just("0.9")];
    (method, target, version).prop_map(|(method, target, version)| format!("{method} {target} HTTP/{version}"))
}

fn hosts() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => Just("open.example"),
        1 => Just("blocked.example"),
        1 => Just("x.blocked.example"),
        1 => Just("xblocked.example"),
        1 => Just("only.example"),
        1 => Just("www.only.example"),
        1 => Just("below.example"),
        1 => Just("a.b.below.example"),
        1 => Just("xn--bcher-kva.example"),
        1 => Just("192.0.2.66"),
        1 => Just("192.0.2.6"),
        1 => Just("[::ffff:192.0.2.66]"),
        1 => Just("[2001:DB8:0::66]"),
        1 => Just("xn--a.example"),
        1 => Just("a@blocked.example"),
    ];
    let ending = prop_oneof![8 => Just(""), 1 => Just("."), 1 => Just(":80"), 1 => Just(":8080"), 1 => Just(".:"), 1 => Just("..")];
    (name, ending, any::<bool>()).prop_map(|(name, ending, is_upper)| {
        let host = format!("{name}{ending}");
        if is_upper { host.to_uppercase() } else { host }
    })
}

fn fields() -> impl Strategy<Value = String> {
    prop_oneof![
        "x-[a-c]: [ -~]{0,8}",
        Just("Connection: close".to_owned()),
        Just("Connection: keep-alive".to_owned()),
        Just("Connection: x-a, te".to_owned()),
        Just("Expect: 100-continue".to_owned()),
        Just("Cookie: a=b".to_owned()),
        Just("Max-Forwards: 0".to_owned()),
        Just("Via: 1.1 edge".to_owned()),
        Just("Upgrade: echo".to_owned()),
        Just("TE: trailers".to_owned()),
        Just("X-Forwarded-Host: blocked.example".to_owned()),
        Just("content_length: 5".to_owned()),
        Just("Host: open.example".to_owned()),
        Just("Trailer: x-t".to_owned()),
    ]
}

/// The field that frames a body, and the body.
fn bodies() -> impl Strategy<Value = String> {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: blocked.example\r\n\r\n";
    let content = prop_oneof![Just(String::new()), Just(hidden.to_owned()), "[ -~]{1,9}"];
    let lengths = (content.clone(), -2..=2_i64).prop_map(|(content, off)| {
        let off = if off.abs() == 1 { 0 } else { off };
        format!("Content-Length: {}\r\n\r\n{content}", content.len() as i64 + off)
    });
    let chunks = (content, "(;[ -~]{0,4})?", "(x-t: [a-z]{0,3}\r\n)?").prop_map(|(content, extension, trailer)| {
        let data =
            if content.is_empty() { String::new() } else { format!("{:x}{extension}\r\n{content}\r\n", content.len()) };
        format!("Transfer-Encoding: chunked\r\n\r\n{data}0\r\n{trailer}\r\n")
    });
    prop_oneof![4 => Just("\r\n".to_owned()), 3 => lengths, 3 => chunks]
}

fn requests() -> impl Strategy<Value = String> {
    (request_lines(), hosts(), proptest::collection::vec(fields(), 0..3), bodies()).prop_map(
        |(line, host, fields, body)| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            format!("{line}\r\nHost: {host}\r\n{fields}{body}")
        },
    )
}

fn responses() -> impl Strategy<Value = String> {
    let status =
        proptest::sample::select(&["200 OK", "204 No Content", "304", "404 Not Found", "101 Switching", "99 x"][..]);
    let interim = prop_oneof![4 => Just(""), 1 => Just("HTTP/1.1 100 Continue\r\n\r\n"), 1 => Just("HTTP/1.1 103 E\r\na: b\r\n\r\n")];
    let field = prop_oneof![
        Just(""),
        Just("Connection: close\r\n"),
        Just("Content-Length: 5\r\n"),
        Just("Transfer-Encoding: gzip, chunked\r\n"),
        Just("Connection: upgrade\r\nUpgrade: echo\r\n"),
        Just(" fold\r\n"),
        Just("Content-Length: 3, 3\r\n"),
    ];
    let version = prop_oneof![8 => Just("1.1"), 1 => Just("1.0"), 1 => Just("2.0")];
    let after = prop_oneof![3 => Just(""), 1 => Just("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")];
    (interim, version, status, field, bodies(), after).prop_map(|(interim, version, status, field, body, after)| {
        format!("{interim}HTTP/{version} {status}\r\n{field}{body}{after}")
    })
}

/// What may happen to bytes on their way from somebody who means ill.
#[derive(Debug, Clone)]
enum Damage {
    Put(usize, &'static str),
    Take(usize, usize),
    Copy(usize, usize, usize),
}

fn damages() -> impl Strategy<Value = Damage> {
    const BITS: [&str; 16] = [
        "\r",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\0",
        ":",
        ",",
        "0",
        "1",
        ";",
        "\r\n\r\n",
        "_",
        "\x0b",
        "Host: blocked.example\r\n",
        "Transfer-Encoding: chunked\r\n",
    ];
    let at = any::<usize>;
    prop_oneof![
        3 => (at(), proptest::sample::select(&BITS[..])).prop_map(|(at, bit)| Damage::Put(at, bit)),
        2 => (at(), 1..4_usize).prop_map(|(at, length)| Damage::Take(at, length)),
        1 => (at(), at(), 1..40_usize).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let place = |at: usize| at % (bytes.len() + 1);
        let part = |at: usize, length: usize| place(at)..(place(at) + length).min(bytes.len());
        match *damage {
            Damage::Put(at, bit) => drop(bytes.splice(place(at)..place(at), bit.bytes())),
            Damage::Take(at, length) => drop(bytes.drain(part(at, length))),
            Damage::Copy(from, to, length) => {
                let copy = bytes[part(from, length)].to_vec();
                drop(bytes.splice(place(to)..place(to), copy));
            }
        }
    }
    bytes
}

fn plans() -> impl Strategy<Value = Plan> {
    let pieces = proptest::collection::vec(1..60_usize, 0..4);
    let capacity = proptest::sample::select(&[1, 7, 64, 65_536][..]);
    (pieces, capacity, any::<bool>()).prop_map(|(pieces, capacity, ends)| Plan { pieces, capacity, ends })
}

/// What fuzzing has found, here or in the reference.
#[test]
fn what_has_once_disagreed_agrees() {
    let at_once = Plan { pieces: Vec::new(), capacity: 65_536, ends: false };
    let ends = Plan { ends: true, ..at_once.clone() };
    let narrow = Plan { capacity: 1, ..at_once.clone() };
    for (bytes, plan) in [
        // An offered upgrade, a body that nobody reads, and a stream that holds one byte: the answer came short.
        ("POST / HTTP/1.1\r\nHost: only.example\r\nUpgrade: echo\r\nContent-Length: 9\r\n\r\n", &narrow),
        // A HEAD whose target is of no form: the refusal may have a body.
        ("HEAD a0! HTTP/1.1\r\nHost: open.example\r\n\r\n", &narrow),
        // A client that leaves in the middle of a body that it was asked for: the 100 may come short.
        (
            "GET / HTTP/1.1\r\nHost: open.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            &Plan { ends: true, ..narrow.clone() },
        ),
        // Two Cookie fields with nothing in them become one with nothing in it.
        ("GET / HTTP/1.1\r\nHost: open.example\r\nCookie:\r\nCookie:\r\nCookie: a\r\nCookie:\r\n\r\n", &ends),
        ("GET / HTTP/1.1\r\nHost: open.example\r\nCookie:\r\nCookie: \r\n\r\n", &ends),
        // Hops that are no number, where the server as a whole is asked.
        ("OPTIONS * HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: 3\r\nMax-Forwards: 3\r\n\r\n", &ends),
        ("OPTIONS / HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: 099999999999999999999\r\n\r\n", &ends),
        // Zeros in front of a length.
        ("POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 04\r\n\r\nbody", &ends),
        // A CR alone may be the beginning of anything: 408 when nothing more comes.
        ("\r\n\r", &at_once),
        ("\r\n\r", &ends),
    ] {
        check(bytes.as_bytes(), plan);
    }
    // A 101 in HTTP/1.0 was passed on.
    let switch = "HTTP/1.0 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n0A";
    response::check(switch.as_bytes(), Asked::Upgrade, 1, &narrow);
}

/// `SLUIS_AGREEMENT_CASES` makes it large.
fn cases() -> u32 {
    std::env::var("SLUIS_AGREEMENT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_forwarded_and_answered_is_what_the_reference_says(
        requests in proptest::collection::vec(requests(), 1..4),
        damages in proptest::collection::vec(damages(), 0..3),
        plan in plans(),
    ) {
        check(&damaged(requests.concat().into_bytes(), &damages), &plan);
    }

    #[test]
    fn what_an_origin_sends_becomes_one_message_or_none(
        script in responses(),
        damages in proptest::collection::vec(damages(), 0..3),
        asked in proptest::sample::select(&[Asked::Get, Asked::Head, Asked::Post, Asked::Upgrade][..]),
        times in 1..3_usize,
        plan in plans(),
    ) {
        let script = damaged(script.into_bytes(), &damages);
        response::check_codec(&script, asked == Asked::Head, times * 3);
        response::check(&script, asked, times, &plan);
    }

    /// No accepted host is another one to somebody else, and the reference and the program accept the same.
    #[test]
    fn one_host_for_everybody(bytes in near_hosts()) {
        let ours = Authority::parse(&bytes).ok();
        let plain = ours.as_ref().map(|ours| (ours.host.to_string(), ours.port.filter(|port| *port != 80)));
        prop_assert_eq!(plain, fuzz::host::authority(&bytes));
        if let Some(ours) = ours {
            check_elsewhere(&bytes, ours.host.as_str());
        }
    }
}

/// Bytes near hosts: mostly legal, often wrong in one place.
fn near_hosts() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        2 => hosts(),
        1 => "[a-zA-Z0-9._-]{0,40}",
        2 => "(xn--)?[a-z0-9-]{0,12}(\\.(xn--)?[a-z0-9-]{1,9}){0,4}\\.?(:[0-9]{0,6})?",
        1 => "[0-9x]{1,4}(\\.[0-9a-fx]{1,4}){0,4}\\.?",
        1 => "\\[[0-9a-f:.%]{0,20}\\](:[0-9]{0,6})?",
        1 => "[ \t]{0,2}[A-Za-z.]{0,9}[ \t@,%/:]{0,2}[a-z.]{0,9}(:[0-9]{0,6})?[ \t]{0,2}",
        1 => "\\[(::ffff:)?[0-9]{1,3}(\\.[0-9]{1,3}){3}\\]",
    ];
    (text, proptest::collection::vec(damages(), 0..2)).prop_map(|(text, damages)| damaged(text.into_bytes(), &damages))
}
