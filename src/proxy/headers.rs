//! What happens to header fields on their way through: pure functions on a header map.
//!
//! Inside: hop-by-hop fields, forwarding fields, Via, the request id. Kept out: framing (hyper and the gate) and what
//! an upstream's response may not have (`forward.rs`).

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, TE, UPGRADE, VIA};
use http::{HeaderMap, Version};
use ipnet::IpNet;

use super::context::Client;
use super::gate::field::is_token;
use super::target::Target;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The name under which a request is known on both sides.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether a field belongs to one connection, whether or not Connection names it (RFC 9110 section 7.6.1), or is settled
/// here.
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "expect"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// Whether a field speaks of where a request comes from, or tells other software another host, path or client: from a client
/// it would speak past the verdict.
pub fn is_forwarding(name: &str) -> bool {
    matches!(name, "forwarded" | "x-host" | "x-original-host" | "x-real-ip" | "x-original-url" | "x-rewrite-url")
        || name.starts_with("x-forwarded-")
}

/// Rewrites a request's fields for the upstream. `upgrade` is the token of an upgrade that is passed on.
pub fn rewrite_request(
    fields: &mut HeaderMap,
    target: &Target,
    client: &Client,
    trusted_proxies: &[IpNet],
    upgrade: Option<HeaderValue>,
) {
    let accepts_trailers = accepts_trailers(fields);
    let is_trusted = trusted_proxies.iter().any(|network| network.contains(&client.peer));
    remove_named_by_connection(fields);
    remove_where(fields, |name| is_hop_by_hop(name) || (!is_trusted && is_forwarding(name)));
    if let Some(token) = upgrade {
        fields.insert(UPGRADE, token);
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if accepts_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    join_cookies(fields);
    let host = host_field(target, fields.get(HOST));
    add_forwarding(fields, &host, client);
    fields.insert(HOST, host);
}

/// Removes the fields that belong to one connection and those that Connection names.
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
    remove_named_by_connection(fields);
    remove_where(fields, is_hop_by_hop);
}

fn remove_named_by_connection(fields: &mut HeaderMap) {
    let mut line = 0;
    // Each line is read once: a long list of names must not cost more than its length.
    while let Some(value) = fields.get_all(CONNECTION).iter().nth(line).cloned() {
        line += 1;
        let tokens = value.as_bytes().split(|byte| *byte == b',');
        let names = tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok());
        for name in names.filter(|name| *name != CONNECTION) {
            fields.remove(name);
        }
    }
}

/// Removes the fields whose names are like that. Most heads have few of them or none, so that one pass over the names costs
/// a fifth of looking each of them up.
fn remove_where(fields: &mut HeaderMap, is_removed: impl Fn(&str) -> bool) {
    while let Some(name) = fields.keys().find(|name| is_removed(name.as_str())).cloned() {
        fields.remove(name);
    }
}

/// HTTP/2 lets a client cut its Cookie field up; HTTP/1.1 knows one such field alone (RFC 9113 section 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(COOKIE).iter();
    if crumbs.nth(1).is_none() {
        return;
    }
    let mut text = BytesMut::new();
    for crumb in fields.get_all(COOKIE) {
        if !text.is_empty() {
            text.put_slice(b"; ");
        }
        text.put_slice(crumb.as_bytes());
    }
    fields.insert(COOKIE, value_of(&text));
}

fn accepts_trailers(fields: &HeaderMap) -> bool {
    let mut tokens = fields.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The Host field: the canonical host, with the port where it is not the scheme's default; as it was sent where it was
/// sent like that.
fn host_field(target: &Target, sent: Option<&HeaderValue>) -> HeaderValue {
    let host = target.host.as_bytes();
    match (target.port, sent) {
        (None, Some(sent)) if sent.as_bytes() == host => return sent.clone(),
        (None, _) => return value_of(host),
        (Some(_), _) => {}
    }
    let mut text = BytesMut::with_capacity(host.len() + 6);
    text.put_slice(host);
    if let Some(port) = target.port {
        text.put_u8(b':');
        put_decimal(&mut text, port.into());
    }
    value_of(&text)
}

/// Appends a number in decimal digits.
pub fn put_decimal(text: &mut impl BufMut, number: u64) {
    let mut digits = [0; 20];
    let (mut start, mut left) = (digits.len(), number);
    for place in digits.iter_mut().rev() {
        // A digit fits a byte.
        *place = b'0' + u8::try_from(left % 10).unwrap_or_default();
        start -= 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.put_slice(digits.get(start..).unwrap_or_default());
}

/// A value of bytes that are visible ASCII by construction.
fn value_of(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Adds the peer to `X-Forwarded-For`, and sets `-Proto` and `-Host` where they are not there: what an untrusted peer sent of
/// them is gone by now, what a trusted one sent is kept.
fn add_forwarding(fields: &mut HeaderMap, host: &HeaderValue, client: &Client) {
    let chain = forwarded_for(fields, client.peer);
    fields.insert(X_FORWARDED_FOR, chain);
    fields.entry(X_FORWARDED_PROTO).or_insert_with(|| HeaderValue::from_static(client.scheme()));
    fields.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
}

fn forwarded_for(fields: &HeaderMap, peer: IpAddr) -> HeaderValue {
    let mut chain = BytesMut::with_capacity(48);
    for value in fields.get_all(X_FORWARDED_FOR) {
        chain.put_slice(value.as_bytes());
        chain.put_slice(b", ");
    }
    put_address(&mut chain, peer);
    value_of(&chain)
}

/// Appends an address as `X-Forwarded-For` has it.
pub fn put_address(text: &mut impl BufMut, address: IpAddr) {
    use std::io::Write as _;
    match address {
        // Formatting takes several times as long.
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                text.put_slice(if place == 0 { b"" } else { b"." });
                put_decimal(text, octet.into());
            }
        }
        // Writing an address into a growing buffer cannot fail.
        IpAddr::V6(address) => _ = write!(text.writer(), "{address}"),
    }
}

/// Appends our pseudonym to Via (RFC 9110 section 7.6.3), with the version in which the message was received.
pub fn append_via(fields: &mut HeaderMap, received: Version, server_name: &str) {
    let version = match received {
        Version::HTTP_10 => "1.0 ",
        Version::HTTP_2 => "2 ",
        _ => "1.1 ",
    };
    // The text becomes the value as it is; one that was copied would be allocated twice.
    let value = HeaderValue::try_from([version, server_name].concat());
    fields.append(VIA, value.unwrap_or_else(|_| HeaderValue::from_static("")));
}

/// Whether our own pseudonym stands in Via: the request has been here before.
pub fn has_been_here(fields: &HeaderMap, server_name: &str) -> bool {
    fields.get_all(VIA).iter().any(|value| names_server(value.as_bytes(), server_name))
}

/// Whether a value of Via has an entry of that pseudonym.
pub fn names_server(via: &[u8], server_name: &str) -> bool {
    via.split(|byte| *byte == b',').any(|entry| {
        let mut words = entry.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(server_name.as_bytes()))
    })
}

/// The longest request id that is kept.
const REQUEST_ID_BYTES: usize = 128;

/// Keeps the client's request id where it is at most 128 of `[A-Za-z0-9._+/=-]`, else makes one out of 128 random bits.
pub fn settle_request_id(fields: &mut HeaderMap, random: impl FnOnce() -> u128) -> HeaderValue {
    let mut sent = fields.get_all(X_REQUEST_ID).iter();
    let id = match (sent.next(), sent.next()) {
        (Some(id), None) if is_request_id(id.as_bytes()) => return id.clone(),
        _ => value_of(&made_request_id(random())),
    };
    fields.insert(X_REQUEST_ID, id.clone());
    id
}

/// Whether a client's request id is kept: at most 128 of `[A-Za-z0-9._+/=-]`.
pub fn is_request_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+/=-".contains(byte);
    (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.iter().all(allowed)
}

/// A request id out of 128 random bits.
pub fn made_request_id(bits: u128) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// How the names of protocols begin that a tunnel would carry requests for any host in, drafts of them included.
const CARRIERS: [&[u8]; 6] = [b"h2", b"h3", b"http", b"ptth", b"spdy", b"tls"];

/// The token of an upgrade that the client asks for and that can be passed on: HTTP/1.1, named by Connection, one
/// protocol (RFC 9110 section 7.8), not one that carries further requests behind the verdict (HTTP itself, h2c of RFC 9113
/// section 3.1, TLS of RFC 2817), whatever its version, and a WebSocket only with its handshake.
pub fn upgrade_token(version: Version, fields: &HeaderMap) -> Option<HeaderValue> {
    if version != Version::HTTP_11 {
        return None;
    }
    let mut named = fields.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if !named.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
        return None;
    }
    let mut values = fields.get_all(UPGRADE).iter();
    let (Some(token), None) = (values.next(), values.next()) else { return None };
    let mut parts = token.as_bytes().trim_ascii().splitn(2, |byte| *byte == b'/');
    let name = parts.next().unwrap_or_default();
    let carries_requests = CARRIERS
        .iter()
        .any(|carrier| name.get(..carrier.len()).is_some_and(|start| start.eq_ignore_ascii_case(carrier)));
    let is_well_formed = is_token(name) && parts.next().is_none_or(is_token);
    let is_passed =
        is_well_formed && !carries_requests && (!name.eq_ignore_ascii_case(b"websocket") || is_websocket(fields));
    is_passed.then(|| token.clone())
}

/// Whether a request has what its handshake needs (RFC 6455 section 4.2.1): an origin that looks at less than a whole
/// handshake would open a tunnel for a request that is none.
fn is_websocket(fields: &HeaderMap) -> bool {
    let only = |name: &str| {
        let mut values = fields.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
    };
    let is_key = |key: &[u8]| key.len() == 24 && key.ends_with(b"==");
    only("sec-websocket-version") == Some(b"13") && only("sec-websocket-key").is_some_and(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    #[test]
    fn fields_of_one_connection_are_removed_and_so_is_what_connection_names() {
        let mut map = fields(&[
            ("connection", "close, X-Mine"),
            ("connection", " x-other"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("http2-settings", "AAMA"),
            ("trailer", "x-sum"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut map);
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "trailer"]);
    }

    #[test]
    fn what_connection_names_is_removed_in_one_pass_over_it() {
        let many = 2_000;
        let mut map = HeaderMap::new();
        let mut named = "x,".repeat(200_000);
        for number in 0..many {
            let name = HeaderName::from_bytes(format!("n-{number}").as_bytes()).expect("a name");
            named.push_str(name.as_str());
            named.push(',');
            map.insert(name, HeaderValue::from_static("1"));
        }
        map.insert(CONNECTION, named.parse().expect("a value"));
        map.append(CONNECTION, "connection, close, y".parse().expect("a value"));
        map.insert("y", HeaderValue::from_static("1"));
        // A pass for each name would take minutes.
        remove_hop_by_hop(&mut map);
        assert!(map.is_empty(), "{map:?}");
    }

    #[test]
    fn crumbs_of_a_cookie_become_one_field() {
        for (sent, joined) in [
            (&[][..], &[][..]),
            (&[("cookie", "a=1")], &["a=1"]),
            (&[("cookie", "a=1; b=2"), ("x", "y"), ("cookie", "c=3"), ("cookie", "d")], &["a=1; b=2; c=3; d"]),
        ] {
            let mut map = fields(sent);
            join_cookies(&mut map);
            let values: Vec<_> = map.get_all(COOKIE).iter().collect();
            assert_eq!(values, joined);
        }
    }

    #[test]
    fn request_id_is_kept_or_made() {
        for (sent, kept) in
            [("abc-1.2_3+4/5=", true), ("", false), ("a b", false), ("<x>", false), ("é", false), ("a\"b", false)]
        {
            let mut map = HeaderMap::new();
            map.insert(X_REQUEST_ID, HeaderValue::from_bytes(sent.as_bytes()).expect("bytes of a value"));
            let id = settle_request_id(&mut map, || 0xab);
            let expected = if kept { sent } else { "000000000000000000000000000000ab" };
            assert_eq!(id.as_bytes(), expected.as_bytes(), "{sent}");
            assert_eq!(map[X_REQUEST_ID], id);
        }
        let long = "a".repeat(129);
        let mut map = fields(&[("x-request-id", &long)]);
        assert_eq!(settle_request_id(&mut map, || 1).len(), 32);
        let mut twice = fields(&[("x-request-id", "one"), ("x-request-id", "two")]);
        assert_eq!(settle_request_id(&mut twice, || 1).len(), 32);
        assert_eq!(twice.get_all(X_REQUEST_ID).iter().count(), 1);
    }

    #[test]
    fn own_pseudonym_in_via_is_found_and_others_are_not() {
        for (via, expected) in [
            ("1.1 edge-1", true),
            ("1.0 other, 1.1 EDGE-1 (sluis)", true),
            ("HTTP/1.1 edge-1", true),
            ("1.1 edge-10", false),
            ("1.1 other (edge-1)", false),
            ("edge-1", false),
            ("", false),
        ] {
            assert_eq!(has_been_here(&fields(&[("via", via)]), "edge-1"), expected, "{via}");
        }
    }

    #[test]
    fn via_is_appended_with_the_version_received() {
        let mut map = fields(&[("via", "1.0 first")]);
        append_via(&mut map, Version::HTTP_2, "edge-1");
        let all: Vec<_> = map.get_all(VIA).iter().collect();
        assert_eq!(all, ["1.0 first", "2 edge-1"]);
    }

    #[test]
    fn only_a_single_token_over_http_1_1_is_an_upgrade() {
        let asked = |version, lines: &[(&'static str, &str)]| upgrade_token(version, &fields(lines)).is_some();
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        let asking = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        let websocket = [asking[0], asking[1], key, version];
        assert!(asked(Version::HTTP_11, &websocket));
        assert!(!asked(Version::HTTP_10, &websocket));
        assert!(!asked(Version::HTTP_2, &websocket));
        for handshake in [
            &[key][..],
            &[version],
            &[key, ("sec-websocket-version", "12")],
            &[key, version, version],
            &[key, key, version],
            &[("sec-websocket-key", "short"), version],
        ] {
            assert!(!asked(Version::HTTP_11, &[&asking, handshake].concat()), "RFC 6455 section 4.2.1: {handshake:?}");
        }
        assert!(asked(Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "other")]));
        assert!(!asked(Version::HTTP_11, &[("upgrade", "websocket")]));
        assert!(!asked(Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!asked(Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "h2c, websocket")]));
        for token in [
            "H2C/1", "h2", "h2c-14", "SPDY/3.1", "HTTP/2.0", "TLS/1.0", "\"h2c\"", "h2c;x", "", "/1", "a/", "a/b/c",
            "a b",
        ] {
            assert!(!asked(Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", token)]), "{token}");
        }
        for token in ["tcp", "h", "xh2c"] {
            assert!(asked(Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", token)]), "{token}");
        }
        assert!(!asked(Version::HTTP_11, &[("connection", "upgrade")]));
    }

    #[test]
    fn ports_are_written_in_decimal() {
        for port in [1, 80, 8080, 10_000, 65_535] {
            let mut text = BytesMut::new();
            put_decimal(&mut text, port);
            assert_eq!(text, port.to_string().as_bytes());
        }
    }
}
