//! The numbers add up: what was sent is what was counted, exactly, and the format is Prometheus's.

use std::process::{Command, Stdio};

use crate::support::origin::{Reply, Step, reset};
use crate::support::setup::{RECORDS, record};
use crate::support::{Connection, Edge, Origin, Setup, eventually, peers};

/// Forwarded 200 and 404, failed where the path says so, and slow where a client is to leave.
fn origin_of_every_kind() -> Origin {
    Origin::answering(|request| match request.target.as_str() {
        "/absent" => Reply::raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        "/malformed" => Reply::raw("nonsense\r\n\r\n").then(Step::Close),
        "/cut" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut").then(Step::Close),
        "/slow" => Reply(vec![Step::Wait(std::time::Duration::from_secs(4)), Step::Close]),
        _ => Reply::ok("hello"),
    })
}

fn send_heads(edge: &Edge, count: usize, head: &str) {
    for _ in 0..count {
        let mut connection = edge.http();
        connection.send(head);
        let _ = connection.try_read_response(false);
    }
}

fn get_many(edge: &Edge, count: usize, host: &str, target: &str) {
    for _ in 0..count {
        let _ = edge.http().try_get(host, target);
    }
}

#[test]
fn p8_every_request_has_exactly_one_outcome() {
    let origin = origin_of_every_kind();
    let edge = Setup::new(origin.address()).start();
    get_many(&edge, 30, "open.example", "/");
    get_many(&edge, 5, "open.example", "/absent");
    get_many(&edge, 20, "blocked.example", "/");
    get_many(&edge, 10, "order.example", "/");
    send_heads(&edge, 4, "OPTIONS * HTTP/1.1\r\nHost: open.example\r\n\r\n");
    send_heads(&edge, 3, "GET / HTTP/1.1\r\n\r\n");
    send_heads(&edge, 3, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    send_heads(&edge, 2, "GET / HTTP/1.1\r\nHost: open.example\r\nBad Name: x\r\n\r\n");
    send_heads(&edge, 2, "complete nonsense\r\n\r\n");
    send_heads(
        &edge,
        2,
        "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    send_heads(&edge, 2, "TRACE / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    get_many(&edge, 6, "open.example", "/malformed");
    get_many(&edge, 5, "open.example", "/cut");
    for _ in 0..3 {
        let seen = origin.requests().len();
        let mut connection = edge.http();
        connection.send("GET /slow HTTP/1.1\r\nHost: open.example\r\n\r\n");
        origin.wait_for(seen + 1);
        reset(connection.socket());
    }
    drop(Connection::plain(edge.address("http")));

    let in_flight = || edge.metrics().sum("sluis_requests_in_flight", &[]);
    eventually("all requests have ended", || in_flight() == 0.0);
    eventually("all connections have ended", || edge.metrics().sum("sluis_connections_active", &[]) == 0.0);
    let metrics = edge.metrics();
    let expected =
        [("forwarded", 35), ("blocked", 30), ("answered", 4), ("rejected", 14), ("failed", 11), ("aborted", 3)];
    for (outcome, count) in expected {
        assert_eq!(metrics.outcome(outcome), count, "{outcome}\n{metrics:?}");
    }
    let total: u64 = expected.iter().map(|(_, count)| count).sum();
    assert_eq!(metrics.sum("sluis_requests_started_total", &[]), total as f64);
    assert_eq!(metrics.sum("sluis_request_duration_seconds_count", &[]), total as f64);
    assert_eq!(metrics.sum("sluis_rejected_total", &[]), 14.0);
    assert_eq!(metrics.sum("sluis_failed_total", &[]), 11.0);
    for (source_basis, count) in [("policy", 20.0), ("court-order", 10.0)] {
        assert_eq!(metrics.sum("sluis_blocked_total", &[("source", "decisions"), ("basis", source_basis)]), count);
    }
    assert_eq!(metrics.sum("sluis_requests_total", &[("outcome", "forwarded"), ("code", "2xx")]), 30.0);
    assert_eq!(metrics.sum("sluis_requests_total", &[("outcome", "forwarded"), ("code", "4xx")]), 5.0);
    assert_eq!(metrics.value("sluis_decision_hits_total", &[("decision", "policy-1")]), Some(20.0));
    assert_eq!(metrics.value("sluis_decision_hits_total", &[("decision", "order-1")]), Some(10.0));
    assert_eq!(metrics.sum("sluis_panics_total", &[]), 0.0);
}

#[test]
fn p8_numbers_add_up_at_every_moment_under_load() {
    let origin = Origin::hello();
    // As many requests as there are, on the connections that there are.
    let edge = Setup::new(origin.address()).limit("requests_per_connection = 1000000000").start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for hosts in [["open.example", "blocked.example"], ["order.example", "open.example"]] {
            let (edge, stop) = (&edge, &stop);
            scope.spawn(move || {
                let mut connection = edge.http();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    for host in hosts {
                        connection.get(host, "/");
                    }
                }
            });
        }
        // What fails below must not leave the clients asking for ever.
        let _stop = StopAtEnd(&stop);
        let (mut started_before, mut ended_before) = (0.0, 0.0);
        for _ in 0..30 {
            let metrics = edge.metrics();
            let ended = metrics.sum("sluis_requests_total", &[]);
            let started = metrics.sum("sluis_requests_started_total", &[]);
            let in_flight = metrics.sum("sluis_requests_in_flight", &[]);
            assert!(ended >= ended_before && started >= started_before, "a counter went down");
            // The cells are read one after another while requests go on, so that two numbers of one reading are of different
            // moments, and those of two readings are in order: what had started by the last one has ended, but for
            // one request of each client, and what had ended by then had started.
            assert!(started_before - 2.0 <= ended, "{started_before} had started, and {ended} have ended");
            assert!(ended_before <= started, "{ended_before} had ended, and {started} have started");
            assert!((0.0..=2.0).contains(&in_flight), "{in_flight} requests of two clients");
            (started_before, ended_before) = (started, ended);
        }
    });
    eventually("all have ended", || edge.metrics().sum("sluis_requests_in_flight", &[]) == 0.0);
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("sluis_requests_started_total", &[]), metrics.sum("sluis_requests_total", &[]));
}

/// Tells others to stop, however its scope is left.
struct StopAtEnd<'s>(&'s std::sync::atomic::AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn p8_hosts_that_clients_send_make_no_series() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    // One of each kind first, so that the series of the kinds are there.
    get_many(&edge, 1, "first.example", "/");
    get_many(&edge, 1, "first.blocked.example", "/");
    let before = edge.metrics().names().len();
    for number in 0..200 {
        get_many(&edge, 1, &format!("client-sent-{number}.example"), "/");
        get_many(&edge, 1, &format!("client-sent-{number}.blocked.example"), "/");
    }
    let text = edge.admin_get("/metrics").text();
    assert!(!text.contains("client-sent"), "a client's host is a label");
    assert_eq!(edge.metrics().names().len(), before);
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(promtool) = peers::find("promtool") else { return };
    let origin = origin_of_every_kind();
    let edge = Setup::new(origin.address()).feed("feed.example\n").start();
    get_many(&edge, 3, "open.example", "/");
    get_many(&edge, 3, "feed.example", "/");
    get_many(&edge, 1, "open.example", "/malformed");
    let text = edge.admin_get("/metrics").text();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn blocklist_and_build_are_described() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).feed("feed.example\nwww.feed.example\nother.example\n").start();
    let metrics = edge.metrics();
    assert_eq!(metrics.value("sluis_blocklist_generation", &[]), Some(1.0));
    assert_eq!(metrics.value("sluis_blocklist_names", &[("source", "decisions")]), Some(2.0));
    assert_eq!(metrics.value("sluis_blocklist_names", &[("source", "feed")]), Some(3.0));
    assert_eq!(metrics.value("sluis_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), Some(1.0));
    assert_eq!(metrics.sum("sluis_upstream_up", &[("upstream", "origin")]), 1.0);
    assert!(metrics.value("process_resident_memory_bytes", &[]).is_some_and(|bytes| bytes > 1e6));
    let sums = metrics.label_values("sluis_blocklist_info", "sha256");
    assert!(sums.len() == 2 && sums.iter().all(|sum| sum.len() == 64), "{sums:?}");
    std::fs::write(edge.path("blocklist.toml"), RECORDS.to_owned() + &record("more-1", "more.example")).unwrap();
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    let metrics = edge.metrics();
    assert_eq!(metrics.value("sluis_blocklist_generation", &[]), Some(2.0));
    assert_eq!(metrics.value("sluis_blocklist_names", &[("source", "decisions")]), Some(3.0));
    assert_eq!(metrics.sum("sluis_blocklist_reloads_total", &[("result", "applied")]), 1.0);
}

#[test]
fn handshakes_that_fail_are_counted_by_their_reason() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).limit("tls_handshake_timeout = \"300ms\"").start();
    let failed = |reason: &str| edge.metrics().sum("sluis_tls_handshakes_failed_total", &[("reason", reason)]);
    let connect = || Connection::plain(edge.address("https"));
    assert!(connect().send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n").is_closed());
    eventually("what is no TLS is counted", || failed("protocol") == 1.0);
    drop(connect());
    eventually("who leaves is counted", || failed("closed") == 1.0);
    assert!(connect().is_closed());
    eventually("who says nothing is counted", || failed("timeout") == 1.0);
    assert_eq!(edge.https("open.example").get("open.example", "/").status, 200);
    assert_eq!(failed("protocol") + failed("closed") + failed("timeout") + failed("client-certificate"), 3.0);
}
