//! Upgraded connections: they pass once the upstream says so, and end when a block comes into force.

use std::fs;

use crate::support::origin::{Reply, Step};
use crate::support::setup::{RECORDS, record};
use crate::support::{Connection, Edge, Origin, Setup, eventually};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn echoing_origin() -> Origin {
    Origin::answering(|request| match request.header("upgrade") {
        Some("websocket") => Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .then(Step::Echo),
        _ => Reply::ok("no upgrade"),
    })
}

fn tunnel(edge: &Edge) -> Connection {
    let mut connection = edge.http();
    let response = connection.send(UPGRADE).read_response();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    connection
}

fn echoes(connection: &mut Connection, text: &str) -> bool {
    connection.try_send(text).is_ok() && connection.read_exactly(text.len()).is_ok_and(|bytes| bytes == text.as_bytes())
}

#[test]
fn upgrade_passes_and_bytes_go_both_ways() {
    let origin = echoing_origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    let mut connection = tunnel(&edge);
    assert!(echoes(&mut connection, "hello"));
    assert!(echoes(&mut connection, &"x".repeat(100_000)));
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("sluis_tunnels_active", &[]), 1.0);
    assert_eq!(metrics.sum("sluis_requests_total", &[("outcome", "forwarded"), ("code", "1xx")]), 1.0);
    drop(connection);
    eventually("the tunnel is gone", || edge.metrics().sum("sluis_tunnels_active", &[]) == 0.0);
}

#[test]
fn upgrade_over_tls_passes_too() {
    let origin = echoing_origin();
    let edge = Setup::new(origin.address()).start();
    let mut connection = edge.https("open.example");
    assert_eq!(connection.send(UPGRADE).read_response().status, 101);
    assert!(echoes(&mut connection, "hello"));
}

#[test]
fn upgrade_to_a_blocked_host_is_the_notice() {
    let origin = echoing_origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    let response = edge.http().send(UPGRADE.replace("open.example", "blocked.example")).read_response();
    assert_eq!(response.status, 403);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn upstream_that_declines_is_an_ordinary_answer() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().start();
    let mut connection = edge.http();
    assert_eq!(connection.send(UPGRADE).read_response().status, 200);
    assert_eq!(connection.get("open.example", "/").status, 200, "the connection goes on");
}

#[test]
fn upgrade_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    });
    let edge = Setup::new(origin.address()).without_tls().start();
    assert_eq!(edge.get("open.example", "/").status, 502);
}

#[test]
fn block_cuts_the_tunnels_of_its_host_within_a_second_and_no_others() {
    let origin = echoing_origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    let mut connection = tunnel(&edge);
    let mut other = edge.http();
    assert_eq!(other.send(UPGRADE.replace("open.example", "other.example")).read_response().status, 101);
    assert!(echoes(&mut connection, "before"));
    fs::write(edge.path("blocklist.toml"), RECORDS.to_owned() + &record("new-1", "open.example")).unwrap();
    let posted = tokio::time::Instant::now();
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert!(connection.is_closed());
    let took = posted.elapsed();
    assert!(took.as_secs_f64() < 2.0, "the tunnel was cut after {took:?}; 1 s is promised");
    assert!(echoes(&mut other, "still here"));
    assert_eq!(edge.metrics().sum("sluis_tunnels_cut_total", &[]), 1.0);
}

#[test]
fn protocol_that_would_carry_requests_past_the_verdict_is_not_switched_to() {
    // RFC 9110 section 7.8: a name and, after a slash, a version. The origin switches to whatever it is asked for.
    let origin = Origin::answering(|request| match request.header("upgrade") {
        Some(token) => {
            Reply::raw(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {token}\r\n\r\n"))
                .then(Step::Echo)
        }
        None => Reply::ok("no upgrade"),
    });
    let edge = Setup::new(origin.address()).without_tls().start();
    for (token, status) in [
        ("h2c", 200),
        ("H2C/1", 200),
        ("HTTP/2.0", 200),
        ("TLS/1.0", 200),
        ("\"h2c\"", 200),
        ("h2c;x", 200),
        ("", 200),
        ("h2c, websocket", 200),
        ("h2c-14", 200),
        ("SPDY/3.1", 200),
        ("tcp", 101),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: {token}\r\n\r\n");
        assert_eq!(edge.http().send(head).read_response().status, status, "{token:?}");
    }
    // RFC 6455 section 4.1: without the key, what was checked here would be no handshake for the origin.
    for field in ["Sec-WebSocket-Key", "sec-websocket-version"] {
        let head = UPGRADE.replace("Connection: Upgrade", &format!("Connection: Upgrade, {field}"));
        assert_eq!(edge.http().send(head).read_response().status, 400, "{field}");
    }
}

#[test]
fn tunnel_whose_client_has_gone_does_not_wait_for_an_origin_that_stays() {
    let (stay, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::raw(move |mut stream, _| {
        // An answer before the request would be one that nobody asked for.
        let _ = std::io::Read::read(&mut stream, &mut [0; 4_096]);
        let _ = std::io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        // It notices nothing until the test is over.
        let _ = gone.lock().expect("one connection").recv();
    });
    let edge = Setup::new(origin.address()).without_tls().limit("keep_alive_timeout = \"300ms\"").start();
    let mut connection = edge.http();
    assert_eq!(connection.send(UPGRADE).read_response().status, 101);
    eventually("it is counted", || edge.metrics().sum("sluis_tunnels_active", &[]) == 1.0);
    drop(connection);
    eventually("the tunnel is gone", || edge.metrics().sum("sluis_tunnels_active", &[]) == 0.0);
    drop(stay);
}

#[test]
fn request_with_a_body_or_an_old_version_is_not_upgraded() {
    let origin = echoing_origin();
    let edge = Setup::new(origin.address()).without_tls().start();
    for head in [
        UPGRADE.replace("HTTP/1.1", "HTTP/1.0"),
        UPGRADE.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody"),
    ] {
        let response = edge.http().send(head.as_bytes()).read_response();
        assert_ne!(response.status, 101, "{head:?}");
    }
}
