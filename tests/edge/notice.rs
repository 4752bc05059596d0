//! The notice as visitors get it: type and language by what they accept, and what it says.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::support::setup::record;
use crate::support::{Edge, Origin, Response, Setup, eventually, peers};

const LANGUAGES: [&str; 12] = ["en", "nl", "de", "fr", "es", "it", "pl", "pt", "ar", "uk", "tr", "zh-Hans"];

fn ask(edge: &Edge, host: &str, fields: &str) -> Response {
    edge.http().send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).read_response()
}

fn blocking_edge() -> (Origin, Edge) {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    (origin, edge)
}

#[test]
fn type_follows_accept_and_html_is_the_default() {
    let (_origin, edge) = blocking_edge();
    for (accept, expected) in [
        ("", "text/html"),
        ("Accept: */*\r\n", "text/html"),
        ("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n", "text/html"),
        ("Accept: application/json\r\n", "application/problem+json"),
        ("Accept: application/problem+json\r\n", "application/problem+json"),
        ("Accept: text/plain\r\n", "text/plain"),
        ("Accept: text/plain;q=0.2, application/problem+json;q=0.9\r\n", "application/problem+json"),
        ("Accept: text/html;q=0, text/plain;q=0.1\r\n", "text/plain"),
        ("Accept: image/webp\r\n", "text/html"),
        ("Accept: ;;;,,q=\r\n", "text/html"),
    ] {
        let response = ask(&edge, "blocked.example", accept);
        assert_eq!(response.status, 403, "{accept:?}");
        assert!(response.header("content-type").unwrap().starts_with(expected), "{accept:?}: {:?}", response.headers);
    }
}

#[test]
fn every_language_is_there_and_marked() {
    let (_origin, edge) = blocking_edge();
    let english = ask(&edge, "blocked.example", "").text();
    for language in LANGUAGES {
        let response = ask(&edge, "blocked.example", &format!("Accept-Language: {language}\r\n"));
        assert_eq!(response.header("content-language"), Some(language));
        let text = response.text();
        assert!(text.contains(&format!("lang=\"{language}\"")), "{language}: {text}");
        assert_eq!(text == english, language == "en", "{language} is not a copy of English");
        assert_eq!(text.contains("dir=\"rtl\""), language == "ar", "{language}");
        assert!(
            text.contains("policy-1") && text.contains("blocked.example") && text.contains("Test Edge"),
            "{language}"
        );
    }
    for (accept, expected) in [
        ("nl-BE, en;q=0.5", "nl"),
        ("xx, yy", "en"),
        ("de;q=0.1, fr;q=0.9", "fr"),
        ("zh-CN", "zh-Hans"),
        ("*", "en"),
        ("de;q=0, it", "it"),
        ("EN-us", "en"),
    ] {
        let response = ask(&edge, "blocked.example", &format!("Accept-Language: {accept}\r\n"));
        assert_eq!(response.header("content-language"), Some(expected), "{accept}");
    }
}

#[test]
fn problem_json_has_the_members_of_the_decision() {
    let (_origin, edge) = blocking_edge();
    let problem = ask(&edge, "order.example", "Accept: application/problem+json\r\n").json();
    for (member, value) in [
        ("decision_id", "order-1"),
        ("basis", "court-order"),
        ("blocked_by", "Test Edge"),
        ("authority", "Rechtbank Amsterdam"),
        ("reference", "C/13/123456"),
        ("appeal_url", "https://edge.example/appeal"),
        ("language", "en"),
    ] {
        assert_eq!(problem[member], value, "{member}: {problem}");
    }
    assert_eq!(problem["status"].as_u64(), Some(451));
    for member in ["type", "title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
    }
}

#[test]
fn page_uses_nothing_from_elsewhere_and_escapes_what_records_say() {
    let origin = Origin::hello();
    let text = record("markup-1", "markup.example").trim_end().to_owned()
        + "\nsummary.en = \"<script>alert(1)</script> & \\\"quotes\\\" {{placeholder}}\"\n";
    let edge = Setup::new(origin.address()).records(text).start();
    let page = ask(&edge, "markup.example", "").text();
    let lower = page.to_lowercase();
    for forbidden in ["<script", "src=\"http", "@import", "url(http", "<iframe", "<form", "javascript:"] {
        assert!(!lower.contains(forbidden), "the page has {forbidden}");
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("{{placeholder}}"), "{page}");
    let problem = ask(&edge, "markup.example", "Accept: application/json\r\n").json();
    assert!(problem.to_string().contains("<script>alert(1)</script> & \\\"quotes\\\""), "{problem}");
    let plain = ask(&edge, "markup.example", "Accept: text/plain\r\n").text();
    assert!(plain.contains("<script>alert(1)</script>"), "{plain}");
}

#[test]
fn other_refusals_follow_accept_and_say_what_was_wrong() {
    let (_origin, edge) = blocking_edge();
    let mut connection = edge.http();
    connection.send("TRACE / HTTP/1.1\r\nHost: open.example\r\nAccept: application/json\r\n\r\n");
    let response = connection.read_response();
    assert_eq!(response.status, 405);
    assert!(response.header("content-type").unwrap().starts_with("application/problem+json"));
    assert_eq!(response.json()["status"].as_u64(), Some(405));
    let mut connection = edge.http();
    connection.send("TRACE / HTTP/1.1\r\nHost: open.example\r\nAccept: text/html\r\n\r\n");
    let response = connection.read_response();
    assert!(response.header("content-type").unwrap().starts_with("text/html"));
    assert!(!response.text().is_empty());
}

#[test]
fn templates_of_the_operator_are_reloaded_and_a_broken_one_keeps_the_last_good() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address())
        .file("notice/page.txt", "First: {{host}} by {{operator}} ({{decision_id}})\n")
        .more("[notice]\ntemplates = \"notice\"")
        .start();
    let plain = || ask(&edge, "blocked.example", "Accept: text/plain\r\n").text();
    assert_eq!(plain(), "First: blocked.example by Test Edge (policy-1)\n");
    fs::write(edge.path("notice/page.txt"), "Second: {{host}}\n").unwrap();
    edge.signal(Signal::HUP);
    eventually("the new template is in force", || plain() == "Second: blocked.example\n");
    fs::write(edge.path("notice/page.txt"), "Third: {{hots}}\n").unwrap();
    edge.signal(Signal::HUP);
    edge.wait_for_log("the error", |line| line.contains("hots"));
    assert_eq!(plain(), "Second: blocked.example\n");
    let finished = edge.run(&["check", "--config", "sluis.toml"]);
    assert_eq!(finished.code, 78);
    assert!((finished.stdout + &finished.stderr).contains("page.txt:1"), "the place is told");
}

#[test]
fn browser_shows_the_notice_without_an_error() {
    let Some(chromium) = peers::find("chromium") else { return };
    let (_origin, edge) = blocking_edge();
    let address = edge.address("http");
    let profile = tempfile::tempdir().unwrap();
    let mut shown = String::new();
    eventually("the browser shows the page", || {
        let output = Command::new(&chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--host-resolver-rules=MAP blocked.example {}", address.ip()))
            .arg(format!("http://blocked.example:{}/", address.port()))
            .output()
            .unwrap();
        shown = String::from_utf8_lossy(&output.stdout).into_owned();
        shown.contains("</html>")
    });
    assert!(shown.contains("policy-1") && shown.contains("Test Edge"), "{shown}");
}

#[test]
fn curl_gets_the_notice_over_each_protocol() {
    let Some(curl) = peers::find("curl") else { return };
    let (_origin, edge) = blocking_edge();
    for (scheme, version, port) in [
        ("http", "--http1.1", edge.address("http").port()),
        ("https", "--http1.1", edge.address("https").port()),
        ("https", "--http2", edge.address("https").port()),
    ] {
        let output = Command::new(&curl)
            .args(["-sk", "-w", "%{http_code} %{http_version}", "-o", "-", version, "--max-time", "20"])
            .arg("--resolve")
            .arg(format!("order.example:{port}:127.0.0.1"))
            .arg(format!("{scheme}://order.example:{port}/"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = if version == "--http2" { "451 2" } else { "451 1.1" };
        assert!(text.ends_with(expected) && text.contains("order-1"), "{scheme} {version}: {text}");
    }
}
