//! Crowds of clients that dawdle at every point of a connection: each is let go in time, and others are served meanwhile.
//!
//! Inside: handshakes, heads, bodies, readers, idle connections, in the clear and over TLS; floods of connections. Kept
//! out: the same on the streams of HTTP/2 (http2_limits.rs), and single limits (limits.rs).

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use crate::support::client::tcp;
use crate::support::siege::{besiege, nothing_is_left};
use crate::support::{Connection, Edge, Origin, PATIENCE, Setup};

const CROWD: usize = 60;

/// A crowd is let go in this time, on a machine that is busy, where each of its limits is half a second or less.
const IN_TIME: Duration = Duration::from_secs(6);

/// `/large` has no end, other answers are small, and a POST is read as long as it comes.
fn origin() -> Origin {
    Origin::raw(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            if line != "\r\n" {
                head.push_str(&std::mem::take(&mut line));
                continue;
            }
            line.clear();
            if head.starts_with("POST") {
                // Answered when the body is whole, which it never is.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return;
            }
            let is_large = std::mem::take(&mut head).contains(" /large ");
            let answer: &[u8] = if is_large {
                b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            };
            let mut written = stream.write_all(answer);
            while is_large && written.is_ok() {
                written = stream.write_all(&[b'x'; 65_536]);
            }
            if written.is_err() {
                return;
            }
        }
    })
}

fn edge_before(origin: &Origin, limits: &str) -> Edge {
    Setup::new(origin.address())
        .server("workers = 1")
        .limit("upstream_pool_idle_timeout = \"100ms\"")
        .limit(limits)
        .start()
}

/// The connections of a crowd, in the clear and over TLS by turns.
fn crowd(edge: &Edge) -> Vec<Connection> {
    (0..CROWD).map(|number| if number % 2 == 0 { edge.http() } else { edge.https("open.example") }).collect()
}

/// Everybody sends a piece now and then until the edge has ended every connection.
fn all_are_let_go(what: &str, mut crowd: Vec<Connection>, piece: &str) {
    let begun = Instant::now();
    while crowd.iter_mut().fold(false, |goes_on, client| client.try_send(piece).is_ok() | goes_on) {
        assert!(begun.elapsed() < IN_TIME, "{what}: some are still served after {:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn handshakes_that_do_not_go_on_are_let_go() {
    let origin = origin();
    let edge = edge_before(&origin, "tls_handshake_timeout = \"400ms\"");
    // The beginning of a ClientHello that says to be longer (RFC 8446 section 4).
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    for (what, sent, goes_on) in [
        ("silence", 0, false),
        ("a part", hello.len(), false),
        ("a part, and then a byte at a time", hello.len(), true),
    ] {
        besiege(&edge, what, || {
            let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| tcp(edge.address("https")).unwrap()).collect();
            crowd.iter_mut().for_each(|client| client.write_all(&hello[..sent]).unwrap());
            if goes_on {
                let crowd = crowd.into_iter().map(|stream| Connection::over(Box::new(stream))).collect();
                all_are_let_go(what, crowd, "\0");
            } else {
                let begun = Instant::now();
                for client in crowd {
                    assert!(Connection::over(Box::new(client)).is_closed(), "{what}");
                }
                assert!(begun.elapsed() < IN_TIME, "{what}: {:?}", begun.elapsed());
            }
        });
    }
    // A handshake is no request.
    assert_eq!(nothing_is_left(&edge, "handshakes").outcome("rejected"), 0);
}

#[test]
fn heads_that_come_a_little_at_a_time_are_refused_in_time() {
    let origin = origin();
    let edge = edge_before(&origin, "request_head_timeout = \"400ms\"");
    for (what, begin, piece) in [
        ("a field at a time (slow loris)", "GET / HTTP/1.1\r\nHost: open.example\r\n", "X-a: b\r\n"),
        ("a byte at a time", "GET / HTTP/1.1\r\nHost: open.example\r\nX: ", "a"),
        ("a byte of the target at a time", "GET /", "a"),
        ("a method that never ends", "G", "E"),
    ] {
        let before = edge.metrics().rejected("head-timeout");
        besiege(&edge, what, || {
            // Each begins at once, so that its head is what does not come in time.
            let begun = |number: usize| {
                let mut client = if number.is_multiple_of(2) { edge.http() } else { edge.https("open.example") };
                let _ = client.try_send(begin);
                client
            };
            all_are_let_go(what, (0..CROWD).map(begun).collect(), piece);
        });
        // On a machine that is busy, one or the other may have been let go before its first byte came, in silence.
        let refused = edge.settled(what).rejected("head-timeout") - before;
        assert!((CROWD as f64 / 2.0..=CROWD as f64).contains(&refused), "{what}: {refused}");
    }
    nothing_is_left(&edge, "heads");
}

#[test]
fn connections_that_send_nothing_or_nothing_more_are_closed_in_silence() {
    let origin = origin();
    let edge = edge_before(&origin, "request_head_timeout = \"300ms\"\nkeep_alive_timeout = \"300ms\"");
    for (what, asks_first) in [("nothing ever", false), ("nothing more", true)] {
        besiege(&edge, what, || {
            let mut crowd = crowd(&edge);
            if asks_first {
                for client in &mut crowd {
                    // The first of a crowd may be closed before the last has come.
                    let _ = client.try_get("open.example", "/");
                }
            }
            let begun = Instant::now();
            for mut client in crowd {
                assert!(client.is_closed() && client.take_buffered().is_empty(), "{what}");
            }
            assert!(begun.elapsed() < IN_TIME, "{what}");
        });
    }
    assert_eq!(nothing_is_left(&edge, "idle").outcome("rejected"), 0);
}

#[test]
fn bodies_that_come_a_byte_at_a_time_are_refused_in_time() {
    let origin = origin();
    let edge = edge_before(&origin, "request_body_idle_timeout = \"400ms\"");
    for (what, head, piece) in [
        ("R-U-Dead-Yet", "Content-Length: 1000000\r\n\r\n", "x"),
        ("a chunk of one byte at a time", "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("a chunk that never comes", "Transfer-Encoding: chunked\r\n\r\n", ""),
    ] {
        let before = edge.metrics().rejected("body-timeout");
        besiege(&edge, what, || {
            let mut crowd = crowd(&edge);
            for client in &mut crowd {
                client.send(format!("POST / HTTP/1.1\r\nHost: open.example\r\n{head}"));
            }
            if piece.is_empty() {
                assert!(crowd.iter_mut().all(Connection::is_closed));
            } else {
                all_are_let_go(what, crowd, piece);
            }
        });
        assert_eq!(edge.settled(what).rejected("body-timeout") - before, CROWD as f64, "{what}");
    }
    nothing_is_left(&edge, "bodies");
}

/// A client whose window is as small as the system lets it be.
fn with_a_tiny_window(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1_024).unwrap();
    socket.connect(&SockAddr::from(address)).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn readers_that_take_next_to_nothing_are_let_go_and_hold_little() {
    let origin = origin();
    let edge = edge_before(&origin, "response_write_timeout = \"500ms\"");
    for (what, reads) in [("nothing at all", 0), ("a few bytes at a time", 20)] {
        let before = edge.metrics().outcome("aborted");
        let cost = besiege(&edge, what, || {
            let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| with_a_tiny_window(edge.address("http"))).collect();
            for client in &mut crowd {
                client.write_all(b"GET /large HTTP/1.1\r\nHost: open.example\r\n\r\n").unwrap();
            }
            let begun = Instant::now();
            while edge.metrics().outcome("aborted") - before < CROWD as u64 {
                assert!(begun.elapsed() < IN_TIME, "{what}: some are still served");
                for client in &mut crowd {
                    let _ = std::io::Read::read(client, &mut vec![0; reads]);
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        eprintln!("{what}: {} KiB for {CROWD} slow readers", cost.memory >> 10);
    }
    nothing_is_left(&edge, "readers");
}

#[test]
fn flood_of_connections_waits_outside_and_passes() {
    let origin = origin();
    let edge = edge_before(&origin, "connections = 100\nrequest_head_timeout = \"300ms\"");
    let cost = besiege(&edge, "a flood of connections", || {
        let mut flood: Vec<Connection> = (0..300).map(|_| edge.http()).collect();
        assert!(edge.metrics().sum("sluis_connections_active", &[]) <= 100.0);
        assert!(flood.iter_mut().all(Connection::is_closed));
    });
    assert!(cost.memory < 16 << 20, "{} KiB more", cost.memory >> 10);
    nothing_is_left(&edge, "a flood");
}

/// A connection from another address of this machine.
fn from_elsewhere(address: SocketAddr) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 2], 0)))).unwrap();
    socket.connect(&SockAddr::from(address)).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Connection::over(Box::new(stream))
}

#[test]
fn one_address_cannot_take_the_places_of_the_others() {
    let origin = origin();
    let edge = edge_before(&origin, "connections_per_client = 10");
    besiege(&edge, "one greedy address", || {
        let mut held: Vec<Connection> = (0..10).map(|_| from_elsewhere(edge.address("http"))).collect();
        for client in &mut held {
            assert_eq!(client.get("open.example", "/").status, 200);
        }
        for _ in 0..100 {
            assert!(from_elsewhere(edge.address("http")).is_closed(), "one more than its share");
        }
        assert_eq!(edge.metrics().sum("sluis_accept_errors_total", &[]), 100.0, "each is counted");
        for client in &mut held {
            assert_eq!(client.get("open.example", "/").status, 200, "those within the share stay");
        }
    });
    nothing_is_left(&edge, "one greedy address");
}
