//! How TLS is spoken on a listener: versions, protocols, tickets, client certificates.
//!
//! Inside: the checked settings and the rustls configuration made from them. Kept out: the certificates
//! themselves, which the configuration asks `resolver.rs` for at each handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::certificate::FILE_BYTES;
use super::resolver::CertificateResolver;
use crate::finding::{Finding, Place};
use crate::whole_file;

/// TLS on a listener. All values are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A directory of NAME.crt and NAME.key.
    pub certificates: PathBuf,
    /// The NAME for clients without SNI or with an unknown one; else the first by name.
    pub default: Option<String>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// PEM file of the roots that client certificates are checked against; none: they are not asked for.
    pub client_ca: Option<PathBuf>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The cryptography that everything here uses.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The rustls configuration of a listener. Each has its own tickets and sessions, so that a session begun on one
/// listener, with or without a client certificate, is never resumed on another.
pub(super) fn server_config(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    resolver: CertificateResolver,
) -> Result<ServerConfig, Finding> {
    let versions: &[&SupportedProtocolVersion] = match config.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let failed = |error: rustls::Error| Finding::without_place(format!("TLS cannot be set up: {error}"));
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(versions).map_err(failed)?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), Arc::clone(provider));
            let verifier = verifier.build().map_err(|error| Finding::error(Place::file(path), error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut made = builder.with_cert_resolver(Arc::new(resolver));
    made.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if config.client_ca.is_none() {
        made.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(failed)?;
        // One is enough: clients that open several connections at once are rare, and each costs a record.
        made.send_tls13_tickets = 1;
    } else {
        // A session that goes on shows no certificate: one that has expired since would be good for ever.
        made.session_storage = Arc::new(NoServerSessionStorage {});
        made.send_tls13_tickets = 0;
    }
    // The strongest that both sides have, in the provider's order, and not what the client says that it likes best.
    made.ignore_client_order = true;
    Ok(made)
}

fn roots(path: &Path) -> Result<RootCertStore, Finding> {
    let refuse = |message: String| Finding::error(Place::file(path), message);
    let file = whole_file::read(path, FILE_BYTES).map_err(|error| refuse(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&file.bytes) {
        let certificate =
            certificate.map_err(|_| refuse("the file is not PEM, or ends in mid-certificate".to_owned()))?;
        roots.add(certificate).map_err(|error| refuse(format!("a certificate cannot be used as a root: {error}")))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate in it; expected -----BEGIN CERTIFICATE-----".to_owned()));
    }
    Ok(roots)
}
