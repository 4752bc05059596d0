//! Whether the host of a request belongs to the TLS connection that it came by.
//!
//! Inside: comparing it with the SNI and the certificate's names. Kept out: the verdict on both.

use crate::host::HostName;
use crate::telemetry::outcome::Rejection;

use super::SniMismatch;
use super::context::{Client, ClientTls};

/// Whether the host goes with the TLS connection that it came by (RFC 9110 section 7.4).
///
/// # Errors
/// [`Rejection::SniMismatch`] where it does not.
pub fn check(client: &Client, host: &HostName) -> Result<(), Rejection> {
    let Some(ClientTls { sni: Some(sni), sni_mismatch, certificate_names }) = client.tls.as_deref() else {
        return Ok(());
    };
    let goes_together = match sni_mismatch {
        SniMismatch::Allow => true,
        SniMismatch::Reject => sni == host,
        SniMismatch::Certificate => sni == host || covers(certificate_names, host),
    };
    if goes_together { Ok(()) } else { Err(Rejection::SniMismatch) }
}

/// Whether one of a certificate's names is the host, or its parent with a wildcard (RFC 9525 section 6.3).
fn covers(names: &[Box<str>], host: &HostName) -> bool {
    let parent = host.as_str().split_once('.').map(|(_, parent)| parent).filter(|_| host.address().is_none());
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(wildcard) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(wildcard)),
        None => name.eq_ignore_ascii_case(host.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_covers_its_names_and_one_label_below_a_wildcard() {
        let names: [Box<str>; 3] = ["Shop.example".into(), "*.edge.example".into(), "192.0.2.1".into()];
        for (host, expected) in [
            ("shop.example", true),
            ("www.shop.example", false),
            ("a.edge.example", true),
            ("edge.example", false),
            ("b.a.edge.example", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            let name = HostName::parse(host.as_bytes()).expect("a host");
            assert_eq!(covers(&names, &name), expected, "{host}");
        }
    }
}
