//! A self-signed certificate, for trying sluis out and for tests.
//!
//! Inside: making one. Kept out: storing it. No browser trusts it, and none should.

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct SelfSigned {
    /// What goes into `NAME.crt`.
    pub chain_pem: String,
    /// What goes into `NAME.key`.
    pub key_pem: String,
}

impl std::fmt::Debug for SelfSigned {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// Makes a certificate for some names and addresses. Fails where one is neither.
pub fn self_signed<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<SelfSigned, rcgen::Error> {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    Ok(SelfSigned { chain_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() })
}
