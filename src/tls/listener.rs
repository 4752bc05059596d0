//! The certificates of one listener: what is in force, what was refused, what is kept for a restart.
//!
//! Inside: loading the pairs of its directory, each keeping its last good. Kept out: when that is done (`reload.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use super::certificate::{Certificate, FILE_BYTES, PairBytes, PairError, PairFiles, pairs_in};
use super::config::{self, Config};
use super::resolver::{CertificateResolver, CertificateSet};
use super::status::{CertificateStatus, TlsStatus};
use crate::finding::{Finding, Place};
use crate::host::HostName;
use crate::kept_copy::StateDirectory;
use crate::live::Live;
use crate::whole_file::{self, Sha256};

/// The kinds of copies in the state directory: pairs, and the list of their NAMEs.
const PAIR: &str = "certificate";
const NAMES: &str = "certificates";

/// The TLS of one listener, as it is in force; cheap to clone.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    set: Arc<Live<CertificateSet>>,
    config: Arc<Live<ServerConfig>>,
}

impl ListenerTls {
    /// The configuration for a connection that begins now.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.load().value)
    }

    /// The certificate that a client with this SNI is served; to be asked when its handshake is done. A session that
    /// was resumed is judged by it as well, though the certificate was not sent again.
    pub fn served_for(&self, sni: Option<&HostName>) -> Option<Arc<Certificate>> {
        self.set.load().value.choose(sni).cloned()
    }
}

/// What is known about one listener's certificates.
#[derive(Debug)]
pub(super) struct ListenerState {
    name: String,
    config: Config,
    state: Option<StateDirectory>,
    pairs: BTreeMap<String, PairState>,
    /// What is wrong with the directory as a whole, or with the client roots.
    errors: Vec<Finding>,
    client_ca: Option<Sha256>,
    warnings: Vec<Finding>,
    pub(super) tls: ListenerTls,
}

/// One NAME: the two keys that tell whether there is anything to do, and what is in force.
#[derive(Debug, Clone, Default)]
struct PairState {
    in_force: Option<(Arc<Certificate>, Sha256, Timestamp)>,
    from_state: bool,
    refused: Option<(Option<Sha256>, Finding)>,
}

/// What a reload of one listener did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reloaded {
    /// Certificates that came into force or were taken away, and client roots that changed.
    pub(super) changed: usize,
    /// Pairs that were refused and had not been refused before.
    pub(super) refused: usize,
    /// Whether a file was being written: it must be looked at again.
    pub(super) changing: bool,
}

impl Reloaded {
    pub(super) fn add(&mut self, other: Self) {
        self.changed += other.changed;
        self.refused += other.refused;
        self.changing |= other.changing;
    }
}

/// A listener's certificates that are loaded and not yet in force.
#[derive(Debug)]
pub(super) struct Loaded {
    listener: ListenerState,
    server_config: Arc<ServerConfig>,
    from_state: bool,
}

impl Loaded {
    /// What is odd, and does not keep it from being served.
    pub(super) fn warnings(&self) -> &[Finding] {
        &self.listener.warnings
    }

    /// Puts it in force, for every connection that begins from now on.
    pub(super) fn bring_into_force(self) -> ListenerState {
        self.listener.publish(self.from_state);
        self.listener.tls.config.publish(self.server_config);
        self.listener
    }
}

impl ListenerState {
    /// Loads a listener's certificates from its settings, to be served in place of those of `tls`.
    pub(super) fn load(
        name: &str,
        config: &Config,
        state: Option<StateDirectory>,
        tls: Option<&ListenerTls>,
        provider: &Arc<CryptoProvider>,
        now: Timestamp,
    ) -> Result<Loaded, Vec<Finding>> {
        let set = tls.map_or_else(|| Arc::new(Live::new(CertificateSet::default())), |tls| Arc::clone(&tls.set));
        // A certificate from the state directory is better than no start, but not better than the one in force.
        let at_start = tls.is_none();
        let client_ca = client_ca_hash(config);
        let resolver = CertificateResolver { set: Arc::clone(&set) };
        let server_config = config::server_config(config, provider, resolver).map_err(|finding| vec![finding])?;
        let server_config = Arc::new(server_config);
        let tls = tls
            .cloned()
            .unwrap_or_else(|| ListenerTls { set, config: Arc::new(Live::new(Arc::clone(&server_config))) });
        let mut listener = Self {
            name: name.to_owned(),
            config: config.clone(),
            state,
            pairs: BTreeMap::new(),
            errors: Vec::new(),
            client_ca,
            warnings: Vec::new(),
            tls,
        };
        listener.reload_pairs(provider, now);
        let from_state = at_start && listener.fall_back_to_state(provider, now);
        let errors = listener.errors_at_start();
        if errors.is_empty() { Ok(Loaded { listener, server_config, from_state }) } else { Err(errors) }
    }

    /// Reads everything again. What does not load stays as it is in force.
    pub(super) fn reload(&mut self, provider: &Arc<CryptoProvider>, now: Timestamp) -> Reloaded {
        let mut reloaded = self.reload_pairs(provider, now);
        if reloaded.changed > 0 {
            self.publish(false);
        }
        reloaded.add(self.reload_client_ca(provider));
        reloaded
    }

    /// What is on disk and not in force, and why.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let refused = self.pairs.values().filter_map(|pair| pair.refused.as_ref().map(|(_, finding)| finding.clone()));
        self.errors.iter().cloned().chain(refused).collect()
    }

    /// Adds this listener's certificates to a status.
    pub(super) fn describe(&self, status: &mut TlsStatus) {
        for (name, pair) in &self.pairs {
            let in_force = pair.in_force.as_ref();
            status.certificates.push(CertificateStatus {
                listener: self.name.clone(),
                name: name.clone(),
                hosts: in_force
                    .map_or_else(|| Arc::new([]) as Arc<[_]>, |(certificate, ..)| Arc::clone(&certificate.names)),
                not_after: in_force.map(|(certificate, ..)| certificate.not_after),
                loaded_at: in_force.map(|(_, _, loaded_at)| *loaded_at),
                from_state: pair.from_state,
                error: pair.refused.as_ref().map(|(_, finding)| finding.clone()),
            });
        }
        status.listener_errors.extend(self.errors.iter().map(|error| (self.name.clone(), error.clone())));
    }

    fn reload_pairs(&mut self, provider: &CryptoProvider, now: Timestamp) -> Reloaded {
        let directory = Place::file(&self.config.certificates);
        let found = match pairs_in(&self.config.certificates) {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return self.refuse_directory("no certificate in it; expected NAME.crt and NAME.key".to_owned()),
            Err(error) => {
                return self.refuse_directory(format!("the directory of certificates cannot be listed: {error}"));
            }
        };
        self.errors.retain(|error| error.place.as_ref() != Some(&directory));
        let mut reloaded = self.forget_removed(&found);
        for (name, files) in &found {
            reloaded.add(self.reload_pair(name, files, provider, now));
        }
        reloaded
    }

    fn reload_pair(&mut self, name: &str, files: &PairFiles, provider: &CryptoProvider, now: Timestamp) -> Reloaded {
        let pair = self.pairs.entry(name.to_owned()).or_default();
        let bytes = match files.read() {
            Ok(bytes) => bytes,
            Err(PairError::Changing) => return Reloaded { changing: true, ..Reloaded::default() },
            Err(PairError::Refused(finding)) => return refuse_pair(pair, &self.name, name, None, finding),
        };
        let sha256 = bytes.sha256();
        if !pair.from_state && pair.in_force.as_ref().is_some_and(|(_, in_force, _)| *in_force == sha256) {
            if pair.refused.take().is_some() {
                tracing::info!(listener = self.name, certificate = name, "certificate files are good again");
            }
            return Reloaded::default();
        }
        if pair.refused.as_ref().is_some_and(|(refused, _)| *refused == Some(sha256)) {
            return Reloaded::default();
        }
        match bytes.parse(name, provider, now) {
            Err(finding) => refuse_pair(pair, &self.name, name, Some(sha256), finding),
            Ok((certificate, warnings)) => {
                let not_after = certificate.not_after;
                *pair = PairState { in_force: Some((Arc::new(certificate), sha256, now)), ..PairState::default() };
                warnings.iter().for_each(|warning| tracing::warn!(listener = self.name, "{}", warning.log_line()));
                self.warnings.extend(warnings);
                tracing::info!(listener = self.name, certificate = name, %not_after, "certificate in force");
                keep(self.state.as_ref(), PAIR, &format!("{}/{name}", self.name), &bytes.joined());
                Reloaded { changed: 1, ..Reloaded::default() }
            }
        }
    }

    /// NAMEs whose files are gone are served no more, but for the default: without it there would be handshakes that
    /// have no answer.
    fn forget_removed(&mut self, found: &BTreeMap<String, PairFiles>) -> Reloaded {
        let gone: Vec<String> = self.pairs.keys().filter(|name| !found.contains_key(*name)).cloned().collect();
        let mut reloaded = Reloaded::default();
        for name in gone {
            let is_default = self.config.default.as_ref() == Some(&name);
            let Some(pair) = self.pairs.get_mut(&name) else { continue };
            if is_default && pair.in_force.is_some() {
                let message =
                    format!("{name}.crt and {name}.key are gone, but {name} is the default; it stays in force");
                let finding =
                    Finding::error(Place::file(self.config.certificates.join(format!("{name}.crt"))), message);
                reloaded.add(refuse_pair(pair, &self.name, &name, None, finding));
            } else {
                tracing::info!(listener = self.name, certificate = name, "certificate removed");
                self.pairs.remove(&name);
                reloaded.changed += 1;
            }
        }
        reloaded
    }

    fn refuse_directory(&mut self, message: String) -> Reloaded {
        let finding = Finding::error(Place::file(&self.config.certificates), message);
        self.refuse_listener(finding)
    }

    fn refuse_listener(&mut self, finding: Finding) -> Reloaded {
        if self.errors.contains(&finding) {
            return Reloaded::default();
        }
        tracing::error!(listener = self.name, "{}; what is in force stays in force", finding.log_line());
        self.errors.retain(|error| error.place != finding.place);
        self.errors.push(finding);
        Reloaded { refused: 1, ..Reloaded::default() }
    }

    fn reload_client_ca(&mut self, provider: &Arc<CryptoProvider>) -> Reloaded {
        let Some(path) = &self.config.client_ca else { return Reloaded::default() };
        let place = Place::file(path);
        let hash = client_ca_hash(&self.config);
        if hash.is_some() && hash == self.client_ca {
            self.errors.retain(|error| error.place.as_ref() != Some(&place));
            return Reloaded::default();
        }
        let resolver = CertificateResolver { set: Arc::clone(&self.tls.set) };
        match config::server_config(&self.config, provider, resolver) {
            Err(finding) => self.refuse_listener(finding),
            Ok(server_config) => {
                self.errors.retain(|error| error.place.as_ref() != Some(&place));
                self.tls.config.publish(server_config);
                self.client_ca = hash;
                tracing::info!(listener = self.name, "client roots in force");
                Reloaded { changed: 1, ..Reloaded::default() }
            }
        }
    }

    /// Takes what did not load from the state directory.
    fn fall_back_to_state(&mut self, provider: &CryptoProvider, now: Timestamp) -> bool {
        let Some(state) = self.state.clone() else { return false };
        if !self.errors.is_empty() {
            let names = state.load(NAMES, &self.name, FILE_BYTES).unwrap_or_default();
            for name in String::from_utf8_lossy(&names).lines() {
                self.pairs.entry(name.to_owned()).or_default();
            }
        }
        let mut used = false;
        for (name, pair) in self.pairs.iter_mut().filter(|(_, pair)| pair.in_force.is_none()) {
            let key = format!("{}/{name}", self.name);
            let loaded = state.load(PAIR, &key, 3 * FILE_BYTES).map_err(|error| error.to_string()).and_then(|bytes| {
                let pair = PairBytes::from_joined(bytes, state.path());
                let parsed = pair.parse(name, provider, now).map_err(|finding| finding.message);
                parsed.map(|(certificate, _)| (certificate, pair.sha256()))
            });
            match loaded {
                Ok((certificate, sha256)) => {
                    tracing::warn!(
                        listener = self.name,
                        certificate = name,
                        "certificate taken from the state directory"
                    );
                    pair.in_force = Some((Arc::new(certificate), sha256, now));
                    pair.from_state = true;
                    used = true;
                }
                Err(error) => tracing::warn!(listener = self.name, certificate = name, error, "no kept certificate"),
            }
        }
        used
    }

    /// What keeps a listener from starting: a pair that is not in force, or none at all.
    fn errors_at_start(&self) -> Vec<Finding> {
        let missing = self.pairs.values().filter(|pair| pair.in_force.is_none());
        let mut errors: Vec<Finding> =
            missing.filter_map(|pair| pair.refused.as_ref()).map(|(_, finding)| finding.clone()).collect();
        if self.pairs.values().all(|pair| pair.in_force.is_none()) {
            errors.extend(self.errors.iter().cloned());
        }
        if let Some(default) = &self.config.default
            && errors.is_empty()
            && !self.pairs.contains_key(default)
        {
            let names: Vec<&str> = self.pairs.keys().map(String::as_str).collect();
            let message = format!("no {default}.crt for `tls.default`; there is {}", names.join(", "));
            errors.push(Finding::error(Place::file(&self.config.certificates), message));
        }
        if errors.is_empty() && self.pairs.is_empty() {
            let message = "no certificate could be read; the directory is being written to";
            errors.push(Finding::error(Place::file(&self.config.certificates), message));
        }
        errors
    }

    fn publish(&self, from_state: bool) {
        let in_force = self.pairs.iter().filter_map(|(name, pair)| {
            let (certificate, ..) = pair.in_force.as_ref()?;
            Some((name.clone(), Arc::clone(certificate)))
        });
        let in_force: BTreeMap<String, Arc<Certificate>> = in_force.collect();
        self.tls.set.publish(CertificateSet::new(&in_force, self.config.default.as_deref()));
        if !from_state {
            let names: Vec<&str> = in_force.keys().map(String::as_str).collect();
            keep(self.state.as_ref(), NAMES, &self.name, names.join("\n").as_bytes());
        }
    }
}

fn refuse_pair(pair: &mut PairState, listener: &str, name: &str, sha256: Option<Sha256>, finding: Finding) -> Reloaded {
    if pair.refused.as_ref().is_some_and(|(_, refused)| *refused == finding) {
        pair.refused = Some((sha256, finding));
        return Reloaded::default();
    }
    tracing::error!(listener, certificate = name, "{}; the certificate in force stays in force", finding.log_line());
    pair.refused = Some((sha256, finding));
    Reloaded { refused: 1, ..Reloaded::default() }
}

fn keep(state: Option<&StateDirectory>, kind: &str, name: &str, bytes: &[u8]) {
    let Some(state) = state else { return };
    if let Err(error) = state.keep(kind, name, bytes) {
        let directory: PathBuf = state.path().to_path_buf();
        tracing::error!(%error, name, directory = %directory.display(), "no copy could be kept for the next start");
    }
}

fn client_ca_hash(config: &Config) -> Option<Sha256> {
    let file = whole_file::read(config.client_ca.as_ref()?, FILE_BYTES).ok()?;
    Some(file.sha256)
}
