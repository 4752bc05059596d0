//! Who is refused, and what every refusal and every forwarded request carries, over each protocol.

use http_body_util::Full;
use hyper::Request;

use crate::support::http2::Http2;
use crate::support::setup::record;
use crate::support::{Connection, Origin, Response, Setup};

/// What every notice carries besides its status (product page, section 5).
fn check_notice(response: &Response, status: u16, decision: &str) {
    assert_eq!(response.status, status);
    assert_eq!(response.header("sluis-decision"), Some(decision));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(response.header("x-robots-tag"), Some("noindex"));
    assert_eq!(response.header("content-language"), Some("en"));
    assert_eq!(response.header("proxy-status"), Some("edge-under-test; error=http_request_denied"));
    let vary = response.header("vary").expect("a notice varies").to_ascii_lowercase();
    assert!(vary.contains("accept") && vary.contains("accept-language"), "{vary}");
    assert!(response.header("content-type").expect("a type").starts_with("text/html"));
    let policy = response.header("content-security-policy").expect("a notice has a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    httpdate::parse_http_date(response.header("date").expect("a date")).expect("a date that can be read");
    assert_eq!(response.header("content-length"), Some(response.body.len().to_string().as_str()));
    let link = (status == 451).then_some("<https://edge.example/blocking>; rel=\"blocked-by\"");
    assert_eq!(response.header("link"), link);
    let text = response.text();
    assert!(text.contains("Test Edge") && text.contains(decision), "{text}");
}

#[test]
fn notice_carries_every_header_over_http_https_and_http2() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    for (host, status, decision) in [("blocked.example", 403, "policy-1"), ("order.example", 451, "order-1")] {
        check_notice(&edge.get(host, "/any?thing=1"), status, decision);
        check_notice(&edge.https(host).get(host, "/"), status, decision);
        check_notice(&Http2::connect(edge.address("https"), Some(host)).get(host, "/"), status, decision);
    }
    assert_eq!(origin.requests().len(), 0, "nothing of a blocked host reaches the origin");
}

#[test]
fn notice_to_head_has_the_headers_of_get_and_no_body() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let get = edge.get("blocked.example", "/");
    let mut connection = edge.http();
    let head = connection.send("HEAD / HTTP/1.1\r\nHost: blocked.example\r\n\r\n").read_head_response();
    assert_eq!((head.status, head.header("content-length")), (403, get.header("content-length")));
    // A body after HEAD would be read here as a status line.
    assert_eq!(connection.get("open.example", "/").status, 200);
}

#[test]
fn forwarded_request_carries_what_the_contract_says_over_http_https_and_http2() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    assert_eq!(edge.get("open.example", "/a%2Fb?x=1&y=%20").status, 200);
    assert_eq!(edge.https("open.example").get("open.example", "/a%2Fb?x=1&y=%20").status, 200);
    assert_eq!(
        Http2::connect(edge.address("https"), Some("open.example")).get("open.example", "/a%2Fb?x=1&y=%20").status,
        200
    );
    let requests = origin.requests();
    for (request, (scheme, version)) in requests.iter().zip([("http", "1.1"), ("https", "1.1"), ("https", "2")]) {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/a%2Fb?x=1&y=%20"));
        assert_eq!(request.header("host"), Some("open.example"));
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(request.header("x-forwarded-proto"), Some(scheme));
        assert_eq!(request.header("x-forwarded-host"), Some("open.example"));
        let via = request.header("via").expect("a proxy says so");
        assert!(via.starts_with(version) && via.ends_with(" edge-under-test"), "{via}");
        let id = request.header("x-request-id").expect("an id is made");
        assert!(id.len() >= 16 && id.len() <= 128, "{id}");
        assert!(request.header("connection").is_none_or(|value| value.eq_ignore_ascii_case("keep-alive")));
    }
    assert_eq!(requests.len(), 3);
}

#[test]
fn pattern_decides_which_names_are_blocked() {
    let origin = Origin::hello();
    let records = [("exact", "exact.example"), ("below", "*.below.example"), ("both", ".both.example")]
        .map(|(id, pattern)| record(id, pattern))
        .concat();
    let edge = Setup::new(origin.address()).records(records).start();
    for (host, blocked) in [
        ("exact.example", true),
        ("EXACT.example", true),
        ("exact.example.", true),
        ("exact.example:80", true),
        ("www.exact.example", false),
        ("notexact.example", false),
        ("below.example", false),
        ("a.below.example", true),
        ("a.b.below.example", true),
        ("both.example", true),
        ("a.b.both.example", true),
        ("aboth.example", false),
        ("example", false),
    ] {
        let status = edge.get(host, "/").status;
        assert_eq!(status, if blocked { 403 } else { 200 }, "{host}");
    }
}

#[test]
fn each_request_of_a_connection_is_judged_by_itself() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut connection = edge.http();
    for host in ["open.example", "blocked.example", "open.example", "order.example", "open.example"] {
        let expected = match host {
            "blocked.example" => 403,
            "order.example" => 451,
            _ => 200,
        };
        assert_eq!(connection.get(host, "/").status, expected, "{host}");
    }
}

#[test]
fn pipelined_requests_are_judged_one_by_one_and_answered_in_order() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut connection = edge.http();
    let hosts = ["open.example", "blocked.example", "open.example", "order.example"];
    connection.send(hosts.map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).concat());
    let statuses: Vec<u16> = hosts.iter().map(|_| connection.read_response().status).collect();
    assert_eq!(statuses, [200, 403, 200, 451]);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn doubtful_host_is_refused_and_never_reaches_the_origin() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example\r\nHost: blocked.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example\r\nHost: open.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example, blocked.example\r\n\r\n",
        "GET http://open.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n",
        "GET http://blocked.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET http://other.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET https://open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET ftp://open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET open.example HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET open.example:80 HTTP/1.1\r\nHost: open.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@open.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open..example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: .open.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example..\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open%2eexample\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: op en.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example:0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example:65536\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.example:80:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: xn--a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open.ex\u{e4}mple\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : open.example\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: open.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: open\r\n .example\r\n\r\n",
    ] {
        let response = edge.http().send(head).read_response();
        assert_eq!(response.status, 400, "{head:?}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn host_that_is_written_otherwise_is_the_same_host_and_reaches_the_origin_canonical() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    for (head, canonical) in [
        ("GET / HTTP/1.1\r\nHost: OPEN.Example\r\n\r\n", "open.example"),
        ("GET / HTTP/1.1\r\nHost: open.example.\r\n\r\n", "open.example"),
        ("GET / HTTP/1.1\r\nHost: open.example:80\r\n\r\n", "open.example"),
        ("GET / HTTP/1.1\r\nHost: open.example:\r\n\r\n", "open.example"),
        ("GET / HTTP/1.1\r\nHost:\t open.example \t\r\n\r\n", "open.example"),
        ("GET / HTTP/1.1\r\nHost: Open.Example:8080\r\n\r\n", "open.example:8080"),
        ("GET http://OPEN.example/x HTTP/1.1\r\nHost: open.example\r\n\r\n", "open.example"),
        ("GET http://open.example:80/x HTTP/1.1\r\nHost: open.example\r\n\r\n", "open.example"),
        ("GET / HTTP/1.1\r\nHost: [0:0::1]\r\n\r\n", "[::1]"),
        ("GET / HTTP/1.1\r\nHost: under_score.example\r\n\r\n", "under_score.example"),
    ] {
        let before = origin.requests().len();
        assert_eq!(edge.http().send(head).read_response().status, 200, "{head:?}");
        assert_eq!(origin.requests()[before].header("host"), Some(canonical), "{head:?}");
    }
}

#[test]
fn blocked_sni_is_refused_whatever_host_the_request_names() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let response = edge.https("blocked.example").get("open.example", "/");
    check_notice(&response, 403, "policy-1");
    let response = edge.https("open.example").get("blocked.example", "/");
    check_notice(&response, 403, "policy-1");
    // Not covered by any certificate, and blocked all the same.
    let response = edge.https("deep.below.blocked.example").get("open.example", "/");
    check_notice(&response, 403, "policy-1");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn host_that_the_served_certificate_does_not_cover_is_misdirected() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let response = edge.https("open.example").get("elsewhere.example", "/");
    assert_eq!(response.status, 421);
    let status = response.header("proxy-status").expect("a refusal says why");
    assert!(status.contains("http_request_error") && status.contains("sni-mismatch"), "{status}");
    let mut without_sni = Connection::tls(edge.address("https"), None);
    assert_eq!(without_sni.get("open.example", "/").status, 200);
    assert_eq!(without_sni.get("blocked.example", "/").status, 403);
}

#[test]
fn shadow_decision_counts_and_blocks_nothing() {
    let origin = Origin::hello();
    let records = record("shadow-1", "shadow.example").trim_end().to_owned() + "\nmode = \"shadow\"\n";
    let edge = Setup::new(origin.address()).records(records).start();
    assert_eq!(edge.get("shadow.example", "/").status, 200);
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("sluis_shadow_blocked_total", &[("source", "decisions"), ("basis", "policy")]), 1.0);
    assert_eq!(metrics.sum("sluis_blocked_total", &[]), 0.0);
}

#[test]
fn exception_lifts_a_feed_and_never_a_decision() {
    let origin = Origin::hello();
    let exception = "[[exception]]\nid = \"keep-1\"\nhosts = [\"lifted.example\", \"decided.example\"]\ndecided_by = \
                     \"desk\"\ndecided_at = 2026-01-02\nreason = \"false positive\"\n";
    let edge = Setup::new(origin.address())
        .records(record("decided-1", "decided.example") + exception)
        .feed("lifted.example\nfeed.example\n")
        .start();
    assert_eq!(edge.get("feed.example", "/").status, 403);
    assert_eq!(edge.get("www.feed.example", "/").header("sluis-decision"), Some("feed-1"));
    assert_eq!(edge.get("lifted.example", "/").status, 200);
    assert_eq!(edge.get("decided.example", "/").status, 403);
}

#[test]
fn http2_request_whose_host_field_names_another_host_is_refused() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut client = Http2::connect(edge.address("https"), Some("open.example"));
    for other in ["blocked.example", "edge.example"] {
        let request = Request::get("https://open.example/").header("host", other).body(Full::default()).unwrap();
        match client.send(request) {
            Ok(response) => assert_eq!(response.status, 400, "host: {other}"),
            Err(error) => assert!(error.is_user() || error.to_string().contains("http2"), "{error}"),
        }
    }
    assert_eq!(origin.requests().len(), 0);
}
