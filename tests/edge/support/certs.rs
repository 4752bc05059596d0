//! Certificate pairs for tests, each signed by itself, and an authority that signs those of clients.
//!
//! Inside: making and writing pairs. Kept out: checking them; the test client trusts every certificate and
//! looks at what was served.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

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

/// Signs the certificates of clients.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A root of that name, as `tls.client_ca` takes it.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root can be signed"))
    }

    /// The root, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this use that is valid in these years.
    pub fn client(&self, years: (i32, i32), usage: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).expect("a valid name");
        params.distinguished_name.push(DnType::CommonName, "A client");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate can be signed");
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }
}
