//! Servers of lists over TLS: whom the program trusts.

use crate::support::certs::{Pair, pair};
use crate::support::lists::{KEPT, tls_server};
use crate::support::{Edge, Origin, Setup};

const LIST: &str = "a.example\n";

fn response(list: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len())
}

fn url(server: &Origin) -> String {
    format!("https://{}/list.txt", server.address())
}

fn setup(origin: &Origin, server: &Origin, ca: Option<&Pair>) -> Setup {
    let setup = Setup::new(origin.address()).without_tls();
    match ca {
        None => setup.fetching(&url(server), ""),
        Some(pair) => setup.fetching(&url(server), "ca = \"ca.pem\"").file("ca.pem", pair.certificate.as_str()),
    }
}

#[test]
fn list_comes_from_a_server_that_the_named_root_vouches_for() {
    let (origin, certificate) = (Origin::hello(), pair(&["127.0.0.1"]));
    let server = tls_server(&certificate, response(LIST));
    let edge = setup(&origin, &server, Some(&certificate)).start();
    assert_eq!(edge.get("a.example", "/").status, 403);
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
}

#[test]
fn list_comes_from_a_server_that_the_platform_vouches_for() {
    let (origin, certificate) = (Origin::hello(), pair(&["127.0.0.1"]));
    let server = tls_server(&certificate, response(LIST));
    let setup = setup(&origin, &server, None).file("roots.pem", certificate.certificate.as_str());
    let edge = Edge::start_own_by(&setup, |command| {
        command.env("SSL_CERT_FILE", "roots.pem").env_remove("SSL_CERT_DIR");
    });
    edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
    assert_eq!(edge.get("a.example", "/").status, 403);
}

#[test]
fn p4_server_that_nobody_vouches_for_changes_nothing() {
    let origin = Origin::hello();
    let (right, other, elsewhere) = (pair(&["127.0.0.1"]), pair(&["127.0.0.1"]), pair(&["lists.example"]));
    for (what, shown, ca, words) in [
        ("another root", &other, Some(&right), "invalid peer certificate"),
        ("another name", &elsewhere, Some(&elsewhere), "certificate not valid for name"),
    ] {
        let server = tls_server(shown, response("evil.example\n"));
        let edge = setup(&origin, &server, ca).file(KEPT, LIST).start();
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, 422, "{what}");
        assert!(answer.text().contains(words), "{what}: {}", answer.text());
        assert_eq!((edge.get("a.example", "/").status, edge.get("evil.example", "/").status), (403, 200), "{what}");
        let failed = edge.metrics().value("sluis_blocklist_fetches_total", &[("source", "feed"), ("result", "tls")]);
        assert!(failed.is_some_and(|count| count >= 1.0), "{what}");
    }
}

#[test]
fn p4_redirect_away_from_tls_changes_nothing() {
    let (origin, certificate) = (Origin::hello(), pair(&["127.0.0.1"]));
    let plain = Origin::hello();
    let location = format!("Location: http://{}/list.txt", plain.address());
    let server = tls_server(&certificate, format!("HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n"));
    let edge = setup(&origin, &server, Some(&certificate)).file(KEPT, LIST).start();
    let answer = edge.admin_post("/api/v1/reload");
    assert!(answer.status == 422 && answer.text().contains("without TLS"), "{}", answer.text());
    assert_eq!((edge.get("a.example", "/").status, plain.connections()), (403, 0));
}

#[test]
fn roots_that_cannot_be_used_are_refused_before_anything_is_fetched() {
    let (origin, certificate) = (Origin::hello(), pair(&["127.0.0.1"]));
    let server = tls_server(&certificate, response(LIST));
    for (what, file) in [("no PEM", Some("roots?\n")), ("no file", None)] {
        let mut setup = Setup::new(origin.address()).without_tls().fetching(&url(&server), "ca = \"ca.pem\"");
        if let Some(text) = file {
            setup = setup.file("ca.pem", text);
        }
        let mut edge = setup.file(KEPT, LIST).start_unready();
        assert_eq!(edge.wait_exit(), 78, "{what}");
        assert!(edge.log().contains("ca.pem"), "{what}: {}", edge.log());
        let checked = edge.run(&["check", "--config", "sluis.toml"]);
        assert_eq!(checked.code, 78, "{what}");
        assert!(checked.stderr.contains("ca.pem"), "{what}: {}", checked.stderr);
    }
}
