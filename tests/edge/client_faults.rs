//! Clients that leave at every moment, a thousand times: nothing of them stays.
//!
//! Kept out: clients that are slow, which are in limits.rs.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::runtime::Builder;
use tokio_rustls::TlsConnector;

use crate::support::client::{tcp, tls_config};
use crate::support::origin::{Reply, Step, reset};
use crate::support::{Edge, Origin, Setup, eventually};

const TIMES: usize = 500;

/// Memory that may come and go without being lost.
const SLACK: u64 = 4 << 20;

/// `/slow` takes a while, `/large` is large, everything else is answered at once.
fn origin() -> Origin {
    let large = "x".repeat(1 << 20);
    Origin::answering(move |request| match request.target.as_str() {
        "/slow" => {
            Reply(vec![Step::Wait(Duration::from_millis(50))]).then(Step::Send(b"HTTP/1.1 204 No\r\n\r\n".to_vec()))
        }
        "/large" => Reply::ok(&large),
        _ => Reply::ok("at once"),
    })
}

fn gauges_are_zero(edge: &Edge) -> bool {
    let metrics = edge.metrics();
    let gauges = [
        "sluis_requests_in_flight",
        "sluis_connections_active",
        "sluis_upstream_connections_active",
        "sluis_tunnels_active",
    ];
    gauges.iter().all(|name| metrics.sum(name, &[]) == 0.0)
}

#[test]
fn p8_empty_lines_are_no_request_until_one_follows() {
    let origin = origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    for empty in ["\r\n", "\r\n\r\n"] {
        let mut connection = edge.http();
        connection.send(empty);
        connection.socket().shutdown(Shutdown::Write).unwrap();
        assert!(connection.read_to_end().is_ok(), "{empty:?}");
        assert_eq!(connection.take_buffered(), b"", "{empty:?}");
    }
    assert_eq!(edge.settled("nobody asked").sum("sluis_requests_started_total", &[]), 0.0);
    let mut connection = edge.http();
    connection.send("\r\n");
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    assert_eq!(connection.read_response().text(), "at once");
}

/// Does one thing to an edge many times, again and again until memory has settled: how much of it is in use at once
/// differs, but what is lost each time would show in every round.
fn leaves_nothing(edge: &Edge, what: &str, times: usize, act: impl Fn(&Edge, usize)) {
    let round = || {
        (0..times).for_each(|number| act(edge, number));
        eventually(&format!("{what}: all gone"), || gauges_are_zero(edge));
    };
    round();
    let files = edge.open_files();
    let mut grown = Vec::new();
    while grown.last().is_none_or(|grown| *grown >= SLACK) {
        assert!(grown.len() < 4, "{what}: so many bytes more after each {times} times: {grown:?}");
        let memory = edge.rss_bytes();
        round();
        grown.push(edge.rss_bytes().saturating_sub(memory));
    }
    eventually(&format!("{what}: descriptors are given back"), || edge.open_files() <= files + 4);
    let metrics = edge.metrics();
    let (started, ended) = (metrics.sum("sluis_requests_started_total", &[]), metrics.sum("sluis_requests_total", &[]));
    assert_eq!(started, ended, "{what}: what was started has ended, once");
    assert_eq!(metrics.sum("sluis_panics_total", &[]), 0.0, "{what}");
    assert_eq!(edge.get("open.example", "/").text(), "at once", "{what}: the next client is served");
}

#[test]
fn p8_client_that_leaves_at_any_moment_of_http1_leaves_nothing() {
    let origin = origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    let sent: [(&str, &[u8]); 6] = [
        ("before a byte", b""),
        ("in the request line", b"GET /sl"),
        ("in the head", b"GET /slow HTTP/1.1\r\nHost: open.exa"),
        ("in the body", b"POST /slow HTTP/1.1\r\nHost: open.example\r\nContent-Length: 100\r\n\r\nhalf"),
        ("in a chunk", b"POST /slow HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf"),
        ("before the answer", b"GET /slow HTTP/1.1\r\nHost: open.example\r\n\r\n"),
    ];
    for (what, bytes) in sent {
        leaves_nothing(&edge, what, TIMES, |edge, number| {
            let mut stream = tcp(edge.address("http")).unwrap();
            let _ = stream.write_all(bytes);
            match number % 3 {
                0 => reset(&stream),
                1 => drop(stream.shutdown(Shutdown::Write)),
                _ => {}
            }
        });
    }
}

#[test]
fn p8_client_that_leaves_in_the_midst_of_a_response_leaves_nothing() {
    let origin = origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    leaves_nothing(&edge, "in the response", TIMES / 4, |edge, number| {
        let mut stream = tcp(edge.address("http")).unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: open.example\r\n\r\n").unwrap();
        stream.read_exact(&mut vec![0; 1 + number % 3_000]).unwrap();
        if number.is_multiple_of(2) {
            reset(&stream);
        }
    });
}

#[test]
fn p8_client_that_leaves_a_tls_connection_leaves_nothing() {
    let origin = origin();
    let edge = Setup::new(origin.address()).start();
    leaves_nothing(&edge, "in the handshake", TIMES / 2, |edge, number| {
        let mut stream = tcp(edge.address("https")).unwrap();
        // The beginning of a ClientHello.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..number % 12]).unwrap();
        if number.is_multiple_of(2) {
            reset(&stream);
        }
    });
    leaves_nothing(&edge, "after the handshake", TIMES / 10, |edge, number| {
        let mut connection = edge.https("open.example");
        if number.is_multiple_of(2) {
            connection.send("GET /slow HTTP/1.1\r\nHost: open.example\r\n\r\n");
        }
        reset(connection.socket());
    });
}

#[test]
fn p8_streams_of_http2_that_are_reset_leave_nothing() {
    let origin = origin();
    let edge = Setup::new(origin.address()).start();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    leaves_nothing(&edge, "by RST_STREAM", 20, |edge, number| {
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(edge.address("https")).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connector = TlsConnector::from(Arc::new(tls_config(&[b"h2"], true)));
            let stream = connector.connect(ServerName::try_from("open.example").unwrap(), stream).await.unwrap();
            let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            let driver = tokio::runtime::Handle::current().spawn(connection);
            for path in ["/slow", "/large", "/slow", "/large", "/slow", "/large", "/slow", "/large"] {
                sender.ready().await.unwrap();
                let request = Request::get(format!("https://open.example{path}")).body(Full::<Bytes>::default());
                let answer = sender.send_request(request.unwrap());
                if path == "/slow" {
                    // Dropped before the answer: RST_STREAM with CANCEL.
                    let _ = tokio::time::timeout(Duration::from_millis(5), answer).await;
                } else {
                    let mut body = answer.await.unwrap().into_body();
                    let _ = body.frame().await;
                }
            }
            drop(sender);
            if number.is_multiple_of(2) {
                // The connection itself, with all that is on it.
                driver.abort();
            }
            let _ = driver.await;
        });
    });
}

#[test]
fn p8_tunnels_whose_client_leaves_leave_nothing() {
    let origin = Origin::answering(|request| match request.header("upgrade") {
        Some(_) => Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .then(Step::Echo),
        None => Reply::ok("at once"),
    });
    let edge = Setup::new(origin.address()).without_tls().start();
    leaves_nothing(&edge, "a tunnel", 200, |edge, number| {
        let mut connection = edge.http();
        connection.send(
            "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        assert_eq!(connection.read_response().status, 101);
        connection.send("some");
        if number.is_multiple_of(2) {
            connection.read_exactly(4).unwrap();
        }
        if number.is_multiple_of(3) {
            reset(connection.socket());
        }
    });
}

#[test]
fn p8_crowd_that_leaves_at_once_leaves_nothing() {
    let origin = origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    leaves_nothing(&edge, "a crowd", 4, |edge, _| {
        let crowd: Vec<_> = (0..200)
            .map(|_| {
                let mut stream = tcp(edge.address("http")).unwrap();
                stream.write_all(b"GET /slow HTTP/1.1\r\nHost: open.example\r\n\r\n").unwrap();
                stream
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        crowd.iter().for_each(reset);
    });
}
