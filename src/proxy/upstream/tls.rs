//! TLS towards upstreams: whom to trust, and what to ask for.
//!
//! Inside: the roots of an upstream, the client configuration made of them, and the name that a certificate must be for.
//! Kept out: the handshake (`connect.rs`) and our own certificates (`tls/`).

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::finding::{Finding, Place};
use crate::proxy::ServerConfig;

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
        let roots = match ca {
            Some(path) => file_roots(path)?,
            None => platform_roots()?,
        };
        if let Some(previous) = previous.filter(|previous| previous.roots == roots) {
            return Ok(Arc::clone(previous));
        }
        let mut store = RootCertStore::empty();
        let (accepted, _) = store.add_parsable_certificates(roots.iter().cloned());
        if accepted == 0 {
            return Err(no_roots(ca));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Finding::without_place(format!("TLS towards upstreams cannot be set up: {error}")))?;
        let mut config = builder.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Self { roots, config: Arc::new(config) }))
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

fn file_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let finding = |what: String| Finding::error(Place::file(path), what);
    let pem = std::fs::read(path).map_err(|error| {
        finding(format!("cannot read the roots for an upstream: {error}; `ca` must name a readable PEM file"))
    })?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = roots.map_err(|error| finding(format!("the roots for an upstream are not PEM: {error}")))?;
    if roots.is_empty() {
        return Err(no_roots(Some(path)));
    }
    Ok(roots)
}

fn platform_roots() -> Result<Vec<CertificateDer<'static>>, Finding> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.first() {
        Some(error) if found.certs.is_empty() => Err(Finding::without_place(format!(
            "cannot read the platform's roots for an upstream with https servers: {error}; install them, or name a PEM \
             file as the upstream's `ca`"
        ))),
        None if found.certs.is_empty() => Err(no_roots(None)),
        _ => Ok(found.certs),
    }
}

fn no_roots(ca: Option<&Path>) -> Finding {
    match ca {
        Some(path) => Finding::error(
            Place::file(path),
            "there is no usable root certificate in this file; `ca` must hold at least one in PEM",
        ),
        None => Finding::without_place(
            "the platform has no usable root certificate for an upstream with https servers; install them, or name a \
             PEM file as the upstream's `ca`",
        ),
    }
}
