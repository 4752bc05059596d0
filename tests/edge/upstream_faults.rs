//! Upstreams that refuse, reset, dawdle, flood or stop listening: each ends in bounded time with the right answer, and
//! leaves nothing behind.
//!
//! Kept out: bodies that break off and malformed heads, which are in faults.rs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::tcp;
use crate::support::origin::{Reply, reset};
use crate::support::{Connection, Edge, Origin, Setup, eventually};

/// Timeouts that a test can wait for.
fn impatient(origin: &Origin) -> Setup {
    Setup::new(origin.address())
        .without_tls()
        .limit("upstream_response_timeout = \"600ms\"")
        .limit("upstream_body_idle_timeout = \"600ms\"")
        .limit("request_body_idle_timeout = \"600ms\"")
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// An origin that does one thing after the head of a request.
fn faulty(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Origin {
    Origin::raw(move |mut stream, _| {
        if read_head(&mut stream).is_some() {
            act(&mut stream);
        }
    })
}

/// Everything is as before the first request.
fn nothing_is_left(edge: &Edge) {
    eventually("nothing is left", || {
        let metrics = edge.metrics();
        let gauges = ["sluis_requests_in_flight", "sluis_upstream_connections_active", "sluis_connections_active"];
        gauges.iter().all(|name| metrics.sum(name, &[]) == 0.0)
    });
    let metrics = edge.metrics();
    let ended = metrics.sum("sluis_requests_total", &[]);
    assert_eq!(metrics.sum("sluis_requests_started_total", &[]), ended, "what was started has ended");
    assert_eq!(metrics.sum("sluis_panics_total", &[]), 0.0);
}

#[test]
fn p8_upstream_that_breaks_off_or_dawdles_before_its_head_is_whole_is_answered_for_in_time() {
    let drip = |stream: &mut TcpStream| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    };
    let silent = |stream: &mut TcpStream| drop(stream.read(&mut [0; 1]));
    let cases: [(&str, Origin, u16, &str); 7] = [
        ("RST at accept", Origin::raw(|stream, _| reset(&stream)), 502, "upstream-closed"),
        ("FIN at accept", Origin::raw(|stream, _| drop(stream)), 502, "upstream-closed"),
        ("RST after the request", faulty(|stream| reset(stream)), 502, "upstream-closed"),
        (
            "RST in the head",
            faulty(|stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConte");
                thread::sleep(Duration::from_millis(50));
                reset(stream);
            }),
            502,
            "upstream-closed",
        ),
        ("FIN in the head", faulty(|stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\nX: "))), 502, "upstream-closed"),
        ("a byte at a time", faulty(drip), 504, "response-timeout"),
        ("silence", faulty(silent), 504, "response-timeout"),
    ];
    for (what, origin, status, reason) in cases {
        let edge = impatient(&origin).start();
        let begun = Instant::now();
        let response = edge.get("open.example", "/");
        assert_eq!(response.status, status, "{what}: {response:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{what}: {:?}", begun.elapsed());
        let failed = |reason: &str| edge.metrics().sum("sluis_failed_total", &[("reason", reason)]);
        // A reset that comes early enough is seen by the connect itself.
        let early = if what == "RST at accept" { failed("connect-refused") } else { 0.0 };
        assert_eq!(failed(reason) + early, 1.0, "{what}: {}", edge.log());
        // A request of which nothing was written is tried three times at most.
        assert!(origin.connections() <= 3, "{what}: asked {} times", origin.connections());
        nothing_is_left(&edge);
    }
}

#[test]
fn p8_upstream_that_closes_its_side_after_the_head_is_read_to_the_end() {
    let origin = faulty(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut [0; 1]);
    });
    let edge = impatient(&origin).start();
    for _ in 0..10 {
        assert_eq!(edge.get("open.example", "/").text(), "whole");
    }
    nothing_is_left(&edge);
}

#[test]
fn p8_body_that_comes_a_byte_at_a_time_comes_whole() {
    let origin = faulty(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(60));
            let _ = stream.write_all(b"x");
        }
    });
    let edge = impatient(&origin).start();
    let response = edge.get("open.example", "/");
    assert!(response.complete, "more time than the idle limit, never idle: {response:?}");
    nothing_is_left(&edge);
}

#[test]
fn p8_upstream_that_never_reads_an_upload_is_answered_for_in_time() {
    let origin = faulty(|_| thread::sleep(Duration::from_secs(8)));
    let edge = impatient(&origin).start();
    let mut connection = edge.http();
    let mut upload = connection.socket().try_clone().unwrap();
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        let length = 256 << 20;
        let _ = write!(upload, "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: {length}\r\n\r\n");
        for _ in 0..length / 65_536 {
            if upload.write_all(&[0; 65_536]).is_err() {
                return;
            }
        }
    });
    let response = connection.read_response();
    assert_eq!(response.status, 504, "{response:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(connection);
    sender.join().unwrap();
    nothing_is_left(&edge);
}

#[test]
fn p8_ten_thousand_interim_responses_do_no_harm() {
    let flood = faulty(|stream| {
        let _ = stream.write_all("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10_000).as_bytes());
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal");
    });
    let edge = Setup::new(flood.address()).without_tls().start();
    let before = edge.rss_bytes();
    let response = edge.get("open.example", "/");
    assert!(response.status == 502 || (response.status, response.text().as_str()) == (200, "final"), "{response:?}");
    assert!(edge.rss_bytes().saturating_sub(before) < 16 << 20);
    nothing_is_left(&edge);
}

#[test]
fn p8_interim_responses_without_an_end_are_a_bad_gateway_and_others_do_not_wait() {
    let endless = faulty(|stream| {
        let piece = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
        while stream.write_all(piece.as_bytes()).is_ok() {}
    });
    // The ordinary timeouts: it is the flood that ends it.
    let edge = Setup::new(endless.address()).without_tls().server("workers = 1").start();
    let before = edge.rss_bytes();
    for _ in 0..3 {
        let mut flooded = edge.http();
        flooded.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
        let asked = Instant::now();
        assert_eq!(edge.get("blocked.example", "/").status, 403);
        assert!(asked.elapsed() < Duration::from_secs(3), "another waited {:?}", asked.elapsed());
        assert_eq!(flooded.read_response().status, 502);
    }
    assert_eq!(edge.metrics().sum("sluis_failed_total", &[("reason", "upstream-malformed")]), 3.0);
    assert!(edge.rss_bytes().saturating_sub(before) < 16 << 20);
    nothing_is_left(&edge);
}

#[test]
fn p8_head_without_an_end_is_a_bad_gateway() {
    for piece in ["X-Filler: 0123456789012345678901234567890123456789\r\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
    {
        let origin = faulty(move |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            while stream.write_all(piece.as_bytes()).is_ok() {}
        });
        let edge = impatient(&origin).start();
        let before = edge.rss_bytes();
        assert_eq!(edge.get("open.example", "/").status, 502, "{piece}");
        assert!(edge.rss_bytes().saturating_sub(before) < 8 << 20);
        nothing_is_left(&edge);
    }
}

#[test]
fn p8_upstream_that_answers_before_the_upload_and_closes_is_heard() {
    let origin = faulty(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n");
        let _ = stream.shutdown(Shutdown::Write);
        // Reads a little, so that its answer is not lost in a reset.
        thread::sleep(Duration::from_millis(300));
    });
    let edge = impatient(&origin).start();
    let mut heard = 0;
    for _ in 0..5 {
        let mut connection = edge.http();
        connection.send("POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 1000000\r\n\r\n");
        let _ = connection.try_send(vec![b'x'; 200_000]);
        heard += usize::from(connection.try_read_response(false).is_ok_and(|response| response.status == 413));
    }
    assert_eq!(heard, 5);
    nothing_is_left(&edge);
}

#[test]
fn p8_upstream_that_flaps_costs_no_request_but_those_it_refuses() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = Origin::answering(|_| Reply::ok("good"));
    let edge = Setup::with_upstream(&[&address.to_string(), &good.address().to_string()]).without_tls().start();
    for round in 0..3 {
        for number in 0..20 {
            assert_eq!(
                edge.get("open.example", "/").status,
                200,
                "round {round}, request {number}: the other one is up"
            );
        }
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let until = Instant::now() + Duration::from_millis(400);
        while Instant::now() < until {
            if let Ok((stream, _)) = listener.accept() {
                reset(&stream);
            }
            let mut connection = Connection::over(Box::new(tcp(edge.address("http")).unwrap()));
            connection.send("GET / HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n");
            connection.socket().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = connection.try_read_response(false);
        }
    }
    nothing_is_left(&edge);
}
