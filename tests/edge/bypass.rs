//! Requests that try to have one host judged and another one served, as a table over HTTP/1.1 in the clear and over TLS.
//!
//! Inside: every way that RFC 9110 and 9112 leave to name a host, with the section, the answer, and what the origin may
//! see of it. Kept out: the same by HTTP/2 (bypass_http2.rs), how a body is framed (smuggling.rs), and what a notice
//! looks like (blocking.rs).

use crate::support::setup::record;
use crate::support::{Connection, Edge, Metrics, Origin, Setup};

/// What must become of a request.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// This status and this reason, the connection closed, and nothing at the origin.
    Refused(u16, &'static str),
    /// The notice, and nothing at the origin.
    Blocked,
    /// An answer of the edge itself, and nothing at the origin.
    Answered(u16),
    /// It arrives at the origin with this Host field and this target.
    Passed(&'static str, &'static str),
}

pub use Expected::{Answered, Blocked, Passed, Refused};

pub const INVALID: Expected = Refused(400, "host-invalid");
pub const MISSING: Expected = Refused(400, "host-missing");
pub const MISMATCH: Expected = Refused(400, "host-mismatch");
pub const MALFORMED: Expected = Refused(400, "malformed-head");
pub const LOOP: Expected = Refused(508, "loop");

/// RFC section, what is sent with `SCHEME` and `PORT` for those of the listener, and what must become of it.
type Row = (&'static str, &'static [u8], Expected);

#[rustfmt::skip]
const HTTP1: &[Row] = &[
    // How many hosts there are.
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: open.example\r\nHost: blocked.example\r\n\r\n", MISSING),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: open.example\r\nhost: open.example\r\n\r\n", MISSING),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: blocked.example\r\nX: y\r\nHOST: open.example\r\n\r\n", MISSING),
    ("9112 3.2", b"GET / HTTP/1.1\r\nX: y\r\n\r\n", MISSING),
    ("9112 3.2", b"GET SCHEME://open.example/ HTTP/1.1\r\n\r\n", MISSING),
    ("9112 3.3", b"GET / HTTP/1.0\r\n\r\n", MISSING),
    ("9110 7.2", b"GET / HTTP/1.1\r\nHost: open.example, blocked.example\r\n\r\n", INVALID),
    ("9110 7.2", b"GET / HTTP/1.1\r\nHost: open.example,blocked.example\r\n\r\n", INVALID),
    ("9110 4.2.1", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", INVALID),
    ("9110 4.2.1", b"GET / HTTP/1.1\r\nHost: :PORT\r\n\r\n", INVALID),
    // Target and Host.
    ("9112 3.2.2", b"GET SCHEME://open.example/x?y HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/x?y")),
    ("9112 3.2.2", b"GET SCHEME://OPEN.example.:PORT/ HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/")),
    ("9112 3.2.2", b"GET SCHEME://open.example HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/")),
    ("3986 3.2", b"GET SCHEME://open.example?x HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/?x")),
    ("9112 3.2.2", b"GET SCHEME://blocked.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", MISMATCH),
    ("9112 3.2.2", b"GET SCHEME://open.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n", MISMATCH),
    ("9112 3.2.2", b"GET SCHEME://other.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", MISMATCH),
    ("3986 6.2.3", b"GET SCHEME://open.example:81/ HTTP/1.1\r\nHost: open.example\r\n\r\n", MISMATCH),
    ("3986 6.2.3", b"GET SCHEME://open.example/ HTTP/1.1\r\nHost: open.example:81\r\n\r\n", MISMATCH),
    ("9112 3.2.2", b"GET SCHEME://blocked.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n", Blocked),
    ("9110 7.4", b"GET ftp://open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", Refused(400, "scheme-mismatch")),
    ("9110 7.4", b"GET OTHER://open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", Refused(400, "scheme-mismatch")),
    ("9110 7.4", b"GET ws://open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", Refused(400, "scheme-mismatch")),
    ("9112 3.2", b"GET admin HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3.2.3", b"GET open.example:PORT HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3.2.4", b"GET * HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3.2", b"GET ?x HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3.2", b"GET SCHEME:/open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3.2", b"GET SCHEME:///x HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3.2", b"GET //blocked.example/x HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "//blocked.example/x")),
    ("9112 3.2", b"GET /SCHEME://blocked.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n", Blocked),
    ("9112 3.2", b"GET /a b HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3", b"GET  / HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3", b"GET\t/ HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 3", b"GET / HTTP/1.1 \r\nHost: open.example\r\n\r\n", MALFORMED),
    ("3986 3.5", b"GET SCHEME://open.example#f HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("3986 3.5", b"GET /#@blocked.example HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9110 4.2.4", b"GET SCHEME://user@open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", INVALID),
    ("9110 4.2.4", b"GET SCHEME://open.example@blocked.example/ HTTP/1.1\r\nHost: blocked.example\r\n\r\n", INVALID),
    ("9110 9.3.7", b"OPTIONS * HTTP/1.1\r\nHost: open.example\r\n\r\n", Answered(204)),
    ("9110 9.3.7", b"OPTIONS * HTTP/1.1\r\nHost: blocked.example\r\n\r\n", Blocked),
    ("9112 3.2.4", b"OPTIONS SCHEME://open.example HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/")),
    ("9112 3.2.4", b"OPTIONS SCHEME://blocked.example HTTP/1.1\r\nHost: blocked.example\r\n\r\n", Blocked),
    ("9112 3.2.4", b"OPTIONS SCHEME://open.example?x HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/?x")),
    ("9110 9.3.7", b"OPTIONS / HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/")),
    ("9110 9.3.7", b"OPTIONS *a HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 2.3", b"GET /\r\n\r\n", MALFORMED),
    ("9112 2.3", b"GET / HTTP/0.9\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 2.3", b"GET / http/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 2.3", b"GET / HTTP/1.2\r\nHost: open.example\r\n\r\n", Refused(505, "version-not-supported")),
    ("9112 2.3", b"GET / HTTP/2.0\r\nHost: open.example\r\n\r\n", Refused(505, "version-not-supported")),
    // Ports.
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:8080\r\n\r\n", Passed("open.example:8080", "/")),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:PORT\r\n\r\n", Passed("open.example", "/")),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:\r\n\r\n", Passed("open.example", "/")),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: blocked.example:8080\r\n\r\n", Blocked),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: blocked.example:\r\n\r\n", Blocked),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:0\r\n\r\n", INVALID),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:65536\r\n\r\n", INVALID),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:8x\r\n\r\n", INVALID),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:+80\r\n\r\n", INVALID),
    ("3986 3.2.3", b"GET / HTTP/1.1\r\nHost: open.example:80:80\r\n\r\n", INVALID),
    // Dots and letter case.
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: blocked.example.\r\n\r\n", Blocked),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: blocked.example.:PORT\r\n\r\n", Blocked),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: open.example.\r\n\r\n", Passed("open.example", "/")),
    ("1035 2.3.1", b"GET / HTTP/1.1\r\nHost: blocked.example..\r\n\r\n", INVALID),
    ("1035 2.3.1", b"GET / HTTP/1.1\r\nHost: .blocked.example\r\n\r\n", INVALID),
    ("1035 2.3.1", b"GET / HTTP/1.1\r\nHost: blocked..example\r\n\r\n", INVALID),
    ("1035 2.3.1", b"GET / HTTP/1.1\r\nHost: .\r\n\r\n", INVALID),
    ("3986 6.2.2.1", b"GET / HTTP/1.1\r\nhOsT: BlOcKeD.eXaMpLe\r\n\r\n", Blocked),
    ("3986 6.2.2.1", b"GET / HTTP/1.1\r\nHost: OPEN.Example\r\n\r\n", Passed("open.example", "/")),
    // Bytes that are no host's.
    ("9110 4.2.4", b"GET / HTTP/1.1\r\nHost: user@blocked.example\r\n\r\n", INVALID),
    ("9110 4.2.4", b"GET / HTTP/1.1\r\nHost: user:password@open.example\r\n\r\n", INVALID),
    ("9110 4.2.4", b"GET / HTTP/1.1\r\nHost: open.example:80@blocked.example\r\n\r\n", INVALID),
    ("3986 6.2.2.2", b"GET / HTTP/1.1\r\nHost: %62locked.example\r\n\r\n", INVALID),
    ("3986 6.2.2.2", b"GET / HTTP/1.1\r\nHost: blocked%2eexample\r\n\r\n", INVALID),
    ("3986 6.2.2.2", b"GET / HTTP/1.1\r\nHost: blocked.example%00.open.example\r\n\r\n", INVALID),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: blocked .example\r\n\r\n", INVALID),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: open.example blocked.example\r\n\r\n", INVALID),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: blocked\t.example\r\n\r\n", INVALID),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: blocked.example\0\r\n\r\n", MALFORMED),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: blocked.example\x0b\r\n\r\n", MALFORMED),
    ("9110 5.5", b"GET / HTTP/1.1\r\nHost: blocked.example\x7f\r\n\r\n", MALFORMED),
    ("9110 5.6.3", b"GET / HTTP/1.1\r\nHost:\t blocked.example \t\r\n\r\n", Blocked),
    ("9110 5.6.3", b"GET / HTTP/1.1\r\nHost:\t open.example \t\r\n\r\n", Passed("open.example", "/")),
    ("9110 5.6.3", b"GET / HTTP/1.1\r\nHost: \x85blocked.example\r\n\r\n", INVALID),
    ("9110 5.6.3", b"GET / HTTP/1.1\r\nHost: blocked.example\xa0\r\n\r\n", INVALID),
    ("9112 5.1", b"GET / HTTP/1.1\r\nHost : blocked.example\r\n\r\n", MALFORMED),
    ("9112 5.1", b"GET / HTTP/1.1\r\nHost\t: blocked.example\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 2.2", b"GET / HTTP/1.1\r\n Host: blocked.example\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 2.2", b"GET / HTTP/1.1\r\n\tHost: blocked.example\r\n\r\n", MALFORMED),
    ("9112 5.2", b"GET / HTTP/1.1\r\nHost: blocked\r\n .example\r\n\r\n", MALFORMED),
    ("9112 5.2", b"GET / HTTP/1.1\r\nHost:\r\n blocked.example\r\n\r\n", MALFORMED),
    ("9112 5.2", b"GET / HTTP/1.1\r\nX: y\r\n Host: blocked.example\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: open.example\rHost: blocked.example\r\n\r\n", MALFORMED),
    ("9112 2.2", b"GET / HTTP/1.1\r\nHost: open.example\nHost: blocked.example\r\n\r\n", MALFORMED),
    ("9112 2.2", b"GET / HTTP/1.1\nHost: open.example\n\n", MALFORMED),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: open.example/blocked.example\r\n\r\n", INVALID),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: blocked.example\\open.example\r\n\r\n", INVALID),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: blocked.example?x\r\n\r\n", INVALID),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: blocked.example#x\r\n\r\n", INVALID),
    ("9112 3.2", b"GET / HTTP/1.1\r\nHost: SCHEME://open.example\r\n\r\n", INVALID),
    // Scripts.
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: bl\xc3\xb6cked.example\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: blocked\xe3\x80\x82example\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: blocked\xef\xbc\x8eexample\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: blocked\xef\xbd\xa1example\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: \xef\xbd\x82locked.example\r\n\r\n", INVALID),
    ("5891 5.4", b"GET / HTTP/1.1\r\nHost: xn--mller-kva.example\r\n\r\n", Blocked),
    ("5891 5.4", b"GET / HTTP/1.1\r\nHost: XN--MLLER-KVA.example\r\n\r\n", Blocked),
    ("5891 5.4", b"GET / HTTP/1.1\r\nHost: xn--fiqs8s.example\r\n\r\n", Passed("xn--fiqs8s.example", "/")),
    ("5891 5.4", b"GET / HTTP/1.1\r\nHost: xn--a.example\r\n\r\n", INVALID),
    ("5891 5.4", b"GET / HTTP/1.1\r\nHost: xn--blocked-.example\r\n\r\n", INVALID),
    ("5891 5.4", b"GET / HTTP/1.1\r\nHost: blocked.example.xn--\r\n\r\n", INVALID),
    ("3986 2.3", b"GET / HTTP/1.1\r\nHost: under_score.blocked.example\r\n\r\n", Blocked),
    ("3986 2.3", b"GET / HTTP/1.1\r\nHost: under_score.example\r\n\r\n", Passed("under_score.example", "/")),
    // Addresses.
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", Blocked),
    ("5952 5", b"GET / HTTP/1.1\r\nHost: [::ffff:192.0.2.1]\r\n\r\n", Blocked),
    ("5952 5", b"GET / HTTP/1.1\r\nHost: [::ffff:c000:201]:PORT\r\n\r\n", Blocked),
    ("5952 4", b"GET / HTTP/1.1\r\nHost: [2001:DB8:0:0::1]\r\n\r\n", Blocked),
    ("5952 4", b"GET / HTTP/1.1\r\nHost: [0:0::1]\r\n\r\n", Passed("[::1]", "/")),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 0177.0.0.1\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 2130706433\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 0300.0.2.1\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 192.0.513\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 0xc0.0.2.1\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 3221225985\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 192.0.2.0x1\r\n\r\n", INVALID),
    ("3986 7.4", b"GET / HTTP/1.1\r\nHost: 192.0.2.1.\r\n\r\n", Blocked),
    ("6874 4", b"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: [v1.x]\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: [2001:db8::1\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: [2001:db8::1].\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: 2001:db8::1\r\n\r\n", INVALID),
    ("3986 3.2.2", b"GET / HTTP/1.1\r\nHost: open.example[::1]\r\n\r\n", INVALID),
    // Methods.
    ("9110 9.3.6", b"CONNECT open.example:443 HTTP/1.1\r\nHost: open.example:443\r\n\r\n", Refused(405, "method-not-allowed")),
    ("9110 9.3.6", b"CONNECT blocked.example:443 HTTP/1.1\r\nHost: open.example\r\n\r\n", Refused(405, "method-not-allowed")),
    ("9110 9.3.6", b"CONNECT / HTTP/1.1\r\nHost: open.example\r\n\r\n", Refused(405, "method-not-allowed")),
    ("9110 9.3.8", b"TRACE / HTTP/1.1\r\nHost: open.example\r\n\r\n", Refused(405, "method-not-allowed")),
    ("9110 9.1", b"BREW / HTTP/1.1\r\nHost: blocked.example\r\n\r\n", Blocked),
    ("9110 9.1", b"BREW / HTTP/1.1\r\nHost: open.example\r\n\r\n", Passed("open.example", "/")),
    ("9110 9.1", b"get / HTTP/1.1\r\nHost: blocked.example\r\n\r\n", Blocked),
    ("9110 9.1", b"GE(T / HTTP/1.1\r\nHost: open.example\r\n\r\n", MALFORMED),
    ("9110 7.6.2", b"OPTIONS /x HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: 0\r\n\r\n", Answered(204)),
    ("9110 7.6.2", b"OPTIONS /x HTTP/1.1\r\nHost: blocked.example\r\nMax-Forwards: 0\r\n\r\n", Blocked),
    ("9110 7.6.2", b"OPTIONS /x HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: 1\r\n\r\n", Passed("open.example", "/x")),
    ("9110 7.6.2", b"OPTIONS /x HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: +1\r\n\r\n", MALFORMED),
    ("9110 7.6.2", b"OPTIONS /x HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: -1\r\n\r\n", MALFORMED),
    ("9110 7.6.2", b"OPTIONS /x HTTP/1.1\r\nHost: open.example\r\nMax-Forwards: 1\r\nMax-Forwards: 0\r\n\r\n", MALFORMED),
    ("9110 7.6.3", b"GET / HTTP/1.1\r\nHost: open.example\r\nVia: 1.0 x, 1.1 edge-under-test (y)\r\n\r\n", LOOP),
    ("9110 7.6.3", b"GET / HTTP/1.1\r\nHost: open.example\r\nVia: 1.1 edge-under-tests\r\n\r\n", Passed("open.example", "/")),
    // Fields that name a host to other software.
    ("7239 8.1", b"GET / HTTP/1.1\r\nHost: blocked.example\r\nX-Forwarded-Host: open.example\r\nX-Host: open.example\r\n\r\n", Blocked),
    ("7239 8.1", b"GET / HTTP/1.1\r\nHost: blocked.example\r\nForwarded: host=open.example\r\nX-Original-URL: /\r\n\r\n", Blocked),
    ("9110 9.3", b"POST / HTTP/1.1\r\nHost: blocked.example\r\nX-HTTP-Method-Override: OPTIONS\r\nContent-Length: 0\r\n\r\n", Blocked),
    ("9110 7.6.1", b"GET / HTTP/1.1\r\nHost: blocked.example\r\nConnection: host\r\n\r\n", MALFORMED),
    ("9110 7.6.1", b"GET / HTTP/1.1\r\nHost: open.example\r\nConnection: close, content-length\r\n\r\n", MALFORMED),
    ("9110 7.6.1", b"GET / HTTP/1.1\r\nHost: open.example\r\nConnection: x-forwarded-for\r\n\r\n", MALFORMED),
    ("9110 7.6.1", b"GET / HTTP/1.1\r\nHost: open.example\r\nConnection: :authority\r\n\r\n", MALFORMED),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: open.example\r\nX_Forwarded_Host: blocked.example\r\n\r\n", MALFORMED),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: open.example\r\nX_Original_Url: /x\r\n\r\n", MALFORMED),
    ("9110 5.1", b"GET / HTTP/1.1\r\nHost: open.example\r\nX_Rewrite_Url: /x\r\n\r\n", MALFORMED),
];

pub const RECORDED: [&str; 5] =
    ["blocked.example", "192.0.2.1", "[2001:db8::1]", "m\u{fc}ller.example", "*.blocked.example"];

pub fn edge_before(origin: &Origin) -> Edge {
    let records: String = RECORDED.iter().enumerate().map(|(at, host)| record(&format!("r-{at}"), host)).collect();
    Setup::new(origin.address()).records(records).start()
}

/// A row as it is sent on a listener.
fn sent_on(scheme: &str, row: &[u8]) -> Vec<u8> {
    let (port, other) = if scheme == "http" { ("80", "https") } else { ("443", "http") };
    let replace = |bytes: Vec<u8>, from: &str, to: &str| {
        let (mut replaced, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some(at) = rest.windows(from.len()).position(|part| part == from.as_bytes()) {
            replaced.extend_from_slice(&rest[..at]);
            replaced.extend_from_slice(to.as_bytes());
            rest = &rest[at + from.len()..];
        }
        replaced.extend_from_slice(rest);
        replaced
    };
    replace(replace(replace(row.to_vec(), "SCHEME", scheme), "OTHER", other), "PORT", port)
}

fn check_row(scheme: &str, row: &Row, origin: &Origin, connect: &dyn Fn() -> Connection) -> f64 {
    let (section, bytes, expected) = row;
    let what = format!("{scheme}, RFC {section}: {} {expected:?}", bytes.escape_ascii());
    let before = origin.requests().len();
    let mut connection = connect();
    let response = connection.send(sent_on(scheme, bytes)).read_response();
    let (status, arrives) = match expected {
        Refused(status, _) | Answered(status) => (*status, false),
        Blocked => (403, false),
        Passed(..) => (200, true),
    };
    assert_eq!(response.status, status, "{what}");
    let requests = origin.requests();
    assert_eq!(requests.len() - before, usize::from(arrives), "{what}: at the origin");
    if let Passed(host, target) = expected {
        let request = &requests[before];
        assert_eq!((request.header("host"), request.target.as_str()), (Some(*host), *target), "{what}");
    }
    assert_eq!(response.header("proxy-status").is_some(), matches!(expected, Refused(..) | Blocked), "{what}");
    if matches!(expected, Refused(status, _) if *status != 508) {
        assert_eq!(response.header("connection"), Some("close"), "{what}");
        assert!(connection.is_closed(), "{what}: the connection goes on");
        assert!(connection.take_buffered().is_empty(), "{what}: more was answered");
        return 1.0;
    }
    assert_eq!(response.header("connection"), None, "{what}");
    assert_eq!(connection.get("open.example", "/next").status, 200, "{what}: the connection does not go on");
    2.0
}

fn check_http1(scheme: &str, origin: &Origin, edge: &Edge, connect: &dyn Fn() -> Connection) {
    let mut before = edge.metrics();
    for row in HTTP1 {
        let what = format!("{scheme}: {}", row.1.escape_ascii());
        let begun = check_row(scheme, row, origin, connect);
        let metrics = edge.settled(&what);
        let started = |metrics: &Metrics| metrics.sum("sluis_requests_started_total", &[]);
        assert_eq!(started(&metrics) - started(&before), begun, "{what}");
        let all = |metrics: &Metrics| metrics.sum("sluis_rejected_total", &[]);
        let counted = if let Refused(_, reason) = row.2 {
            assert_eq!(metrics.rejected(reason) - before.rejected(reason), 1.0, "{what}: {reason}");
            1.0
        } else {
            0.0
        };
        assert_eq!(all(&metrics) - all(&before), counted, "{what}");
        before = metrics;
    }
}

#[test]
fn each_way_to_name_a_host_in_the_clear() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    check_http1("http", &origin, &edge, &|| edge.http());
}

#[test]
fn each_way_to_name_a_host_over_tls() {
    let origin = Origin::hello();
    let edge = edge_before(&origin);
    let address = edge.address("https");
    check_http1("https", &origin, &edge, &|| Connection::tls(address, None));
}

#[test]
fn fields_that_name_another_client_or_host_do_not_pass_from_an_untrusted_peer() {
    let origin = Origin::hello();
    let head = "GET / HTTP/1.1\r\nHost: open.example\r\nX-Forwarded-For: 203.0.113.1\r\nx-forwarded-for: 203.0.113.2\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: blocked.example\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Server: x\r\n\
                Forwarded: for=203.0.113.1;host=blocked.example\r\nX-Real-IP: 203.0.113.1\r\nX-Host: blocked.example\r\n\
                X-Original-Host: blocked.example\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\r\n";
    let ours = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "open.example")];
    let foreign = [
        "x-forwarded-port",
        "x-forwarded-server",
        "forwarded",
        "x-real-ip",
        "x-host",
        "x-original-host",
        "x-original-url",
        "x-rewrite-url",
    ];
    for networks in ["", "192.0.2.0/24", "::1/128"] {
        let trusted = format!("trusted_proxies = {:?}", networks.split_terminator(' ').collect::<Vec<_>>());
        let edge = Setup::new(origin.address()).without_tls().server(&trusted).start();
        let before = origin.requests().len();
        assert_eq!(edge.http().send(head).read_response().status, 200);
        let request = &origin.requests()[before];
        for (name, value) in ours {
            assert_eq!(request.all(name), [value], "{networks}: {name}");
        }
        for name in foreign {
            assert_eq!(request.all(name), [""; 0], "{networks}: {name}");
        }
    }
    let edge = Setup::new(origin.address()).without_tls().server("trusted_proxies = [\"127.0.0.1/32\"]").start();
    assert_eq!(edge.http().send(head).read_response().status, 200);
    let request = origin.requests().pop().unwrap();
    assert_eq!(request.all("x-forwarded-for"), ["203.0.113.1, 203.0.113.2, 127.0.0.1"]);
    assert_eq!((request.header("x-forwarded-proto"), request.header("x-forwarded-port")), (Some("https"), Some("1")));
    assert_eq!(
        request.header("host"),
        Some("open.example"),
        "what a trusted peer says does not change the host either"
    );
}
