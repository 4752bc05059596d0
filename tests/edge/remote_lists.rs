//! Lists that are fetched: when, with what, what is kept of them, and what a start and a new configuration do.
//!
//! Kept out: servers that answer badly (remote_faults.rs), TLS (remote_tls.rs), other commands (remote_commands.rs).

use std::fs;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;

use crate::support::lists::{KEPT, source};
use crate::support::origin::Step;
use crate::support::setup::record;
use crate::support::{Connection, Edge, ListServer, Origin, Reply, Setup, eventually};

fn setup(origin: &Origin) -> Setup {
    Setup::new(origin.address()).without_tls().records(record("fixed-1", "fixed.example"))
}

fn feed(edge: &Edge) -> serde_json::Value {
    let status = edge.admin_get("/api/v1/status").json();
    let sources = status["sources"].as_array().unwrap();
    sources.iter().find(|source| source["name"] == "feed").expect("the source is there").clone()
}

fn blocks(edge: &Edge, host: &str) -> bool {
    edge.get(host, "/").status == 403
}

fn value(edge: &Edge, metric: &str) -> Option<f64> {
    edge.metrics().value(metric, &[("source", "feed")])
}

#[test]
fn validators_go_back_as_they_came_and_304_changes_nothing_but_the_time() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    let modified = "Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT\r\n";
    server.has("a.example\n", &format!("ETag: W/\"one\"\r\n{modified}"));
    let edge = setup(&origin).fetching(&server.url(), "").start();
    assert!(blocks(&edge, "a.example"), "what was fetched is in force when it is ready");
    let first = server.requests().swap_remove(0);
    assert_eq!((first.method.as_str(), first.target.as_str()), ("GET", "/list.txt"));
    assert_eq!((first.header("if-none-match"), first.header("if-modified-since")), (None, None));
    assert_eq!(first.header("user-agent"), Some(concat!("sluis/", env!("CARGO_PKG_VERSION"))));
    assert_eq!((first.header("accept-encoding"), first.header("cookie")), (Some("identity"), None));

    let (generation, before) = (edge.generation(), feed(&edge));
    let answer = edge.admin_post("/api/v1/reload");
    assert_eq!((answer.status, answer.json()["added"].as_u64()), (200, Some(0)), "{}", answer.text());
    let second = server.last_request();
    assert_eq!(second.header("if-none-match"), Some("W/\"one\""));
    assert_eq!(second.header("if-modified-since"), Some("Tue, 24 Nov 2026 10:00:00 GMT"));
    let after = feed(&edge);
    assert_eq!(edge.generation(), generation);
    assert_eq!((&after["fetched_at"], &after["loaded_at"]), (&before["fetched_at"], &before["loaded_at"]));
    assert_ne!(after["checked_at"], before["checked_at"]);
    assert_eq!(after["url"], server.url());
    let fetches =
        |result| edge.metrics().value("sluis_blocklist_fetches_total", &[("source", "feed"), ("result", result)]);
    assert_eq!((fetches("new"), fetches("unchanged"), fetches("status")), (Some(1.0), Some(1.0), Some(0.0)));

    server.has("a.example\nb.example\n", "ETag: \"two\"\r\n");
    let answer = edge.admin_post("/api/v1/reload").json();
    assert_eq!((answer["added"].as_u64(), answer["removed"].as_u64()), (Some(1), Some(0)));
    assert!(blocks(&edge, "b.example"), "what the answer tells of is in force");
    edge.admin_post("/api/v1/reload");
    let last = server.last_request();
    assert_eq!((last.header("if-none-match"), last.header("if-modified-since")), (Some("\"two\""), None));
    assert_eq!(value(&edge, "sluis_blocklist_last_reload_successful"), Some(1.0));
}

#[test]
fn compressed_list_is_kept_as_it_came_and_read_by_the_ending_of_its_url() {
    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    compressed.write_all(b"a.example\n").unwrap();
    let compressed = compressed.finish().unwrap();
    // Some servers call the file a coding of the text in it.
    for coding in ["", "Content-Encoding: x-gzip\r\n"] {
        let (origin, server) = (Origin::hello(), ListServer::of(""));
        let head = format!("HTTP/1.1 200 OK\r\n{coding}Content-Length: {}\r\n\r\n", compressed.len());
        server.sends([head.as_bytes(), &compressed].concat());
        let edge = setup(&origin).fetching(&format!("{}.gz?key=1", server.url()), "").start();
        assert!(blocks(&edge, "a.example"), "{coding}");
        assert_eq!(fs::read(edge.path("state/feeds/feed.list.gz")).unwrap(), compressed);
        server.has("b.example\n", "");
        assert_eq!(edge.admin_post("/api/v1/reload").status, 422, "a text is no gzip file");
        assert!(blocks(&edge, "a.example"), "{coding}");
    }
}

#[test]
fn list_is_asked_for_every_refresh_without_anybody_asking() {
    let (origin, server) = (Origin::hello(), ListServer::of("a.example\n"));
    let edge = setup(&origin).fetching(&server.url(), "refresh = \"1s\"").start();
    server.has("b.example\n", "");
    eventually("the next list is in force", || blocks(&edge, "b.example"));
    assert!(!blocks(&edge, "a.example"));
}

#[test]
fn start_without_the_network_is_with_the_list_that_is_kept() {
    let (origin, server) = (Origin::hello(), ListServer::of("a.example\n"));
    let mut edge = setup(&origin).fetching(&server.url(), "").start();
    let time = value(&edge, "sluis_blocklist_last_reload_success_timestamp_seconds").unwrap();
    edge.kill_and_start_again_after(|| {
        server.close();
        // The time is in whole seconds.
        std::thread::sleep(Duration::from_millis(1_100));
    });
    edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
    assert!(blocks(&edge, "a.example"));
    eventually("the failure shows", || value(&edge, "sluis_blocklist_last_reload_successful") == Some(0.0));
    let source = feed(&edge);
    assert!(source["error"].as_str().unwrap().contains("cannot fetch the list: cannot connect"), "{source}");
    assert_eq!(source["from_state_directory"], false, "the file is what it was");
    let still = value(&edge, "sluis_blocklist_last_reload_success_timestamp_seconds");
    assert_eq!(still, Some(time), "a start is no news from the server");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 422);
    assert!(edge.admin_get("/").text().contains("the list cannot be fetched"));
}

#[test]
fn start_with_a_kept_list_does_not_wait_for_the_server() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    server.answers(|_| Reply(vec![Step::Wait(Duration::from_secs(60))]));
    let edge = setup(&origin).fetching(&server.url(), "").file(KEPT, "a.example\n").start();
    assert!(blocks(&edge, "a.example"));
}

#[test]
fn start_with_nothing_fails_with_the_url_and_the_cause() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    server.sends("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let mut edge = setup(&origin).fetching(&format!("{}?key=secret", server.url()), "").start_unready();
    assert_eq!(edge.wait_exit(), 78);
    let log = edge.log();
    let shown = format!("error: {}?...: cannot fetch the list: the server answered with status 500", server.url());
    assert!(log.contains(&shown), "{log}");
    assert!(!log.contains("secret") && !log.contains("No such file"), "{log}");
}

#[test]
fn list_that_cannot_be_kept_is_no_list() {
    let (origin, server) = (Origin::hello(), ListServer::of("a.example\n"));
    let mut edge = setup(&origin).fetching(&server.url(), "").file("state/feeds", "in the way").start_unready();
    assert_eq!(edge.wait_exit(), 78);
    assert!(edge.log().contains("the list cannot be kept in the state directory"), "{}", edge.log());
}

#[test]
fn start_with_another_url_waits_for_its_list_and_goes_without_where_there_is_none() {
    let (origin, server, other) = (Origin::hello(), ListServer::of("a.example\n"), ListServer::of("o.example\n"));
    let mut edge = setup(&origin).fetching(&server.url(), "").start();
    let configuration = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    let start_with = |edge: &mut Edge, url: &str| {
        let text = configuration.replace(&server.url(), url);
        let path = edge.path("sluis.toml");
        edge.kill_and_start_again_after(|| fs::write(path, text).unwrap());
        edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
    };
    start_with(&mut edge, &other.url());
    assert_eq!([blocks(&edge, "a.example"), blocks(&edge, "o.example")], [false, true], "that of the other URL");
    other.sends("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    start_with(&mut edge, &format!("{}?another", other.url()));
    assert!(blocks(&edge, "o.example"), "the last there was");
    assert!(feed(&edge)["error"].as_str().unwrap().contains("status 404"));
}

#[test]
fn list_of_one_url_is_not_read_for_the_reasons_of_another() {
    let (origin, server, other) = (Origin::hello(), ListServer::of("a.example\n"), ListServer::of(""));
    other.sends("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    let edge = setup(&origin).fetching(&server.url(), "").start();
    let decision = || edge.get("a.example", "/").header("sluis-decision").map(str::to_owned);
    let before = decision().expect("it is blocked");
    let configuration = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    let changed =
        configuration.replace(&server.url(), &other.url()).replace(&format!("\"{before}\""), "\"another-reason\"");
    assert!(changed.contains("another-reason"));
    fs::write(edge.path("sluis.toml"), changed).unwrap();
    edge.signal(Signal::HUP);
    eventually("the other server is asked", || !other.requests().is_empty());
    assert_eq!(edge.admin_post("/api/v1/reload").status, 422);
    assert_eq!(decision(), Some(before), "the old list for the old reason");
    other.has("b.example\n", "");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert_eq!((decision(), blocks(&edge, "b.example")), (None, true));
}

#[test]
fn stop_does_not_wait_for_a_first_fetch() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    server.answers(|_| Reply(vec![Step::Wait(Duration::from_secs(60))]));
    let mut edge = setup(&origin).fetching(&server.url(), "").start_unready();
    eventually("it asks", || !server.requests().is_empty());
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn list_on_disk_that_was_changed_or_lost_is_fetched_whole_again() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    server.has("a.example\n", "ETag: \"one\"\r\n");
    let edge = setup(&origin).fetching(&server.url(), "").start();
    let kept = edge.path(KEPT);
    let spoils: [&dyn Fn(); 3] =
        [&|| fs::remove_file(&kept).unwrap(), &|| fs::write(&kept, "x.example\n").unwrap(), &|| {
            fs::write(kept.with_extension("list.json"), "{}").unwrap()
        }];
    for spoil in spoils {
        spoil();
        let asked = server.requests().len();
        // The file is read before the fetch is there, and once more after it.
        eventually("all is well", || edge.admin_post("/api/v1/reload").status == 200);
        assert_eq!(server.requests()[asked].header("if-none-match"), None);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "a.example\n");
        assert!(blocks(&edge, "a.example") && !blocks(&edge, "x.example"));
        edge.admin_post("/api/v1/reload");
        assert_eq!(server.last_request().header("if-none-match"), Some("\"one\""));
    }
}

#[test]
fn hangup_fetches_and_follows_what_the_configuration_says_then() {
    let (origin, server, other) = (Origin::hello(), ListServer::of(""), ListServer::of(""));
    server.has("a.example\n", "ETag: \"one\"\r\n");
    other.has("o.example\n", "ETag: \"other\"\r\n");
    let edge = setup(&origin).fetching(&server.url(), "").start();
    let configuration = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    let reread = |text: &str| {
        fs::write(edge.path("sluis.toml"), text).unwrap();
        edge.signal(Signal::HUP);
    };
    server.has("a.example\nb.example\n", "ETag: \"two\"\r\n");
    reread(&configuration);
    eventually("what the server has then", || blocks(&edge, "b.example"));
    // Another URL: nothing of the first is said to it, and what is in force stays until its list is there.
    reread(&configuration.replace(&server.url(), &other.url()));
    eventually("the other list", || blocks(&edge, "o.example"));
    assert!(!blocks(&edge, "a.example"));
    assert_eq!(other.requests()[0].header("if-none-match"), None);
    eventually("the status has the other URL", || feed(&edge)["url"] == other.url());
    // Another `refresh` alone.
    let often = configuration.replace(&server.url(), &other.url()).replace("scope =", "refresh = \"1s\"\nscope =");
    reread(&often);
    other.has("p.example\n", "");
    eventually("the list is asked for more often", || blocks(&edge, "p.example"));
    // Taken out: lifted, and its server is left alone.
    reread(&configuration.replace(&source(&server.url(), ""), ""));
    eventually("it is lifted", || !blocks(&edge, "p.example"));
    let status = edge.admin_get("/api/v1/status").json();
    assert_eq!(status["sources"].as_array().unwrap().len(), 1);
    let asked = other.requests().len();
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert_eq!(other.requests().len(), asked);
}

#[test]
fn new_list_that_cannot_be_fetched_refuses_the_configuration() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    server.sends("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    let edge = setup(&origin).server("state_directory = \"state\"").start();
    let configuration = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    fs::write(edge.path("sluis.toml"), format!("{}\n{configuration}", source(&server.url(), ""))).unwrap();
    let reloads = |result| edge.metrics().value("sluis_config_reloads_total", &[("result", result)]).unwrap_or(0.0);
    edge.signal(Signal::HUP);
    eventually("it is refused", || reloads("refused") == 1.0);
    let status = edge.admin_get("/api/v1/status").json();
    let error = status["last_config_reload"]["error"].as_str().unwrap();
    assert!(error.contains(&server.url()) && error.contains("status 404"), "{error}");
    assert_eq!(status["sources"].as_array().unwrap().len(), 1);
    server.has("a.example\n", "");
    edge.signal(Signal::HUP);
    eventually("it is taken over", || reloads("applied") == 1.0);
    assert!(blocks(&edge, "a.example"), "what was fetched is in force with its configuration");
}

/// Whether the thread that fetches lists is there.
fn fetches(edge: &Edge) -> bool {
    has_fetch_thread(edge.id())
}

fn has_fetch_thread(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs, on Linux");
    let names = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    names.into_iter().any(|name| name.trim() == "sluis-fetch")
}

#[test]
fn process_that_drains_asks_for_nothing_any_more() {
    let server = ListServer::of("a.example\n");
    let slow = Origin::answering(|_| Reply(vec![Step::Wait(Duration::from_secs(60))]));
    let edge = setup(&slow).fetching(&server.url(), "").start();
    let mut held = Connection::plain(edge.address("http"));
    held.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    slow.wait_for(1);
    assert!(fetches(&edge));
    edge.signal(Signal::TERM);
    eventually("nothing is fetched any more", || !fetches(&edge));
    assert!(edge.log().lines().all(|line| !line.contains("stopped")), "it drains");
}

#[test]
fn process_that_was_taken_over_from_leaves_the_lists_to_the_other() {
    let server = ListServer::of("a.example\n");
    let slow = Origin::answering(|_| Reply(vec![Step::Wait(Duration::from_secs(60))]));
    let mut edge = Edge::start_own(&setup(&slow).fetching(&server.url(), ""));
    let mut held = Connection::plain(edge.address("http"));
    held.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    slow.wait_for(1);
    let old = edge.upgrade();
    assert!(fetches(&edge) && blocks(&edge, "a.example"), "the new one follows the list");
    eventually("the old one does not", || !has_fetch_thread(old));
    assert!(std::path::Path::new(&format!("/proc/{old}")).exists(), "it drains");
    server.has("b.example\n", "");
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert!(blocks(&edge, "b.example"));
}

#[test]
fn without_a_url_nothing_is_there_to_fetch() {
    let origin = Origin::hello();
    assert!(!fetches(&setup(&origin).start()));
}
