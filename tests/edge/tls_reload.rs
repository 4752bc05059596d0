//! Certificates change while connections run; a bad pair never replaces a good one.

use std::fs;

use rustix::process::Signal;

use crate::support::certs::{self, Pair};
use crate::support::setup::CERTIFIED;
use crate::support::{Connection, Edge, Origin, Setup, eventually};

fn served(edge: &Edge, sni: Option<&str>) -> Vec<u8> {
    Connection::tls(edge.address("https"), sni).certificate().expect("a server shows a certificate")
}

fn write(edge: &Edge, name: &str, pair: &Pair) {
    pair.write(&edge.path("certs"), name);
}

#[test]
fn new_pair_is_served_to_new_connections_and_old_connections_stay() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut connection = edge.https("open.example");
    let old = connection.certificate();
    let pair = certs::pair(&CERTIFIED);
    write(&edge, "edge", &pair);
    eventually("the new certificate is served", || served(&edge, Some("open.example")) == pair.der);
    assert_ne!(old, Some(pair.der));
    assert_eq!(connection.get("open.example", "/").status, 200);
}

#[test]
fn pair_for_a_further_name_is_chosen_by_sni() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let default = served(&edge, None);
    let pair = certs::pair(&["further.example", "*.further.example"]);
    write(&edge, "further", &pair);
    eventually("the further certificate is served", || served(&edge, Some("a.further.example")) == pair.der);
    for (sni, expected) in [
        (Some("further.example"), &pair.der),
        (Some("FURTHER.example"), &pair.der),
        (Some("a.b.further.example"), &default),
        (Some("unknown.example"), &default),
        (None, &default),
    ] {
        assert!(served(&edge, sni) == *expected, "{sni:?}");
    }
    let names = edge.metrics().label_values("sluis_tls_certificate_not_after_timestamp_seconds", "certificate");
    assert!(names.contains(&"edge".to_owned()) && names.contains(&"further".to_owned()), "{names:?}");
}

#[test]
fn p4_bad_pair_keeps_the_one_in_force_and_shows() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let good = served(&edge, Some("open.example"));
    let other = certs::pair(&CERTIFIED);
    for (number, (file, text)) in [
        ("edge.crt", "nonsense".to_owned()),
        ("edge.crt", other.certificate.clone()),
        ("edge.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned()),
        ("edge.key", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = edge.metrics().sum("sluis_tls_reloads_total", &[("result", "refused")]);
        fs::write(edge.path("certs").join(file), text).unwrap();
        edge.signal(Signal::HUP);
        eventually("the refusal is counted", || {
            edge.metrics().sum("sluis_tls_reloads_total", &[("result", "refused")]) > refused
        });
        assert!(served(&edge, Some("open.example")) == good, "case {number}");
        assert_eq!(edge.metrics().value("sluis_tls_last_reload_successful", &[]), Some(0.0), "case {number}");
    }
    write(&edge, "edge", &other);
    eventually("a good pair replaces it", || served(&edge, Some("open.example")) == other.der);
    eventually("all is well", || edge.metrics().value("sluis_tls_last_reload_successful", &[]) == Some(1.0));
}

#[test]
fn client_that_never_shakes_hands_is_let_go() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).limit("tls_handshake_timeout = \"300ms\"").start();
    let mut silent = Connection::plain(edge.address("https"));
    assert!(silent.is_closed());
    let mut nonsense = Connection::plain(edge.address("https"));
    nonsense.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    assert!(nonsense.is_closed());
    assert_eq!(edge.https("open.example").get("open.example", "/").status, 200);
    eventually("both are gone", || edge.metrics().sum("sluis_connections_active", &[]) == 0.0);
}
