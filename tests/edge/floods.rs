//! Floods of what is written down: names in metrics, lines in the log, entries of a list. None grows with what comes.
//!
//! `SLUIS_HOSTS=100000` makes the hosts that clients send as many. Kept out: floods of frames (http2_floods.rs) and of
//! connections (slow_clients.rs).

use std::env;
use std::fs;

use crate::support::http2::Http2;
use crate::support::siege::{besiege, measure};
use crate::support::{Connection, Edge, Origin, Setup};

fn hosts() -> usize {
    env::var("SLUIS_HOSTS").map_or(4_000, |given| given.parse().expect("SLUIS_HOSTS is a number"))
}

/// Sends heads on as few connections as can be, fifty at a time, and reads what comes back.
fn send_all(edge: &Edge, heads: impl Iterator<Item = String>) {
    let heads: Vec<String> = heads.collect();
    let mut connection = edge.http();
    for batch in heads.chunks(50) {
        connection.send(batch.concat());
        for _ in batch {
            connection.read_response();
        }
    }
}

#[test]
fn hosts_without_number_leave_as_many_series_as_there_were() {
    let origin = Origin::hello();
    let routes = "[[route]]\nhosts = [\".routed.example\"]\nupstream = \"origin\"\n[[route]]\nhosts = [\"open.example\"]\nupstream = \"origin\"\n";
    let edge = Setup::new(origin.address())
        .limit("requests_per_connection = 1000000000")
        .routes(routes)
        .records(crate::support::setup::record("all", ".blocked.example"))
        .start();
    let kinds = |number: usize| {
        ["blocked.example", "routed.example", "nowhere.example"]
            .map(|below| format!("GET /{number} HTTP/1.1\r\nHost: h{number}.{below}\r\n\r\n"))
    };
    let one_of_each = |edge: &Edge| {
        send_all(edge, kinds(0).into_iter());
        let mut by_http2 = Http2::connect(edge.address("https"), Some("h.blocked.example"));
        by_http2.get("h.blocked.example", "/");
    };
    one_of_each(&edge);
    let (series, memory) = (edge.metrics().names().len(), edge.rss_bytes());
    let cost = measure(&edge, "hosts", || {
        send_all(&edge, (1..=hosts()).map(|number| kinds(number)[number % 3].clone()));
        for number in 0..20 {
            let host = format!("sni-{number}.blocked.example");
            Http2::connect(edge.address("https"), Some(&host)).get(&host, "/");
        }
    });
    let text = edge.admin_get("/metrics").text();
    assert!(!text.contains("h17.") && !text.contains("sni-1"), "a client's host is a label");
    assert_eq!(edge.metrics().names().len(), series);
    let grown = edge.rss_bytes().saturating_sub(memory);
    assert!(grown < 24 << 20 && cost.memory < 64 << 20, "{grown} bytes more after {} hosts", hosts());
}

#[test]
fn clients_write_nothing_into_the_log() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let before = edge.log().lines().count();
    let nasty = "\u{1b}[31m\nERROR forged\r\nlistener=http \u{202e}";
    besiege(&edge, "the log", || {
        for head in [
            format!("GET / HTTP/1.1\r\nHost: {nasty}\r\n\r\n"),
            format!("GET /{nasty} HTTP/1.1\r\nHost: open.example\r\n\r\n"),
            format!("{nasty} / HTTP/1.1\r\nHost: open.example\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: open.example\r\nX: {nasty}\r\nX-Request-Id: {nasty}\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: open.example\r\nContent-Length: x\r\n\r\n".to_owned(),
            "\u{16}\u{3}\u{1}".to_owned(),
        ] {
            for number in 0..40 {
                let mut connection: Connection = if number % 2 == 0 { edge.http() } else { edge.https("open.example") };
                let _ = connection.try_send(&head);
            }
        }
        for _ in 0..100 {
            // No TLS at all, on the listener that speaks it.
            let mut connection = Connection::plain(edge.address("https"));
            let _ = connection.try_send("GET / HTTP/1.1\r\n\r\n");
        }
    });
    edge.settled("all have ended");
    assert_eq!(edge.log().lines().count(), before, "{}", edge.log());
}

#[test]
fn pathological_lists_change_nothing_and_give_their_memory_back() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).feed("old.example\n").start();
    let record = |hosts: &str| {
        format!(
            "[[decision]]\nid = \"big\"\nhosts = [{hosts}]\nbasis = \"policy\"\ndecided_by = \"desk\"\ndecided_at = 2026-01-02\n"
        )
    };
    let megabytes = 2 << 20;
    let cases: [(&str, &str, Vec<u8>); 9] = [
        ("one line without an end", "feed.txt", vec![b'a'; megabytes]),
        ("one name of labels alone", "feed.txt", b"a.".repeat(megabytes / 2)),
        ("lines of nothing but dots", "feed.txt", b"....\n".repeat(megabytes / 8)),
        ("a control character a line", "feed.txt", b"\x1b[31m\x07.example\n".repeat(100_000)),
        ("NUL bytes", "feed.txt", vec![0; megabytes]),
        ("no UTF-8", "feed.txt", vec![0xff; megabytes]),
        ("a host without an end", "blocklist.toml", record(&format!("\"{}\"", "a".repeat(megabytes))).into_bytes()),
        (
            "brackets in brackets",
            "blocklist.toml",
            "a = ".to_owned().into_bytes().into_iter().chain(vec![b'['; 20_000]).collect(),
        ),
        ("the same key again and again", "blocklist.toml", b"a = 1\n".repeat(10_000)),
    ];
    for (what, file, bytes) in cases {
        let good = fs::read(edge.path(file)).unwrap();
        let before = edge.rss_bytes();
        measure(&edge, what, || {
            fs::write(edge.path(file), &bytes).unwrap();
            let answer = edge.admin_post("/api/v1/reload");
            assert_eq!(answer.status, 422, "{what}");
            assert!(answer.body.len() < 1 << 20, "{what}: {} bytes of findings", answer.body.len());
        });
        assert_eq!(
            (edge.get("old.example", "/").status, edge.get("blocked.example", "/").status),
            (403, 403),
            "{what}"
        );
        fs::write(edge.path(file), good).unwrap();
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200, "{what}");
        let held = edge.rss_bytes().saturating_sub(before);
        assert!(held < 48 << 20, "{what}: {} KiB held", held >> 10);
    }
    for line in edge.log().lines() {
        assert!(line.len() < 4_096, "a line of {} bytes", line.len());
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
    assert!(edge.log().lines().count() < 300, "{} lines", edge.log().lines().count());
}
