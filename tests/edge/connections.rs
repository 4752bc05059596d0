//! What one connection carries over its life, judged request by request: SNI and resumption, pipelining, an upgrade that
//! does not come, a client that ends its side.
//!
//! Inside: orders of bytes on one connection. Kept out: single requests (bypass.rs, smuggling.rs).

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use crate::support::client::{tcp, tls_config};
use crate::support::http2::Http2;
use crate::support::origin::{Reply, Step};
use crate::support::{Connection, Origin, Setup};

#[test]
fn sni_and_host_that_differ_are_judged_both_and_then_by_the_mode() {
    let origin = Origin::hello();
    let listener = |name: &str, mode: &str| {
        format!(
            "[listener.{name}]\naddress = \"127.0.0.1:0\"\ntls.certificates = \"certs\"\ntls.default = \
             \"edge\"\ntls.sni_mismatch = \"{mode}\"\n"
        )
    };
    let edge = Setup::new(origin.address())
        .more(&listener("certificate", "certificate"))
        .more(&listener("reject", "reject"))
        .more(&listener("allow", "allow"))
        .start();
    // RFC 9110 sections 7.4 and 15.5.20, RFC 6066 section 3: SNI, Host, and the status by certificate, reject, allow.
    for (sni, host, statuses) in [
        (Some("open.example"), "open.example", [200, 200, 200]),
        (Some("open.example"), "OPEN.example.:443", [200, 200, 200]),
        (Some("open.example"), "a.edge.example", [200, 421, 200]),
        (Some("open.example"), "elsewhere.example", [421, 421, 200]),
        (Some("elsewhere.example"), "elsewhere.example", [200, 200, 200]),
        (Some("elsewhere.example"), "open.example", [200, 421, 200]),
        (Some("open.example"), "blocked.example", [403, 403, 403]),
        (Some("blocked.example"), "open.example", [403, 403, 403]),
        (Some("blocked.example"), "elsewhere.example", [403, 403, 403]),
        (Some("deep.below.blocked.example"), "open.example", [403, 403, 403]),
        (Some("BLOCKED.example"), "open.example", [403, 403, 403]),
        (None, "open.example", [200, 200, 200]),
        (None, "elsewhere.example", [200, 200, 200]),
        (None, "blocked.example", [403, 403, 403]),
    ] {
        for (name, status) in ["certificate", "reject", "allow"].into_iter().zip(statuses) {
            let what = format!("{name}: SNI {sni:?}, Host {host}");
            let before = (origin.requests().len(), edge.metrics());
            let mut connection = Connection::tls(edge.address(name), sni);
            for _ in 0..2 {
                assert_eq!(connection.get(host, "/").status, status, "{what}: on a connection that goes on");
            }
            let mut client = Http2::connect(edge.address(name), sni);
            assert_eq!(client.get(host, "/").status, status, "{what} by HTTP/2");
            assert_eq!(origin.requests().len() - before.0, if status == 200 { 3 } else { 0 }, "{what}");
            let counted = edge.settled(&what).rejected("sni-mismatch") - before.1.rejected("sni-mismatch");
            assert_eq!(counted, if status == 421 { 3.0 } else { 0.0 }, "{what}");
        }
    }
}

#[test]
fn resumed_tls_session_is_judged_as_a_new_one_is() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let connect = |config: &Arc<ClientConfig>, sni: &'static str| {
        let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(sni).unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, tcp(edge.address("https")).unwrap());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        (stream.conn.handshake_kind(), Connection::over(Box::new(stream)))
    };
    for (sni, host, status) in [
        ("open.example", "blocked.example", 403),
        ("open.example", "elsewhere.example", 421),
        ("blocked.example", "open.example", 403),
    ] {
        let config = Arc::new(tls_config(&[b"http/1.1"], true));
        let (_, mut first) = connect(&config, sni);
        // The tickets come with the first answer.
        assert_eq!(first.get(host, "/").status, status, "SNI {sni}, Host {host}");
        let (kind, mut second) = connect(&config, sni);
        assert_eq!(kind, Some(HandshakeKind::Resumed));
        assert_eq!(second.get(host, "/").status, status, "SNI {sni}, Host {host}, resumed");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn pipelined_requests_are_judged_each_by_itself_and_answered_in_order_however_they_are_cut_up() {
    let origin = Origin::answering(|request| Reply::ok(&request.target));
    let edge = Setup::new(origin.address()).start();
    let requests = "GET /1 HTTP/1.1\r\nHost: open.example\r\n\r\n\
                    GET /2 HTTP/1.1\r\nHost: blocked.example\r\n\r\n\
                    POST /3 HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\nA: b\r\n\r\n\
                    \r\nHEAD /4 HTTP/1.1\r\nHost: blocked.example.\r\n\r\n\
                    OPTIONS * HTTP/1.1\r\nHost: open.example\r\n\r\n\
                    GET http://open.example/5 HTTP/1.1\r\nHost: OPEN.example\r\nConnection: close\r\n\r\n\
                    GET /6 HTTP/1.1\r\nHost: open.example\r\n\r\n";
    let last = requests.len() - 1;
    let cuts = (1..last).map(|at| vec![at]).chain([vec![], (1..last).collect()]);
    for cut in cuts {
        let before = origin.requests().len();
        let mut connection = edge.http();
        let mut begin = 0;
        for end in cut.iter().copied().chain([requests.len()]) {
            // After `Connection: close` nothing is read for certain any more.
            let _ = connection.try_send(&requests[begin..end]);
            begin = end;
        }
        let what = format!("cut at {cut:?}");
        let answers = [connection.read_response(), connection.read_response(), connection.read_response()];
        let statuses = answers.each_ref().map(|answer| answer.status);
        assert_eq!(statuses, [200, 403, 200], "{what}");
        assert_eq!((answers[0].text().as_str(), answers[2].text().as_str()), ("/1", "/3"), "{what}");
        assert_eq!(connection.read_head_response().status, 403, "{what}");
        assert_eq!(connection.read_response().status, 204, "{what}");
        let end = connection.read_response();
        assert_eq!((end.text().as_str(), end.header("connection")), ("/5", Some("close")), "{what}");
        assert!(connection.is_closed() && connection.take_buffered().is_empty(), "{what}");
        let arrived: Vec<String> = origin.requests()[before..].iter().map(|request| request.target.clone()).collect();
        assert_eq!(arrived, ["/1", "/3", "/5"], "{what}");
    }
    edge.settled("all have ended");
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A request to a host that is blocked, to be hidden behind another one.
const BLOCKED: &str = "GET /hidden HTTP/1.1\r\nHost: blocked.example\r\n\r\n";

#[test]
fn bytes_behind_an_upgrade_are_a_request_until_the_origin_has_switched() {
    let origin = Origin::answering(|request| match request.header("upgrade") {
        Some(_) if request.target == "/chat" => {
            Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                .then(Step::Echo)
        }
        _ => Reply::ok("no upgrade"),
    });
    let edge = Setup::new(origin.address()).start();
    // RFC 9110 section 7.8: the origin declines, so that what follows is a request, and judged.
    for mut connection in [edge.http(), edge.https("open.example")] {
        connection.send(UPGRADE.replace("/chat", "/declines") + BLOCKED);
        assert_eq!((connection.read_response().status, connection.read_response().status), (200, 403));
    }
    for mut connection in [edge.http(), edge.https("open.example")] {
        connection.send(UPGRADE.to_owned() + BLOCKED);
        assert_eq!(connection.read_response().status, 101);
        assert_eq!(
            connection.read_exactly(BLOCKED.len()).unwrap(),
            BLOCKED.as_bytes(),
            "what follows belongs to the tunnel"
        );
    }
    for (section, head) in [
        ("9110 7.8", UPGRADE.replace("HTTP/1.1", "HTTP/1.0")),
        ("6455 4.1", UPGRADE.replace("GET", "POST")),
        ("6455 4.1", UPGRADE.replace("GET", "HEAD")),
        ("6455 4.2.1", UPGRADE.replace("Version: 13", "Version: 12")),
        ("6455 4.2.1", UPGRADE.replace("Sec-WebSocket-Key", "X-Key")),
        ("9110 7.8", UPGRADE.replace("Connection: Upgrade\r\n", "")),
        ("9110 7.8", UPGRADE.replace("websocket", "websocket, h2c")),
        ("9110 7.8", UPGRADE.replace("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: h2c")),
        (
            "9113 3.1",
            UPGRADE
                .replace("websocket", "h2c")
                .replace("Upgrade\r\n", "Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ),
        ("9931 3", UPGRADE.replace("\r\n\r\n", &format!("\r\nContent-Length: {}\r\n\r\n{BLOCKED}", BLOCKED.len()))),
    ] {
        let before = origin.requests().len();
        let mut connection = edge.http();
        let is_head = head.starts_with("HEAD");
        let response = connection.send(&head).try_read_response(is_head).unwrap();
        assert_eq!(response.status, 200, "RFC {section}: {head:?}");
        let requests = &origin.requests()[before..];
        assert_eq!(requests.len(), 1, "RFC {section}: {head:?}");
        for gone in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(requests[0].all(gone), [""; 0], "RFC {section}: {head:?}");
        }
        if !head.contains("1.0") {
            assert_eq!(connection.get("blocked.example", "/").status, 403, "RFC {section}: {head:?}");
        }
    }
    assert!(origin.requests().iter().all(|request| request.target != "/hidden"));
}

#[test]
fn client_that_ends_its_side_gets_its_answers() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/slow" => Reply(vec![Step::Wait(Duration::from_millis(300))])
            .then(Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".into())),
        _ => Reply::ok("fast"),
    });
    let edge = Setup::new(origin.address()).without_tls().start();
    let mut connection = edge.http();
    connection.send("GET /slow HTTP/1.1\r\nHost: open.example\r\n\r\nGET / HTTP/1.1\r\nHost: blocked.example\r\n\r\n");
    connection.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(connection.read_response().text(), "slow");
    assert_eq!(connection.read_response().status, 403);
    assert!(connection.is_closed());
    // RFC 9112 section 8: a message that ends too soon is none.
    for cut in
        ["GET / HTTP/1.1\r\nHost: open.exam", "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 9\r\n\r\nabc"]
    {
        let mut connection = edge.http();
        connection.send(cut);
        connection.socket().shutdown(Shutdown::Write).unwrap();
        assert!(connection.try_read_response(false).is_err() || connection.is_closed());
        edge.settled(cut);
    }
    assert_eq!(origin.requests().len(), 1);
}
