//! The support itself, without the program between client and origin.
//!
//! Inside: that both sides read each other's framing. Kept out: the program.

use super::client::get;
use super::metrics::Metrics;
use super::origin::{Reply, Step, reset};
use super::{Connection, Origin};

#[test]
fn client_and_origin_read_each_others_framing() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/chunked" => Reply::raw(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        ),
        "/cut" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").then(Step::Reset),
        "/echo" => Reply::raw("HTTP/1.1 101 Switching Protocols\r\n\r\n").then(Step::Echo),
        _ => Reply::ok("ok"),
    });
    let mut connection = Connection::plain(origin.address());
    let chunked = connection.get("a", "/chunked");
    assert_eq!((chunked.text().as_str(), chunked.complete, &chunked.interim[..]), ("abc", true, &[103][..]));
    assert_eq!(chunked.trailers, [("X-T".to_owned(), "1".to_owned())]);
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-U: 2\r\n\r\n");
    assert_eq!(connection.read_response().text(), "ok");
    assert_eq!(origin.requests()[1].body, b"hi");
    assert_eq!(origin.requests()[1].trailers, [("X-U".to_owned(), "2".to_owned())]);
    assert!(!get(origin.address(), "a", "/cut").complete);
    let mut tunnel = Connection::plain(origin.address());
    assert_eq!(tunnel.get("a", "/echo").status, 101);
    assert_eq!(tunnel.send("ping").read_exactly(4).unwrap(), b"ping");
    reset(tunnel.socket());
    assert_eq!(origin.connections(), 3);
}

#[test]
fn metrics_are_parsed_with_their_labels() {
    let metrics =
        Metrics::parse("# HELP a x\na{b=\"c\",d=\"e \\\"f\\\"\"} 2\na{b=\"g\"} 3\nh 1.5e+3\ni_bucket{le=\"+Inf\"} 7\n");
    assert_eq!(metrics.sum("a", &[]), 5.0);
    assert_eq!(metrics.value("a", &[("d", "e \"f\"")]), Some(2.0));
    assert_eq!(metrics.value("h", &[]), Some(1500.0));
    assert_eq!(metrics.label_values("i_bucket", "le"), ["+Inf"]);
}
