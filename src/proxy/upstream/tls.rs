//! TLS towards upstreams: whom to trust, and what to ask for.
//!
//! Inside: the roots of an upstream, kept where they are what they were, and the name that a certificate must be for.
//! Kept out: reading them (`trusted_roots.rs`), the handshake (`connect.rs`) and our own certificates (`tls/`).

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::finding::Finding;
use crate::proxy::ServerConfig;
use crate::trusted_roots;

/// What findings call it.
const WHOSE: &str = "an upstream";

/// What the TLS servers of one upstream are checked against.
#[derive(Debug)]
pub struct UpstreamTls {
    roots: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
}

/// How TLS is spoken with one server.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The name that its certificate must be for, and that it is asked for by SNI (RFC 6066 section 3).
    pub name: ServerName<'static>,
    /// Roots, versions and ALPN.
    pub config: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// Reads the roots, of the platform or of a PEM file, and keeps `previous` where they are what they were. Reads
    /// files: for the control thread.
    ///
    /// # Errors
    /// Roots that cannot be read, or none.
    pub fn build(ca: Option<&Path>, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, Finding> {
        let roots = trusted_roots::read(ca, WHOSE)?;
        if let Some(previous) = previous.filter(|previous| previous.roots == roots) {
            return Ok(Arc::clone(previous));
        }
        let config = trusted_roots::client(&roots, ca, WHOSE)?;
        Ok(Arc::new(Self { roots, config }))
    }

    /// How TLS is spoken with a server.
    ///
    /// # Errors
    /// A host that no certificate can be for.
    pub fn server(&self, server: &ServerConfig) -> Result<ServerTls, Finding> {
        let name = match server.host.address() {
            Some(address) => ServerName::from(address),
            None => ServerName::try_from(server.host.as_str().to_owned()).map_err(|error| {
                let host = server.host.as_str();
                Finding::without_place(format!("no certificate can be for the upstream server `{host}`: {error}"))
            })?,
        };
        Ok(ServerTls { name, config: Arc::clone(&self.config) })
    }
}
