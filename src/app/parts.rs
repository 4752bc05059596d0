//! Every part of a running program, built from a checked configuration.
//!
//! Inside: loading and joining the parts. Kept out: sockets (`addresses.rs`), threads (`workers.rs`), and what a SIGHUP
//! changes (`reread.rs`).

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::admin::{Admin, Facts, RunningParts, Setup};
use crate::blocklist::reload::{self, ReloadHandle};
use crate::config::Config;
use crate::drain::{self, StopSignal};
use crate::finding::Finding;
use crate::live::Live;
use crate::notice::{self, Notices, Operator};
use crate::proxy::accept_limits::{self, AcceptLimits};
use crate::proxy::connection::CertificateSource;
use crate::proxy::context::Shared;
use crate::proxy::route::Routes;
use crate::proxy::settings::Settings;
use crate::proxy::upstream::{Upstream, resolve};
use crate::proxy::{self, DrainConfig};
use crate::telemetry::logging::LoggingHandle;
use crate::telemetry::metrics::Metrics;
use crate::tls;
use crate::tls::reload::{CertificateReloader, TlsHandle};

use super::{StartError, notices};

/// Every part of a running program.
#[derive(Debug)]
pub(super) struct Parts {
    /// As it is in force.
    pub(super) config: Config,
    /// What the workers share.
    pub(super) shared: Arc<Shared>,
    /// Asks for reloads of lists.
    pub(super) reload: ReloadHandle,
    /// Asks for reloads of certificates; none where no listener speaks TLS.
    pub(super) tls: Option<TlsHandle>,
    /// The TLS of each listener, in the order of the configuration; none where it speaks plaintext.
    pub(super) listener_tls: Vec<Option<Arc<CertificateSource>>>,
    /// The caps on client connections.
    pub(super) accept_limits: Arc<AcceptLimits>,
    /// How many files the process may have open.
    pub(super) open_files: usize,
    /// The admin endpoint.
    pub(super) admin: Arc<Admin>,
    /// Changes how the process logs.
    pub(super) logging: LoggingHandle,
    /// Follows the operator's templates.
    pub(super) templates: JoinHandle<()>,
}

impl Parts {
    /// Loads everything. Everything that does not load is reported at once.
    pub(super) async fn build(
        config: Config,
        stop: Arc<StopSignal>,
        logging: LoggingHandle,
        workers: usize,
    ) -> Result<Self, StartError> {
        let started_at = Timestamp::now();
        let metrics = Arc::new(Metrics::new(workers, config.proxy.listeners.iter().map(|l| l.name.clone())));
        let lists = reload::fetch_and_start(config.blocklist.clone(), workers).await;
        let certificates = start_tls(&config);
        let notices = Notices::load(&notice_config(&config));
        let settings = settings(&config.proxy, &metrics, &[]);
        let (lists, (tls, listener_tls), notices, settings) = all(lists, certificates, notices, settings)?;
        resolve::resolve_all(&settings.upstreams).await;
        let blocklist = lists.blocklist.clone();
        let shared = Shared {
            settings: Live::new(settings),
            blocklist: lists.blocklist,
            notices: Live::new(notices),
            metrics: Arc::clone(&metrics),
        };
        let shared = Arc::new(shared);
        let running = RunningParts { blocklist, reload: lists.handle.clone(), tls: tls.clone() };
        let setup = Setup {
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            metrics,
            parts: Arc::new(running),
            stop,
            facts: facts(&config),
        };
        let templates = follow_templates(&shared, &config);
        let (reload, admin) = (lists.handle, Arc::new(Admin::new(setup)));
        let open_files = open_files();
        let accept_limits = Arc::new(AcceptLimits::new(&config.proxy.limits, open_files));
        Ok(Self { config, shared, reload, tls, listener_tls, accept_limits, open_files, admin, logging, templates })
    }

    /// How a stop goes.
    pub(super) fn drain(&self) -> DrainConfig {
        self.config.proxy.drain
    }
}

/// How many files the process may have open, after asking for as many as it may.
fn open_files() -> usize {
    let (files, raised) = accept_limits::raise_open_files();
    if let Err(error) = raised {
        tracing::warn!(%error, files, "the limit of open files cannot be raised");
    }
    files
}

/// Everything that was built, or everything that is wrong.
fn all<A, B, C, D>(
    a: Result<A, Vec<Finding>>,
    b: Result<B, Vec<Finding>>,
    c: Result<C, Vec<Finding>>,
    d: Result<D, Vec<Finding>>,
) -> Result<(A, B, C, D), StartError> {
    match (a, b, c, d) {
        (Ok(a), Ok(b), Ok(c), Ok(d)) => Ok((a, b, c, d)),
        (a, b, c, d) => {
            let wrong = [a.err(), b.err(), c.err(), d.err()];
            Err(StartError::BadInput(wrong.into_iter().flatten().flatten().collect()))
        }
    }
}

/// The settings of a configuration; upstreams that `before` has under the same name keep their state.
pub(super) fn settings(
    config: &proxy::Config,
    metrics: &Metrics,
    before: &[Arc<Upstream>],
) -> Result<Settings, Vec<Finding>> {
    let (mut upstreams, mut wrong) = (Vec::new(), Vec::new());
    for upstream in &config.upstreams {
        let previous = before.iter().find(|known| known.name() == upstream.name);
        match Upstream::build(upstream, metrics, previous) {
            Ok(built) => upstreams.push(Arc::new(built)),
            Err(findings) => wrong.extend(findings),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Settings {
        server_name: config.server_name.clone(),
        http1: config.http1,
        trusted_proxies: config.trusted_proxies.clone(),
        limits: config.limits.clone(),
        routes: Routes::new(&config.routes),
        upstreams,
    })
}

/// What notices say; without a blocklist source nothing is ever blocked, and nobody need say who would.
pub(super) fn notice_config(config: &Config) -> notice::Config {
    config.notice.clone().unwrap_or_else(|| notice::Config {
        server_name: config.proxy.server_name.clone(),
        operator: Operator::default(),
        templates: None,
    })
}

/// What the status page names.
pub(super) fn facts(config: &Config) -> Facts {
    Facts { server_name: config.proxy.server_name.clone(), operator: notice_config(config).operator }
}

/// The TLS settings of every listener that speaks it.
pub(super) fn tls_settings(config: &Config) -> tls::reload::Settings {
    let listeners = config.proxy.listeners.iter();
    let with_tls = listeners.filter_map(|l| l.tls.as_ref().map(|tls| (l.name.clone(), tls.tls.clone())));
    tls::reload::Settings {
        listeners: with_tls.collect(),
        settle: config.blocklist.settle,
        poll: config.blocklist.poll,
        state_directory: config.state_directory.clone(),
    }
}

type StartedTls = (Option<TlsHandle>, Vec<Option<Arc<CertificateSource>>>);

fn start_tls(config: &Config) -> Result<StartedTls, Vec<Finding>> {
    let settings = tls_settings(config);
    if settings.listeners.is_empty() {
        return Ok((None, config.proxy.listeners.iter().map(|_| None).collect()));
    }
    let started = CertificateReloader::start(settings)?;
    started.reloader.run_on_a_thread()?;
    let mut served = started.listeners.into_iter();
    let by_listener = config.proxy.listeners.iter().map(|listener| {
        let sni_mismatch = Live::new(listener.tls.as_ref()?.sni_mismatch);
        served.next().map(|certificates| Arc::new(CertificateSource { certificates, sni_mismatch }))
    });
    Ok((Some(started.handle), by_listener.collect()))
}

/// Starts to follow the operator's templates.
pub(super) fn follow_templates(shared: &Arc<Shared>, config: &Config) -> JoinHandle<()> {
    let (settle, poll) = (config.blocklist.settle, config.blocklist.poll);
    drain::spawn_control(notices::follow(Arc::clone(shared), notice_config(config), settle, poll))
}
