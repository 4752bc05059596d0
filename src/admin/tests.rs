//! Claims about the admin endpoint as a client sees it, on a real socket.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::endpoint::Surface;
use super::places::{CONNECTIONS, WORKING};
use super::testing::{self, Served, decision, finding, healthy, record, refusal};
use crate::blocklist::guard::{DropReason, DroppedLines};
use crate::drain::{self, Phase};
use crate::telemetry::counter::WorkerId;
use crate::telemetry::outcome::{CodeClass, Outcome};

#[tokio::test]
async fn every_path_answers_its_methods_and_refuses_the_others() {
    let served = Served::start(healthy());
    for (path, content_type) in [
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/readyz?verbose", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
        ("/api/v1/status", "application/json"),
        ("/api/v1/lookup?host=example.com", "application/json"),
        ("/api/v1/decisions", "application/json"),
    ] {
        let get = served.request("GET", path).await;
        assert_eq!((get.status, get.field("content-type")), (200, Some(content_type)), "{path}: {}", get.body);
        assert_eq!(get.field("cache-control"), Some("no-store"), "{path}");
        assert_eq!(get.field("x-content-type-options"), Some("nosniff"), "{path}");
        let head = served.request("HEAD", path).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.field("content-type"), Some(content_type), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO"] {
            let refused = served.request(method, path).await;
            assert_eq!((refused.status, refused.field("allow")), (405, Some("GET, HEAD")), "{method} {path}");
            assert_eq!(refused.field("content-type"), Some("application/problem+json"), "{method} {path}");
        }
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let refused = served.request(method, "/api/v1/reload").await;
        assert_eq!((refused.status, refused.field("allow")), (405, Some("POST")), "{method}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    let served = Served::start(healthy());
    for path in ["/nothing", "/livez/", "/LIVEZ", "/api/v1", "/api/v2/status", "//", "/%6Civez"] {
        let answer = served.request("GET", path).await;
        assert_eq!((answer.status, answer.field("content-type")), (404, Some("application/problem+json")), "{path}");
        let problem = answer.json();
        assert_eq!((&problem["status"], &problem["title"]), (&json!(404), &json!("Not Found")), "{path}");
        assert!(problem["detail"].is_string() && problem["type"] == "about:blank", "{path}");
    }
}

#[tokio::test]
async fn the_metrics_address_has_health_and_metrics_alone() {
    let served = Served::start_surface(healthy(), Surface::Metrics);
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(served.request("GET", path).await.status, 200, "{path}");
        assert_eq!(served.request("POST", path).await.status, 405, "{path}");
    }
    for path in ["/", "/api/v1/status", "/api/v1/decisions", "/api/v1/lookup?host=a.example", "/api/v1/reload"] {
        assert_eq!(served.request("GET", path).await.status, 404, "{path}");
        assert_eq!(served.request("POST", path).await.status, 404, "{path}");
    }
    assert!(served.fake.reloads.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_request_has_one_host() {
    let served = Served::start(healthy());
    let two = "GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(served.raw(two.as_bytes()).await.status, 400);
    let none = "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(served.raw(none.as_bytes()).await.status, 400);
    assert_eq!(served.raw(b"GET /livez HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn readiness_follows_the_listeners_and_the_drain() {
    let served = Served::start(healthy());
    assert_eq!(served.request("GET", "/readyz").await.status, 200);
    served.admin.set_listening(false);
    let starting = served.request("GET", "/readyz?verbose").await;
    assert_eq!(starting.status, 503);
    assert!(starting.body.contains("[-] every listener accepts\n[+] not draining\nnot ready"), "{}", starting.body);
    served.admin.set_listening(true);
    served.admin.stop.advance(Phase::Leaving);
    let leaving = served.request("GET", "/readyz?verbose").await;
    assert_eq!(leaving.status, 503);
    assert!(leaving.body.contains("[-] not draining"), "{}", leaving.body);
    assert_eq!(served.request("GET", "/livez").await.status, 200);
}

#[tokio::test]
async fn without_an_index_it_is_not_ready_and_with_a_refused_source_it_is() {
    let mut empty = healthy();
    empty.status.generation = 0;
    assert_eq!(Served::start(empty).request("GET", "/readyz").await.status, 503);
    let mut refused = healthy();
    refused.status.sources[0].errors = Arc::from([finding("no")]);
    let answer = Served::start(refused).request("GET", "/readyz?verbose").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("[!] source decisions: the file is not what is in force"), "{}", answer.body);
}

#[tokio::test]
async fn the_endpoint_answers_until_the_last_phase() {
    let served = Served::start(healthy());
    served.admin.stop.advance(Phase::Draining);
    assert_eq!(served.request("GET", "/livez").await.status, 200);
    let mut idle = served.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("accepted");
    idle.readable().await.expect("an answer");
    served.admin.stop.advance(Phase::Cut);
    let answer = testing::read(&mut idle).await.expect("the answer, then the end");
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn status_has_the_shape_of_the_contract() {
    let status = Served::start(healthy()).request("GET", "/api/v1/status").await.json();
    assert_eq!(status["version"], "0.1.0");
    assert_eq!(status["started_at"], "2026-11-25T02:00:00Z");
    assert_eq!((&status["generation"], &status["workers"]), (&json!(7), &json!(2)));
    let source = &status["sources"][0];
    assert_eq!((&source["name"], &source["path"]), (&json!("decisions"), &json!("decisions.toml")));
    assert_eq!((&source["names"], &source["decisions"], &source["error"]), (&json!(1), &json!(1), &json!(null)));
    assert_eq!((&source["sha256"], &source["format"]), (&json!("ab".repeat(32)), &json!("decisions")));
    assert_eq!(source["loaded_at"], "2026-11-25T02:30:00Z");
    assert_eq!(
        status["last_reload"],
        json!({"at": "2026-11-25T02:30:00Z", "ok": true, "trigger": "event", "added": 1, "removed": 0, "error": null})
    );
    assert_eq!(status["certificates"][0]["not_after"], "2100-01-01T00:00:00Z");
}

fn dropped_lines() -> DroppedLines {
    DroppedLines { reason: DropReason::NeverBlock, count: 2, findings: vec![finding("it would block edge.example")] }
}

#[tokio::test]
async fn status_says_why_a_source_is_not_in_force_and_what_a_feed_left_out() {
    let mut fake = healthy();
    fake.status.sources[0].errors = Arc::from([finding("`basis` is wrong")]);
    fake.status.sources[1].dropped = Arc::from([dropped_lines()]);
    let status = Served::start(fake).request("GET", "/api/v1/status").await.json();
    let source = &status["sources"][0];
    assert!(source["error"].as_str().is_some_and(|text| text.starts_with("error: blocklist.toml:2:9: `basis`")));
    assert_eq!(
        source["findings"][0],
        json!({
            "severity": "error", "file": "blocklist.toml", "line": 2, "column": 9,
            "excerpt": "basis = \"court\"", "message": "`basis` is wrong"
        })
    );
    assert_eq!(status["sources"][1]["dropped"], json!({"never-block": 2}));
    assert_eq!(status["sources"][1]["dropped_lines"][0]["message"], "it would block edge.example");
}

#[tokio::test]
async fn lookup_gives_the_verdict_for_the_canonical_host() {
    let served = Served::start(healthy());
    let block = json!({
        "host": "harassment-forum.example", "verdict": "block", "decision": "2026-11-harassment-forum",
        "source": "decisions", "line": 12, "pattern": ".harassment-forum.example", "generation": 7, "shadow": null
    });
    for host in ["harassment-forum.example", "HARASSMENT-forum.example.", "harassment%2Dforum.example"] {
        let answer = served.request("GET", &format!("/api/v1/lookup?host={host}")).await;
        assert_eq!(answer.json(), block, "{host}");
    }
    let pass = served.request("GET", "/api/v1/lookup?host=b%C3%BCcher.example").await.json();
    assert_eq!((&pass["host"], &pass["verdict"]), (&json!("xn--bcher-kva.example"), &json!("pass")));
    assert_eq!((&pass["decision"], &pass["line"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn lookup_refuses_what_is_not_a_host() {
    let served = Served::start(healthy());
    for query in ["", "?", "?host", "?host=", "?host=a..b", "?host=a%20b", "?host=%", "?host=a&host=b", "?hots=a"] {
        let answer = served.request("GET", &format!("/api/v1/lookup{query}")).await;
        assert_eq!((answer.status, answer.field("content-type")), (400, Some("application/problem+json")), "{query}");
    }
}

#[tokio::test]
async fn decisions_are_those_in_force_with_their_hits() {
    let mut fake = healthy();
    let mut ahead = decision("scheduled");
    ahead.effective_from = Some(testing::day("2099-01-01"));
    let mut over = decision("expired");
    over.effective_until = Some(testing::day("2026-11-02"));
    fake.decisions.extend([record(ahead, "a.example", 0), record(over, "b.example", 9)]);
    let answer = Served::start(fake).request("GET", "/api/v1/decisions").await.json();
    let listed = answer["decisions"].as_array().expect("a list");
    assert_eq!((listed.len(), &answer["generation"]), (1, &json!(7)));
    let forum = &listed[0];
    assert_eq!((&forum["id"], &forum["hits"]), (&json!("2026-11-harassment-forum"), &json!(5)));
    assert_eq!((&forum["hosts"], &forum["source"]), (&json!([".harassment-forum.example"]), &json!("decisions")));
    assert_eq!((&forum["basis"], &forum["decided_at"]), (&json!("policy"), &json!("2026-11-01")));
    assert_eq!((&forum["summary"], &forum["mode"]), (&json!({"en": "Not accessible."}), &json!("enforce")));
}

#[tokio::test]
async fn reload_answers_what_came_into_force() {
    let served = Served::start(healthy());
    let answer = served.request("POST", "/api/v1/reload").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"generation": 8, "added": 3, "removed": 1})));
    let answer = served.request("POST", "/api/v1/reload?allow_shrink=phishing").await;
    assert_eq!(answer.status, 200);
    let reloads = served.fake.reloads.lock().expect("not poisoned").clone();
    assert_eq!(reloads, [None, Some("phishing".to_owned())]);
}

#[tokio::test]
async fn a_refused_reload_is_422_with_every_finding() {
    let fake = testing::Fake { reloaded: refusal(), ..healthy() };
    let answer = Served::start(fake).request("POST", "/api/v1/reload").await;
    assert_eq!((answer.status, answer.field("content-type")), (422, Some("application/problem+json")));
    let problem = answer.json();
    assert_eq!((&problem["generation"], &problem["sources"][0]["name"]), (&json!(7), &json!("decisions")));
    assert_eq!(problem["sources"][0]["findings"][0]["line"], 2);
}

#[tokio::test]
async fn reload_refuses_unknown_sources_parameters_and_bodies() {
    let served = Served::start(healthy());
    for query in ["?allow_shrink=unknown", "?allow_shrink=", "?alow_shrink=phishing", "?allow_shrink=phishing&x=1"] {
        let answer = served.request("POST", &format!("/api/v1/reload{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let post = |body: &str| {
        format!(
            "POST /api/v1/reload HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(served.raw(post("{\"allow_shrink\":\"phishing\"}").as_bytes()).await.status, 400);
    assert!(served.fake.reloads.lock().expect("not poisoned").is_empty());
    assert_eq!(served.raw(post("{}").as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_change_needs_a_local_host_and_no_foreign_origin() {
    let served = Served::start(healthy());
    for host in ["edge.example:9180", "localhost.example", "127.0.0.1.example", "LOCALHOST.", ""] {
        let text = format!("POST /api/v1/reload HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let status = served.raw(text.as_bytes()).await.status;
        assert_eq!(status == 200, host == "LOCALHOST.", "{host}: {status}");
        assert!([200, 403].contains(&status), "{host}: {status}");
    }
    for fields in [
        "Origin: https://attacker.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Origin: http://127.0.0.1:1\r\n",
    ] {
        let answer = served.request_with("POST", "/api/v1/reload", fields).await;
        assert_eq!((answer.status, answer.field("content-type")), (403, Some("application/problem+json")), "{fields}");
    }
    let own = format!("Origin: http://{}\r\n", served.address);
    assert_eq!(served.request_with("POST", "/api/v1/reload", &own).await.status, 200);
    assert_eq!(served.fake.reloads.lock().expect("not poisoned").len(), 2);
}

#[tokio::test]
async fn a_huge_body_is_413_with_and_without_its_length() {
    let served = Served::start(healthy());
    let mut sized = b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 70000\r\n\r\n".to_vec();
    sized.resize(sized.len() + 70_000, b' ');
    assert_eq!(served.raw(&sized).await.status, 413);
    let mut chunked = b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        chunked.extend_from_slice(b"2000\r\n");
        chunked.resize(chunked.len() + 0x2000, b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(served.raw(&chunked).await.status, 413);
    assert!(served.fake.reloads.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_huge_head_is_431() {
    let served = Served::start(healthy());
    let field = format!("X: {}\r\n", "x".repeat(20_000));
    assert_eq!(served.request_with("GET", "/livez", &field).await.status, 431);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_408_and_a_slow_head_is_dropped() {
    let served = Served::start(healthy());
    let started = tokio::time::Instant::now();
    let slow = b"POST /api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n12345";
    assert_eq!(served.raw(slow).await.status, 408);
    let mut stream = served.connect().await;
    stream.write_all(b"GET /livez HTT").await.expect("accepted");
    let unanswered = testing::read(&mut stream).await;
    assert!(unanswered.is_err() || unanswered.is_ok_and(|answer| answer.status == 408));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test]
async fn reloads_that_do_not_end_leave_room_for_the_rest() {
    let served = Served::start(testing::Fake { is_stuck: true, ..healthy() });
    let post = format!("POST /api/v1/reload HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    let mut held = Vec::new();
    for _ in 0..WORKING {
        let mut stream = served.connect().await;
        stream.write_all(post.as_bytes()).await.expect("accepted");
        held.push(stream);
    }
    while served.fake.reloads.lock().expect("not poisoned").len() < WORKING {
        tokio::task::yield_now().await;
    }
    for _ in 0..CONNECTIONS {
        held.push(served.connect().await);
    }
    let refused = served.request("POST", "/api/v1/reload").await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("5")), "{}", refused.body);
    assert_eq!(served.request("GET", "/livez").await.status, 200);
    assert_eq!(served.fake.reloads.lock().expect("not poisoned").len(), WORKING);
    let at_work = held[..WORKING].iter().filter(|stream| stream.try_read(&mut [0]).is_err());
    assert_eq!(at_work.count(), WORKING, "one at work was closed");
}

#[tokio::test]
async fn many_clients_at_once_are_all_answered() {
    let served = Arc::new(Served::start(healthy()));
    let request = |_| {
        let served = Arc::clone(&served);
        drain::spawn_control(async move { served.request("GET", "/metrics").await.status })
    };
    let waiting: Vec<_> = (0..50).map(request).collect();
    for status in waiting {
        assert_eq!(status.await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn metrics_have_the_blocklist_and_the_certificates() {
    let mut fake = healthy();
    fake.status.sources[1].errors = Arc::from([finding("no")]);
    fake.status.sources[1].dropped = Arc::from([dropped_lines()]);
    fake.tls.certificates.push(testing::certificate("edge"));
    let served = Served::start(fake);
    let text = served.request("GET", "/metrics").await.body;
    let hash = "ab".repeat(32);
    let info = format!("sluis_blocklist_info{{source=\"decisions\",sha256=\"{hash}\"}} 1");
    for line in [
        "sluis_blocklist_generation 7",
        "sluis_blocklist_names{source=\"phishing\"} 1",
        "sluis_blocklist_reloads_total{result=\"applied\"} 6",
        "sluis_blocklist_reloads_total{result=\"refused\"} 1",
        "sluis_blocklist_last_reload_successful{source=\"decisions\"} 1",
        "sluis_blocklist_last_reload_successful{source=\"phishing\"} 0",
        "sluis_blocklist_last_reload_success_timestamp_seconds{source=\"decisions\"} 1795574400",
        "sluis_blocklist_lines_dropped{source=\"phishing\",reason=\"never-block\"} 2",
        "sluis_blocklist_lines_dropped{source=\"phishing\",reason=\"public-suffix\"} 0",
        "sluis_blocked_total{source=\"decisions\",basis=\"emergency\"} 5",
        "sluis_shadow_blocked_total{source=\"decisions\",basis=\"emergency\"} 2",
        "sluis_decision_hits_total{decision=\"2026-11-harassment-forum\"} 5",
        "sluis_decisions_overdue 0",
        "sluis_tls_certificate_not_after_timestamp_seconds{certificate=\"edge\"} 4102444800",
        "sluis_tls_reloads_total{result=\"unchanged\"} 0",
        "sluis_tls_last_reload_successful 1",
        "sluis_config_reloads_total{result=\"applied\"} 0",
        "sluis_config_reloads_total{result=\"refused\"} 0",
        "sluis_config_last_reload_successful 1",
        &info,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let mut series: Vec<&str> = text.lines().filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name)).collect();
    series.sort_unstable();
    assert!(series.windows(2).all(|pair| pair[0] != pair[1] || pair[0].starts_with('#')));
}

#[tokio::test]
async fn refused_configuration_shows_until_a_good_one_is_read() {
    let served = Served::start(healthy());
    assert!(served.request("GET", "/api/v1/status").await.json()["last_config_reload"].is_null());
    served.admin.set_config_reload(testing::at("2026-11-25T03:00:00Z"), Err(vec![finding("unknown key")]));
    let status = served.request("GET", "/api/v1/status").await.json();
    let last = &status["last_config_reload"];
    assert_eq!((&last["ok"], &last["at"]), (&false.into(), &"2026-11-25T03:00:00Z".into()), "{status}");
    assert!(last["error"].as_str().is_some_and(|error| error.contains("unknown key")), "{status}");
    assert_eq!(last["findings"][0]["file"], "blocklist.toml", "{status}");
    let metrics = served.request("GET", "/metrics").await.body;
    assert!(metrics.contains("sluis_config_last_reload_successful 0\n"), "{metrics}");
    assert!(metrics.contains("sluis_config_reloads_total{result=\"refused\"} 1\n"), "{metrics}");
    assert!(served.request("GET", "/").await.body.contains("The configuration that was read last was refused"));
    served.admin.set_config_reload(testing::at("2026-11-25T03:01:00Z"), Ok(()));
    let status = served.request("GET", "/api/v1/status").await.json();
    assert_eq!(status["last_config_reload"]["ok"], true, "{status}");
    let metrics = served.request("GET", "/metrics").await.body;
    assert!(metrics.contains("sluis_config_last_reload_successful 1\n"), "{metrics}");
    assert!(!served.request("GET", "/").await.body.contains("The configuration that was read last was refused"));
}

#[tokio::test]
async fn decisions_past_the_first_thousand_share_a_series_with_one_of_that_name() {
    let mut fake = healthy();
    fake.decision_hits = (0..1_100).map(|place| (format!("d{place}").into(), 1)).collect();
    fake.decision_hits[3] = ("other".into(), 1);
    let text = Served::start(fake).request("GET", "/metrics").await.body;
    assert_eq!(text.matches("sluis_decision_hits_total{").count(), 1_000);
    assert!(text.contains("sluis_decision_hits_total{decision=\"other\"} 101\n"), "{text}");
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let served = Served::start(healthy());
    let text = served.request("GET", "/metrics").await.body;
    let promtool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) if std::env::var_os("SLUIS_REQUIRE_PEERS").is_none() => {
            let mut stderr = std::io::stderr();
            let _ = std::io::Write::write_fmt(&mut stderr, format_args!("skipped: no promtool here ({error})\n"));
            return;
        }
        Err(error) => panic!("SLUIS_REQUIRE_PEERS is set and promtool cannot be run: {error}"),
    };
    let mut stdin = promtool.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn the_page_shows_what_matters_and_escapes_all_of_it() {
    let hostile = "</td><script>alert(1)</script>{{sources}}\u{202e}";
    let mut fake = healthy();
    fake.status.sources[0].name = hostile.to_owned();
    fake.status.sources[0].errors = Arc::from([finding(hostile)]);
    let mut record_of_it = decision("2026-12-forum");
    record_of_it.decided_by = hostile.to_owned();
    record_of_it.review_by = Some(testing::day("2026-11-02"));
    record_of_it.authority = Some(hostile.to_owned());
    record_of_it.reference = Some("\" onmouseover=\"x".to_owned());
    fake.decisions.push(record(record_of_it, hostile, 1_234));
    let mut expired = testing::certificate(hostile);
    expired.not_after = Some(testing::at("2026-11-01T00:00:00Z"));
    fake.tls.certificates.push(expired);
    let served = Served::start(fake);
    let forwarded = served.admin.metrics.listeners()[0].requests(Outcome::Forwarded, CodeClass::Success);
    forwarded.expect("a counter").add(WorkerId(0), 4_321);
    let page = served.request("GET", "/").await;
    for shown in [
        "edge-1",
        "Example Edge",
        "Ready",
        "the file is not what is in force",
        "should have been reviewed",
        "Overdue",
        "expired ",
        "2026-12-forum",
        "1,234",
        "4,321",
        "100.0 %",
    ] {
        assert!(page.body.contains(shown), "{shown}");
    }
    assert!(!page.body.contains("<script") && !page.body.contains("\u{202e}"));
    assert!(!page.body.contains("\" onmouseover"));
    assert!(page.body.contains("&lt;script&gt;alert(1)&lt;/script&gt;{{sources}}"));
}

#[tokio::test]
async fn the_page_runs_nothing_and_loads_nothing() {
    let page = Served::start(healthy()).request("GET", "/").await;
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.body.contains("Nothing needs attention."));
}
