//! Which certificate a client gets: by its SNI, from the set in force.
//!
//! Inside: the set, and the choice in it. Kept out: files, and when the set changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, parent};
use crate::host::HostName;
use crate::live::Live;

/// Certificates that are in force together, by the hosts that they are for.
#[derive(Debug, Default)]
pub struct CertificateSet {
    by_host: HashMap<Box<str>, Arc<Certificate>>,
    by_parent: HashMap<Box<str>, Arc<Certificate>>,
    default: Option<Arc<Certificate>>,
}

impl CertificateSet {
    /// The set of some certificates, by NAME. Where two are for the same host, the one that expires later is
    /// served; without a certificate called `default`, the first by NAME is the default.
    pub fn new(certificates: &BTreeMap<String, Arc<Certificate>>, default: Option<&str>) -> Self {
        let mut set = Self::default();
        for certificate in certificates.values() {
            certificate.hosts.iter().for_each(|host| add(&mut set.by_host, host, certificate));
            certificate.hosts_below.iter().for_each(|host| add(&mut set.by_parent, host, certificate));
        }
        let named = default.and_then(|name| certificates.get(name));
        set.default = named.or_else(|| certificates.values().next()).cloned();
        set
    }

    /// The certificate for a client that sent this SNI: its exact name, else one label below a wildcard's, else
    /// the default. An SNI that is no host is none.
    pub fn choose(&self, sni: Option<&HostName>) -> Option<&Arc<Certificate>> {
        let by_name = sni.and_then(|host| {
            let exact = self.by_host.get(host.as_str());
            exact.or_else(|| self.by_parent.get(parent(host)?))
        });
        by_name.or(self.default.as_ref())
    }
}

fn add(map: &mut HashMap<Box<str>, Arc<Certificate>>, host: &HostName, certificate: &Arc<Certificate>) {
    let present = map.entry(host.as_str().into()).or_insert_with(|| Arc::clone(certificate));
    if present.not_after < certificate.not_after {
        *present = Arc::clone(certificate);
    }
}

/// Answers each handshake from the set in force.
#[derive(Debug)]
pub(super) struct CertificateResolver {
    pub(super) set: Arc<Live<CertificateSet>>,
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sni = hello.server_name().and_then(|name| HostName::parse(name.as_bytes()).ok());
        self.set.load().value.choose(sni.as_ref()).map(|certificate| Arc::clone(&certificate.key))
    }
}
