//! The limits towards upstreams, each exceeded: connecting, waiting, queueing, sending again, and what this machine lacks.
//!
//! Kept out: upstreams that misbehave (upstream_faults.rs, faults.rs).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use crate::support::client::tcp;
use crate::support::http2::Http2;
use crate::support::origin::{Reply, Step};
use crate::support::siege::nothing_is_left;
use crate::support::{Connection, Edge, Origin, Response, Setup, eventually, peers};

/// The same GET by each protocol.
fn by_each_protocol(edge: &Edge, target: &str) -> [Response; 3] {
    let by_http2 = Http2::connect(edge.address("https"), Some("open.example")).get("open.example", target);
    [edge.get("open.example", target), edge.https("open.example").get("open.example", target), by_http2]
}

fn failed(edge: &Edge, reason: &str) -> f64 {
    edge.metrics().sum("sluis_failed_total", &[("reason", reason)])
}

#[test]
fn server_that_does_not_take_the_connection_is_a_gateway_timeout() {
    // A queue of one that is full: further connects are not answered.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let _held: Vec<_> = (0..2)
        .filter_map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .collect();
    let edge = Setup::new(address).limit("upstream_connect_timeout = \"200ms\"").start();
    for response in by_each_protocol(&edge, "/") {
        assert_eq!(response.status, 504, "{response:?}");
        assert!(response.header("proxy-status").is_some_and(|value| value.contains("error=connection_timeout")));
    }
    assert_eq!(failed(&edge, "connect-timeout"), 3.0);
    assert_eq!(edge.metrics().value("sluis_upstream_up", &[]), Some(0.0));
}

#[test]
fn answer_that_does_not_come_is_a_gateway_timeout_by_each_protocol() {
    let origin = Origin::answering(|_| Reply(vec![Step::Wait(Duration::from_secs(2))]));
    let edge = Setup::new(origin.address()).limit("upstream_response_timeout = \"300ms\"").start();
    for response in by_each_protocol(&edge, "/") {
        assert_eq!(response.status, 504, "{response:?}");
        assert!(response.header("proxy-status").is_some_and(|value| value.contains("error=http_response_timeout")));
    }
    assert_eq!(failed(&edge, "response-timeout"), 3.0);
}

#[test]
fn answer_that_stands_still_is_cut_by_each_protocol() {
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this").then(Step::Wait(Duration::from_secs(2)))
    });
    let edge = Setup::new(origin.address()).limit("upstream_body_idle_timeout = \"300ms\"").start();
    for mut connection in [edge.http(), edge.https("open.example")] {
        let response = connection.get("open.example", "/");
        assert_eq!((response.status, response.complete), (200, false));
    }
    let request = hyper::Request::get("https://open.example/").body(http_body_util::Full::default()).unwrap();
    assert!(Http2::connect(edge.address("https"), Some("open.example")).send(request).is_err(), "a reset, not an end");
    assert_eq!(failed(&edge, "body-timeout"), 3.0);
}

#[test]
fn pooled_connection_is_closed_when_nobody_needs_it() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().limit("upstream_pool_idle_timeout = \"100ms\"").start();
    assert_eq!(edge.get("open.example", "/").status, 200);
    nothing_is_left(&edge, "the pool");
    assert_eq!(edge.get("open.example", "/").status, 200);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn tunnel_through_which_nothing_passes_is_closed() {
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .then(Step::Echo)
    });
    let edge = Setup::new(origin.address()).limit("upgraded_idle_timeout = \"400ms\"").start();
    for mut tunnel in [edge.http(), edge.https("open.example")] {
        tunnel.send(
            "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        assert_eq!(tunnel.read_response().status, 101);
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(150));
            tunnel.send("more");
            assert_eq!(tunnel.read_exactly(4).unwrap(), b"more", "it is not idle");
        }
        let begun = Instant::now();
        assert!(tunnel.is_closed());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(nothing_is_left(&edge, "tunnels").sum("sluis_tunnels_cut_total", &[]), 0.0);
}

/// Answers only when it is told to, and counts who is there.
fn gated_origin() -> (Origin, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (open, there) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, count) = (Arc::clone(&open), Arc::clone(&there));
    let origin = Origin::answering(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        while gate.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        Reply::ok("at last")
    });
    (origin, open, there)
}

#[test]
fn upstream_with_too_much_to_do_gets_its_share_and_the_rest_is_told_to_come_back() {
    let (origin, open, there) = gated_origin();
    let edge = Setup::new(origin.address())
        .server("workers = 1")
        .limit("upstream_in_flight = 3\nupstream_queue = 2\nupstream_queue_timeout = \"20s\"")
        .start();
    let ask = || {
        let mut connection = edge.http();
        connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
        connection
    };
    let mut asked: Vec<Connection> = (0..3).map(|_| ask()).collect();
    eventually("they are at the origin", || there.load(Ordering::SeqCst) == 3);
    asked.extend((0..2).map(|_| ask()));
    eventually("two more wait", || edge.metrics().sum("sluis_requests_in_flight", &[]) == 5.0);
    let begun = Instant::now();
    for response in by_each_protocol(&edge, "/") {
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(response.header("retry-after"), Some("5"));
        assert!(response.header("proxy-status").is_some_and(|value| value.contains("error=connection_limit_reached")));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "who does not fit into the queue is told at once");
    assert_eq!(edge.get("blocked.example", "/").status, 403, "what needs no upstream is answered");
    open.store(1, Ordering::SeqCst);
    for mut connection in asked {
        assert_eq!(connection.read_response().text(), "at last");
    }
    assert_eq!((there.load(Ordering::SeqCst), failed(&edge, "overloaded")), (5, 3.0));
}

#[test]
fn request_that_waits_too_long_for_an_upstream_is_told_to_come_back() {
    let (origin, open, there) = gated_origin();
    let edge = Setup::new(origin.address())
        .server("workers = 1")
        .limit("upstream_in_flight = 1\nupstream_queue_timeout = \"200ms\"")
        .start();
    let mut first = edge.http();
    first.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    eventually("it is at the origin", || there.load(Ordering::SeqCst) == 1);
    for response in by_each_protocol(&edge, "/") {
        assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
    }
    open.store(1, Ordering::SeqCst);
    assert_eq!(first.read_response().status, 200);
    assert_eq!(by_each_protocol(&edge, "/").map(|response| response.status), [200; 3]);
    assert_eq!(failed(&edge, "overloaded"), 3.0);
}

#[test]
fn origin_that_dies_of_requests_does_not_get_all_of_them_twice() {
    const REQUESTS: usize = 600;
    // The first request of each connection is answered, the second ends it: each reuse asks for a repetition.
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let origin = Origin::raw(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for number in 0..2 {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
            }
            count.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let edge = Setup::new(origin.address()).without_tls().server("workers = 1").start();
    let mut connection = edge.http();
    let statuses: Vec<u16> = (0..REQUESTS).map(|_| connection.get("open.example", "/").status).collect();
    let failed = statuses.iter().filter(|status| **status == 502).count();
    let metrics = edge.metrics();
    let repeated = metrics.sum("sluis_upstream_retries_total", &[]) as usize;
    // A burst of 200, and a tenth of all.
    assert!((200..=200 + REQUESTS / 10).contains(&repeated), "{repeated} were sent again");
    assert_eq!(heard.load(Ordering::SeqCst), REQUESTS + repeated);
    assert!(failed > 0 && failed + repeated >= REQUESTS / 2, "{failed} failed");
    assert!(statuses[..200].iter().all(|status| *status == 200), "within the burst nobody notices");
}

#[test]
fn server_is_not_blamed_where_this_machine_has_no_descriptor_left() {
    let Some(_) = peers::find("prlimit") else { return };
    let origin = Origin::hello();
    // The cap on clients is put out of force, so that they take what the upstream's connections would need.
    let setup = Setup::new(origin.address())
        .without_tls()
        .server("workers = 1")
        .limit("connections = 100000")
        .limit("upstream_pool_idle_timeout = \"100ms\"");
    let edge = Edge::start_under(&setup, &["prlimit", "--nofile=64:64"]);
    let mut client = edge.http();
    assert_eq!(client.get("open.example", "/").status, 200);
    nothing_but_clients_is_open(&edge);
    let address = edge.address("http");
    let crowd: Vec<_> = (0..80).map(|_| tcp(address).unwrap()).collect();
    eventually("no descriptor is left", || edge.open_files() >= 64);
    let mut response = client.get("open.example", "/");
    while response.status == 200 {
        // The connection that the metrics were asked by has let go of its descriptor only now, and the pool has it: while nobody
        // asks, it is closed there, and goes to the next client that waits.
        thread::sleep(Duration::from_millis(1_500));
        response = client.get("open.example", "/");
    }
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")), "{response:?}");
    assert!(response.header("proxy-status").is_some_and(|value| value.contains("error=proxy_internal_error")));
    assert_eq!(client.get("blocked.example", "/").status, 403, "what needs no descriptor is answered");
    drop(crowd);
    eventually("it serves again", || client.get("open.example", "/").status == 200);
    let metrics = edge.metrics();
    assert!(metrics.sum("sluis_failed_total", &[("reason", "out-of-resources")]) >= 1.0);
    assert_eq!(metrics.sum("sluis_failed_total", &[("reason", "connect-refused")]), 0.0);
    assert_eq!(metrics.value("sluis_upstream_up", &[]), Some(1.0));
    assert_eq!(metrics.sum("sluis_upstream_connects_total", &[("result", "refused")]), 0.0);
}

fn nothing_but_clients_is_open(edge: &Edge) {
    eventually("the pool is empty", || edge.metrics().sum("sluis_upstream_connections_active", &[]) == 0.0);
}

#[test]
fn upstream_that_is_not_there_is_still_blamed() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let edge = Setup::new(closed).start();
    for response in by_each_protocol(&edge, "/") {
        assert_eq!(response.status, 502);
    }
    assert_eq!(failed(&edge, "connect-refused"), 3.0);
    assert_eq!(edge.metrics().value("sluis_upstream_up", &[]), Some(0.0));
}
