//! Requests that try to have one host judged and another one served, by HTTP/2: bypass.rs over the other protocol.
//!
//! Inside: what RFC 9113 section 8.3 leaves, in fields of our own making, and every spelling of a host in `:authority`
//! and in `host`. Kept out: HTTP/1.1 (bypass.rs), and frames that frame a body (smuggling.rs).

use crate::bypass::{
    Answered, Blocked, Expected, INVALID, LOOP, MALFORMED, MISMATCH, MISSING, Passed, Refused, edge_before,
};
use crate::support::frames::{Answer, Frames, fields};
use crate::support::{Edge, Metrics, Origin, Setup};

/// RFC section, the fields, and what must become of them.
type Row = (&'static str, &'static [(&'static [u8], &'static [u8])], Expected);

/// The stream is reset before it is a request to us (RFC 9113 section 8.1.1), and counted all the same.
const RESET: Expected = Refused(0, "protocol");

#[rustfmt::skip]
const FIELDS: &[Row] = &[
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"OPEN.example.:443", b":path" b"/x?y"], Passed("open.example", "/x?y")),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/", b"host" b"open.example"], Passed("open.example", "/")),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example:443", b":path" b"/", b"host" b"Open.Example"], Passed("open.example", "/")),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/"], Blocked),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/", b"host" b"blocked.example"], Blocked),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"host" b"blocked.example"], MISMATCH),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/", b"host" b"open.example"], MISMATCH),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"host" b"open.example:444"], MISMATCH),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/"], MISSING),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"", b":path" b"/"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"", b":path" b"/", b"host" b"blocked.example"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"host" b""], INVALID),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"user@open.example", b":path" b"/"], INVALID),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example,blocked.example", b":path" b"/"], INVALID),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example[::1]", b":path" b"/"], INVALID),
    ("3986 6.2.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"%62locked.example", b":path" b"/"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":authority" b"blocked.example", b":path" b"/"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/", b"host" b"open.example", b":authority" b"blocked.example"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/"  , b":protocol" b"websocket", b":authority" b"open.example"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b":host" b"blocked.example"], RESET),
    ("9110 7.2", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/", b"host" b"open.example", b"host" b"blocked.example"], MISSING),
    ("9110 7.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"host" b"open.example", b"host" b"open.example"], MISSING),
    ("9110 7.4", fields![b":method" b"GET", b":scheme" b"http", b":authority" b"open.example", b":path" b"/"], Refused(400, "scheme-mismatch")),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"ftp", b":authority" b"open.example", b":path" b"/"], Refused(400, "scheme-mismatch")),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https://blocked.example/", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b""], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"hello"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"https://blocked.example/"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"?x"], MALFORMED),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"*"], MALFORMED),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"#"], MALFORMED),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"#?x"], MALFORMED),
    ("9110 5.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x\"y" b"v"], MALFORMED),
    ("9113 8.3.1", fields![b":method" b"OPTIONS", b":scheme" b"https", b":authority" b"open.example", b":path" b"*"], Answered(204)),
    ("9113 8.3.1", fields![b":method" b"OPTIONS", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"*"], Blocked),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/ HTTP/1.1\r\nhost: blocked.example\r\n"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/a b"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/\x7f"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/\xc3\xa9"], MALFORMED),
    ("9113 8.3.1", fields![b":method" b"GET / HTTP/1.1", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x" b"a\r\nhost: blocked.example"], RESET),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x" b"a\0b"], RESET),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x\r\nhost" b"blocked.example"], RESET),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"Host" b"blocked.example"], RESET),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x" b" a"], MALFORMED),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x" b"a\t"], MALFORMED),
    ("9113 8.2.1", fields![b":method" b"GET", b":scheme" b"https", b":path" b"/", b"host" b" blocked.example"], MALFORMED),
    ("9113 8.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"connection" b"host"], RESET),
    ("9113 8.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"transfer-encoding" b"chunked"], RESET),
    ("9113 8.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"upgrade" b"websocket"], RESET),
    ("9113 8.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"te" b"gzip"], RESET),
    ("9113 8.5", fields![b":method" b"CONNECT", b":authority" b"open.example:443"], Refused(405, "method-not-allowed")),
    ("9113 8.5", fields![b":method" b"CONNECT", b":authority" b"blocked.example:443"], Refused(405, "method-not-allowed")),
    ("8441 4", fields![b":method" b"CONNECT", b":protocol" b"websocket", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9110 9.3.8", fields![b":method" b"TRACE", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], Refused(405, "method-not-allowed")),
    ("9110 7.6.3", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"via" b"1.0 x, 2 edge-under-test (y)"], LOOP),
    ("9110 10.1.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"expect" b"x"], Refused(417, "expectation-failed")),
    ("9110 8.6", fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"content-length" b"0", b"content-length" b"0"], Refused(400, "malformed-framing")),
    ("9110 5.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x_forwarded_host" b"blocked.example"], MALFORMED),
    ("7239 8.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/", b"x-forwarded-host" b"open.example"], Blocked),
    ("7239 8.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/", b"forwarded" b"host=open.example", b"x-host" b"open.example", b"x-original-url" b"/"], Blocked),
    ("9110 5.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"x_original_url" b"/x"], MALFORMED),
    ("9110 5.1", fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"content_length" b"5"], MALFORMED),
    ("9110 5.1", fields![b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"transfer_encoding" b"chunked"], MALFORMED),
    ("9110 9.3", fields![b":method" b"POST", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/", b"x-http-method-override" b"OPTIONS"], Blocked),
    ("9110 9.1", fields![b":method" b"BREW", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/"], Blocked),
    ("9110 9.1", fields![b":method" b"BREW", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], Passed("open.example", "/")),
    ("9110 9.1", fields![b":method" b"GE(T", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9110 7.6.2", fields![b":method" b"OPTIONS", b":scheme" b"https", b":authority" b"open.example", b":path" b"/x", b"max-forwards" b"0"], Answered(204)),
    ("9110 7.6.2", fields![b":method" b"OPTIONS", b":scheme" b"https", b":authority" b"blocked.example", b":path" b"/x", b"max-forwards" b"0"], Blocked),
    ("9110 7.6.2", fields![b":method" b"OPTIONS", b":scheme" b"https", b":authority" b"open.example", b":path" b"/x", b"max-forwards" b"1"], Passed("open.example", "/x")),
    ("9110 7.6.2", fields![b":method" b"OPTIONS", b":scheme" b"https", b":authority" b"open.example", b":path" b"/x", b"max-forwards" b"+1"], MALFORMED),
    ("9110 7.6.3", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"via" b"2 edge-under-tests"], Passed("open.example", "/")),
    ("9113 8.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"keep-alive" b"5"], RESET),
    ("9113 8.2.2", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b"proxy-connection" b"close"], RESET),
    ("9113 8.3.1", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"//blocked.example/x"], Passed("open.example", "//blocked.example/x")),
    ("3986 3.5", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/x#@blocked.example"], Passed("open.example", "/x")),
    ("9113 8.3", fields![b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":method" b"POST", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b":path" b"/x"], RESET),
    ("9113 8.3", fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/", b":status" b"200"], RESET),
];

/// What was sent, readably.
fn shown(fields: &[(&[u8], &[u8])]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| [*name, value].join(&b"="[..]).escape_ascii().to_string()).collect();
    fields.join(" ")
}

/// Sends the fields on a connection of their own, and holds answer, origin and counters to what is expected. A host that
/// is refused may be so with 400, by a reset or, where `http` cannot hold its bytes, by the connection's end; it is counted
/// once in each case.
fn check(edge: &Edge, origin: &Origin, fields: &[(&[u8], &[u8])], expected: Expected, what: &str) {
    let before = (origin.requests().len(), edge.metrics());
    let mut client = Frames::connect(edge.address("https"), None);
    let answer = client.ask(fields);
    match expected {
        Refused(0, _) => assert!(matches!(answer, Answer::Reset | Answer::Gone), "{what}: {answer:?}"),
        Refused(400, "host-invalid") => {
            assert!(matches!(answer, Answer::Reset | Answer::Gone | Answer::Status(400)), "{what}: {answer:?}");
        }
        Refused(status, _) | Answered(status) => assert_eq!(answer, Answer::Status(status), "{what}"),
        Blocked => assert_eq!(answer, Answer::Status(403), "{what}"),
        Passed(..) => assert_eq!(answer, Answer::Status(200), "{what}"),
    }
    let mut begun = 1.0;
    if answer != Answer::Gone {
        let next = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"192.0.2.1", b":path" b"/"];
        assert_eq!(client.ask(next), Answer::Status(403), "{what}: other streams do not go on");
        begun += 1.0;
    }
    let requests = origin.requests();
    assert_eq!(requests.len() - before.0, usize::from(matches!(expected, Passed(..))), "{what}: at the origin");
    if let Passed(host, target) = expected {
        let request = &requests[before.0];
        assert_eq!((request.header("host"), request.target.as_str()), (Some(host), target), "{what}");
    }
    let metrics = edge.settled(what);
    let grown = |count: &dyn Fn(&Metrics) -> f64| count(&metrics) - count(&before.1);
    assert_eq!(grown(&|metrics| metrics.sum("sluis_requests_started_total", &[])), begun, "{what}: requests begun");
    let refused = grown(&|metrics| metrics.sum("sluis_rejected_total", &[]));
    assert_eq!(refused, if matches!(expected, Refused(..)) { 1.0 } else { 0.0 }, "{what}: all refusals");
    if let Refused(_, reason) = expected {
        let reason = if matches!(answer, Answer::Status(_)) { reason } else { "protocol" };
        assert_eq!(grown(&|metrics| metrics.rejected(reason)), 1.0, "{what}: refused for {reason}");
    }
}

#[test]
fn each_way_to_name_a_host() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for (section, fields, expected) in FIELDS {
        let what = format!("RFC {section}: {} {expected:?}", shown(fields));
        check(&edge, &origin, fields, *expected, &what);
    }
}

/// RFC section, a host, and what must become of a request that names it in `:authority` or in `host`.
#[rustfmt::skip]
const HOSTS: &[(&str, &[u8], Expected)] = &[
    ("9110 7.2", b"open.example, blocked.example", INVALID),
    ("9110 4.2.1", b":443", INVALID),
    ("3986 3.2.3", b"open.example:8080", Passed("open.example:8080", "/")),
    ("3986 3.2.3", b"open.example:443", Passed("open.example", "/")),
    ("3986 3.2.3", b"open.example:", Passed("open.example", "/")),
    ("3986 3.2.3", b"blocked.example:8080", Blocked),
    ("3986 3.2.3", b"blocked.example:", Blocked),
    ("3986 3.2.3", b"open.example:0", INVALID),
    ("3986 3.2.3", b"open.example:65536", INVALID),
    ("3986 3.2.3", b"open.example:8x", INVALID),
    ("3986 3.2.3", b"open.example:+80", INVALID),
    ("3986 3.2.3", b"open.example:80:80", INVALID),
    ("3986 3.2.2", b"blocked.example.", Blocked),
    ("3986 3.2.2", b"blocked.example.:443", Blocked),
    ("3986 3.2.2", b"open.example.", Passed("open.example", "/")),
    ("1035 2.3.1", b"blocked.example..", INVALID),
    ("1035 2.3.1", b".blocked.example", INVALID),
    ("1035 2.3.1", b"blocked..example", INVALID),
    ("1035 2.3.1", b".", INVALID),
    ("3986 6.2.2.1", b"BlOcKeD.eXaMpLe", Blocked),
    ("3986 6.2.2.1", b"OPEN.Example", Passed("open.example", "/")),
    ("9113 8.3.1", b"user@blocked.example", INVALID),
    ("9113 8.3.1", b"user:password@open.example", INVALID),
    ("9113 8.3.1", b"open.example:80@blocked.example", INVALID),
    ("3986 6.2.2.2", b"%62locked.example", INVALID),
    ("3986 6.2.2.2", b"blocked%2eexample", INVALID),
    ("3986 6.2.2.2", b"blocked.example%00.open.example", INVALID),
    ("9110 5.5", b"blocked .example", INVALID),
    ("9110 5.5", b"blocked\t.example", INVALID),
    ("9110 5.5", b"blocked.example\0", INVALID),
    ("9110 5.5", b"blocked.example\x0b", INVALID),
    ("9110 5.5", b"blocked.example\x7f", INVALID),
    ("9113 8.2.1", b"open.example\r\nhost: blocked.example", INVALID),
    ("9110 5.6.3", b"\x85blocked.example", INVALID),
    ("9110 5.6.3", b"blocked.example\xa0", INVALID),
    ("9112 3.2", b"open.example/blocked.example", INVALID),
    ("9112 3.2", b"blocked.example\\open.example", INVALID),
    ("9112 3.2", b"blocked.example?x", INVALID),
    ("9112 3.2", b"blocked.example#x", INVALID),
    ("9112 3.2", b"https://open.example", INVALID),
    ("3986 3.2.2", b"bl\xc3\xb6cked.example", INVALID),
    ("3986 3.2.2", b"blocked\xe3\x80\x82example", INVALID),
    ("3986 3.2.2", b"blocked\xef\xbc\x8eexample", INVALID),
    ("3986 3.2.2", b"blocked\xef\xbd\xa1example", INVALID),
    ("5891 5.4", b"xn--mller-kva.example", Blocked),
    ("5891 5.4", b"XN--MLLER-KVA.example", Blocked),
    ("5891 5.4", b"xn--fiqs8s.example", Passed("xn--fiqs8s.example", "/")),
    ("5891 5.4", b"xn--a.example", INVALID),
    ("5891 5.4", b"xn--blocked-.example", INVALID),
    ("5891 5.4", b"blocked.example.xn--", INVALID),
    ("3986 2.3", b"under_score.blocked.example", Blocked),
    ("3986 2.3", b"under_score.example", Passed("under_score.example", "/")),
    ("3986 7.4", b"192.0.2.1", Blocked),
    ("5952 5", b"[::ffff:192.0.2.1]", Blocked),
    ("5952 5", b"[::ffff:c000:201]:443", Blocked),
    ("5952 4", b"[2001:DB8:0:0::1]", Blocked),
    ("5952 4", b"[0:0::1]", Passed("[::1]", "/")),
    ("3986 7.4", b"127.1", INVALID),
    ("3986 7.4", b"0x7f.1", INVALID),
    ("3986 7.4", b"0177.0.0.1", INVALID),
    ("3986 7.4", b"2130706433", INVALID),
    ("3986 7.4", b"192.0.2.1.", Blocked),
    ("6874 4", b"[fe80::1%25eth0]", INVALID),
    ("3986 3.2.2", b"[v1.x]", INVALID),
    ("3986 3.2.2", b"[2001:db8::1", INVALID),
    ("3986 3.2.2", b"[2001:db8::1].", INVALID),
    ("3986 3.2.2", b"2001:db8::1", INVALID),
    ("3986 3.2.2", b"open.example[::1]", INVALID),
];

#[test]
fn each_spelling_of_a_host_in_authority_and_in_host() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    for (section, host, expected) in HOSTS {
        let what = format!("RFC {section}: {} {expected:?}", host.escape_ascii());
        let method: (&[u8], &[u8]) = (b":method", b"GET");
        let fields = [method, (b":scheme", b"https"), (b":authority", host), (b":path", b"/")];
        check(&edge, &origin, &fields, *expected, &format!("{what} in :authority"));
        let fields = [method, (b":scheme", b"https"), (b":path", b"/"), (b"host", host)];
        check(&edge, &origin, &fields, *expected, &format!("{what} in host"));
    }
}

#[test]
fn cookie_crumbs_arrive_at_the_origin_as_one_field() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let mut client = Frames::connect(edge.address("https"), Some("open.example"));
    // RFC 9113 section 8.2.3.
    let fields = fields![
        b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/",
        b"cookie" b"a=1", b"x" b"y", b"cookie" b"b=2", b"te" b"trailers", b"cookie" b"c=3",
    ];
    assert_eq!(client.ask(fields), Answer::Status(200));
    let request = origin.only_request();
    assert_eq!(request.all("cookie"), ["a=1; b=2; c=3"]);
    // RFC 9110 section 10.1.4: TE is of one connection, and Connection says so.
    assert_eq!((request.header("te"), request.header("connection")), (Some("trailers"), Some("te")));
}
