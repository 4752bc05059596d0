//! What one connection carries over its life, judged request by request: SNI and resumption, pipelining, an upgrade that
//! does not come, a client that ends its side.
//!
//! Inside: orders of bytes on one connection. Kept out: single requests (bypass.rs, smuggling.rs).

use std::io::Write;
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use crate::support::client::{tcp, tls_config};
use crate::support::frames::{Answer, DATA, END_STREAM, Frames, fields};
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
    let cuts = || (1..last).map(|at| vec![at]).chain([vec![], (1..last).collect()]);
    for (at, cut) in cuts().chain(cuts().step_by(40)).enumerate() {
        let before = origin.requests().len();
        let is_first_round = at < last + 1;
        let mut connection = if is_first_round { edge.http() } else { edge.https("open.example") };
        let requests =
            if is_first_round { requests.to_owned() } else { requests.replace("http://open", "https://open") };
        let mut begin = 0;
        for end in cut.iter().copied().chain([requests.len()]) {
            // After `Connection: close` nothing is read for certain any more.
            let end = end.min(requests.len());
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
    // RFC 6455 section 4.2: a blocked host is blocked before anything is switched.
    for mut connection in [edge.http(), edge.https("open.example")] {
        connection.send(UPGRADE.replace("open.example", "blocked.example") + BLOCKED);
        assert_eq!((connection.read_response().status, connection.read_response().status), (403, 403));
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
        for mut connection in [edge.http(), edge.https("open.example")] {
            let before = origin.requests().len();
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

/// What an origin has read, head by head, and on which connection.
type Heads = Arc<Mutex<Vec<(usize, String)>>>;

/// An origin that answers as soon as it has a head, and reads whatever comes next as another one.
fn hasty_origin() -> (Origin, Heads) {
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    let origin = Origin::raw(move |mut stream, connection| {
        let mut client = Connection::over(Box::new(stream.try_clone().unwrap()));
        while let Ok(head) = client.read_head() {
            let head = String::from_utf8_lossy(&head).into_owned();
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            seen.lock().unwrap().push((connection, target.clone()));
            let length = target.len();
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}");
        }
    });
    (origin, heads)
}

#[test]
fn upstream_connection_on_which_a_request_is_not_whole_is_not_used_again() {
    const LENGTH: usize = BLOCKED.len();
    let (origin, heads) = hasty_origin();
    let edge = Setup::new(origin.address()).server("workers = 1").start();
    for way in ["HTTP/1.1", "TLS", "HTTP/2"] {
        heads.lock().unwrap().clear();
        // The origin answers before the body has come; what it reads next there would be the body.
        let ask = format!("POST /early HTTP/1.1\r\nHost: open.example\r\nContent-Length: {LENGTH}\r\n\r\n");
        let mut connection = if way == "TLS" { edge.https("open.example") } else { edge.http() };
        let mut frames = Frames::connect(edge.address("https"), Some("open.example"));
        let mut stream = 0;
        if way == "HTTP/2" {
            let length = LENGTH.to_string();
            let mut fields: Vec<(&[u8], &[u8])> = fields![
                b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/early"
            ]
            .to_vec();
            fields.push((b"content-length", length.as_bytes()));
            stream = frames.open(&fields, 0);
            assert_eq!(frames.end_of(stream), Answer::Status(200), "{way}");
        } else {
            assert_eq!(connection.send(ask).read_response().text(), "/early", "{way}");
        }
        let others: Vec<String> = (0..3).map(|at| edge.get("open.example", &format!("/{at}")).text()).collect();
        assert_eq!(others, ["/0", "/1", "/2"], "{way}");
        // Now the body, which looks like a request.
        if way == "HTTP/2" {
            frames.send(DATA, END_STREAM, stream, BLOCKED.as_bytes());
        } else {
            let _ = connection.try_send(BLOCKED);
        }
        assert_eq!(edge.get("open.example", "/after").text(), "/after", "{way}");
        edge.settled(way);
        let heads = heads.lock().unwrap().clone();
        let early = heads.iter().find(|(_, target)| target == "/early").unwrap().0;
        let shared: Vec<_> =
            heads.iter().filter(|(at, target)| *at == early && !["/early", "/hidden"].contains(&&**target)).collect();
        assert!(shared.is_empty(), "{way}: on the connection of half a request: {shared:?}");
    }
}

#[test]
fn host_that_is_the_address_of_something_else_is_only_a_name() {
    let (origin, other) = (Origin::answering(|request| Reply::ok(&request.target)), Origin::hello());
    let edge = Setup::new(origin.address()).more("[metrics]\naddress = \"127.0.0.1:0\"").start();
    let addresses = ["admin", "metrics", "http"].map(|name| edge.address(name)).into_iter().chain([other.address()]);
    for address in addresses.chain(["169.254.169.254:80", "[::1]:9180"].map(|text| text.parse().unwrap())) {
        for target in ["/metrics", "/api/v1/status", "/livez"] {
            let host = address.to_string();
            for (mut connection, absolute) in
                [(edge.http(), format!("http://{host}{target}")), (edge.https("open.example"), target.to_owned())]
            {
                let head = format!("GET {absolute} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let response = connection.send(&head).read_response();
                // The certificate does not cover an address, so that TLS refuses it; nothing is ever asked there.
                assert!([200, 421].contains(&response.status), "{head:?}: {}", response.status);
                if response.status == 200 {
                    assert_eq!(response.text(), target, "{head:?}: the configured origin answers");
                }
            }
            let status = Http2::connect(edge.address("https"), None).get(&host, target);
            assert_eq!((status.status, status.text().as_str()), (200, target), "{host}{target} by HTTP/2");
        }
    }
    assert_eq!(other.connections(), 0, "a Host chose where to connect to");
    let admin = edge.admin_get("/api/v1/status");
    assert_eq!(admin.status, 200);
}

#[test]
fn answer_is_kept_for_no_other_request_or_host() {
    let origin = Origin::answering(|request| {
        let host = request.header("host").unwrap_or_default().to_owned();
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=3600\r\nContent-Length: {}\r\n\r\n{host}",
            host.len()
        ))
    });
    let edge = Setup::new(origin.address()).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    for _ in 0..2 {
        for host in ["open.example", "a.edge.example", "b.edge.example"] {
            assert_eq!(edge.get(host, "/same").text(), host);
            assert_eq!(client.get(host, "/same").text(), host);
        }
        assert_eq!(edge.get("blocked.example", "/same").status, 403);
    }
    assert_eq!(origin.requests().len(), 12, "each request is asked anew");
}
