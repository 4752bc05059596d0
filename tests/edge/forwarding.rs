//! What passes: methods, fields, bodies and trailers both ways, as RFC 9110 and RFC 9112 ask of an intermediary.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::origin::{Reply, Step};
use crate::support::peers::Nginx;
use crate::support::{Edge, Origin, Setup, eventually};

fn edge_before(origin: &Origin) -> Edge {
    Setup::new(origin.address()).without_tls().start()
}

#[test]
fn method_target_and_body_arrive_as_they_were_sent() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    for (line, body) in [
        ("GET /", ""),
        ("DELETE /x", ""),
        ("PUT /a/../b//c?d=%2F&e", "put"),
        ("PATCH /%41", "{}"),
        ("PROPFIND /dav/", "<x/>"),
        ("POST /?", ""),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: open.example\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(connection.send(head).read_response().status, 200, "{line}");
        let request = origin.requests().pop().unwrap();
        assert_eq!(format!("{} {}", request.method, request.target), line);
        assert_eq!(request.body, body.as_bytes());
    }
}

#[test]
fn fields_of_one_hop_stay_on_that_hop() {
    let origin = Origin::answering(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=9\r\nConnection: keep-alive, X-Origin-Hop\r\n\
             X-Origin-Hop: 1\r\nX-Stays: yes\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
        )
    });
    let edge = edge_before(&origin);
    let response = edge
        .http()
        .send(
            "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\n\
             TE: gzip\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: close\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Stays: yes\r\nCookie: c=1\r\n\r\n",
        )
        .read_response();
    let request = origin.only_request();
    for gone in ["keep-alive", "x-hop", "te", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(request.all(gone).is_empty(), "{gone} reached the origin");
    }
    assert_eq!((request.header("x-stays"), request.header("cookie")), (Some("yes"), Some("c=1")));
    assert_eq!(response.status, 200);
    for gone in ["keep-alive", "x-origin-hop"] {
        assert!(response.header(gone).is_none(), "{gone} reached the client");
    }
    let cookies = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count();
    assert_eq!((response.header("x-stays"), cookies), (Some("yes"), 2));
}

#[test]
fn forwarding_fields_of_an_untrusted_client_are_replaced() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    edge.http()
        .send(
            "GET / HTTP/1.1\r\nHost: open.example\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: blocked.example\r\nForwarded: for=203.0.113.9\r\nVia: 1.0 fred\r\n\
             X-Request-Id: kept-1/+=._A\r\n\r\n",
        )
        .read_response();
    let request = origin.only_request();
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("open.example"));
    assert!(request.all("forwarded").is_empty());
    assert_eq!(request.all("via").join(", "), "1.0 fred, 1.1 edge-under-test");
    assert_eq!(request.header("x-request-id"), Some("kept-1/+=._A"));
}

#[test]
fn forwarding_fields_of_a_trusted_proxy_are_kept() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().server("trusted_proxies = [\"127.0.0.0/8\"]").start();
    edge.http()
        .send(
            "GET / HTTP/1.1\r\nHost: open.example\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n",
        )
        .read_response();
    let request = origin.only_request();
    let chain = request.all("x-forwarded-for").join(", ");
    assert_eq!(chain, "203.0.113.9, 127.0.0.1");
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
}

#[test]
fn request_id_that_is_not_one_is_made_anew() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for id in ["with space", "<script>", &"x".repeat(129)] {
        edge.http().send(format!("GET / HTTP/1.1\r\nHost: open.example\r\nX-Request-Id: {id}\r\n\r\n")).read_response();
        let request = origin.requests().pop().unwrap();
        let made = request.header("x-request-id").unwrap();
        assert_ne!(made, id);
    }
}

#[test]
fn chunked_bodies_and_trailers_go_both_ways() {
    let origin = Origin::answering(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n6\r\n there\r\n0\r\n\
             X-Sum: 11\r\nContent-Length: 3\r\n\r\n",
        )
    });
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    let response = connection
        .send(
            "POST / HTTP/1.1\r\nHost: open.example\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\
             \r\n4;ext=1\r\nwiki\r\n5\r\npedia\r\n0\r\nX-Check: 9\r\nHost: blocked.example\r\n\
             Authorization: Basic eA==\r\n\r\n",
        )
        .read_response();
    let request = origin.only_request();
    assert_eq!(request.body, b"wikipedia");
    let names: Vec<String> = request.trailers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names, ["x-check"], "framing, routing and authentication do not belong in trailers");
    assert_eq!(response.text(), "hello there");
    let names: Vec<String> = response.trailers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(names, ["x-sum"]);
    assert!(response.complete);
    assert_eq!(connection.get("open.example", "/").status, 200, "the connection goes on");
}

#[test]
fn expect_continue_is_answered_before_the_body_is_sent() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    connection.send("POST / HTTP/1.1\r\nHost: open.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let interim = String::from_utf8(connection.read_head().unwrap()).unwrap();
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    assert_eq!(connection.send("body").read_response().status, 200);
    assert_eq!(origin.only_request().body, b"body");
}

#[test]
fn unknown_expectation_is_refused() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    let head = "POST / HTTP/1.1\r\nHost: open.example\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(edge.http().send(head).read_response().status, 417);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn responses_without_a_body_have_none() {
    let origin = Origin::answering(|request| {
        Reply::raw(match (request.method.as_str(), request.target.as_str()) {
            ("HEAD", _) => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-Which: head\r\n\r\n",
            (_, "/204") => "HTTP/1.1 204 No Content\r\nX-Which: none\r\n\r\n",
            (_, "/304") => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend",
        })
    });
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    let head = connection.send("HEAD /x HTTP/1.1\r\nHost: open.example\r\n\r\n").read_head_response();
    assert_eq!((head.status, head.header("content-length")), (200, Some("12345")));
    assert_eq!(connection.get("open.example", "/204").status, 204);
    let not_modified = connection.get("open.example", "/304");
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some("\"x\"")));
    assert_eq!(connection.get("open.example", "/").text(), "end", "all of them on one connection");
}

#[test]
fn response_that_ends_with_the_connection_is_whole() {
    let origin = Origin::answering(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\nuntil the end").then(Step::Close));
    let edge = edge_before(&origin);
    let response = edge.get("open.example", "/");
    assert_eq!((response.text().as_str(), response.complete), ("until the end", true));
}

#[test]
fn http10_client_gets_an_answer_that_it_can_read() {
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    });
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    let response = connection.send("GET / HTTP/1.0\r\nHost: open.example\r\n\r\n").read_response();
    assert!(response.header("transfer-encoding").is_none(), "chunked is not HTTP/1.0");
    assert_eq!(response.text(), "hello");
}

#[test]
fn interim_responses_do_not_disturb_the_final_one() {
    let origin = Origin::answering(|_| {
        Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    assert_eq!(connection.get("open.example", "/").text(), "ok");
    assert_eq!(connection.get("open.example", "/").text(), "ok");
}

#[test]
fn routes_by_host_choose_the_upstream_and_no_route_is_misdirected() {
    let (shop, rest) = (Origin::hello(), Origin::hello());
    let tables = format!(
        "[upstream.shop]\nservers = [\"{}\"]\n[[route]]\nhosts = [\"shop.example\", \".shop.example\"]\nupstream = \
         \"shop\"\n[[route]]\nhosts = [\"*.open.example\"]\nupstream = \"origin\"\n",
        shop.address()
    );
    let edge = Setup::new(rest.address()).without_tls().routes(&tables).start();
    for (host, status) in [("shop.example", 200), ("a.b.shop.example", 200), ("x.open.example", 200)] {
        assert_eq!(edge.get(host, "/").status, status, "{host}");
    }
    assert_eq!((shop.requests().len(), rest.requests().len()), (2, 1));
    let response = edge.get("nowhere.example", "/");
    assert_eq!(response.status, 421);
    assert!(response.header("proxy-status").unwrap().contains("destination_not_found"));
}

#[test]
fn servers_of_an_upstream_take_turns() {
    let (one, two) = (Origin::hello(), Origin::hello());
    let servers = [one.address().to_string(), two.address().to_string()];
    let edge = Setup::with_upstream(&[&servers[0], &servers[1]]).without_tls().server("workers = 1").start();
    let mut connection = edge.http();
    for _ in 0..20 {
        assert_eq!(connection.get("open.example", "/").status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (10, 10));
}

#[test]
fn upstream_connection_is_used_again() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().server("workers = 1").start();
    for _ in 0..10 {
        assert_eq!(edge.get("open.example", "/").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn options_asterisk_and_the_last_hop_are_answered_here() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    let mut connection = edge.http();
    let response = connection.send("OPTIONS * HTTP/1.1\r\nHost: open.example\r\n\r\n").read_response();
    assert_eq!(response.status, 204);
    assert!(response.header("allow").is_some());
    let head = "OPTIONS /x HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: 0\r\n\r\n";
    assert!(connection.send(head).read_response().status < 300);
    let response = connection.send("OPTIONS * HTTP/1.1\r\nHost: blocked.example\r\n\r\n").read_response();
    assert_eq!(response.status, 403);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn methods_and_loops_that_a_proxy_must_not_serve_are_refused() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for (head, status) in [
        ("CONNECT open.example:443 HTTP/1.1\r\nHost: open.example:443\r\n\r\n", 405),
        ("TRACE / HTTP/1.1\r\nHost: open.example\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: open.example\r\nVia: 1.1 edge-under-test\r\n\r\n", 508),
        ("GET / HTTP/3.0\r\nHost: open.example\r\n\r\n", 505),
    ] {
        let response = edge.http().send(head).read_response();
        assert_eq!(response.status, status, "{head:?}");
        assert_eq!(response.header("allow").is_some(), status == 405, "{head:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}

/// What the origin got of a body that is never held whole, as a sum that notices a lost or doubled byte.
fn checksum(bytes: &[u8], so_far: u64) -> u64 {
    bytes.iter().fold(so_far, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

#[test]
fn big_bodies_stream_both_ways_and_a_slow_reader_does_not_fill_the_memory() {
    const BYTES: usize = 64 * 1024 * 1024;
    static CHUNK: [u8; 65_536] = {
        let mut bytes = [0; 65_536];
        let mut at = 0;
        while at < bytes.len() {
            bytes[at] = (at % 251) as u8;
            at += 1;
        }
        bytes
    };
    let (begin, may_read) = mpsc::channel::<()>();
    let may_read = std::sync::Mutex::new(may_read);
    let origin = Origin::raw(move |mut stream, _| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            head.push(byte[0]);
        }
        let _ = may_read.lock().unwrap().recv();
        let (mut left, mut sum, mut buffer) = (BYTES, 0, vec![0; 65_536]);
        while left > 0 {
            let count = stream.read(&mut buffer).unwrap();
            sum = checksum(&buffer[..count], sum);
            left -= count;
        }
        write!(stream, "HTTP/1.1 200 OK\r\nX-Sum: {sum}\r\nContent-Length: {BYTES}\r\n\r\n").unwrap();
        for _ in 0..BYTES / CHUNK.len() {
            stream.write_all(&CHUNK).unwrap();
        }
    });
    let edge = edge_before(&origin);
    let before = edge.rss_bytes();
    let mut connection = edge.http();
    let mut upload = connection.socket().try_clone().unwrap();
    let sender = thread::spawn(move || {
        write!(upload, "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: {BYTES}\r\n\r\n").unwrap();
        for _ in 0..BYTES / CHUNK.len() {
            upload.write_all(&CHUNK).unwrap();
        }
    });
    // The origin reads nothing yet: what the edge takes meanwhile is all that it will ever hold.
    eventually("the upload is on its way", || edge.metrics().sum("sluis_requests_in_flight", &[]) >= 1.0);
    thread::sleep(Duration::from_millis(300));
    assert!(!sender.is_finished(), "a body that nobody reads was taken whole");
    let held = edge.rss_bytes().saturating_sub(before);
    assert!(held < 16 * 1024 * 1024, "{held} bytes held of a body that nobody reads");
    begin.send(()).unwrap();
    sender.join().unwrap();
    let head = String::from_utf8(connection.read_head().unwrap()).unwrap();
    let whole = (0..BYTES / CHUNK.len()).fold(0, |sum, _| checksum(&CHUNK, sum));
    assert!(head.contains(&whole.to_string()), "the origin got something else: {head}");
    let body = connection.read_exactly(BYTES).unwrap();
    assert_eq!(checksum(&body, 0), whole);
    let held = edge.rss_bytes().saturating_sub(before);
    assert!(held < 16 * 1024 * 1024, "{held} bytes held after 64 MiB each way");
}

#[test]
fn nginx_as_the_origin_serves_files_and_ranges_through_the_edge() {
    let host = "location = /host { return 200 \"$host $http_x_forwarded_for\"; }";
    let Some(nginx) = Nginx::start(host, &[("file.txt", "0123456789")]) else { return };
    let edge = Setup::new(nginx.address()).without_tls().start();
    let mut connection = edge.http();
    let whole = connection.get("open.example", "/file.txt");
    let range =
        connection.send("GET /file.txt HTTP/1.1\r\nHost: open.example\r\nRange: bytes=2-4\r\n\r\n").read_response();
    let absent = connection.get("open.example", "/absent");
    let host = connection.get("open.example:8080", "/host");
    let blocked = connection.get("blocked.example", "/file.txt");
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    assert_eq!((range.status, range.text().as_str()), (206, "234"));
    assert_eq!((absent.status, blocked.status), (404, 403));
    assert_eq!(host.text(), "open.example 127.0.0.1");
}
