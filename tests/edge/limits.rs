//! Limits hold: what is too large, too slow or too many is refused, and everybody else is served.

use std::time::Duration;

use crate::support::{Connection, Edge, Origin, Response, Setup, eventually};

fn small(limit: &str) -> (Origin, Edge) {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().limit(limit).start();
    (origin, edge)
}

/// A connection by each way to speak HTTP/1.1.
fn connections(edge: &Edge) -> [Connection; 2] {
    [edge.http(), edge.https("open.example")]
}

/// That a refusal says why.
fn says(response: &Response, reason: &str) -> bool {
    let details = format!("error=http_request_error; details=\"{reason}\"");
    response.header("proxy-status").is_some_and(|value| value.ends_with(&details))
}

#[test]
fn heads_that_are_too_large_are_refused_and_counted() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address())
        .limit("request_head_bytes = 4096")
        .limit("request_headers = 20")
        .limit("request_target_bytes = 1024")
        .start();
    let many: String = (0..30).map(|number| format!("X-{number}: 1\r\n")).collect();
    for (head, status, reason) in [
        (format!("GET /{} HTTP/1.1\r\nHost: open.example\r\n\r\n", "x".repeat(1_500)), 414, "target-too-long"),
        (format!("GET /{}", "x".repeat(1_500)), 414, "target-too-long"),
        (format!("GET / HTTP/1.1\r\nHost: open.example\r\nX: {}\r\n\r\n", "x".repeat(5_000)), 431, "head-too-large"),
        (format!("GET / HTTP/1.1\r\nHost: open.example\r\nX: {}", "x".repeat(5_000)), 431, "head-too-large"),
        (format!("GET / HTTP/1.1\r\nHost: open.example\r\n{many}\r\n"), 431, "head-too-large"),
    ] {
        let before = edge.metrics().rejected(reason);
        for mut connection in connections(&edge) {
            let response = connection.send(&head).read_response();
            assert_eq!(response.status, status);
            assert!(says(&response, reason), "{response:?}");
            assert!(connection.is_closed());
        }
        assert_eq!(edge.settled(reason).rejected(reason) - before, 2.0);
    }
    assert_eq!(edge.get("open.example", &format!("/{}", "x".repeat(1_000))).status, 200);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn trailers_and_chunk_extensions_that_are_too_large_are_refused() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let head = "POST / HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, body) in [
        ("one extension", format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(20_000))),
        ("many extensions", format!("1;{}\r\nx\r\n", "e".repeat(1_000)).repeat(30)),
        ("one trailer", format!("0\r\nX: {}\r\n\r\n", "x".repeat(9_000))),
        ("many trailers", format!("0\r\n{}\r\n", "X: 1\r\n".repeat(200))),
        ("trailers without an end", format!("0\r\n{}", "X-Trailer: filler\r\n".repeat(2_000))),
    ] {
        for mut connection in connections(&edge) {
            let _ = connection.try_send(format!("{head}{body}"));
            let response = connection.read_response();
            assert_eq!(response.status, 400, "{what}");
            assert!(says(&response, "malformed-framing"), "{what}: {response:?}");
            assert!(connection.is_closed(), "{what}");
        }
    }
    assert_eq!(edge.settled("chunks").rejected("malformed-framing"), 10.0);
    assert_eq!(origin.requests().len(), 0, "none was whole for the origin");
}

#[test]
fn old_connection_is_told_to_close() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).limit("connection_age = \"1s\"").start();
    for mut connection in connections(&edge) {
        let mut last = None;
        eventually("it is too old", || {
            last = Some(connection.get("open.example", "/"));
            last.as_ref().is_some_and(|answer| answer.header("connection") == Some("close"))
        });
        assert_eq!(last.map(|answer| answer.status), Some(200), "the last one is answered too");
        assert!(connection.is_closed());
    }
}

#[test]
fn head_that_does_not_come_in_time_is_refused() {
    let (_origin, edge) = small("request_head_timeout = \"400ms\"");
    let mut slow = edge.http();
    slow.send("GET / HTTP/1.1\r\nHost: op");
    assert_eq!(slow.read_response().status, 408);
    assert!(slow.is_closed());
    let mut silent = edge.http();
    assert!(silent.is_closed());
    assert!(silent.take_buffered().is_empty(), "a connection that never sends a byte is closed in silence");
    eventually("one request is counted", || edge.metrics().outcome("rejected") == 1);
}

#[test]
fn body_that_stands_still_or_is_too_large_is_refused() {
    let (_origin, edge) = small("request_body_idle_timeout = \"400ms\"\nrequest_body_bytes = 1000");
    let mut slow = edge.http();
    slow.send("POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 10\r\n\r\n12345");
    if let Ok(response) = slow.try_read_response(false) {
        assert_eq!(response.status, 408);
    }
    assert!(slow.is_closed());
    let mut large = edge.http();
    large.send("POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(large.read_response().status, 413);
    let mut chunked = edge.http();
    chunked.send("POST / HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    let _ = chunked.try_send(format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2_000)));
    if let Ok(response) = chunked.try_read_response(false) {
        assert_eq!(response.status, 413);
    }
    assert_eq!(edge.get("open.example", "/").status, 200);
}

#[test]
fn idle_connection_is_closed_and_a_used_up_one_says_so() {
    let (_origin, edge) = small("keep_alive_timeout = \"400ms\"\nrequests_per_connection = 3");
    let mut idle = edge.http();
    assert_eq!(idle.get("open.example", "/").status, 200);
    assert!(idle.is_closed());
    assert!(idle.take_buffered().is_empty());
    let mut busy = edge.http();
    for _ in 0..2 {
        assert!(busy.get("open.example", "/").header("connection").is_none());
    }
    let last = busy.get("open.example", "/");
    assert!(last.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")), "{:?}", last.headers);
    assert!(busy.is_closed());
}

#[test]
fn clients_beyond_the_limit_wait_and_the_admin_endpoint_answers() {
    let (_origin, edge) = small("connections = 8\nkeep_alive_timeout = \"2s\"");
    let mut held: Vec<Connection> = (0..8).map(|_| edge.http()).collect();
    for connection in &mut held {
        assert_eq!(connection.get("open.example", "/").status, 200);
    }
    let mut waiting = edge.http();
    waiting.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    assert!(waiting.stays_quiet_for(Duration::from_millis(300)), "beyond the limit nobody is accepted");
    assert_eq!(edge.admin_get("/livez").status, 200);
    held.clear();
    assert_eq!(waiting.read_response().status, 200);
}

#[test]
fn one_client_address_gets_no_more_than_its_share() {
    let (_origin, edge) = small("connections_per_client = 3");
    let mut held: Vec<Connection> = (0..3).map(|_| edge.http()).collect();
    for connection in &mut held {
        assert_eq!(connection.get("open.example", "/").status, 200);
    }
    assert!(edge.http().is_closed());
    held.clear();
    eventually("it may come back", || {
        edge.http().try_get("open.example", "/").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn client_that_reads_nothing_is_let_go() {
    let body = "x".repeat(32 * 1024 * 1024);
    let origin = Origin::answering(move |_| crate::support::Reply::ok(&body));
    let edge = Setup::new(origin.address()).without_tls().limit("response_write_timeout = \"1s\"").start();
    let mut connection = edge.http();
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    eventually("it is cut", || edge.metrics().outcome("aborted") == 1);
    assert!(!connection.try_read_response(false).is_ok_and(|response| response.complete));
}

#[test]
fn nothing_is_left_behind_by_many_connections() {
    let (_origin, edge) = small("");
    let open = |edge: &Edge| std::fs::read_dir(format!("/proc/{}/fd", edge.id())).unwrap().count();
    for _ in 0..20 {
        let _ = edge.get("open.example", "/");
    }
    eventually("idle", || edge.metrics().sum("sluis_connections_active", &[]) == 0.0);
    let before = open(&edge);
    for _ in 0..300 {
        let _ = edge.http().try_get("open.example", "/");
    }
    eventually("idle", || edge.metrics().sum("sluis_connections_active", &[]) == 0.0);
    eventually("descriptors are given back", || open(&edge) <= before + 8);
}
