//! TLS sessions that are resumed, and client certificates: what was checked once for one listener, name or root is not
//! taken as checked for another.
//!
//! Inside: TLS 1.2 and 1.3, with sessions offered where they do not belong. Kept out: single handshakes (tls.rs).

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, StreamOwned, SupportedProtocolVersion, version,
};

use crate::support::certs::{self, Authority, Pair};
use crate::support::client::{tcp, tls_config, trusts_all};
use crate::support::{Connection, Edge, Origin, Setup, eventually};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// Offers the last session to every server, whatever its name.
#[derive(Debug)]
struct OneForAll(ClientSessionMemoryCache);

fn anybody() -> ServerName<'static> {
    ServerName::try_from("anybody.example").unwrap()
}

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anybody(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anybody())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anybody(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anybody())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anybody());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anybody(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anybody())
    }
}

/// A client of one version with an empty memory, and a certificate or none.
fn client(version: &'static SupportedProtocolVersion, identity: Option<&Pair>) -> Arc<ClientConfig> {
    let provider = Arc::clone(tls_config(&[], true).crypto_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(trusts_all());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(OneForAll(ClientSessionMemoryCache::new(8))));
    Arc::new(config)
}

/// Connects, asks for `host`, and says whether the session was resumed and what the status was. An error where the server
/// ends it; in TLS 1.3 that may come as late as with the answer.
fn ask(config: &Arc<ClientConfig>, address: SocketAddr, sni: &str, host: &str) -> io::Result<(HandshakeKind, u16)> {
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(session, tcp(address)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let kind = stream.conn.handshake_kind().expect("the handshake is done");
    let response = Connection::over(Box::new(stream)).try_get(host, "/")?;
    Ok((kind, response.status))
}

const FULL: HandshakeKind = HandshakeKind::Full;
const RESUMED: HandshakeKind = HandshakeKind::Resumed;

/// A second TLS listener that asks for client certificates of this root.
fn with_clients_of(setup: Setup, root: &Authority) -> Setup {
    let listener = "[listener.clients]\naddress = \"127.0.0.1:0\"\ntls.certificates = \"certs\"\ntls.client_ca = \
                    \"clients.pem\"\n";
    setup.more(listener).file("clients.pem", root.pem())
}

fn edge_with_clients_of(origin: &Origin, root: &Authority) -> Edge {
    with_clients_of(Setup::new(origin.address()), root).start()
}

#[test]
fn client_certificate_of_the_root_is_required_where_a_root_is_configured() {
    let origin = Origin::hello();
    let (root, other) = (Authority::new("Ours"), Authority::new("Ours"));
    let edge = edge_with_clients_of(&origin, &root);
    let right = root.client((2020, 2090), ClientAuth);
    let mut forged = root.client((2020, 2090), ClientAuth);
    forged.key = other.client((2020, 2090), ClientAuth).key;
    for version in VERSIONS {
        for (what, identity, is_right) in [
            ("right", Some(&right), true),
            ("none", None, false),
            ("another root of the same name", Some(&other.client((2020, 2090), ClientAuth)), false),
            ("signed by itself", Some(&certs::pair(&["client.example"])), false),
            ("expired", Some(&root.client((2020, 2021), ClientAuth)), false),
            ("not yet valid", Some(&root.client((2080, 2090), ClientAuth)), false),
            ("for servers only", Some(&root.client((2020, 2090), ServerAuth)), false),
        ] {
            let before = (origin.requests().len(), edge.metrics());
            let answer = ask(&client(version, identity), edge.address("clients"), "open.example", "open.example");
            match answer {
                Ok(answer) => assert!(is_right && answer == (FULL, 200), "{what}, {version:?}: {answer:?}"),
                Err(error) => assert!(!is_right, "{what}, {version:?}: {error}"),
            }
            assert_eq!(origin.requests().len() - before.0, usize::from(is_right), "{what}, {version:?}");
            let begun = edge.settled(what).sum("sluis_requests_started_total", &[])
                - before.1.sum("sluis_requests_started_total", &[]);
            assert_eq!(begun, f64::from(u8::from(is_right)), "{what}, {version:?}: a request was begun");
        }
        // A blocked host is blocked for those who have a certificate, too.
        let answer = ask(&client(version, Some(&right)), edge.address("clients"), "open.example", "blocked.example");
        assert_eq!(answer.unwrap(), (FULL, 403), "{version:?}");
    }
    // A key that is not the certificate's cannot be used at all: rustls refuses it before a byte is sent.
    let chain = vec![CertificateDer::from_pem_slice(forged.certificate.as_bytes()).unwrap()];
    let builder = ClientConfig::builder_with_provider(Arc::clone(tls_config(&[], true).crypto_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let builder = builder.with_custom_certificate_verifier(trusts_all());
    let key = PrivateKeyDer::from_pem_slice(forged.key.as_bytes()).unwrap();
    assert!(builder.with_client_auth_cert(chain, key).is_err());
}

#[test]
fn nothing_about_a_client_certificate_reaches_the_origin() {
    let origin = Origin::hello();
    let root = Authority::new("Ours");
    let edge = edge_with_clients_of(&origin, &root);
    let config = client(&version::TLS13, Some(&root.client((2020, 2090), ClientAuth)));
    assert_eq!(ask(&config, edge.address("clients"), "open.example", "open.example").unwrap().1, 200);
    let request = origin.only_request();
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    let allowed = ["host", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"];
    assert!(names.iter().all(|name| allowed.contains(&name.to_lowercase().as_str())), "{names:?}");
}

#[test]
fn session_of_one_listener_is_not_resumed_on_another() {
    let origin = Origin::hello();
    let root = Authority::new("Ours");
    let edge = edge_with_clients_of(&origin, &root);
    let (open, clients) = (edge.address("https"), edge.address("clients"));
    for version in VERSIONS {
        // CVE-2025-23419: a session of the listener that asks for nothing would get past the one that asks.
        let config = client(version, None);
        assert_eq!(ask(&config, open, "open.example", "open.example").unwrap(), (FULL, 200), "{version:?}");
        assert_eq!(ask(&config, open, "open.example", "open.example").unwrap(), (RESUMED, 200), "{version:?}");
        let before = origin.requests().len();
        assert!(ask(&config, clients, "open.example", "open.example").is_err(), "{version:?}");
        assert_eq!(origin.requests().len(), before, "{version:?}");
        // The other way round, and back: each listener knows its own sessions only.
        let config = client(version, Some(&root.client((2020, 2090), ClientAuth)));
        // A session shows no certificate, which may have expired since: none goes on where one is asked for.
        for _ in 0..2 {
            assert_eq!(ask(&config, clients, "open.example", "open.example").unwrap(), (FULL, 200), "{version:?}");
        }
        assert_eq!(ask(&config, open, "open.example", "open.example").unwrap(), (FULL, 200), "{version:?}");
    }
}

#[test]
fn session_of_one_name_is_not_resumed_under_another() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let address = edge.address("https");
    for version in VERSIONS {
        for (first, second, host, status) in [
            ("open.example", "a.edge.example", "open.example", 200),
            ("open.example", "blocked.example", "open.example", 403),
            ("blocked.example", "open.example", "blocked.example", 403),
            ("blocked.example", "open.example", "open.example", 200),
        ] {
            let config = client(version, None);
            let what = format!("{version:?}: {first}, then {second}");
            let answer = ask(&config, address, first, first).unwrap();
            assert_eq!(answer.0, FULL, "{what}");
            let answer = ask(&config, address, second, host).unwrap();
            assert_eq!(answer, (FULL, status), "{what}: RFC 8446 section 4.2.11, RFC 6066 section 3");
            assert_eq!(ask(&config, address, second, host).unwrap(), (RESUMED, status), "{what}");
        }
    }
}

#[test]
fn client_does_not_outlive_the_roots_that_it_was_checked_against() {
    let origin = Origin::hello();
    let (root, next) = (Authority::new("Ours"), Authority::new("Next"));
    let edge = edge_with_clients_of(&origin, &root);
    let address = edge.address("clients");
    let identity = root.client((2020, 2090), ClientAuth);
    let configs = VERSIONS.map(|version| client(version, Some(&identity)));
    for config in &configs {
        assert_eq!(ask(config, address, "open.example", "open.example").unwrap(), (FULL, 200));
    }
    fs::write(edge.path("clients.pem"), next.pem()).unwrap();
    let newcomer = client(&version::TLS13, Some(&next.client((2020, 2090), ClientAuth)));
    eventually("the new root is in force", || ask(&newcomer, address, "open.example", "open.example").is_ok());
    for config in &configs {
        let answer = ask(config, address, "open.example", "open.example");
        assert!(answer.is_err(), "a session of a client that is trusted no more: {answer:?}");
    }
}

#[test]
fn session_that_is_resumed_is_judged_by_the_list_and_the_certificate_in_force() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let address = edge.address("https");
    let configs = VERSIONS.map(|version| client(version, None));
    for config in &configs {
        assert_eq!(ask(config, address, "a.edge.example", "b.edge.example").unwrap(), (FULL, 200));
        assert_eq!(ask(config, address, "a.edge.example", "b.edge.example").unwrap(), (RESUMED, 200));
    }
    certs::pair(&["a.edge.example"]).write(&edge.path("certs"), "edge");
    eventually("the new pair is in force", || {
        edge.metrics().sum("sluis_tls_reloads_total", &[("result", "applied")]) >= 1.0
    });
    for config in &configs {
        let (_, status) = ask(config, address, "a.edge.example", "b.edge.example").unwrap();
        assert_eq!(status, 421, "the certificate in force does not cover that host");
        assert_eq!(ask(config, address, "a.edge.example", "a.edge.example").unwrap().1, 200);
    }
    fs::write(edge.path("blocklist.toml"), crate::support::setup::record("new", "c.example")).unwrap();
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    for config in &configs {
        assert_eq!(ask(config, address, "a.edge.example", "c.example").unwrap().1, 403);
    }
}

#[test]
fn no_early_data_is_taken() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut config = tls_config(&[b"http/1.1"], true);
    config.enable_early_data = true;
    let config = Arc::new(config);
    assert_eq!(ask(&config, edge.address("https"), "open.example", "open.example").unwrap(), (FULL, 200));
    let name = ServerName::try_from("open.example").unwrap();
    // RFC 8470: a request in early data can be sent again by anybody. The ticket allows none.
    let mut session = ClientConnection::new(config, name).unwrap();
    assert!(session.early_data().is_none(), "the ticket of the first connection allows early data");
}
