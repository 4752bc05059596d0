//! The addresses that the program accepts on: listeners, admin, metrics.
//!
//! Inside: each address by itself, and all of them together, since no two may want the same one. Kept out:
//! binding them, and loading certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use crate::proxy::{ListenerConfig, ListenerTlsConfig, SniMismatch};
use crate::tls::config::{Config, TlsVersion};

use super::check::Check;
use super::raw::{ListenerTls, Raw, Text};
use super::values;

/// Where the admin endpoint is unless the configuration says otherwise.
pub(super) const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

/// In place of an address that is wrong; it overlaps with none.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// All addresses, checked.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) listeners: Vec<ListenerConfig>,
    pub(super) admin: SocketAddr,
    pub(super) metrics: Option<SocketAddr>,
}

/// Checks every address by itself and against the others.
pub(super) fn addresses(check: Check<'_>, raw: &Raw<'_>) -> Addresses {
    let mut taken = Taken { check, seen: Vec::new() };
    let mut listeners = Vec::new();
    for listener in &raw.listeners {
        let name = check.name("listener", &listener.name);
        let key = format!("listener.{name}.address");
        let tls = listener.tls.as_ref().map(|tls| listener_tls(check, tls));
        // What is wrong with an address or with TLS refuses the whole document; its certificates are still looked at.
        let address = taken.address(&key, listener.address.as_ref()).unwrap_or(UNKNOWN);
        listeners.push(ListenerConfig { name, address, tls: tls.flatten() });
    }
    if raw.listeners.is_empty() {
        check.error(&(0..0), "there is no listener; add [listener.http] with address = \"0.0.0.0:8080\"");
    }
    let metrics = taken.address("metrics.address", raw.metrics_address.as_ref());
    let admin = match &raw.admin_address {
        Some(text) => taken.address("admin.address", Some(text)),
        None => taken.default_admin(),
    };
    if let (Some(admin), Some(text)) = (admin, &raw.admin_address)
        && !admin.ip().is_loopback()
    {
        let message = "`admin.address` is not loopback: everyone who reaches it reads decisions and status; \
                       for scrapers and load balancers there is [metrics]";
        check.warning(&text.span, message);
    }
    Addresses { listeners, admin: admin.unwrap_or(ADMIN_DEFAULT), metrics }
}

/// The addresses that were seen, so that the next one can be held against them.
struct Taken<'d> {
    check: Check<'d>,
    seen: Vec<(String, SocketAddr, Range<usize>)>,
}

impl Taken<'_> {
    fn address(&mut self, key: &str, text: Option<&Text<'_>>) -> Option<SocketAddr> {
        let address = self.check.value(key, text, values::socket_address)?;
        let span = text?.span.clone();
        if let Some((other, taken, place)) = self.seen.iter().find(|(_, taken, _)| values::overlap(taken, &address)) {
            let line = self.check.line(place);
            let message =
                format!("`{key}`: {address} is taken by `{other}` ({taken}, line {line}); choose another port");
            self.check.error(&span, message);
        }
        self.seen.push((key.to_owned(), address, span));
        Some(address)
    }

    /// The default stands nowhere in the document: the address that takes it is the place of the finding.
    fn default_admin(&self) -> Option<SocketAddr> {
        if let Some((other, _, place)) = self.seen.iter().find(|(_, taken, _)| values::overlap(taken, &ADMIN_DEFAULT)) {
            let message =
                format!("`{other}` takes {ADMIN_DEFAULT}, the default of `admin.address`; change one of them");
            self.check.error(place, message);
        }
        Some(ADMIN_DEFAULT)
    }
}

fn listener_tls(check: Check<'_>, raw: &ListenerTls<'_>) -> Option<ListenerTlsConfig> {
    let default = check.value("tls.default", raw.default.as_ref(), certificate_name);
    let min_version = match raw.min_version.as_ref().map(|found| found.value) {
        Some("1.3") => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let sni_mismatch = match raw.sni_mismatch.as_ref().map(|found| found.value) {
        Some("reject") => SniMismatch::Reject,
        Some("allow") => SniMismatch::Allow,
        _ => SniMismatch::Certificate,
    };
    let certificates = check.path(raw.certificates.as_ref())?;
    let client_ca = check.path(raw.client_ca.as_ref());
    Some(ListenerTlsConfig { tls: Config { certificates, default, min_version, client_ca }, sni_mismatch })
}

fn certificate_name(text: &str) -> Result<String, String> {
    if text.contains(['/', '\\']) || text.ends_with(".crt") || text.ends_with(".key") {
        return Err(format!("\"{text}\" is a file; expected the NAME of NAME.crt and NAME.key in `tls.certificates`"));
    }
    Ok(text.to_owned())
}
