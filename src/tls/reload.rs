//! Reload of certificates: what is on disk comes into force as whole pairs, or not at all.
//!
//! Inside: the thread that follows the files of every listener, and the handles to it. Kept out: what is wrong with a
//! pair (`certificate.rs`), which one a client gets (`resolver.rs`), one listener's pairs (`listener.rs`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use tokio::sync::{mpsc, oneshot};

use super::config::{Config, provider};
use super::listener::{ListenerState, ListenerTls, Loaded, Reloaded};
use super::status::{ReloadCounts, TlsStatus};
use crate::file_watch::{FileWatch, Target};
use crate::finding::Finding;
use crate::kept_copy::StateDirectory;
use crate::live::Live;

/// The TLS of every listener that speaks it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name and settings of each listener.
    pub listeners: Vec<(String, Config)>,
    /// Quiet time after a change before a file is read.
    pub settle: Duration,
    /// The backstop where no file event arrives.
    pub poll: Duration,
    /// Where the last good pair of every NAME is kept.
    pub state_directory: Option<PathBuf>,
}

/// Follows the certificates of every listener. The only one who publishes them.
#[derive(Debug)]
pub struct CertificateReloader {
    settings: Settings,
    listeners: Vec<ListenerState>,
    provider: Arc<CryptoProvider>,
    commands: mpsc::Receiver<Command>,
    watch: FileWatch,
    /// Which listener each watched target is for.
    watched_for: Vec<usize>,
    status: Arc<Live<TlsStatus>>,
    counts: ReloadCounts,
}

/// Asks the reloader; cheap to clone. When the last one is dropped, the reloader ends.
#[derive(Debug, Clone)]
pub struct TlsHandle {
    commands: mpsc::Sender<Command>,
    status: Arc<Live<TlsStatus>>,
}

/// What a reload did.
#[derive(Debug, Clone, Default)]
pub struct TlsReport {
    /// How many certificates came into force or were taken away.
    pub changed: usize,
    /// What is on disk and not in force, and why.
    pub findings: Vec<Finding>,
}

#[derive(Debug)]
enum Command {
    Reload(oneshot::Sender<TlsReport>),
    Apply(Box<Settings>, oneshot::Sender<Result<TlsReport, Vec<Finding>>>),
}

/// What starting gives: the task to run, the handle to it, and the TLS of each listener in the order of the settings.
#[derive(Debug)]
pub struct Started {
    /// To be run, on a thread of its own.
    pub reloader: CertificateReloader,
    /// For the admin endpoint and the signals.
    pub handle: TlsHandle,
    /// For the listeners.
    pub listeners: Vec<ListenerTls>,
}

impl CertificateReloader {
    /// Loads every certificate. One that does not load is taken from the state directory; without a copy there,
    /// starting fails with everything that is wrong.
    pub fn start(settings: Settings) -> Result<Started, Vec<Finding>> {
        // Watched before it is loaded: a change in between is seen.
        let (watch, watched_for) = watch(&settings);
        let provider = provider();
        let listeners = load_all(&settings, &[], &provider)?;
        let status = Arc::new(Live::new(TlsStatus::default()));
        let (sender, commands) = mpsc::channel(16);
        let handle = TlsHandle { commands: sender, status: Arc::clone(&status) };
        let served = listeners.iter().map(|listener| listener.tls.clone()).collect();
        let counts = ReloadCounts::default();
        let reloader = Self { settings, listeners, provider, commands, watch, watched_for, status, counts };
        reloader.publish_status();
        Ok(Started { reloader, handle, listeners: served })
    }

    /// Follows the files on a thread of its own, until the last handle is gone: a mount that does not answer holds up
    /// nothing but certificates.
    pub fn run_on_a_thread(self) -> Result<(), Vec<Finding>> {
        let no_thread = |error: std::io::Error| {
            vec![Finding::without_place(format!("the thread that follows certificates cannot be started: {error}"))]
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
        let run = move || runtime.block_on(self.run());
        std::thread::Builder::new().name("sluis-tls".to_owned()).spawn(run).map_err(no_thread)?;
        Ok(())
    }

    /// Follows the files until the last handle is gone.
    async fn run(mut self) {
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    None => return,
                    Some(Command::Reload(answer)) => {
                        let report = self.reload(|_| true);
                        // Whoever asked may have left; the reload stands.
                        let _ = answer.send(report);
                    }
                    Some(Command::Apply(settings, answer)) => {
                        let result = self.apply(*settings);
                        let _ = answer.send(result);
                    }
                },
                changed = self.watch.changed() => {
                    let dirty: Vec<usize> =
                        changed.iter().filter_map(|index| self.watched_for.get(*index).copied()).collect();
                    self.reload(|listener| dirty.contains(&listener));
                }
            }
        }
    }

    fn reload(&mut self, wanted: impl Fn(usize) -> bool) -> TlsReport {
        let now = Timestamp::now();
        let mut total = Reloaded::default();
        for (index, listener) in self.listeners.iter_mut().enumerate().filter(|(index, _)| wanted(*index)) {
            let reloaded = listener.reload(&self.provider, now);
            if reloaded.changing {
                let targets = self.watched_for.iter().enumerate().filter(|(_, owner)| **owner == index);
                targets.for_each(|(target, _)| self.watch.recheck(target));
            }
            total.add(reloaded);
        }
        self.count(&total);
        let findings = self.listeners.iter().flat_map(ListenerState::findings).collect();
        TlsReport { changed: total.changed, findings }
    }

    fn count(&mut self, reloaded: &Reloaded) {
        if reloaded.refused > 0 {
            self.counts.refused += 1;
        } else if reloaded.changed > 0 {
            self.counts.applied += 1;
        } else if !reloaded.changing {
            self.counts.unchanged += 1;
        }
        self.publish_status();
    }

    /// Takes over new settings, all of them or, with one error, none. Listeners come and go with a restart only.
    fn apply(&mut self, settings: Settings) -> Result<TlsReport, Vec<Finding>> {
        let same =
            settings.listeners.iter().map(|(name, _)| name).eq(self.settings.listeners.iter().map(|(name, _)| name));
        let unchanged = same && settings.listeners == self.settings.listeners;
        let (watch, watched_for) = watch(&settings);
        if !same {
            return Err(vec![Finding::without_place(
                "listeners that speak TLS were added or removed; that needs a restart",
            )]);
        }
        if !unchanged {
            self.listeners = load_all(&settings, &self.listeners, &self.provider)?;
        }
        (self.settings, self.watch, self.watched_for) = (settings, watch, watched_for);
        Ok(self.reload(|_| true))
    }

    fn publish_status(&self) {
        let mut status = TlsStatus { reloads: self.counts, ..TlsStatus::default() };
        self.listeners.iter().for_each(|listener| listener.describe(&mut status));
        self.status.publish(status);
    }
}

impl TlsHandle {
    /// Reads every certificate again, now; answers when what loaded is in force.
    pub async fn reload(&self) -> TlsReport {
        let (sender, answer) = oneshot::channel();
        // The reloader only ends when every handle is gone, or the program does.
        let _ = self.commands.send(Command::Reload(sender)).await;
        answer.await.unwrap_or_default()
    }

    /// Takes over new settings; with one error, nothing changes.
    pub async fn apply(&self, settings: Settings) -> Result<TlsReport, Vec<Finding>> {
        let (sender, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Apply(Box::new(settings), sender)).await;
        answer.await.unwrap_or_else(|_| Ok(TlsReport::default()))
    }

    /// What is in force, and what is wrong.
    pub fn status(&self) -> Arc<TlsStatus> {
        Arc::clone(&self.status.load().value)
    }
}

/// Loads everything once, as a start would without a state directory, and tells what is wrong or odd.
pub fn check(listeners: &[(String, Config)]) -> Vec<Finding> {
    let provider = provider();
    let mut findings = Vec::new();
    for (name, config) in listeners {
        match ListenerState::load(name, config, None, None, &provider, Timestamp::now()) {
            Ok(loaded) => findings.extend_from_slice(loaded.warnings()),
            Err(errors) => findings.extend(errors),
        }
    }
    findings
}

/// Loads every listener and puts them in force together; with one error, none.
fn load_all(
    settings: &Settings,
    before: &[ListenerState],
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<ListenerState>, Vec<Finding>> {
    let state = settings.state_directory.as_ref().map(StateDirectory::new);
    let (mut loaded, mut findings) = (Vec::new(), Vec::new());
    for (index, (name, config)) in settings.listeners.iter().enumerate() {
        let tls = before.get(index).map(|listener| &listener.tls);
        match ListenerState::load(name, config, state.clone(), tls, provider, Timestamp::now()) {
            Ok(listener) => loaded.push(listener),
            Err(errors) => findings.extend(errors),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(loaded.into_iter().map(Loaded::bring_into_force).collect())
}

fn watch(settings: &Settings) -> (FileWatch, Vec<usize>) {
    let (mut targets, mut watched_for) = (Vec::new(), Vec::new());
    for (index, (_, config)) in settings.listeners.iter().enumerate() {
        targets.push(Target::Directory(config.certificates.clone()));
        watched_for.push(index);
        if let Some(client_ca) = &config.client_ca {
            targets.push(Target::File(client_ca.clone()));
            watched_for.push(index);
        }
    }
    (FileWatch::new(targets, settings.settle, settings.poll), watched_for)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::host::HostName;
    use crate::tls::config::TlsVersion;
    use crate::tls::self_signed::{SelfSigned, self_signed};

    const BOUND: Duration = Duration::from_secs(10);

    struct Directory(tempfile::TempDir);

    impl Directory {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn certificates(&self) -> PathBuf {
            let path = self.0.path().join("certs");
            fs::create_dir_all(&path).expect("made");
            path
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.certificates().join(file);
            // A dot file is nobody's: one change, however slow the machine is.
            let temporary = path.with_file_name(".new");
            fs::write(&temporary, text).expect("written");
            fs::rename(temporary, path).expect("renamed");
        }

        fn remove(&self, file: &str) {
            fs::remove_file(self.certificates().join(file)).expect("removed");
        }

        fn put(&self, name: &str, hosts: &[&str]) -> SelfSigned {
            let pair = pair(hosts);
            self.write(&format!("{name}.crt"), &pair.chain_pem);
            self.write(&format!("{name}.key"), &pair.key_pem);
            pair
        }

        fn settings(&self) -> Settings {
            let config = Config {
                certificates: self.certificates(),
                default: None,
                min_version: TlsVersion::Tls12,
                client_ca: None,
            };
            Settings {
                listeners: vec![("https".to_owned(), config)],
                settle: Duration::from_millis(20),
                poll: Duration::from_secs(3_600),
                state_directory: Some(self.0.path().join("state")),
            }
        }

        fn start(&self) -> Started {
            CertificateReloader::start(self.settings()).expect("started")
        }

        fn start_errors(&self) -> Vec<String> {
            let Err(findings) = CertificateReloader::start(self.settings()) else { panic!("it started") };
            findings.iter().map(ToString::to_string).collect()
        }
    }

    fn pair(hosts: &[&str]) -> SelfSigned {
        self_signed(hosts.iter().copied()).expect("made")
    }

    fn host(text: &str) -> HostName {
        HostName::parse(text.as_bytes()).expect("a host")
    }

    fn served(tls: &ListenerTls, sni: Option<&str>) -> String {
        let sni = sni.map(host);
        tls.served_for(sni.as_ref()).map(|certificate| certificate.name.clone()).unwrap_or_default()
    }

    fn run<F: Future>(test: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(BOUND, test).await.expect("in time") })
    }

    /// Runs the reloader beside a test.
    async fn beside<T>(reloader: CertificateReloader, test: impl Future<Output = T>) -> T {
        tokio::select! {
            () = reloader.run() => panic!("the reloader ended"),
            result = test => result,
        }
    }

    async fn until(tls: &TlsHandle, expected: impl Fn(&TlsStatus) -> bool) {
        while !expected(&tls.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn roots(pair: &SelfSigned) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pair.chain_pem.as_bytes()).expect("PEM")).expect("a root");
        roots
    }

    /// A handshake by a client that trusts one certificate only; the protocol that was chosen.
    async fn handshake(
        tls: &ListenerTls,
        trusted: &SelfSigned,
        sni: &str,
        identity: Option<&SelfSigned>,
    ) -> Result<Option<Vec<u8>>, String> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots(trusted));
        let mut client = match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from_pem_slice(pair.chain_pem.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("an identity")
            }
        };
        client.alpn_protocols = vec![b"h2".to_vec()];
        let (near, far) = tokio::io::duplex(65_536);
        let name = ServerName::try_from(sni.to_owned()).expect("a name");
        let accept = TlsAcceptor::from(tls.server_config()).accept(far);
        let (connected, accepted) = tokio::join!(TlsConnector::from(Arc::new(client)).connect(name, near), accept);
        let accepted = accepted.map_err(|error| error.to_string());
        connected.map_err(|error| error.to_string())?;
        Ok(accepted?.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }

    #[test]
    fn client_gets_the_certificate_of_its_sni() {
        let directory = Directory::new();
        let b = directory.put("b", &["b.example", "*.b.example"]);
        directory.put("a", &["a.example"]);
        let started = directory.start();
        let tls = &started.listeners[0];
        for (sni, name) in [
            (Some("a.example"), "a"),
            (Some("b.example"), "b"),
            (Some("www.b.example"), "b"),
            (Some("deep.www.b.example"), "a"),
            (Some("other.example"), "a"),
            (None, "a"),
        ] {
            assert_eq!(served(tls, sni), name, "{sni:?}");
        }
        run(async {
            assert_eq!(handshake(tls, &b, "www.b.example", None).await, Ok(Some(b"h2".to_vec())));
            assert!(handshake(tls, &b, "a.example", None).await.is_err());
        });
    }

    #[test]
    fn default_is_the_configured_name() {
        let directory = Directory::new();
        directory.put("a", &["a.example"]);
        directory.put("edge", &["edge.example"]);
        let mut settings = directory.settings();
        settings.listeners[0].1.default = Some("edge".to_owned());
        let started = CertificateReloader::start(settings.clone()).expect("started");
        assert_eq!(served(&started.listeners[0], None), "edge");
        settings.listeners[0].1.default = Some("egde".to_owned());
        let findings = CertificateReloader::start(settings).expect_err("no such NAME");
        assert!(findings[0].message.contains("no egde.crt for `tls.default`; there is a, edge"), "{findings:?}");
    }

    #[test]
    fn pair_is_replaced_as_a_whole_in_either_order() {
        run(async {
            for order in [["crt", "key"], ["key", "crt"]] {
                let directory = Directory::new();
                directory.put("a", &["old.example"]);
                let Started { reloader, handle, listeners } = directory.start();
                let next = pair(&["new.example"]);
                beside(reloader, async {
                    for (step, ending) in order.into_iter().enumerate() {
                        let text = if ending == "crt" { &next.chain_pem } else { &next.key_pem };
                        directory.write(&format!("a.{ending}"), text);
                        if step == 0 {
                            until(&handle, |status| status.reloads.refused == 1).await;
                            assert!(!handle.status().last_reload_successful());
                            let error = handle.status().certificates[0].error.clone().expect("an error");
                            assert!(error.message.contains("the key does not belong"), "{error}");
                            let certificate = listeners[0].served_for(None).expect("a certificate");
                            assert!(certificate.covers(&host("old.example")), "the old pair stays");
                        }
                    }
                    until(&handle, |status| status.reloads.applied == 1).await;
                    assert!(handle.status().last_reload_successful());
                    let certificate = listeners[0].served_for(None).expect("a certificate");
                    assert!(certificate.covers(&host("new.example")));
                    assert!(handshake(&listeners[0], &next, "new.example", None).await.is_ok());
                })
                .await;
            }
        });
    }

    #[test]
    fn bad_files_never_replace_a_good_pair_and_others_go_on() {
        run(async {
            let directory = Directory::new();
            let good = directory.put("a", &["a.example"]);
            directory.put("b", &["b.example"]);
            let Started { reloader, handle, listeners } = directory.start();
            let tls = &listeners[0];
            beside(reloader, async {
                let half = &good.key_pem[..good.key_pem.len() / 2];
                for (refused, text) in [(1, ""), (2, half), (3, "\u{feff}not a key")] {
                    directory.write("a.key", text);
                    until(&handle, |status| status.reloads.refused == refused).await;
                    assert_eq!(served(tls, Some("a.example")), "a");
                    assert!(!handle.status().last_reload_successful());
                }
                let report = handle.reload().await;
                assert_eq!((report.changed, report.findings.len()), (0, 1), "refused before: no second count");
                assert_eq!(handle.status().reloads, ReloadCounts { refused: 3, applied: 0, unchanged: 1 });
                directory.remove("a.key");
                directory.put("c", &["c.example"]);
                until(&handle, |_| served(tls, Some("c.example")) == "c").await;
                assert_eq!(served(tls, Some("a.example")), "a");
                directory.write("a.key", &good.key_pem);
                until(&handle, TlsStatus::last_reload_successful).await;
            })
            .await;
        });
    }

    #[test]
    fn removed_pair_is_served_no_more_and_an_emptied_directory_changes_nothing() {
        run(async {
            let directory = Directory::new();
            directory.put("a", &["a.example"]);
            directory.put("b", &["b.example"]);
            let Started { reloader, handle, listeners } = directory.start();
            beside(reloader, async {
                directory.remove("a.crt");
                directory.remove("a.key");
                assert_eq!(handle.reload().await.changed, 1);
                assert_eq!(served(&listeners[0], Some("a.example")), "b");
                directory.remove("b.crt");
                directory.remove("b.key");
                let report = handle.reload().await;
                assert!(report.findings[0].message.contains("no certificate in it"), "{report:?}");
                assert_eq!(served(&listeners[0], Some("b.example")), "b");
            })
            .await;
        });
    }

    #[test]
    fn start_takes_from_the_state_directory_what_does_not_load() {
        let directory = Directory::new();
        let old = directory.put("a", &["a.example"]);
        directory.put("b", &["b.example"]);
        drop(directory.start());
        directory.write("a.key", "not a key");
        let started = directory.start();
        let status = started.handle.status();
        let from_state: Vec<bool> = status.certificates.iter().map(|certificate| certificate.from_state).collect();
        assert_eq!(from_state, [true, false]);
        assert!(!status.last_reload_successful());
        run(handshake(&started.listeners[0], &old, "a.example", None)).expect("the kept pair is served");

        fs::remove_dir_all(directory.certificates()).expect("removed");
        let started = directory.start();
        assert_eq!(served(&started.listeners[0], Some("b.example")), "b", "the whole directory is gone");

        fs::remove_dir_all(directory.0.path().join("state")).expect("removed");
        assert!(directory.start_errors()[0].contains("no certificate in it"));
    }

    #[test]
    fn start_without_a_copy_reports_every_bad_pair() {
        let directory = Directory::new();
        directory.put("good", &["good.example"]);
        directory.write("half.crt", "");
        directory.put("wrong", &["a.example"]);
        directory.write("wrong.key", &pair(&["b.example"]).key_pem);
        let errors = directory.start_errors();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(check(&directory.settings().listeners).len(), 2);
    }

    #[test]
    fn client_certificates_are_asked_for_where_roots_are_given() {
        run(async {
            let directory = Directory::new();
            let server = directory.put("a", &["a.example"]);
            let (client, next) = (pair(&["client.example"]), pair(&["next.example"]));
            let roots = directory.0.path().join("roots.pem");
            fs::write(&roots, &client.chain_pem).expect("written");
            let mut settings = directory.settings();
            settings.listeners[0].1.client_ca = Some(roots.clone());
            let Started { reloader, handle, listeners } = CertificateReloader::start(settings).expect("started");
            let try_with = |identity| handshake(&listeners[0], &server, "a.example", identity);
            beside(reloader, async {
                assert!(try_with(Some(&client)).await.is_ok());
                assert!(try_with(None).await.is_err());
                fs::write(&roots, "").expect("written");
                assert_eq!(handle.reload().await.findings.len(), 1);
                assert!(try_with(Some(&client)).await.is_ok(), "the roots in force stay");
                fs::write(&roots, &next.chain_pem).expect("written");
                assert_eq!(handle.reload().await.changed, 1);
                assert!(try_with(Some(&next)).await.is_ok());
                assert!(try_with(Some(&client)).await.is_err());
            })
            .await;
        });
    }

    #[test]
    fn new_settings_come_into_force_for_the_same_handles_or_not_at_all() {
        run(async {
            let (directory, other) = (Directory::new(), Directory::new());
            directory.put("a", &["a.example"]);
            let next = other.put("z", &["z.example"]);
            let Started { reloader, handle, listeners } = directory.start();
            beside(reloader, async {
                let mut settings = directory.settings();
                settings.listeners[0].1.certificates = Path::new("does-not-exist").into();
                assert!(handle.apply(settings.clone()).await.is_err());
                assert_eq!(served(&listeners[0], None), "a");
                settings.listeners[0].1.certificates = other.certificates();
                handle.apply(settings).await.expect("applied");
                assert_eq!(served(&listeners[0], None), "z");
                handshake(&listeners[0], &next, "z.example", None).await.expect("served");
                let newest = other.put("z", &["z.example"]);
                until(&handle, |status| status.reloads.applied == 1).await;
                handshake(&listeners[0], &newest, "z.example", None).await.expect("the new directory is followed");
            })
            .await;
        });
    }
}
