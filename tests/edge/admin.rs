//! The admin endpoint: what it answers, whom it refuses, and that no listener leads to it.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::get;
use crate::support::{Connection, Edge, Origin, Setup};

fn edge() -> (Origin, Edge) {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).feed("feed.example\n*.wild.example\n").start();
    (origin, edge)
}

#[test]
fn health_is_told() {
    let (_origin, edge) = edge();
    assert_eq!(edge.admin_get("/livez").status, 200);
    assert_eq!(edge.admin_get("/readyz").status, 200);
    let verbose = edge.admin_get("/readyz?verbose").text();
    assert!(verbose.contains("listener"), "{verbose}");
    let finished = edge.run(&["healthcheck", "--config", "sluis.toml"]);
    // The configuration says port 0, so only a refusal that names the address can be expected here.
    assert!(finished.code == 0 || finished.stderr.contains("127.0.0.1"), "{}", finished.stderr);
}

#[test]
fn status_tells_what_is_in_force() {
    let (_origin, edge) = edge();
    let status = edge.admin_get("/api/v1/status").json();
    assert_eq!(status["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(status["generation"].as_u64(), Some(1));
    assert_eq!(status["workers"].as_u64(), Some(2));
    assert!(status["started_at"].as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()), "{status}");
    let sources = status["sources"].as_array().unwrap();
    let find = |name: &str| sources.iter().find(|source| source["name"] == name).unwrap();
    let decisions = find("decisions");
    assert_eq!((decisions["format"].as_str(), decisions["names"].as_u64()), (Some("decisions"), Some(2)));
    assert_eq!(decisions["decisions"].as_u64(), Some(2));
    assert_eq!(decisions["sha256"].as_str().map(str::len), Some(64));
    assert!(decisions["error"].is_null());
    let feed = find("feed");
    assert_eq!((feed["format"].as_str(), feed["names"].as_u64()), (Some("domains"), Some(2)));
    for member in ["at", "ok", "trigger", "added", "removed", "error"] {
        assert!(status["last_reload"].get(member).is_some(), "last_reload has no {member}: {status}");
    }
}

#[test]
fn lookup_gives_the_verdict_of_a_request_with_its_reason() {
    let (_origin, edge) = edge();
    for (host, decision, source, pattern) in [
        ("blocked.example", "policy-1", "decisions", ".blocked.example"),
        ("A.Blocked.Example.", "policy-1", "decisions", ".blocked.example"),
        ("www.feed.example", "feed-1", "feed", ".feed.example"),
    ] {
        let answer = edge.admin_get(&format!("/api/v1/lookup?host={host}")).json();
        assert_eq!(answer["verdict"], "block", "{answer}");
        assert_eq!((&answer["decision"], &answer["source"]), (&decision.into(), &source.into()), "{answer}");
        assert_eq!(answer["pattern"], pattern, "{answer}");
        assert!(answer["line"].as_u64().is_some_and(|line| line > 0), "{answer}");
        assert_eq!(answer["generation"].as_u64(), Some(1));
    }
    let pass = edge.admin_get("/api/v1/lookup?host=open.example").json();
    assert_eq!((&pass["verdict"], &pass["host"]), (&"pass".into(), &"open.example".into()));
    for wrong in ["", "?host=", "?host=a..b", "?host=%00", "?other=x"] {
        let answer = edge.admin_get(&format!("/api/v1/lookup{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.header("content-type").unwrap().starts_with("application/problem+json"), "{wrong}");
    }
}

#[test]
fn lookup_on_the_command_line_says_the_same() {
    let (_origin, edge) = edge();
    let arguments = ["lookup", "--config", "sluis.toml", "--format", "json", "blocked.example", "open.example"];
    let finished = edge.run(&arguments);
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    assert!(finished.stdout.contains("policy-1") && finished.stdout.contains("pass"), "{}", finished.stdout);
    assert_ne!(edge.run(&["lookup", "--config", "sluis.toml", "not..valid"]).code, 0);
}

#[test]
fn decisions_in_force_are_listed_with_their_hits() {
    let (_origin, edge) = edge();
    for _ in 0..3 {
        assert_eq!(edge.get("order.example", "/").status, 451);
    }
    let decisions = edge.admin_get("/api/v1/decisions").json();
    let list = decisions.as_array().or_else(|| decisions["decisions"].as_array()).expect("a list");
    let hits = |id: &str| list.iter().find(|decision| decision["id"] == id).map(|decision| decision["hits"].clone());
    assert_eq!(hits("order-1"), Some(3.into()), "{decisions}");
    assert_eq!(hits("policy-1"), Some(0.into()), "{decisions}");
}

#[test]
fn page_for_people_shows_sources_and_decisions() {
    let (_origin, edge) = edge();
    let page = edge.admin_get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    for word in ["decisions", "feed", "policy-1", "order-1"] {
        assert!(page.text().contains(word), "the page lacks {word}");
    }
}

#[test]
fn unknown_paths_and_methods_are_problems() {
    let (_origin, edge) = edge();
    assert_eq!(edge.admin_get("/nothing").status, 404);
    assert_eq!(edge.admin_get("/api/v1/reload").status, 405);
    assert_eq!(edge.admin_post("/api/v1/status").status, 405);
    assert_eq!(edge.admin_post("/api/v1/reload?allow_shrink=nobody").status, 400);
}

#[test]
fn foreign_pages_cannot_make_a_browser_reload() {
    let (_origin, edge) = edge();
    let address = edge.address("admin");
    let post = |fields: &str| {
        let head = format!("POST /api/v1/reload HTTP/1.1\r\n{fields}Content-Length: 0\r\n\r\n");
        Connection::plain(address).send(head).read_response().status
    };
    for fields in [
        "Host: evil.example\r\n".to_owned(),
        "Host: localhost.evil.example\r\n".to_owned(),
        format!("Host: {address}\r\nOrigin: https://evil.example\r\n"),
        format!("Host: {address}\r\nOrigin: null\r\n"),
        format!("Host: {address}\r\nSec-Fetch-Site: cross-site\r\nOrigin: http://evil.example\r\n"),
    ] {
        assert_eq!(post(&fields), 403, "{fields:?}");
    }
    for fields in [
        format!("Host: {address}\r\n"),
        format!("Host: localhost:{}\r\n", address.port()),
        format!("Host: {address}\r\nOrigin: http://{address}\r\n"),
    ] {
        assert_eq!(post(&fields), 200, "{fields:?}");
    }
    assert_eq!(edge.metrics().sum("sluis_blocklist_reloads_total", &[("result", "refused")]), 0.0);
}

#[test]
fn admin_endpoint_is_not_reached_through_a_listener() {
    let (origin, edge) = edge();
    let (http, admin) = (edge.address("http"), edge.address("admin"));
    for host in [admin.to_string(), http.to_string(), format!("localhost:{}", admin.port()), "open.example".to_owned()]
    {
        for target in ["/metrics", "/api/v1/status", "/livez"] {
            let answer = get(http, &host, target);
            assert!(!answer.text().contains("sluis_"), "{host}{target}");
        }
    }
    for request in origin.requests() {
        assert!(request.target.starts_with('/'));
    }
}

#[test]
fn metrics_listener_serves_metrics_and_health_and_nothing_else() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().more("[metrics]\naddress = \"127.0.0.1:0\"").start();
    let address = edge.address("metrics");
    for (target, status) in [
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/", 404),
        ("/api/v1/status", 404),
        ("/api/v1/reload", 404),
    ] {
        assert_eq!(get(address, &address.to_string(), target).status, status, "{target}");
    }
    let head = format!("POST /api/v1/reload HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    assert!(Connection::plain(address).send(head).read_response().status >= 400);
}

#[test]
fn connections_without_a_request_shut_nobody_out() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().more("[metrics]\naddress = \"127.0.0.1:0\"").start();
    for name in ["admin", "metrics"] {
        let address = edge.address(name);
        let asked = |method: &str, target: &str| {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
            Connection::plain(address).send(head).read_response().status
        };
        let mut held: Vec<Connection> = Vec::new();
        for round in 0..3 {
            // Those that were held have been closed meanwhile, most of them; the places are taken again.
            held.extend((0..200).map(|_| Connection::plain(address)));
            for begun in [
                "GET /livez HTTP/1.1\r\nHo",
                "POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
            ] {
                for _ in 0..50 {
                    let mut slow = Connection::plain(address);
                    // One that had to make room already is as good.
                    let _ = slow.try_send(begun);
                    held.push(slow);
                }
            }
            let started = Instant::now();
            for _ in 0..5 {
                assert_eq!(asked("GET", "/livez"), 200, "{name}, round {round}");
                assert_eq!(asked("GET", "/metrics"), 200, "{name}, round {round}");
                let reload = asked("POST", "/api/v1/reload");
                assert_eq!(reload, if name == "admin" { 200 } else { 404 }, "{name}, round {round}");
            }
            // Idle connections are let go after 5 s anyway; that must not be what made room.
            assert!(started.elapsed() < Duration::from_secs(10), "{name}, round {round}: {:?}", started.elapsed());
        }
    }
}

#[test]
fn names_that_were_bound_to_this_machine_see_nothing_but_health_and_metrics() {
    let (_origin, edge) = edge();
    let address = edge.address("admin");
    let ask = |head: String| Connection::plain(address).send(head).read_response();
    let local =
        [address.to_string(), format!("LOCALHOST.:{}", address.port()), "[::1]".to_owned(), "127.0.0.1".to_owned()];
    let foreign = [
        "rebound.example",
        "127.0.0.1.rebound.example",
        "127.0.0.1@rebound.example",
        "127.0.0.1, rebound.example",
        "localhost.rebound.example",
        "",
    ];
    for target in ["/", "/api/v1/status", "/api/v1/decisions", "/api/v1/lookup?host=blocked.example"] {
        for method in ["GET", "HEAD"] {
            let status = |host: &str| {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                Connection::plain(address).send(head).read_head_response().status
            };
            for host in &local {
                assert_eq!(status(host), 200, "{method} {target} {host}");
            }
            for host in foreign {
                assert_eq!(status(host), 403, "{method} {target} {host}");
            }
        }
        assert_eq!(ask(format!("GET {target} HTTP/1.0\r\n\r\n")).status, 200, "{target}");
        let refused = ask(format!("GET {target} HTTP/1.1\r\nHost: rebound.example\r\n\r\n")).text();
        assert!(refused.contains("IP address or localhost") && !refused.contains("policy-1"), "{refused}");
    }
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get(address, "sluis.monitoring.svc", target).status, 200, "{target}");
    }
}

#[test]
fn target_that_names_another_host_than_the_host_field_is_refused() {
    let (_origin, edge) = edge();
    let address = edge.address("admin");
    let other_port = address.port() ^ 1;
    for (method, target) in [("POST", "/api/v1/reload"), ("GET", "/api/v1/status"), ("GET", "/livez")] {
        let status = |named: &str, host: &str| {
            let head = format!("{method} http://{named}{target} HTTP/1.1\r\nHost: {host}\r\n");
            Connection::plain(address).send(head + "Content-Length: 0\r\n\r\n").read_response().status
        };
        let own = address.to_string();
        assert_eq!(status(&own, &own), 200, "{method} {target}");
        for (named, host) in [
            ("rebound.example", &*own),
            (&*own, "rebound.example"),
            (&*format!("127.0.0.1@rebound.example:{}", address.port()), &own),
            (&*format!("127.0.0.1:{other_port}"), &own),
        ] {
            assert_eq!(status(named, host), 400, "{method} {named} {host}");
        }
    }
    let both = "GET http://rebound.example/api/v1/status HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    assert_eq!(Connection::plain(address).send(both).read_response().status, 403);
    assert_eq!(edge.metrics().sum("sluis_blocklist_reloads_total", &[("result", "unchanged")]), 1.0);
}
