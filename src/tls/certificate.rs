//! One certificate: `NAME.crt` (the chain) and `NAME.key`, both PEM, read into a key that can sign.
//!
//! Inside: the pairs of a directory, reading and checking one. Kept out: which one a client gets
//! (`resolver.rs`) and what happens when one does not load (`reload.rs`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::finding::{Finding, Place};
use crate::host::HostName;
use crate::whole_file::{self, ReadError, Sha256};

/// Larger files are no certificates.
pub(super) const FILE_BYTES: u64 = 1 << 20;

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    /// NAME: the files without their endings.
    pub name: String,
    /// When it expires.
    pub not_after: Timestamp,
    /// The names in it, canonical: hosts, then one-label wildcards as `*.x`.
    pub names: Arc<[Box<str>]>,
    /// The hosts that it is for, and those of which it covers every name with one more label.
    pub(super) hosts: Vec<HostName>,
    pub(super) hosts_below: Vec<HostName>,
    pub(super) key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Whether it is for this host: by its own name, or one label below a wildcard's (RFC 9525 section 6.3).
    pub fn covers(&self, host: &HostName) -> bool {
        let below = || {
            let parent = parent(host)?;
            self.hosts_below.iter().find(|wildcard| wildcard.as_str() == parent)
        };
        self.hosts.contains(host) || below().is_some()
    }
}

/// The name without its first label; none for an address and for a single label.
pub(super) fn parent(host: &HostName) -> Option<&str> {
    if host.address().is_some() {
        return None;
    }
    host.as_str().split_once('.').map(|(_, parent)| parent)
}

/// The files of one NAME.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PairFiles {
    chain: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// The bytes of one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PairBytes {
    chain_file: PathBuf,
    key_file: PathBuf,
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// Why a pair is not there to be parsed.
#[derive(Debug)]
pub(super) enum PairError {
    /// A file is being written: look again.
    Changing,
    /// Half of it is missing, or cannot be read.
    Refused(Finding),
}

/// The pairs in a directory, by NAME. Files with other endings are somebody else's.
pub(super) fn pairs_in(directory: &Path) -> io::Result<BTreeMap<String, PairFiles>> {
    let mut pairs: BTreeMap<String, PairFiles> = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let (Some(name), Some(ending)) = (path.file_stem(), path.extension()) else { continue };
        let name = name.to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        match ending.to_str() {
            Some("crt") => pairs.entry(name).or_default().chain = Some(path),
            Some("key") => pairs.entry(name).or_default().key = Some(path),
            _ => {}
        }
    }
    Ok(pairs)
}

impl PairFiles {
    /// Reads both files.
    pub(super) fn read(&self) -> Result<PairBytes, PairError> {
        let (chain_file, key_file) = match (&self.chain, &self.key) {
            (Some(chain), Some(key)) => (chain.clone(), key.clone()),
            (Some(chain), None) => return Err(missing_half(chain, "key")),
            (None, Some(key)) => return Err(missing_half(key, "crt")),
            (None, None) => return Err(PairError::Changing),
        };
        let (chain, key) = (read_file(&chain_file)?, read_file(&key_file)?);
        Ok(PairBytes { chain_file, key_file, chain, key })
    }
}

fn missing_half(there: &Path, missing: &str) -> PairError {
    let file = there.with_extension(missing);
    let missing = file.file_name().unwrap_or_default().to_string_lossy();
    let message = format!("{missing} is missing beside it; a certificate is NAME.crt and NAME.key");
    PairError::Refused(Finding::error(Place::file(there), message))
}

fn read_file(path: &Path) -> Result<Vec<u8>, PairError> {
    match whole_file::read(path, FILE_BYTES) {
        Ok(file) => Ok(file.bytes),
        Err(ReadError::Changing) => Err(PairError::Changing),
        Err(error) => Err(PairError::Refused(Finding::error(Place::file(path), error.to_string()))),
    }
}

impl PairBytes {
    /// Both files as one text, which is what the state directory keeps.
    pub(super) fn joined(&self) -> Vec<u8> {
        [&self.chain[..], b"\n", &self.key[..]].concat()
    }

    /// A pair from what the state directory kept.
    pub(super) fn from_joined(bytes: Vec<u8>, file: &Path) -> Self {
        Self { chain_file: file.to_path_buf(), key_file: file.to_path_buf(), chain: bytes.clone(), key: bytes }
    }

    /// The hash of both files.
    pub(super) fn sha256(&self) -> Sha256 {
        Sha256::of(&[Sha256::of(&self.chain).0, Sha256::of(&self.key).0].concat())
    }

    /// Parses and checks the pair; what is odd but usable comes back as warnings.
    pub(super) fn parse(
        &self,
        name: &str,
        provider: &CryptoProvider,
        now: Timestamp,
    ) -> Result<(Certificate, Vec<Finding>), Finding> {
        let chain = self.parse_chain()?;
        let key = self.parse_key()?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            self.key_error(format!(
                "the key cannot be used: {error}; expected ECDSA, Ed25519, or RSA of 2048 bits or more"
            ))
        })?;
        let leaf = chain.first().cloned().ok_or_else(|| self.chain_error("no certificate"))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(self.key_error(format!(
                    "the key does not belong to the certificate in {}; the first certificate there must be the key's own",
                    self.chain_file.display()
                )));
            }
            Err(error) => return Err(self.chain_error(format!("the certificate cannot be used: {error}"))),
        }
        self.inspect(name, &leaf, key, now)
    }

    fn inspect(
        &self,
        name: &str,
        leaf: &CertificateDer<'_>,
        key: CertifiedKey,
        now: Timestamp,
    ) -> Result<(Certificate, Vec<Finding>), Finding> {
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| self.chain_error(format!("the certificate cannot be parsed: {error}")))?;
        let moment =
            |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX);
        let (not_before, not_after) = (moment(parsed.validity.not_before), moment(parsed.validity.not_after));
        let (hosts, hosts_below) = hosts_of(&parsed);
        let mut warnings = Vec::new();
        let mut warn = |message: String| warnings.push(Finding::warning(Place::file(&self.chain_file), message));
        if not_after <= now {
            warn(format!("the certificate expired at {not_after}; clients will refuse it"));
        }
        if now < not_before {
            warn(format!("the certificate is not valid before {not_before}; clients will refuse it"));
        }
        if hosts.is_empty() && hosts_below.is_empty() {
            warn(
                "the certificate names no host (subjectAltName); it is served only where it is the default".to_owned(),
            );
        }
        if let Some(position) = broken_link(&key.cert) {
            warn(format!("certificate {} of the chain was not issued by the one after it", position + 1));
        }
        let names = hosts.iter().map(|host| host.as_str().into());
        let names = names.chain(hosts_below.iter().map(|host| format!("*.{}", host.as_str()).into()));
        let (name, names, key) = (name.to_owned(), names.collect(), Arc::new(key));
        Ok((Certificate { name, not_after, names, hosts, hosts_below, key }, warnings))
    }

    fn parse_chain(&self) -> Result<Vec<CertificateDer<'static>>, Finding> {
        if self.chain.is_empty() {
            return Err(self.chain_error("the file is empty; expected a PEM certificate chain"));
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.chain).collect();
        let chain = chain.map_err(|error| self.chain_error(pem_message(&error, "certificate chain")))?;
        if chain.is_empty() {
            return Err(self.chain_error("no certificate in it; expected -----BEGIN CERTIFICATE-----"));
        }
        Ok(chain)
    }

    fn parse_key(&self) -> Result<PrivateKeyDer<'static>, Finding> {
        if self.key.is_empty() {
            return Err(self.key_error("the file is empty; expected a PEM private key"));
        }
        let has = |text: &str| self.key.windows(text.len()).any(|window| window == text.as_bytes());
        if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
            return Err(self
                .key_error("the key is encrypted, and there is nobody to ask for its passphrase; store it decrypted"));
        }
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => self.key_error("no private key in it; expected -----BEGIN PRIVATE KEY-----"),
            error => self.key_error(pem_message(&error, "private key")),
        })
    }

    fn chain_error(&self, message: impl Into<String>) -> Finding {
        Finding::error(Place::file(&self.chain_file), message)
    }

    fn key_error(&self, message: impl Into<String>) -> Finding {
        Finding::error(Place::file(&self.key_file), message)
    }
}

/// Never what is in the file: it may be a key.
fn pem_message(error: &pem::Error, expected: &str) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            format!("the file ends in the middle of a {expected}; it may still be being written")
        }
        _ => format!("the file is not PEM; expected a PEM {expected}"),
    }
}

/// The first certificate whose issuer is not the subject of the next one.
fn broken_link(chain: &[CertificateDer<'_>]) -> Option<usize> {
    chain.windows(2).position(|pair| {
        let [issued, issuer] = pair else { return false };
        match (X509Certificate::from_der(issued), X509Certificate::from_der(issuer)) {
            (Ok((_, issued)), Ok((_, issuer))) => issued.issuer() != issuer.subject(),
            _ => true,
        }
    })
}

fn hosts_of(certificate: &X509Certificate<'_>) -> (Vec<HostName>, Vec<HostName>) {
    let (mut hosts, mut hosts_below) = (Vec::new(), Vec::new());
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return (hosts, hosts_below) };
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => match name.strip_prefix("*.") {
                Some(parent) => hosts_below.extend(HostName::parse(parent.as_bytes())),
                None => hosts.extend(HostName::parse(name.as_bytes())),
            },
            GeneralName::IPAddress(bytes) => hosts.extend(address(bytes)),
            _ => {}
        }
    }
    (hosts, hosts_below)
}

fn address(bytes: &[u8]) -> Option<HostName> {
    let text = match bytes.len() {
        4 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        16 => format!("[{}]", std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    HostName::parse(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::self_signed::{SelfSigned, self_signed};

    fn host(text: &str) -> HostName {
        HostName::parse(text.as_bytes()).expect("a host")
    }

    fn pair(names: &[&str]) -> SelfSigned {
        self_signed(names.iter().copied()).expect("made")
    }

    fn bytes(chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> PairBytes {
        PairBytes { chain_file: "a.crt".into(), key_file: "a.key".into(), chain: chain.into(), key: key.into() }
    }

    fn parse(pair: &PairBytes, now: Timestamp) -> Result<(Certificate, Vec<Finding>), Finding> {
        pair.parse("a", &rustls::crypto::aws_lc_rs::default_provider(), now)
    }

    #[test]
    fn certificate_covers_its_names_and_one_label_below_its_wildcards() {
        let pair = pair(&["example.com", "*.example.net", "192.0.2.1", "2001:db8::1"]);
        let (certificate, warnings) =
            parse(&bytes(pair.chain_pem, pair.key_pem), Timestamp::now()).expect("a good pair");
        assert_eq!(warnings, []);
        for covered in ["example.com", "a.example.net", "xn--nxasmq6b.example.net", "192.0.2.1", "[2001:db8::1]"] {
            assert!(certificate.covers(&host(covered)), "{covered}");
        }
        for other in ["www.example.com", "example.net", "a.b.example.net", "net", "192.0.2.2", "example.org"] {
            assert!(!certificate.covers(&host(other)), "{other}");
        }
        let names: Vec<&str> = certificate.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["example.com", "192.0.2.1", "[2001:db8::1]", "*.example.net"]);
    }

    #[test]
    fn every_wrong_pair_is_refused_with_what_is_wrong() {
        let (good, other) = (pair(&["a.example"]), pair(&["b.example"]));
        let half = |text: &str| text[..text.len() / 2].to_owned();
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old_encrypted =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let cases: Vec<(PairBytes, &str)> = vec![
            (bytes("", good.key_pem.clone()), "a.crt: the file is empty"),
            (bytes(good.chain_pem.clone(), ""), "a.key: the file is empty"),
            (bytes(half(&good.chain_pem), good.key_pem.clone()), "a.crt: the file ends in the middle"),
            (bytes(good.chain_pem.clone(), half(&good.key_pem)), "a.key: the file ends in the middle"),
            (bytes(good.chain_pem.clone(), other.key_pem.clone()), "a.key: the key does not belong"),
            (bytes(other.chain_pem.clone(), good.key_pem.clone()), "a.key: the key does not belong"),
            (bytes(good.chain_pem.clone(), encrypted), "a.key: the key is encrypted"),
            (bytes(good.chain_pem.clone(), old_encrypted), "a.key: the key is encrypted"),
            (bytes(good.key_pem.clone(), good.key_pem.clone()), "a.crt: no certificate in it"),
            (bytes(good.chain_pem.clone(), good.chain_pem.clone()), "a.key: no private key in it"),
            (bytes("\u{feff}", good.key_pem.clone()), "a.crt: no certificate in it"),
            (bytes(vec![0xff; 100], good.key_pem.clone()), "a.crt: no certificate in it"),
            (bytes(not_der, good.key_pem.clone()), "a.crt: the certificate cannot be used"),
            (bytes(good.chain_pem.clone(), not_a_key), "a.key: the key cannot be used"),
            (bytes("-----BEGIN CERTIFICATE\nAA\n", good.key_pem.clone()), "a.crt: the file is not PEM"),
        ];
        for (pair, expected) in cases {
            let finding = parse(&pair, Timestamp::now()).expect_err(expected);
            assert!(finding.to_string().contains(expected), "{finding} instead of {expected}");
            assert!(finding.is_error());
        }
    }

    #[test]
    fn expired_and_odd_certificates_are_warnings() {
        let first = pair(&["a.example"]);
        let mut stranger = rcgen::CertificateParams::new(vec!["b.example".to_owned()]).expect("a name");
        stranger.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
        let key = rcgen::KeyPair::generate().expect("a key");
        let chain = format!("{}{}", first.chain_pem, stranger.self_signed(&key).expect("made").pem());
        let far: Timestamp = "5000-01-01T00:00:00Z".parse().expect("a timestamp");
        let (_, warnings) = parse(&bytes(chain, first.key_pem.clone()), far).expect("usable");
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("expired at"), "{warnings:?}");
        assert!(warnings[1].contains("certificate 1 of the chain was not issued"), "{warnings:?}");
        let early = parse(&bytes(first.chain_pem, first.key_pem), Timestamp::UNIX_EPOCH).expect("usable").1;
        assert!(early[0].message.contains("not valid before"), "{early:?}");
    }

    #[test]
    fn joined_pair_is_the_same_pair() {
        let pair = pair(&["a.example"]);
        let joined = bytes(pair.chain_pem, pair.key_pem).joined();
        let (certificate, _) =
            parse(&PairBytes::from_joined(joined, Path::new("kept")), Timestamp::now()).expect("a good pair");
        assert!(certificate.covers(&host("a.example")));
    }

    #[test]
    fn half_a_pair_is_a_finding_and_other_files_are_not() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.crt", "b.key", "README", ".hidden.crt", "c.pem"] {
            std::fs::write(directory.path().join(name), "").expect("written");
        }
        std::fs::create_dir(directory.path().join("d.crt")).expect("made");
        std::fs::write(directory.path().join("d.key"), "").expect("written");
        let pairs = pairs_in(directory.path()).expect("listed");
        let messages: Vec<String> = pairs
            .values()
            .map(|files| match files.read() {
                Err(PairError::Refused(finding)) => finding.message,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            messages,
            [
                "a.key is missing beside it; a certificate is NAME.crt and NAME.key",
                "b.crt is missing beside it; a certificate is NAME.crt and NAME.key",
                "it is a directory; expected a file",
            ]
        );
    }
}
