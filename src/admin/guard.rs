//! Who may look, and who may change something: a person or a program, not a web page that a browser happens to show.
//!
//! Inside: the checks on peer, target, Host and Origin before an answer is made. Kept out: which path needs which.
//! A page from elsewhere cannot forge Origin, and a name that was bound to a loopback address (DNS rebinding) shows in
//! Host; both are checked on the canonical host, so that letter case and port are no way around it.

use std::net::IpAddr;

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::host::{Authority, HostName};

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    /// From another machine.
    #[error("Changes are for clients on this machine: connect to the admin endpoint's loopback address.")]
    NotLoopback,
    /// The Host is a name.
    #[error("This needs a Host that is an IP address or localhost, so that no web page of another site gets at it.")]
    HostIsName,
    /// A web page of another site.
    #[error("Changes are refused to web pages of another site: Origin must be absent or this endpoint itself.")]
    ForeignOrigin,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a target in absolute form and the Host, where there are both, name the same (RFC 9112 section 3.2.2).
pub(super) fn names_one_host(target: &Uri, headers: &HeaderMap) -> bool {
    let (Some(target), Some(host)) = (target.authority(), headers.get(header::HOST)) else { return true };
    match (Authority::parse(target.as_str().as_bytes()), Authority::parse(host.as_bytes())) {
        (Ok(target), Ok(host)) => is_same(&target, &host),
        _ => false,
    }
}

/// Whether this request may see more than health and metrics: what its target names, else its Host, is local. A
/// browser always sends a Host, so a request without one (HTTP/1.0) is no page's.
pub(super) fn may_see(target: &Uri, headers: &HeaderMap) -> Result<(), Forbidden> {
    let named = match (target.authority(), single(headers, &header::HOST)) {
        (_, Err(MoreThanOne)) => return Err(Forbidden::HostIsName),
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Ok(Some(host))) => host.as_bytes(),
        (None, Ok(None)) => return Ok(()),
    };
    let is_local = Authority::parse(named).is_ok_and(|authority| is_local(&authority.host));
    if is_local { Ok(()) } else { Err(Forbidden::HostIsName) }
}

/// Whether this request may change something.
pub(super) fn may_change(peer: IpAddr, headers: &HeaderMap) -> Result<(), Forbidden> {
    if !peer.to_canonical().is_loopback() {
        return Err(Forbidden::NotLoopback);
    }
    let host = single(headers, &header::HOST).ok().flatten().and_then(|host| Authority::parse(host.as_bytes()).ok());
    let host = host.filter(|authority| is_local(&authority.host)).ok_or(Forbidden::HostIsName)?;
    let is_own = match single(headers, &header::ORIGIN) {
        Ok(None) => true,
        Ok(Some(origin)) => is_own_origin(origin, &host),
        Err(MoreThanOne) => false,
    };
    if !is_own || is_cross_site(headers) {
        return Err(Forbidden::ForeignOrigin);
    }
    Ok(())
}

fn is_local(host: &HostName) -> bool {
    host.address().is_some() || HostName::parse(b"localhost").is_ok_and(|local| local == *host)
}

struct MoreThanOne;

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, MoreThanOne> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(MoreThanOne) } else { Ok(first) }
}

/// The admin endpoint speaks plain HTTP, so its own origin has that scheme (RFC 6454 section 4). `null` is foreign.
fn is_own_origin(origin: &HeaderValue, host: &Authority) -> bool {
    let authority = origin.as_bytes().strip_prefix(b"http://").and_then(|rest| Authority::parse(rest).ok());
    authority.is_some_and(|own| is_same(&own, host))
}

fn is_same(one: &Authority, other: &Authority) -> bool {
    one.host == other.host && one.port.unwrap_or(80) == other.port.unwrap_or(80)
}

/// What browsers of today say by themselves (Fetch Metadata).
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_SITE).iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn checked(peer: &str, fields: &[(&'static str, &'static str)]) -> Result<(), Forbidden> {
        may_change(peer.parse().expect("an address"), &headers(fields))
    }

    #[test]
    fn programs_and_own_pages_on_this_machine_may_change() {
        for (peer, fields) in [
            ("127.0.0.1", &[("host", "127.0.0.1:9180")][..]),
            ("127.0.0.2", &[("host", "localhost:9180")]),
            ("::1", &[("host", "[::1]:9180")]),
            ("::ffff:127.0.0.1", &[("host", "LOCALHOST")]),
            ("127.0.0.1", &[("host", "localhost:9180"), ("origin", "http://localhost:9180")]),
            ("127.0.0.1", &[("host", "127.0.0.1"), ("origin", "http://127.0.0.1:80")]),
            ("127.0.0.1", &[("host", "127.0.0.1:9180"), ("sec-fetch-site", "same-origin")]),
            ("127.0.0.1", &[("host", "127.0.0.1:9180"), ("sec-fetch-site", "none")]),
        ] {
            assert_eq!(checked(peer, fields), Ok(()), "{peer} {fields:?}");
        }
    }

    #[test]
    fn a_peer_on_another_machine_may_not() {
        for peer in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0"] {
            assert_eq!(checked(peer, &[("host", "127.0.0.1:9180")]), Err(Forbidden::NotLoopback), "{peer}");
        }
    }

    #[test]
    fn a_host_that_is_a_name_may_not() {
        for fields in [
            &[][..],
            &[("host", "")],
            &[("host", "rebound.example:9180")],
            &[("host", "localhost.example")],
            &[("host", "127.0.0.1.rebound.example")],
            &[("host", "127.0.0.1:port")],
            &[("host", "127.0.0.1@rebound.example")],
            &[("host", "127.0.0.1"), ("host", "127.0.0.1")],
        ] {
            assert_eq!(checked("127.0.0.1", fields), Err(Forbidden::HostIsName), "{fields:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_may_not() {
        for (name, value) in [
            ("origin", "https://attacker.example"),
            ("origin", "null"),
            ("origin", ""),
            ("origin", "http://127.0.0.1:8080"),
            ("origin", "http://localhost:9180"),
            ("origin", "https://127.0.0.1:9180"),
            ("origin", "http://127.0.0.1:9180.attacker.example"),
            ("origin", "http://127.0.0.1:9180/"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let fields = [("host", "127.0.0.1:9180"), (name, value)];
            assert_eq!(checked("127.0.0.1", &fields), Err(Forbidden::ForeignOrigin), "{name}: {value}");
        }
    }

    #[test]
    fn who_names_this_machine_by_address_or_localhost_may_see() {
        for (target, host, may) in [
            ("/", Some("127.0.0.1:9180"), true),
            ("/", Some("[::1]:9180"), true),
            ("/", Some("192.0.2.1"), true),
            ("/", Some("LocalHost.:9180"), true),
            ("/", None, true),
            ("http://127.0.0.1/", None, true),
            ("http://rebound.example/", None, false),
            ("http://127.0.0.1@rebound.example/", None, false),
            ("/", Some(""), false),
            ("/", Some("rebound.example"), false),
            ("/", Some("localhost.rebound.example"), false),
            ("/", Some("127.0.0.1.rebound.example:9180"), false),
            ("/", Some("127.0.0.1@rebound.example"), false),
            ("/", Some("127.0.0.1, rebound.example"), false),
            ("/", Some("::1"), false),
        ] {
            let fields: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            let seen = may_see(&Uri::from_static(target), &headers(&fields));
            assert_eq!(seen.is_ok(), may, "{target} {host:?}");
        }
        let two = headers(&[("host", "127.0.0.1"), ("host", "127.0.0.1")]);
        assert_eq!(may_see(&Uri::from_static("/"), &two), Err(Forbidden::HostIsName));
    }

    #[test]
    fn a_target_that_names_a_host_names_that_of_the_host_field() {
        for (target, host, agree) in [
            ("/", "rebound.example", true),
            ("http://127.0.0.1:9180/", "127.0.0.1:9180", true),
            ("http://LOCALHOST./", "localhost:80", true),
            ("http://rebound.example/", "127.0.0.1", false),
            ("http://127.0.0.1/", "rebound.example", false),
            ("http://127.0.0.1:9180/", "127.0.0.1:9181", false),
            ("http://127.0.0.1@rebound.example/", "127.0.0.1", false),
            ("http://rebound.example@127.0.0.1/", "127.0.0.1", false),
            ("http://127.0.0.1/", "", false),
        ] {
            let agreed = names_one_host(&Uri::from_static(target), &headers(&[("host", host)]));
            assert_eq!(agreed, agree, "{target} {host}");
        }
    }
}
