//! What all proxies serve: an origin, a list of names, a certificate, and the hosts that clients ask for.
//!
//! Inside: made-up names, one ECDSA P-256 certificate, the client's side of TLS with one group and one cipher suite, so that
//! all proxies do the same arithmetic. Kept out: the proxies' configurations.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::engine::transport::Security;

/// A host that is not on the list, one that is below a name of it, and one that nearly is.
pub const PASS: &str = "pass.shop.example";
pub const BLOCKED: &str = "www.name-777.blocked.example";
pub const NEAR_MISS: &str = "www.name-777.unblocked.example";

/// The pseudonym that all proxies put into Via.
pub const SERVER_NAME: &str = "edge-1";

#[derive(Clone)]
pub struct Site {
    pub folder: PathBuf,
    pub origin: SocketAddr,
    /// Names of the list that nginx, haproxy and sluis are given.
    pub names: usize,
    /// Length of the notice; what sluis answers with says it.
    pub notice_bytes: usize,
    root: CertificateDer<'static>,
}

impl Site {
    /// Writes the list, the certificate and the key into the folder.
    pub fn new(folder: &Path, origin: SocketAddr, names: usize) -> io::Result<Self> {
        fs::write(folder.join("feed.txt"), feed(names, ""))?;
        let root = write_certificate(folder).map_err(io::Error::other)?;
        Ok(Self { folder: folder.to_owned(), origin, names, notice_bytes: 2048, root })
    }

    /// The list, one name a line.
    pub fn feed(&self) -> PathBuf {
        self.folder.join("feed.txt")
    }

    /// The chain (of one) and the key, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("edge.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("edge.key")
    }

    /// A client of that host: TLS 1.3, X25519, AES-128-GCM; sessions are resumed where `resume` says so.
    pub fn security(&self, host: &'static str, resume: bool) -> io::Result<Security> {
        let mut provider = default_provider();
        provider.kx_groups = vec![kx_group::X25519];
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resume {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Some((Arc::new(config), name)))
    }
}

/// Names below one domain, at least the one that `BLOCKED` is below; `marker` is one line more, if it is not empty.
pub fn feed(names: usize, marker: &str) -> String {
    let mut text = String::with_capacity(names * 26);
    let numbers = if names == 0 { 777..778 } else { 0..names };
    for number in numbers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "name-{number}.blocked.example");
    }
    text + marker
}

/// An address that nobody listens on now, and that was not given out lately: who got it may not listen on it yet.
pub fn free_address() -> io::Result<SocketAddr> {
    thread_local! {
        static GIVEN: RefCell<VecDeque<SocketAddr>> = const { RefCell::new(VecDeque::new()) };
    }
    const REMEMBERED: usize = 256;
    GIVEN.with_borrow_mut(|given| {
        loop {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            if given.contains(&address) {
                continue;
            }
            if given.len() == REMEMBERED {
                given.pop_front();
            }
            given.push_back(address);
            return Ok(address);
        }
    })
}

/// A leaf for the hosts above, and the root that signed it, which is returned.
fn write_certificate(folder: &Path) -> Result<CertificateDer<'static>, Box<dyn std::error::Error + Send + Sync>> {
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "A root for measuring");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    let leaf = CertificateParams::new([PASS, BLOCKED, NEAR_MISS].map(str::to_owned))?;
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &root)?;
    fs::write(folder.join("edge.crt"), leaf.pem())?;
    fs::write(folder.join("edge.key"), key.serialize_pem())?;
    fs::write(folder.join("edge.pem"), leaf.pem() + &key.serialize_pem())?;
    fs::write(folder.join("root.pem"), root.pem())?;
    Ok(root.der().clone())
}
