//! Certificate pairs for tests, each signed by itself.
//!
//! Inside: making and writing pairs. Kept out: checking them; the test client trusts every certificate and
//! looks at what was served.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// A chain of one and its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Pair {
    /// Writes `NAME.crt` and `NAME.key`, each by rename, the key first.
    pub fn write(&self, directory: &Path, name: &str) {
        for (end, text) in [("key", &self.key), ("crt", &self.certificate)] {
            let hidden = directory.join(format!(".{name}.{end}.new"));
            fs::write(&hidden, text).expect("the certificate directory is writable");
            fs::rename(&hidden, directory.join(format!("{name}.{end}"))).expect("a rename in one directory");
        }
    }
}

/// A pair for these DNS names, valid from 1975 to 4096 as rcgen makes them.
pub fn pair(names: &[&str]) -> Pair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("valid DNS names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0].clone());
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params.self_signed(&key).expect("a certificate can be signed");
    Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
}
