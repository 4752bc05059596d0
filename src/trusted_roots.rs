//! Whom to trust where this program is the client: the platform's roots, or those of a PEM file.
//!
//! Inside: reading them, and the TLS configuration made of them. Kept out: the handshake, and the name that a certificate
//! must be for.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::finding::{Finding, Place};

/// Reads the roots of the platform, or of a PEM file. `whose` is what findings call the one that is checked against them,
/// such as "an upstream". Reads files: not for a worker.
///
/// # Errors
/// Roots that cannot be read, or none.
pub fn read(ca: Option<&Path>, whose: &str) -> Result<Vec<CertificateDer<'static>>, Finding> {
    match ca {
        Some(path) => of_file(path, whose),
        None => of_platform(whose),
    }
}

/// A client that trusts these roots and speaks HTTP/1.1.
///
/// # Errors
/// None of the roots can be used.
pub fn client(roots: &[CertificateDer<'static>], ca: Option<&Path>, whose: &str) -> Result<Arc<ClientConfig>, Finding> {
    let mut store = RootCertStore::empty();
    let (accepted, _) = store.add_parsable_certificates(roots.iter().cloned());
    if accepted == 0 {
        return Err(none(ca, whose));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Finding::without_place(format!("TLS for {whose} cannot be set up: {error}")))?;
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn of_file(path: &Path, whose: &str) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let finding = |what: String| Finding::error(Place::file(path), what);
    let pem = std::fs::read(path).map_err(|error| {
        finding(format!("cannot read the roots for {whose}: {error}; `ca` must name a readable PEM file"))
    })?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = roots.map_err(|error| finding(format!("the roots for {whose} are not PEM: {error}")))?;
    if roots.is_empty() {
        return Err(none(Some(path), whose));
    }
    Ok(roots)
}

fn of_platform(whose: &str) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.first() {
        Some(error) if found.certs.is_empty() => Err(Finding::without_place(format!(
            "cannot read the platform's roots for {whose} with https: {error}; install them, or name a PEM file as its `ca`"
        ))),
        None if found.certs.is_empty() => Err(none(None, whose)),
        _ => Ok(found.certs),
    }
}

fn none(ca: Option<&Path>, whose: &str) -> Finding {
    match ca {
        Some(path) => Finding::error(
            Place::file(path),
            "there is no usable root certificate in this file; `ca` must hold at least one in PEM",
        ),
        None => Finding::without_place(format!(
            "the platform has no usable root certificate for {whose} with https; install them, or name a PEM file as its `ca`"
        )),
    }
}
