//! A crowd of idle and slow clients of every kind at once, while a normal client measures.
//!
//! `SLUIS_CROWD=2000` makes it 2,000 idle connections and 200 of each slow kind; a tenth of that by default. Kept out: that
//! each kind is let go in time (slow_clients.rs).

use std::env;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::support::siege::measure;
use crate::support::{Connection, Edge, Origin, Setup, eventually};

/// What the edge may need for all of them.
const MEMORY: u64 = 256 << 20;

/// What the normal client may have to wait in all but one case of a hundred, of an optimized build.
const P99: Duration = Duration::from_millis(50);

fn idle_clients() -> usize {
    env::var("SLUIS_CROWD").map_or(200, |given| given.parse().expect("SLUIS_CROWD is a number"))
}

/// `/large` has no end, and a POST is read and not answered.
fn origin() -> Origin {
    Origin::raw(|mut stream, _| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {
            head.push(byte[0]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            if head.starts_with(b"POST") {
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                return;
            }
            if head.starts_with(b"GET /large ") {
                let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n");
                while written.is_ok() {
                    written = stream.write_all(&[b'x'; 65_536]);
                }
                return;
            }
            head.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

/// So many connections, in the clear and over TLS by turns.
fn connect(edge: &Edge, count: usize) -> Vec<Connection> {
    (0..count).map(|number| if number % 2 == 0 { edge.http() } else { edge.https("open.example") }).collect()
}

/// As many files as the system lets the tests open.
fn raise_open_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).expect("the hard limit may be reached");
}

#[test]
fn normal_client_is_served_in_time_in_a_crowd_of_idle_and_slow_ones() {
    let idle = idle_clients();
    let is_whole = idle >= 2_000;
    let slow = idle / 10;
    let duration = Duration::from_secs(if is_whole { 8 } else { 1 });
    raise_open_files();
    let origin = origin();
    // Nobody of them is let go while it is measured.
    let edge = Setup::new(origin.address())
        .limit("requests_per_connection = 1000000")
        .limit("request_head_timeout = \"5m\"\nrequest_body_idle_timeout = \"5m\"\nresponse_write_timeout = \"5m\"")
        .start();
    let before = edge.rss_bytes();
    let mut idle_clients = connect(&edge, idle);
    for client in &mut idle_clients {
        assert_eq!(client.get("open.example", "/").status, 200);
    }
    let mut heads = connect(&edge, slow);
    let mut bodies = connect(&edge, slow);
    let mut readers = connect(&edge, slow);
    for client in &mut heads {
        client.send("GET / HTTP/1.1\r\nHost: open.example\r\nX: ");
    }
    for client in &mut bodies {
        client.send("POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 1000000\r\n\r\n");
    }
    for client in &mut readers {
        client.send("GET /large HTTP/1.1\r\nHost: open.example\r\n\r\n");
    }
    let all = (idle + 3 * slow) as f64;
    eventually("all are there", || edge.metrics().sum("sluis_connections_active", &[]) >= all);
    let cost = measure(&edge, "a crowd", || {
        let begun = Instant::now();
        while begun.elapsed() < duration {
            heads.iter_mut().chain(&mut bodies).for_each(|client| client.try_send("x").unwrap());
            thread::sleep(Duration::from_millis(200));
        }
        assert!(edge.metrics().sum("sluis_connections_active", &[]) >= all, "the crowd is still there");
    });
    let memory = edge.rss_bytes();
    eprintln!(
        "{idle} idle and {slow} of each slow kind: {} requests of a normal client, p50 {:?}, p99 {:?}, at most {:?}; {} MiB resident, \
         {} MiB before; {:?} of processor time",
        cost.waits.len(),
        cost.percentile(50),
        cost.percentile(99),
        cost.percentile(100),
        memory >> 20,
        before >> 20,
        cost.cpu
    );
    assert!(memory < MEMORY, "{} MiB resident", memory >> 20);
    // A machine that does much else has its say; a crowd that shuts others out costs more than that.
    assert!(cost.percentile(50) < Duration::from_secs(1), "p50 is {:?}", cost.percentile(50));
    if is_whole && !cfg!(debug_assertions) {
        assert!(cost.percentile(99) < P99, "p99 is {:?}", cost.percentile(99));
    }
}
