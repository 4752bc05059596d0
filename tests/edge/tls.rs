//! TLS of a listener as clients meet it: versions, protocols, names, hellos that are odd or in pieces, and what is no TLS
//! at all.
//!
//! Inside: one connection each. Kept out: sessions that are resumed and client certificates (tls_sessions.rs), SNI against
//! Host (connections.rs), and certificates that change (tls_reload.rs).

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, StreamOwned};

use crate::support::client::{tcp, tls_config, trusts_all};
use crate::support::frames::{Answer, Frames, GOAWAY};
use crate::support::hello::{First, Hello, NO_APPLICATION_PROTOCOL, PROTOCOL_VERSION, first_answer};
use crate::support::http2::Http2;
use crate::support::{Connection, Edge, Origin, Reply, Setup, peers};

const TLS10: u16 = 0x0301;
const TLS11: u16 = 0x0302;
const TLS12: u16 = 0x0303;
const SUPPORTED_VERSIONS: u16 = 43;

/// No request was begun, and others go on.
fn nothing_was_asked(edge: &Edge, what: &str) {
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("sluis_requests_started_total", &[]), 0.0, "{what}");
    assert_eq!(metrics.sum("sluis_panics_total", &[]), 0.0, "{what}");
}

#[test]
fn only_the_versions_that_are_configured_are_spoken() {
    let origin = Origin::hello();
    let strict =
        "[listener.strict]\naddress = \"127.0.0.1:0\"\ntls.certificates = \"certs\"\ntls.min_version = \"1.3\"\n";
    let edge = Setup::new(origin.address()).more(strict).start();
    // RFC 8996: nothing below 1.2. RFC 8446 section 4.2.1: what supported_versions says is what counts.
    for (version, supported, https) in [
        (0x0300, None, PROTOCOL_VERSION),
        (TLS10, None, PROTOCOL_VERSION),
        (TLS11, None, PROTOCOL_VERSION),
        (TLS12, Some(vec![2, 3, 2]), PROTOCOL_VERSION),
        (TLS12, Some(vec![4, 3, 2, 3, 1]), PROTOCOL_VERSION),
        (TLS12, None, First::ServerHello),
        (TLS12, Some(vec![2, 3, 3]), First::ServerHello),
    ] {
        let hello = Hello::new(version).names(&[b"open.example"]);
        let hello = match supported.clone() {
            Some(versions) => hello.extension(SUPPORTED_VERSIONS, versions),
            None => hello,
        };
        assert_eq!(hello.to(edge.address("https")), https, "{version:x} {supported:?}");
        assert_eq!(hello.to(edge.address("strict")), PROTOCOL_VERSION, "{version:x} {supported:?}, 1.3 alone");
    }
    nothing_was_asked(&edge, "versions");
    for (listener, versions, expected) in [
        ("https", &[&rustls::version::TLS12][..], Some(ProtocolVersion::TLSv1_2)),
        ("https", &[&rustls::version::TLS13], Some(ProtocolVersion::TLSv1_3)),
        ("https", &[&rustls::version::TLS12, &rustls::version::TLS13], Some(ProtocolVersion::TLSv1_3)),
        ("strict", &[&rustls::version::TLS12], None),
        ("strict", &[&rustls::version::TLS13], Some(ProtocolVersion::TLSv1_3)),
    ] {
        let config = Arc::new(tls_config_of(versions));
        let mut session = ClientConnection::new(config, ServerName::try_from("open.example").unwrap()).unwrap();
        let mut socket = tcp(edge.address(listener)).unwrap();
        while session.is_handshaking() && session.complete_io(&mut socket).is_ok() {}
        assert_eq!(session.protocol_version().filter(|_| !session.is_handshaking()), expected, "{listener}");
        let mut connection = Connection::over(Box::new(StreamOwned::new(session, socket)));
        assert_eq!(connection.try_get("open.example", "/").is_ok(), expected.is_some(), "{listener}");
    }
}

/// A client of these versions.
fn tls_config_of(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::clone(tls_config(&[], true).crypto_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    builder.dangerous().with_custom_certificate_verifier(trusts_all()).with_no_client_auth()
}

#[test]
fn alpn_chooses_the_protocol_and_an_offer_of_unknown_ones_alone_is_refused() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let address = edge.address("https");
    // RFC 7301 section 3.2.
    for (protocols, expected) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], First::ServerHello),
        (&[b"http/1.1"], First::ServerHello),
        (&[b"unknown", b"h2"], First::ServerHello),
        (&[b"unknown"], NO_APPLICATION_PROTOCOL),
        (&[b"http/1.0"], NO_APPLICATION_PROTOCOL),
        (&[b"h2c"], NO_APPLICATION_PROTOCOL),
        (&[b"h3", b"spdy/3.1"], NO_APPLICATION_PROTOCOL),
        (&[b"H2"], NO_APPLICATION_PROTOCOL),
        (&[b"h2\0"], NO_APPLICATION_PROTOCOL),
    ] {
        let hello = Hello::new(TLS12).names(&[b"open.example"]).protocols(protocols);
        assert_eq!(hello.to(address), expected, "{protocols:?}");
    }
    nothing_was_asked(&edge, "ALPN");
    assert_eq!(Http2::connect(address, Some("open.example")).get("open.example", "/").status, 200);
    for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
        let mut connection = Connection::try_tls(address, Some("open.example"), protocols).unwrap();
        assert_eq!(connection.get("open.example", "/").status, 200, "{protocols:?}");
    }
    let metrics = edge.settled("three connections");
    let by = |protocol| metrics.sum("sluis_connections_total", &[("listener", "https"), ("protocol", protocol)]);
    assert_eq!((by("http1"), by("http2")), (2.0, 1.0));
}

#[test]
fn protocol_that_was_not_chosen_is_not_spoken() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let over_tls = |protocols: &[&[u8]]| Connection::try_tls(edge.address("https"), None, protocols).unwrap();
    // RFC 9113 section 3.2 and 3.3: HTTP/2 by ALPN alone, and the preface first.
    for (what, mut connection) in
        [("in the clear", edge.http()), ("without ALPN", over_tls(&[])), ("beside http/1.1", over_tls(&[b"http/1.1"]))]
    {
        let before = edge.metrics();
        let response = connection.send(PREFACE).read_response();
        assert_eq!((response.status, response.header("connection")), (505, Some("close")), "{what}");
        assert!(connection.is_closed() && connection.take_buffered().is_empty(), "{what}: it goes on");
        let metrics = edge.settled(what);
        assert_eq!(metrics.rejected("version-not-supported") - before.rejected("version-not-supported"), 1.0, "{what}");
        assert_eq!(metrics.outcome("rejected") - before.outcome("rejected"), 1, "{what}");
    }
    for bytes in ["GET / HTTP/1.1\r\nHost: open.example\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let before = edge.metrics();
        let mut connection = over_tls(&[b"h2"]);
        let _ = connection.try_send(bytes);
        assert!(connection.is_closed(), "{bytes:?}");
        assert!(!connection.take_buffered().starts_with(b"HTTP/1"), "{bytes:?}");
        let metrics = edge.settled(bytes);
        assert_eq!(metrics.rejected("protocol") - before.rejected("protocol"), 1.0, "{bytes:?}");
    }
    // RFC 9113 section 3.1: no upgrade in the clear either; the request is an ordinary one.
    let upgrade = "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(edge.http().send(upgrade).read_response().status, 200);
    let request = origin.only_request();
    assert_eq!((request.all("upgrade"), request.all("http2-settings")), (vec![], vec![]));
}

#[test]
fn name_in_the_hello_is_judged_in_every_spelling_or_is_no_name() {
    let Some(openssl) = peers::find("openssl") else { return };
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let status = |name: &str, version: &str| {
        let mut command = Command::new(&openssl);
        let connect = edge.address("https").to_string();
        command.args(["s_client", "-quiet", "-ign_eof", version, "-connect", &connect, "-servername", name]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n";
        let _ = child.stdin.take().unwrap().write_all(request);
        let said = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned();
        said.split(' ').nth(1).map(str::to_owned)
    };
    let (long, too_long) = (format!("{}.example", "a".repeat(63)), format!("{}.example", "a".repeat(64)));
    // RFC 6066 section 3. An address is no name, and the Host decides, as without SNI; what is no name at all gets no
    // connection.
    for (name, expected) in [
        ("open.example", "200"),
        ("blocked.example", "403"),
        ("BLOCKED.Example", "403"),
        ("deep.below.blocked.example", "403"),
        ("blocked.example.", "403"),
        ("open.example.", "200"),
        ("127.0.0.1", "200"),
        ("::1", "200"),
        ("blocked.example:443", "none"),
        ("blocked..example", "none"),
        ("bl\u{f6}cked.example", "none"),
        (".", "none"),
        (&long, "200"),
        (&too_long, "none"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let got = status(name, version).unwrap_or_else(|| "none".to_owned());
            assert_eq!(got, expected, "{name} {version}");
        }
    }
    edge.settled("all have ended");
}

#[test]
fn hello_with_odd_names_or_in_pieces_holds_nothing_up() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let address = edge.address("https");
    let long = b"a".repeat(300);
    let hello = || Hello::new(TLS12);
    // RFC 6066 section 3: at most one name of a type; an empty list or name is none.
    for (what, hello, refused) in [
        ("two names", hello().names(&[b"open.example", b"blocked.example"]), true),
        ("the same name twice", hello().names(&[b"open.example", b"open.example"]), true),
        ("no name", hello().names(&[]), true),
        ("two extensions", hello().names(&[b"open.example"]).names(&[b"blocked.example"]), true),
        ("the extension cut off", hello().extension(0, vec![0, 9, 0, 0, 40, b'o']), true),
        ("an empty name", hello().names(&[b""]), false),
        ("a NUL", hello().names(&[b"open.example\0.blocked.example"]), false),
        ("too long", hello().names(&[&long]), false),
        ("plain", hello().names(&[b"open.example"]), false),
    ] {
        let first = hello.to(address);
        assert!(if refused { matches!(first, First::Alert(_)) } else { first != First::Closed }, "{what}: {first:?}");
    }
    // RFC 8446 section 5.1: a message may be in several records; RUSTSEC-2024-0399.
    let plain = hello().names(&[b"open.example"]);
    for most in [1, 2, 3, 40] {
        assert_eq!(first_answer(address, &plain.records(most)), First::ServerHello, "records of {most}");
    }
    let mut slowly = Connection::plain(address);
    for byte in plain.records(16_384) {
        slowly.send([byte]);
    }
    assert_eq!(slowly.read_exactly(1).unwrap(), [0x16]);
    nothing_was_asked(&edge, "hellos");
    let mut config = tls_config(&[b"http/1.1"], true);
    config.max_fragment_size = Some(32);
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from("open.example").unwrap()).unwrap();
    let mut connection = Connection::over(Box::new(StreamOwned::new(session, tcp(address).unwrap())));
    assert_eq!(connection.get("open.example", "/").status, 200, "in fragments of 32 bytes");
    assert_eq!(connection.get("blocked.example", "/").status, 403, "in fragments of 32 bytes");
}

#[test]
fn plaintext_on_a_tls_port_and_tls_on_a_plaintext_port_are_refused() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: open.example\r\n\r\n".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0",
        b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10",
        b"\x16\x03\x01\xff\xff",
        b"\x17\x03\x03\0\x01a",
        b"\x16\x03\x01\0\0",
    ] {
        let mut connection = Connection::plain(edge.address("https"));
        connection.send(bytes);
        connection.socket().shutdown(std::net::Shutdown::Write).unwrap();
        assert!(connection.is_closed(), "{}", bytes.escape_ascii());
        let said = connection.take_buffered();
        assert!(said.is_empty() || said[0] == 0x15, "an alert or nothing: {}", said.escape_ascii());
        nothing_was_asked(&edge, &bytes.escape_ascii().to_string());
    }
    let mut connection = edge.http();
    connection.send(Hello::new(TLS12).names(&[b"open.example"]).records(16_384));
    connection.socket().shutdown(std::net::Shutdown::Write).unwrap();
    let response = connection.try_read_response(false);
    assert!(response.is_err() || response.is_ok_and(|response| response.status == 400));
    assert!(connection.is_closed());
    edge.settled("a hello in the clear");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn renegotiation_is_refused() {
    let Some(openssl) = peers::find("openssl") else { return };
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let connect = edge.address("https").to_string();
    // RFC 9325 section 3.5. `R` asks openssl to renegotiate; TLS 1.3 has no such thing.
    let mut child = Command::new(openssl)
        .args(["s_client", "-tls1_2", "-connect", &connect, "-servername", "open.example"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"R\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("RENEGOTIATING"), "openssl did not try: {said}");
    assert!(!output.status.success() && said.contains("no renegotiation"), "{said}");
    nothing_was_asked(&edge, "renegotiation");
}

#[test]
fn strict_transport_is_the_origins_to_ask_for() {
    const FIELD: &str = "strict-transport-security";
    let origin = Origin::answering(|request| {
        let mut fields = String::new();
        if request.target == "/strict" {
            write!(fields, "Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n").unwrap();
        }
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"))
    });
    let edge = Setup::new(origin.address()).start();
    // RFC 6797 section 7.2: a field of ours would bind every host of the origin, for as long as it says.
    for (host, target, status, expected) in [
        ("open.example", "/strict", 200, Some("max-age=31536000; includeSubDomains; preload")),
        ("open.example", "/", 200, None),
        ("blocked.example", "/strict", 403, None),
        ("order.example", "/strict", 451, None),
        ("elsewhere.example", "/strict", 421, None),
    ] {
        let mut connection = edge.https("open.example");
        let response = connection.get(host, target);
        assert_eq!((response.status, response.header(FIELD)), (status, expected), "{host}{target}");
        let response = Http2::connect(edge.address("https"), Some("open.example")).get(host, target);
        assert_eq!((response.status, response.header(FIELD)), (status, expected), "{host}{target} by HTTP/2");
    }
    let mut connection = edge.https("open.example");
    let response = connection.send("GET / HTTP/1.1\r\n\r\n").read_response();
    assert_eq!((response.status, response.header(FIELD)), (400, None));
}

#[test]
fn close_of_a_connection_is_announced_in_tls() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    // RFC 8446 section 6.1: without close_notify the end could be anybody's; rustls tells the two apart.
    let mut connection = edge.https("open.example");
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n");
    assert!(connection.read_to_end().is_ok(), "an end without close_notify");
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    client.send(GOAWAY, 0, 0, &[0; 8]);
    assert_eq!(client.end_of(1), Answer::Gone);
}
