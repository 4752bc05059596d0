//! Servers of lists that answer badly, slowly or not at all: what is in force stays in force.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::lists::KEPT;
use crate::support::origin::Step;
use crate::support::setup::record;
use crate::support::{Connection, Edge, ListServer, Origin, Reply, Setup, eventually};

const LIST: &str = "a.example\nb.example\n";

fn setup(origin: &Origin) -> Setup {
    Setup::new(origin.address()).without_tls().records(record("fixed-1", "fixed.example"))
}

fn result(edge: &Edge, result: &str) -> f64 {
    edge.metrics()
        .value("sluis_blocklist_fetches_total", &[("source", "feed"), ("result", result)])
        .expect("it is there")
}

/// The list of the beginning, and nothing of what came since.
fn list_is_in_force(edge: &Edge, what: &str) {
    let blocked = ["a.example", "b.example", "evil.example"].map(|host| edge.get(host, "/").status == 403);
    assert_eq!(blocked, [true, true, false], "{what}");
}

/// A reload is refused with these words, counts under this result, and changes nothing.
fn refused(edge: &Edge, what: &str, label: &str, words: &str) {
    let (generation, before) = (edge.generation(), result(edge, label));
    let answer = edge.admin_post("/api/v1/reload");
    let text = answer.text();
    assert_eq!(answer.status, 422, "{what}: {text}");
    assert!(text.contains(words), "{what}: no \"{words}\" in {text}");
    list_is_in_force(edge, what);
    assert_eq!(edge.generation(), generation, "{what}");
    assert_eq!(fs::read_to_string(edge.path(KEPT)).unwrap(), LIST, "{what}: the file that is kept");
    assert_eq!(result(edge, label), before + 1.0, "{what}");
    let metrics = edge.metrics();
    assert_eq!(metrics.value("sluis_blocklist_last_reload_successful", &[("source", "feed")]), Some(0.0), "{what}");
    let status = edge.admin_get("/api/v1/status").json();
    let source = status["sources"].as_array().unwrap().iter().find(|source| source["name"] == "feed").unwrap();
    assert!(source["error"].as_str().is_some_and(|error| error.contains(words)), "{what}: {source}");
    let files = fs::read_dir(edge.path(KEPT).parent().unwrap()).unwrap().count();
    assert_eq!(files, 2, "{what}: nothing half-written is left");
}

fn ok(headers: &str, body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

fn raw(text: &str) -> Reply {
    Reply::raw(text)
}

const EVIL: &str = "a.example\nevil.example\n";

/// What a server sends, and what is said of it.
fn bad_answers() -> Vec<(&'static str, Reply, &'static str, &'static str)> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let large = "evil.example\n".repeat(100_000);
    vec![
        ("500", raw("HTTP/1.1 500 Oops\r\nContent-Length: 13\r\n\r\nevil.example\n"), "status", "status 500"),
        ("404", raw("HTTP/1.1 404 No\r\nContent-Length: 13\r\n\r\nevil.example\n"), "status", "status 404"),
        ("204", raw("HTTP/1.1 204 No Content\r\n\r\n"), "status", "status 204"),
        ("206", raw("HTTP/1.1 206 Partial\r\nContent-Length: 13\r\n\r\nevil.example\n"), "status", "status 206"),
        ("304 unasked", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), "status", "304 (not modified) although"),
        ("HTML by its type", ok("Content-Type: text/html; charset=utf-8\r\n", EVIL), "not-a-list", "web page"),
        (
            "HTML by its bytes",
            ok("Content-Type: text/plain\r\n", "\n <!DOCTYPE html>\nevil.example\n"),
            "not-a-list",
            "`<`",
        ),
        ("JSON", ok("", "{\"evil.example\": 1}\n"), "not-a-list", "`{`"),
        ("a binary", ok("", "evil.example\n\0\n"), "not-a-list", "zero"),
        ("gzip unasked", ok("Content-Encoding: gzip\r\n", EVIL), "not-a-list", "content coding"),
        (
            "gzip by its bytes",
            Reply::raw(&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\x01\n"[..]),
            "not-a-list",
            "compressed",
        ),
        ("nothing", ok("", ""), "not-a-list", "empty"),
        ("white space", ok("", "\r\n \n"), "not-a-list", "empty"),
        ("too large, as it says", ok("", &large), "too-large", "more than 1 MiB"),
        (
            "too large, as it comes",
            raw(&format!("{chunked}{:x}\r\n{large}\r\n0\r\n\r\n", large.len())),
            "too-large",
            "more than 1 MiB",
        ),
        (
            "length unmet",
            raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{EVIL}")),
            "broken",
            "ended early",
        ),
        ("chunks unmet", raw(&format!("{chunked}18\r\n{EVIL}\r\n")), "broken", "ended early"),
        ("chunk unmet", raw(&format!("{chunked}99\r\n{EVIL}")), "broken", "ended early"),
        ("no chunk", raw(&format!("{chunked}evil.example\r\n")), "broken", "malformed"),
        ("until the end", raw(&format!("HTTP/1.1 200 OK\r\n\r\n{EVIL}")), "broken", "cannot be told from a cut"),
        ("no HTTP", raw("evil.example\nevil.example\n\n"), "broken", "malformed"),
        ("nothing at all", Reply(Vec::new()), "broken", "ended early"),
        ("a reset", Reply(vec![Step::Reset]), "broken", "malformed or ended early"),
        ("an endless head", raw(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(200_000))), "broken", "malformed"),
        (
            "a loop",
            raw("HTTP/1.1 302 Found\r\nLocation: /list.txt\r\nContent-Length: 0\r\n\r\n"),
            "redirect",
            "redirected 5 times",
        ),
        (
            "to a file",
            raw("HTTP/1.1 301 Go\r\nLocation: file:///etc/hosts\r\nContent-Length: 0\r\n\r\n"),
            "redirect",
            "neither",
        ),
        ("to nowhere", raw("HTTP/1.1 307 Go\r\nContent-Length: 0\r\n\r\n"), "redirect", "nowhere"),
    ]
}

#[test]
fn p4_whatever_a_server_sends_that_is_no_list_changes_nothing() {
    let (origin, server) = (Origin::hello(), ListServer::of(LIST));
    let edge = setup(&origin).fetching(&server.url(), "max_mib = 1").start();
    for (what, reply, label, words) in bad_answers() {
        server.answers(move |_| reply.clone());
        refused(&edge, what, label, words);
    }
    server.has(LIST, "");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200, "all is well again");
    let metrics = edge.metrics();
    assert_eq!(metrics.value("sluis_blocklist_last_reload_successful", &[("source", "feed")]), Some(1.0));
    eventually("the log says so", || edge.log().contains("list can be fetched again"));
}

#[test]
fn p4_server_that_is_away_changes_nothing() {
    let (origin, server) = (Origin::hello(), ListServer::of(LIST));
    let edge = setup(&origin).fetching(&server.url(), "").start();
    server.close();
    refused(&edge, "nobody listens", "unreachable", "cannot connect");
}

#[test]
fn p4_server_that_is_too_slow_changes_nothing() {
    let trickle = |bytes: &str| {
        let steps = bytes.bytes().flat_map(|byte| [Step::Send(vec![byte]), Step::Wait(Duration::from_millis(50))]);
        Reply(steps.collect())
    };
    let never = Reply(vec![Step::Wait(Duration::from_secs(30))]);
    let stalls = raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{EVIL}"));
    let cases = [
        ("never", never),
        ("stalls in mid-body", stalls.then(Step::Wait(Duration::from_secs(30)))),
        (
            "trickles",
            trickle(&format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}", "evil.example\n".repeat(60))),
        ),
    ];
    thread::scope(|scope| {
        for (what, reply) in cases {
            scope.spawn(move || {
                let (origin, server) = (Origin::hello(), ListServer::of(""));
                server.answers(move |_| reply.clone());
                let edge = setup(&origin).fetching(&server.url(), "timeout = \"700ms\"").file(KEPT, LIST).start();
                let answer = edge.admin_post("/api/v1/reload");
                assert_eq!(answer.status, 422, "{what}");
                assert!(answer.text().contains("took longer than 0.7 s"), "{what}: {}", answer.text());
                list_is_in_force(&edge, what);
                assert_eq!(fs::read_to_string(edge.path(KEPT)).unwrap(), LIST, "{what}");
                assert!(result(&edge, "timeout") >= 1.0, "{what}");
            });
        }
    });
}

#[test]
fn the_same_failure_is_logged_once_and_another_again() {
    let (origin, server) = (Origin::hello(), ListServer::of(LIST));
    let edge = setup(&origin).fetching(&server.url(), "").start();
    let said =
        |words: &str| edge.log().lines().filter(|line| line.contains("cannot fetch") && line.contains(words)).count();
    for status in [500, 500, 503, 503, 500] {
        server.sends(format!("HTTP/1.1 {status} Oops\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(edge.admin_post("/api/v1/reload").status, 422);
    }
    eventually("all of it is in the log", || (said("status 500"), said("status 503")) == (2, 1));
}

#[test]
fn p4_list_that_the_guards_refuse_stays_out_and_the_next_start_is_with_the_last_good() {
    let (origin, server) = (Origin::hello(), ListServer::of(LIST));
    let mut edge = setup(&origin).fetching(&server.url(), "").start();
    server.has("a.example\nno name at all\nevil.example\n", "ETag: \"bad\"\r\n");
    for _ in 0..2 {
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, 422);
        list_is_in_force(&edge, "refused by its lines");
    }
    assert_eq!(server.last_request().header("if-none-match"), Some("\"bad\""), "it is not fetched over and over");
    let successful =
        |edge: &Edge| edge.metrics().value("sluis_blocklist_last_reload_successful", &[("source", "feed")]);
    assert_eq!(successful(&edge), Some(0.0), "304 to a list that is refused makes it no better");
    edge.kill_and_start_again_after(|| {});
    edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
    list_is_in_force(&edge, "after a start");
    assert_eq!(successful(&edge), Some(0.0));
    server.has(LIST, "ETag: \"good\"\r\n");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert_eq!(successful(&edge), Some(1.0));
}

#[test]
fn p4_feed_that_shrinks_too_much_is_refused_until_it_may() {
    let names = |count: usize| (0..count).map(|number| format!("n{number}.example\n")).collect::<String>();
    let (origin, server) = (Origin::hello(), ListServer::of(&names(1_000)));
    let edge = setup(&origin).fetching(&server.url(), "").start();
    let blocks_the_last = || edge.get("n999.example", "/").status == 403;
    server.has(&names(10), "");
    assert_eq!(edge.admin_post("/api/v1/reload?allow_shrink=feed").status, 200, "what comes with this reload may");
    assert!(!blocks_the_last());
    server.has(&names(1_000), "");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    server.has(&names(9), "");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 422);
    assert!(blocks_the_last());
    assert_eq!(edge.admin_post("/api/v1/reload?allow_shrink=feed").status, 200, "what is there already may");
    assert!(!blocks_the_last());
}

#[test]
fn server_that_hangs_holds_up_no_other_list() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    server.answers(|_| Reply(vec![Step::Wait(Duration::from_secs(60))]));
    // Only the reload that is asked for reads the records: the watch waits for an hour.
    let edge = setup(&origin).blocklist("settle = \"1h\"").fetching(&server.url(), "").file(KEPT, LIST).start();
    fs::write(edge.path("blocklist.toml"), record("urgent-1", "urgent.example")).unwrap();
    let address = edge.address("admin");
    let mut asking = Connection::plain(address);
    asking.send(format!("POST /api/v1/reload HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"));
    eventually("the records are in force", || edge.get("urgent.example", "/").status == 403);
}

#[test]
fn redirects_are_followed_and_validators_are_for_who_gave_them() {
    let (origin, server, target) = (Origin::hello(), ListServer::of(""), ListServer::of(""));
    target.has(LIST, "ETag: \"target\"\r\n");
    let location = format!("{}?signature=1", target.url());
    server.answers(move |_| {
        raw(&format!("HTTP/1.1 302 Found\r\nETag: \"server\"\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
    });
    let edge = setup(&origin).fetching(&server.url(), "").start();
    list_is_in_force(&edge, "after a redirect");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert_eq!(server.last_request().header("if-none-match"), None);
    assert_eq!(target.last_request().header("if-none-match"), Some("\"target\""));
    assert_eq!(target.last_request().target, "/list.txt?signature=1");
}
