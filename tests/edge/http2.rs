//! HTTP/2 on the TLS listener: many requests on one connection, each judged by itself.

use std::process::Command;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use crate::support::frames::{DATA, END_STREAM, Frames, GOAWAY, HEADERS, PING, fields};
use crate::support::http2::Http2;
use crate::support::origin::{Reply, Step};
use crate::support::setup::record;
use crate::support::{Connection, Origin, Setup, eventually, peers};

#[test]
fn streams_of_one_connection_have_their_own_verdicts() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    let hosts = ["open.example", "blocked.example", "order.example", "open.example", "a.edge.example"];
    let request = |host: &&str| Request::get(format!("https://{host}/")).body(Full::default()).unwrap();
    let answers = client.send_at_once(hosts.iter().map(request).collect());
    let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
    assert_eq!(statuses, [200, 403, 451, 200, 200]);
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn block_takes_effect_on_the_next_stream_of_an_open_connection() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).records(record("first", "blocked.example")).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    assert_eq!(client.get("open.example", "/").status, 200);
    std::fs::write(edge.path("blocklist.toml"), record("second", "open.example")).unwrap();
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert_eq!(client.get("open.example", "/").status, 403);
    assert_eq!(edge.metrics().sum("sluis_connections_total", &[("protocol", "http2")]), 1.0);
}

#[test]
fn body_goes_both_ways_over_http2() {
    let origin = Origin::answering(|request| Reply::ok(&format!("{} bytes", request.body.len())));
    let edge = Setup::new(origin.address()).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    let body = vec![b'x'; 300_000];
    let request = Request::post("https://open.example/upload").body(Full::new(Bytes::from(body.clone()))).unwrap();
    let response = client.send(request).unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "300000 bytes"));
    assert_eq!(origin.only_request().body, body);
}

#[test]
fn response_of_an_origin_that_breaks_off_is_a_reset_stream_and_not_an_end() {
    let origin =
        Origin::answering(|_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this").then(Step::Close));
    let edge = Setup::new(origin.address()).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    let request = || Request::get("https://open.example/").body(Full::default()).unwrap();
    assert!(client.send(request()).is_err());
    assert_eq!(client.get("blocked.example", "/").status, 403, "other streams go on");
    eventually("the failure is counted", || edge.metrics().outcome("failed") == 1);
}

#[test]
fn goaway_names_the_last_stream_and_all_up_to_it_are_answered() {
    let origin = Origin::answering(|request| Reply::ok(&request.target));
    let edge = Setup::new(origin.address()).limit("requests_per_connection = 5").start();
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    let request = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
    let mut opened: Vec<u32> = (0..20).map(|_| client.open(request, END_STREAM)).collect();
    let (mut answered, mut last) = (Vec::new(), None);
    // RFC 9113 section 6.8: first a GOAWAY that refuses nothing, then one that says what was taken.
    while let Some((kind, flags, stream, payload)) = client.read() {
        match kind {
            PING if flags == 0 => client.send(PING, 1, 0, &payload),
            GOAWAY => {
                assert_eq!(&payload[4..8], [0; 4], "NO_ERROR");
                let says = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                assert!(last.is_none_or(|before| says <= before), "{says} after {last:?}");
                last = Some(says);
                // Too late for this one, or not: it must not be left in between.
                opened.push(client.open(request, END_STREAM));
            }
            HEADERS | DATA if flags & END_STREAM != 0 => answered.push(stream),
            _ => {}
        }
    }
    answered.sort_unstable();
    let last = last.expect("GOAWAY before the end");
    let taken: Vec<u32> = opened.into_iter().filter(|stream| *stream <= last).collect();
    assert_eq!(answered, taken, "up to stream {last}");
    assert_eq!(origin.requests().len(), taken.len(), "what is beyond may be sent again, since nobody saw it");
    assert!(taken.len() >= 5);
    edge.settled("the connection is over");
}

#[test]
fn http2_is_not_spoken_without_tls() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut connection = edge.http();
    connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let response = connection.read_response();
    assert_eq!((response.status, response.header("connection")), (505, Some("close")));
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn client_without_alpn_gets_http1() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut connection = Connection::try_tls(edge.address("https"), Some("open.example"), &[]).unwrap();
    assert_eq!(connection.get("open.example", "/").status, 200);
    assert_eq!(edge.metrics().sum("sluis_connections_total", &[("protocol", "http1"), ("listener", "https")]), 1.0);
}

#[test]
fn h2load_gets_an_answer_to_every_request_on_many_streams() {
    let Some(h2load) = peers::find("h2load") else { return };
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let connect_to = format!("--connect-to={}", edge.address("https"));
    for (host, expected) in [("open.example", "2000 2xx"), ("blocked.example", "2000 4xx")] {
        let output = Command::new(&h2load)
            .args(["-n", "2000", "-c", "4", "-m", "20", &connect_to, &format!("https://{host}/")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("2000 done") && said.contains("0 errored, 0 timeout"), "{host}: {said}");
        assert!(said.contains(expected), "{host}: {said}");
    }
    assert_eq!(edge.metrics().outcome("forwarded") + edge.metrics().outcome("blocked"), 4_000);
}
