//! The promises of docs/security.md, each in one test against the real program: what the faults in the other files hold
//! one by one, shown here as a whole.
//!
//! Kept out: P1 and P3, which are about connections over reloads and upgrades (promises_p1.rs, promises_p3.rs).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::certs;
use crate::support::http2::Http2;
use crate::support::origin::{Reply, Step, reset};
use crate::support::setup::{CERTIFIED, RECORDS, record};
use crate::support::{Connection, Edge, Origin, Response, Setup, eventually, peers};

/// Reloads while the clients of P2 ask.
const VERSIONS: usize = 120;

fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// A list that blocks, by the decision `v-NUMBER`, one of two hosts: each version the other one.
fn version(number: usize) -> String {
    let host = if number.is_multiple_of(2) { "even.example" } else { "odd.example" };
    record(&format!("v-{number}"), host).trim_end().to_owned() + &format!("\nsummary.en = \"Version {number}.\"\n")
}

/// The version that a notice is of: id, text and the host that it blocks agree on one.
fn version_of(notice: &Response) -> usize {
    assert_eq!(notice.status, 403, "judged by parts of two versions, it would pass: {}", notice.text());
    let number = notice.header("sluis-decision").unwrap().strip_prefix("v-").unwrap().parse().unwrap();
    let host = if usize::is_multiple_of(number, 2) { "even.example" } else { "odd.example" };
    assert!(notice.text().contains(&format!("Version {number}.")), "{}", notice.text());
    assert!(notice.text().contains(host), "{}", notice.text());
    number
}

#[test]
fn p2_request_over_reloads_is_judged_by_exactly_one_list_version_which_shows() {
    let origin = Origin::hello();
    let mismatch =
        "[listener.second]\naddress = \"127.0.0.1:0\"\ntls.certificates = \"certs\"\ntls.sni_mismatch = \"allow\"";
    // As many requests as there are, on the connections that there are.
    let setup = Setup::new(origin.address()).limit("requests_per_connection = 1000000000");
    let edge = setup.records(version(0)).more(mismatch).start();
    let (done, address) = (AtomicBool::new(false), edge.address("second"));
    // SNI and Host are the two hosts of which every version blocks exactly one.
    let over_http1 = || {
        let (mut connection, mut seen) = (Connection::tls(address, Some("odd.example")), Vec::new());
        while !done.load(Ordering::SeqCst) {
            seen.push(version_of(&connection.get("even.example", "/")));
        }
        seen
    };
    let over_http2 = || {
        let (mut connection, mut seen) = (Http2::connect(address, Some("even.example")), Vec::new());
        while !done.load(Ordering::SeqCst) {
            seen.push(version_of(&connection.get("odd.example", "/")));
        }
        seen
    };
    let mut generations = BTreeMap::from([(0, 1)]);
    let seen = thread::scope(|scope| {
        let clients = [scope.spawn(over_http1), scope.spawn(over_http2), scope.spawn(over_http1)];
        for number in 1..=VERSIONS {
            replace(&edge.path("blocklist.toml"), version(number));
            let answer = edge.admin_post("/api/v1/reload").json();
            let lookup = edge.admin_get("/api/v1/lookup?host=odd.example").json();
            assert_eq!(lookup["generation"], answer["generation"]);
            generations.insert(number, answer["generation"].as_u64().unwrap());
        }
        done.store(true, Ordering::SeqCst);
        clients.map(|client| client.join().unwrap())
    });
    for versions in &seen {
        assert!(versions.is_sorted(), "an older version came back: {versions:?}");
        assert!(versions.len() > 20 && versions.last() > Some(&(VERSIONS / 2)), "{versions:?}");
    }
    let metrics = edge.settled("all requests have ended");
    let of_all: Vec<usize> = seen.into_iter().flatten().collect();
    for (number, generation) in generations {
        let judged = of_all.iter().filter(|version| **version == number).count() as f64;
        let decision = format!("v-{number}");
        assert_eq!(metrics.sum("sluis_decision_hits_total", &[("decision", &decision)]), judged, "{decision}");
        assert_eq!(generation, number as u64 + 1, "each version is a generation of its own");
    }
    assert_eq!(metrics.value("sluis_blocklist_generation", &[]), Some(VERSIONS as f64 + 1.0));
    edge.wait_for_log("the version", |line| line.contains(&format!("generation={} ", VERSIONS + 1)));
    assert_eq!(origin.requests().len(), 0, "no request fell between two versions");
}

/// What tells that something on disk is not what is in force: a gauge, and a member of the status.
struct Shown {
    gauge: (&'static str, &'static [(&'static str, &'static str)]),
    error: fn(&serde_json::Value) -> &serde_json::Value,
}

impl Shown {
    /// Whether both say that all is well; they must agree.
    fn well(&self, edge: &Edge) -> bool {
        let (name, labels) = self.gauge;
        edge.metrics().value(name, labels) == Some(1.0)
            && (self.error)(&edge.admin_get("/api/v1/status").json()).is_null()
    }

    /// Whether both say that something is wrong.
    fn wrong(&self, edge: &Edge) -> bool {
        let (name, labels) = self.gauge;
        edge.metrics().value(name, labels) == Some(0.0)
            && (self.error)(&edge.admin_get("/api/v1/status").json()).as_str().is_some_and(|error| !error.is_empty())
    }
}

#[test]
fn p4_bad_list_certificate_or_configuration_never_replaces_a_good_one_and_shows() {
    let (origin, elsewhere) = (Origin::hello(), Origin::hello());
    let edge = Setup::new(origin.address()).start();
    let list = Shown {
        gauge: ("sluis_blocklist_last_reload_successful", &[("source", "decisions")]),
        error: |status| &status["sources"][0]["error"],
    };
    let certificate =
        Shown { gauge: ("sluis_tls_last_reload_successful", &[]), error: |status| &status["certificates"][0]["error"] };
    let configuration = Shown {
        gauge: ("sluis_config_last_reload_successful", &[]),
        error: |status| &status["last_config_reload"]["error"],
    };
    let good = |name: &str| fs::read_to_string(edge.path(name)).unwrap();
    let moved = good("sluis.toml").replace(&origin.address().to_string(), &elsewhere.address().to_string());
    let other_pair = certs::pair(&CERTIFIED);
    let cases = [
        (&list, "blocklist.toml", record("x", "open.example") + "[[decision]]\n"),
        (&list, "blocklist.toml", String::new()),
        (&certificate, "certs/edge.crt", other_pair.certificate.clone()),
        (&certificate, "certs/edge.key", "-----BEGIN PRIVATE KEY-----\n".to_owned()),
        (&configuration, "sluis.toml", moved.clone() + "\nunknown_key = 1\n"),
        (&configuration, "sluis.toml", moved[..moved.len() / 2].to_owned()),
        (&configuration, "sluis.toml", moved.replace("upstream = \"origin\"", "upstream = \"no-such\"")),
        // The file itself is right, and something that it names is not: it comes into force as a whole or not at all.
        (&configuration, "sluis.toml", moved.clone() + "\n[blocklist.source.more]\npath = \"no-such.toml\"\n"),
        (&configuration, "sluis.toml", moved.replace("tls.certificates = \"certs\"", "tls.certificates = \"no-such\"")),
    ];
    let served = || Connection::tls(edge.address("https"), Some("open.example")).certificate().unwrap();
    let (certificate_before, generation) = (served(), edge.generation());
    for (number, (shown, file, bad)) in cases.into_iter().enumerate() {
        let before = good(file);
        replace(&edge.path(file), &bad);
        edge.signal(Signal::HUP);
        eventually(&format!("case {number} shows"), || shown.wrong(&edge));
        assert_eq!(edge.get("blocked.example", "/").status, 403, "case {number}");
        assert_eq!(edge.get("open.example", "/").status, 200, "case {number}");
        assert!(served() == certificate_before, "case {number}");
        assert_eq!(edge.generation(), generation, "case {number}");
        assert_eq!(elsewhere.requests().len(), 0, "case {number}");
        replace(&edge.path(file), before);
        edge.signal(Signal::HUP);
        eventually(&format!("case {number} is over"), || shown.well(&edge));
    }
    assert_eq!(edge.metrics().value("sluis_config_reloads_total", &[("result", "refused")]), Some(5.0));
    replace(&edge.path("sluis.toml"), moved);
    edge.signal(Signal::HUP);
    eventually("a good one comes into force", || {
        assert_eq!(edge.get("open.example", "/").status, 200);
        !elsewhere.requests().is_empty()
    });
}

#[test]
fn p5_start_without_a_valid_list_ends_or_serves_the_kept_copy_and_is_never_open() {
    let origin = Origin::hello();
    let (good, last) = (record("kept-1", "blocked.example"), record("kept-2", "second.example"));
    let damages: [(&str, &str); 4] =
        [("empty", ""), ("half", &good[..40]), ("broken", "nonsense = ["), ("of another kind", "blocked.example\n")];
    for (what, text) in damages {
        for kept in [None, Some(false), Some(true)] {
            let state = TempDir::new().unwrap();
            let line = format!("state_directory = \"{}\"", state.path().display());
            let mut setup = Setup::new(origin.address()).without_tls();
            if let Some(whole) = kept {
                setup = setup.server(&line);
                drop(setup.records(good.clone() + &last).start());
                setup = Setup::new(origin.address()).without_tls().server(&line);
                if !whole {
                    // What is left of it is a list, but not the one that was kept.
                    let copy = state.path().join("source-decisions.kept");
                    let kept = fs::read_to_string(&copy).unwrap();
                    fs::write(&copy, kept.strip_suffix(&last).unwrap()).unwrap();
                }
            }
            let mut edge = setup.records(text).start_unready();
            if kept == Some(true) {
                assert!(edge.wait_ready_or_killed(), "{what}: {}", edge.log());
                assert_eq!(edge.get("blocked.example", "/").header("sluis-decision"), Some("kept-1"), "{what}");
                let source = [("source", "decisions")];
                let gauge = edge.metrics().value("sluis_blocklist_last_reload_successful", &source);
                assert_eq!(gauge, Some(0.0), "{what}: it shows");
                let status = edge.admin_get("/api/v1/status").json();
                assert_eq!(status["sources"][0]["from_state_directory"], true, "{what}: {status}");
            } else {
                assert_eq!(edge.wait_exit(), 78, "{what}, kept {kept:?}: {}", edge.log());
                assert!(!edge.log().contains("listening"), "{what}, kept {kept:?}: {}", edge.log());
            }
        }
    }
    assert_eq!(origin.connections(), 0, "no start was open for a moment");
}

#[test]
fn p6_term_finishes_what_was_begun_tells_clients_to_go_and_exits_0() {
    let origin = Origin::answering(|_| {
        let Reply(answer) = Reply::ok("whole");
        Reply([vec![Step::Wait(Duration::from_millis(1_800))], answer].concat())
    });
    // The timeout is longer than any wait of the test: an end by it is none that the clients were told of.
    let mut edge = Setup::new(origin.address()).server("drain = { delay = \"1s\", timeout = \"60s\" }").start();
    let (mut idle, mut busy, mut second) = (edge.http(), edge.http(), Http2::connect(edge.address("https"), None));
    assert_eq!(idle.get("blocked.example", "/").status, 403);
    busy.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    thread::scope(|scope| {
        let streams = scope.spawn(|| {
            let get = || Request::get("https://edge.example/").body(Full::default()).unwrap();
            (second.send_at_once(vec![get(), get(), get()]), second)
        });
        origin.wait_for(4);
        edge.signal(Signal::TERM);
        eventually("it is not ready", || edge.admin_get("/readyz").status == 503);
        assert_eq!(edge.get("blocked.example", "/").status, 403, "not ready, and still there for who comes");
        let finished = busy.read_response();
        assert_eq!((finished.status, finished.text().as_str(), finished.complete), (200, "whole", true));
        assert_eq!(finished.header("connection"), Some("close"), "{:?}", finished.headers);
        let (answers, mut second) = streams.join().unwrap();
        for answer in answers {
            assert_eq!(answer.expect("the stream is finished").text(), "whole");
        }
        eventually("GOAWAY has come", || second.is_closed());
    });
    assert!(idle.is_closed() && busy.is_closed());
    assert_eq!(edge.wait_exit(), 0);
    assert_eq!(origin.requests().len(), 4);
}

/// A list of which a part would show.
fn names(number: usize) -> String {
    (0..500).map(|name| format!("n{name}-of-{number}.example\n")).collect()
}

/// The one version of [`names`] that is in force, whole.
fn names_in_force(edge: &Edge, up_to: usize) -> usize {
    let blocked = |version: usize, name: usize| edge.get(&format!("n{name}-of-{version}.example"), "/").status == 403;
    let found: Vec<usize> = (0..=up_to).filter(|version| blocked(*version, 0)).collect();
    assert_eq!(found.len(), 1, "versions {found:?} are in force");
    assert!([1, 250, 499].iter().all(|name| blocked(found[0], *name)), "half of version {found:?}");
    found[0]
}

/// strace around the program, doing this to the system calls on what the state directory keeps; none without it.
fn strace_on(state: &Path, syscalls: &str, what: &str) -> Option<Vec<String>> {
    let strace = peers::find("strace")?.display().to_string();
    let kept = state.join("source-feed.kept").display().to_string();
    let temporary = state.join("source-feed.tmp").display().to_string();
    let (trace, inject) = (format!("trace={syscalls}"), format!("inject={syscalls}:{what}"));
    let words = [&strace, "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "-P", &temporary, "-P"];
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.extend([kept, "-P".to_owned(), state.display().to_string()]);
    Some(words)
}

fn start_with_names(origin: &Origin, state: &Path, list: &str, wrapper: &[String]) -> Edge {
    let line = format!("state_directory = \"{}\"", state.display());
    let setup = Setup::new(origin.address()).without_tls().records(record("fixed-1", "fixed.example"));
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Edge::start_unready_under(&setup.server(&line).feed(list), &wrapper)
}

#[test]
fn p7_killed_at_every_step_of_keeping_a_list_it_starts_with_the_last_one_or_the_one_before() {
    let origin = Origin::hello();
    let place = TempDir::new().unwrap();
    let state = place.path().join("state");
    let (mut committed, mut number) = (0, 0);
    assert!(start_with_names(&origin, &state, &names(0), &[]).wait_ready_or_killed());
    // strace counts the calls of each kind by themselves. The least that a copy on disk takes: its file and its directory
    // are opened and synced, header and content are written.
    for (syscall, least) in [("openat", 2), ("write", 2), ("fsync", 2), ("rename", 1)] {
        for step in 1.. {
            number += 1;
            let Some(strace) = strace_on(&state, syscall, &format!("signal=KILL:when={step}")) else { return };
            let survived = start_with_names(&origin, &state, &names(number), &strace).wait_ready_or_killed();
            // What is on disk by now is no list: there is the kept copy or nothing.
            let mut edge = start_with_names(&origin, &state, "", &[]);
            assert!(edge.wait_ready_or_killed(), "killed at {syscall} {step}: {}", edge.log());
            let in_force = names_in_force(&edge, number);
            assert!([committed, number].contains(&in_force), "killed at {syscall} {step}: {in_force}, not {committed}");
            committed = in_force;
            if survived {
                assert_eq!(committed, number, "what was answered for is kept");
                assert!(step > least, "{syscall} was called {} times and takes {least}", step - 1);
                break;
            }
        }
    }
}

#[test]
fn p7_copy_that_the_disk_did_not_take_is_never_taken_for_kept() {
    let origin = Origin::hello();
    for (syscalls, error) in [("write", "error=ENOSPC"), ("fsync", "error=EIO"), ("rename", "error=EIO")] {
        let place = TempDir::new().unwrap();
        let state = place.path().join("state");
        assert!(start_with_names(&origin, &state, &names(0), &[]).wait_ready_or_killed());
        let Some(strace) = strace_on(&state, syscalls, error) else { return };
        let mut edge = start_with_names(&origin, &state, &names(1), &strace);
        assert!(edge.wait_ready_or_killed(), "{error}: {}", edge.log());
        assert_eq!(names_in_force(&edge, 1), 1, "{error}: serving does not wait for the disk");
        edge.wait_for_log("the failure", |line| line.contains("ERROR") && line.contains("no copy could be kept"));
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
        drop(edge);
        let mut edge = start_with_names(&origin, &state, "", &[]);
        assert!(edge.wait_ready_or_killed(), "{error}: {}", edge.log());
        assert_eq!(names_in_force(&edge, 1), 0, "{error}: the last one that is known to be on disk");
    }
}

/// What clients of P8 sent, by the outcome that each request must have.
#[derive(Default)]
struct Sent {
    forwarded: AtomicUsize,
    blocked: AtomicUsize,
    answered: AtomicUsize,
    rejected: AtomicUsize,
    failed: AtomicUsize,
    aborted: AtomicUsize,
}

fn one_more(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}

/// Requests of every kind over HTTP/1.1.
fn send_over_http1(edge: &Edge, origin: &Origin, sent: &Sent, tag: usize) {
    let mut connection = edge.http();
    for round in 0..15 {
        assert_eq!(connection.get("open.example", "/").status, 200);
        one_more(&sent.forwarded);
        assert_eq!(connection.get("www.blocked.example", "/").status, 403);
        one_more(&sent.blocked);
        connection.send("OPTIONS * HTTP/1.1\r\nHost: open.example\r\n\r\n");
        assert_eq!(connection.read_response().status, 204);
        one_more(&sent.answered);
        assert_eq!(edge.http().send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").read_response().status, 400);
        one_more(&sent.rejected);
        if round % 5 == 0 {
            assert_eq!(edge.get("open.example", "/never").status, 504);
            one_more(&sent.failed);
            assert_eq!(edge.http().send("GET / HT").read_response().status, 408);
            one_more(&sent.rejected);
            assert!(!edge.get("open.example", "/cut").complete);
            one_more(&sent.failed);
        }
        let target = format!("/waits-{tag}-{round}");
        let mut leaving = edge.http();
        leaving.send(format!("GET {target} HTTP/1.1\r\nHost: open.example\r\n\r\n"));
        eventually("it is asked", || origin.requests().iter().any(|request| request.target == target));
        reset(leaving.socket());
        drop(leaving);
        one_more(&sent.aborted);
    }
}

/// Requests of every kind over HTTP/2.
fn send_over_http2(edge: &Edge, origin: &Origin, sent: &Sent) {
    let mut connection = Http2::connect(edge.address("https"), Some("edge.example"));
    let get = |host: &str, target: &str| Request::get(format!("https://{host}{target}")).body(Full::<Bytes>::default());
    for round in 0..15 {
        let requests =
            ["edge.example", "blocked.example", "edge.example", "blocked.example"].map(|host| get(host, "/").unwrap());
        let answers = connection.send_at_once(requests.into());
        let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
        assert_eq!(statuses, [200, 403, 200, 403]);
        [&sent.forwarded, &sent.blocked, &sent.forwarded, &sent.blocked].into_iter().for_each(one_more);
        assert_eq!(connection.get("not-covered.test", "/").status, 421);
        one_more(&sent.rejected);
        let target = format!("/waits-2-{round}");
        let asked = || origin.requests().iter().any(|request| request.target == target);
        connection.abandon(get("edge.example", &target).unwrap(), asked);
        one_more(&sent.aborted);
    }
}

#[test]
fn p8_counters_only_grow_and_every_request_that_clients_sent_is_counted_once_by_how_it_ended() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/cut" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut").then(Step::Close),
        "/never" => Reply(vec![Step::Wait(Duration::from_secs(3)), Step::Close]),
        target if target.starts_with("/waits") => Reply(vec![Step::Wait(Duration::from_secs(2)), Step::Close]),
        _ => Reply::ok("hello"),
    });
    let limits = ["upstream_response_timeout = \"900ms\"", "request_head_timeout = \"900ms\""];
    let setup = limits.iter().fold(Setup::new(origin.address()), |setup, limit| setup.limit(limit));
    let edge = setup.start();
    let (sent, done) = (Sent::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let (mut before, mut scrapes) = (BTreeMap::new(), 0);
            while !done.load(Ordering::SeqCst) {
                let now = edge.metrics().counters();
                for (series, value) in &before {
                    assert!(now.get(series) >= Some(value), "{series} fell from {value} to {:?}", now.get(series));
                }
                (before, scrapes) = (now, scrapes + 1);
                replace(
                    &edge.path("blocklist.toml"),
                    RECORDS.to_owned() + &record(&format!("r-{scrapes}"), "r.example"),
                );
                edge.admin_post("/api/v1/reload");
            }
            scrapes
        });
        let load = [
            scope.spawn(|| send_over_http1(&edge, &origin, &sent, 0)),
            scope.spawn(|| send_over_http1(&edge, &origin, &sent, 1)),
            scope.spawn(|| send_over_http2(&edge, &origin, &sent)),
        ];
        let ended: Vec<_> = load.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok), "a client did not get what it should");
        assert!(scraper.join().unwrap() > 3);
    });
    let metrics = edge.settled("all requests have ended");
    let Sent { forwarded, blocked, answered, rejected, failed, aborted } = &sent;
    let counts = [forwarded, blocked, answered, rejected, failed, aborted].map(|count| count.load(Ordering::SeqCst));
    let names = ["forwarded", "blocked", "answered", "rejected", "failed", "aborted"];
    let counted = names.map(|outcome| metrics.outcome(outcome) as usize);
    assert_eq!(counted, counts, "{names:?}");
    let total = counts.iter().sum::<usize>() as f64;
    for name in ["sluis_requests_started_total", "sluis_request_duration_seconds_count", "sluis_requests_total"] {
        assert_eq!(metrics.sum(name, &[]), total, "{name}");
    }
    assert_eq!(metrics.sum("sluis_blocked_total", &[]), counts[1] as f64);
    assert_eq!(metrics.sum("sluis_rejected_total", &[]), counts[3] as f64);
    assert_eq!(metrics.sum("sluis_failed_total", &[]), counts[4] as f64);
}
