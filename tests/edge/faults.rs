//! What goes wrong upstream or is framed to deceive, and what the client sees of it.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::support::origin::{Reply, Step, reset};
use crate::support::{Edge, Origin, Setup, eventually};

fn edge_before(origin: &Origin) -> Edge {
    Setup::new(origin.address()).without_tls().start()
}

#[test]
fn p8_upstream_that_refuses_is_a_bad_gateway() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let edge = Setup::new(unused).without_tls().start();
    let response = edge.get("open.example", "/");
    assert!([502, 503].contains(&response.status), "{}", response.status);
    assert!(response.header("proxy-status").unwrap().contains("error=connection_refused"));
    assert!(!response.text().contains(&unused.port().to_string()), "internal addresses stay inside");
    assert_eq!(edge.metrics().sum("sluis_failed_total", &[("reason", "connect-refused")]), 1.0);
    assert_eq!(edge.get("blocked.example", "/").status, 403, "blocking needs no origin");
}

#[test]
fn p8_upstream_that_does_not_answer_is_a_gateway_timeout() {
    let origin = Origin::answering(|_| Reply(vec![Step::Wait(Duration::from_secs(5)), Step::Close]));
    let edge = Setup::new(origin.address()).without_tls().limit("upstream_response_timeout = \"300ms\"").start();
    let response = edge.get("open.example", "/");
    assert_eq!(response.status, 504);
    assert_eq!(edge.metrics().sum("sluis_failed_total", &[("reason", "response-timeout")]), 1.0);
}

#[test]
fn p8_body_that_breaks_off_breaks_off_for_the_client_too() {
    let cases: [(&str, Step); 4] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this", Step::Close),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this", Step::Reset),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n", Step::Close),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nnot-hex\r\n", Step::Close),
    ];
    for (number, (bytes, end)) in cases.into_iter().enumerate() {
        let origin = Origin::answering(move |_| {
            Reply::raw(bytes).then(Step::Wait(Duration::from_millis(100))).then(end.clone())
        });
        let edge = edge_before(&origin);
        let response = edge.get("open.example", "/");
        assert!(!response.complete, "case {number}: {response:?}");
        eventually("the failure is counted", || edge.metrics().outcome("failed") == 1);
    }
}

#[test]
fn p8_answer_whose_first_chunk_is_broken_is_a_bad_gateway() {
    // Nothing of it was sent yet, so that there is another answer.
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-hex\r\n").then(Step::Close)
    });
    let edge = edge_before(&origin);
    let response = edge.get("open.example", "/");
    assert_eq!(response.status, 502, "{response:?}");
    assert!(response.complete, "{response:?}");
    let metrics = edge.settled("it has failed");
    assert_eq!((metrics.outcome("failed"), metrics.sum("sluis_requests_total", &[])), (1, 1.0));
    assert_eq!(metrics.sum("sluis_upstream_requests_total", &[]), 1.0, "it is counted once");
}

#[test]
fn p8_body_without_a_length_that_breaks_off_is_a_reset_to_http_1_0() {
    // RFC 9112 section 6.3: there are no chunks in HTTP/1.0, so that an end in order would look like the end of the body.
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n")
            .then(Step::Wait(Duration::from_millis(100)))
            .then(Step::Reset)
    });
    let whole = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n\r\n")
    });
    for (origin, is_whole) in [(&origin, false), (&whole, true)] {
        let edge = Setup::new(origin.address()).start();
        for mut connection in [edge.http(), edge.https("open.example")] {
            connection.send("GET / HTTP/1.0\r\nHost: open.example\r\n\r\n");
            let end = connection.read_to_end();
            assert_eq!(end.is_ok(), is_whole, "{end:?}");
            assert!(connection.take_buffered().windows(9).any(|bytes| bytes == b"only this"));
        }
    }
}

#[test]
fn p8_body_that_stands_still_is_cut() {
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this").then(Step::Wait(Duration::from_secs(10)))
    });
    let edge = Setup::new(origin.address()).without_tls().limit("upstream_body_idle_timeout = \"300ms\"").start();
    assert!(!edge.get("open.example", "/").complete);
}

#[test]
fn malformed_response_is_a_bad_gateway_and_the_next_client_gets_a_clean_one() {
    for bytes in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad\0Name: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let origin = Origin::answering(move |request| {
            if request.target == "/bad" { Reply::raw(bytes).then(Step::Close) } else { Reply::ok("clean") }
        });
        let edge = Setup::new(origin.address()).without_tls().server("workers = 1").start();
        let response = edge.get("open.example", "/bad");
        assert_eq!(response.status, 502, "{bytes:?}");
        assert!(response.header("proxy-status").is_some(), "{bytes:?}");
        assert_eq!(edge.get("open.example", "/").text(), "clean", "{bytes:?}");
    }
}

#[test]
fn bytes_after_a_response_never_reach_another_client() {
    let origin = Origin::answering(|request| {
        if request.target == "/first" {
            Reply::raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
            )
        } else {
            Reply::ok("mine")
        }
    });
    let edge = Setup::new(origin.address()).without_tls().server("workers = 1").start();
    assert_eq!(edge.get("open.example", "/first").text(), "ok");
    for _ in 0..5 {
        assert_eq!(edge.get("open.example", "/second").text(), "mine");
    }
}

#[test]
fn request_on_a_connection_that_the_upstream_had_closed_is_sent_once_more() {
    let origin = Origin::answering(|_| Reply::ok("here").then(Step::Close));
    let edge = Setup::new(origin.address()).without_tls().server("workers = 1").start();
    for number in 0..20 {
        assert_eq!(edge.get("open.example", "/").status, 200, "request {number}");
    }
    assert_eq!(origin.requests().len(), 20, "each request arrives once");
}

#[test]
fn request_that_died_on_a_reused_connection_is_retried_only_where_that_is_safe() {
    // The first request of a connection is answered; a further one ends the connection without a byte.
    let origin = Origin::answering({
        let seen = std::sync::Mutex::new(std::collections::HashSet::new());
        move |request| {
            let first = seen.lock().unwrap().insert(request.connection);
            if first { Reply::ok("fresh") } else { Reply(vec![Step::Close]) }
        }
    });
    let edge = Setup::new(origin.address()).without_tls().server("workers = 1").start();
    let mut connection = edge.http();
    assert_eq!(connection.get("open.example", "/").status, 200);
    assert_eq!(connection.get("open.example", "/again").status, 200, "GET without a body is sent again");
    let post = "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 4\r\n\r\nonce";
    assert_eq!(connection.send(post).read_response().status, 502, "a POST that was sent may have been done");
    let posts = origin.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 1);
    assert_eq!(edge.metrics().sum("sluis_upstream_retries_total", &[]), 1.0);
}

#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for (fields, body, statuses) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", &[400][..]),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", &[400]),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "ab", &[400]),
        ("Content-Length: 1, 2\r\n", "ab", &[400]),
        ("Content-Length: +1\r\n", "a", &[400]),
        ("Content-Length: 0x1\r\n", "a", &[400]),
        ("Content-Length: 99999999999999999999\r\n", "a", &[400]),
        ("Content-Length:\r\n", "", &[400]),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", &[400, 501]),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", &[400, 501]),
        ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", &[400, 501]),
        ("Transfer-Encoding: foo\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", &[400, 501]),
        ("Transfer-Encoding: identity\r\n", "", &[400, 501]),
        ("Connection: Host\r\n", "", &[400]),
        ("Content_Length: 3\r\n", "", &[400]),
        ("X_Forwarded_For: 203.0.113.1\r\n", "", &[400]),
        ("Bad Name: 1\r\n", "", &[400]),
        ("X: a\rb\r\n", "", &[400]),
        ("X: a\0b\r\n", "", &[400]),
    ] {
        let mut connection = edge.http();
        connection.send(format!("POST / HTTP/1.1\r\nHost: open.example\r\n{fields}\r\n{body}"));
        let response = connection.read_response();
        assert!(statuses.contains(&response.status), "{fields:?}: {}", response.status);
        assert!(connection.is_closed(), "{fields:?}: the connection goes on");
    }
    assert_eq!(origin.requests().len(), 0);
    let versions = "POST / HTTP/1.0\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(edge.http().send(versions).read_response().status, 400);
}

#[test]
fn broken_chunks_of_a_request_never_look_whole_to_the_origin() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for chunks in ["zz\r\nab\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "-1\r\n", "fffffffffffffffff\r\n", "2\nab\n0\n\n"]
    {
        let mut connection = edge.http();
        connection.send(format!("POST / HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        // hyper may have begun to forward: then there is no whole request at the origin, and this connection ends.
        if let Ok(response) = connection.try_read_response(false) {
            assert!(response.status >= 400, "{chunks:?}: {}", response.status);
        }
        assert!(connection.is_closed(), "{chunks:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn p8_client_that_leaves_cancels_what_it_had_asked_for() {
    let origin = Origin::answering(|_| Reply(vec![Step::Wait(Duration::from_secs(3)), Step::Close]));
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    origin.wait_for(1);
    reset(connection.socket());
    drop(connection);
    eventually("the request is counted as aborted", || edge.metrics().outcome("aborted") == 1);
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("sluis_requests_in_flight", &[]), 0.0);
    assert_eq!(metrics.sum("sluis_connections_active", &[]), 0.0);
}

#[test]
fn p1_program_that_was_stopped_and_continued_serves_on() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    assert_eq!(connection.get("open.example", "/").status, 200);
    edge.pause_for(Duration::from_millis(500));
    assert_eq!(connection.get("open.example", "/").status, 200);
    assert_eq!(edge.get("blocked.example", "/").status, 403);
}

#[test]
fn p8_upstream_that_comes_back_is_used_again() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let edge = Setup::new(address).without_tls().start();
    assert!(edge.get("open.example", "/").status >= 502);
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            use std::io::{Read, Write};
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback");
        }
    });
    eventually("the server is used again", || edge.get("open.example", "/").text() == "back");
}

#[test]
fn what_some_readers_repair_is_refused() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for request in [
        "GET / HTTP/1.1\nHost: open.example\n\n",
        "GET / HTTP/1.1\r\nHost: open.example\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example\r\nX: a\n\r\n",
        "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 1, 1\r\n\r\na",
        "GET /\tx HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: open.example\r\n\r\n",
    ] {
        let mut connection = edge.http();
        assert_eq!(connection.send(request).read_response().status, 400, "{request:?}");
        assert!(connection.is_closed(), "{request:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}
