//! The composition root: builds every part, starts the threads, follows the signals, stops in order.
//!
//! Inside: what knows all parts. Kept out: what any of them does. Listeners, certificates and lists are loaded before
//! anything is accepted; what does not load ends the start with everything that is wrong.

mod addresses;
mod notices;
mod parts;
mod reread;
mod workers;
mod stop;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin;
use crate::config::Config;
use crate::drain::{self, Phase, StopSignal};
use crate::finding::Finding;
use crate::proxy::upstream::resolve;
use crate::telemetry::log_queue;
use crate::telemetry::logging::{self, LoggingHandle};
use crate::telemetry::panics;

use self::addresses::Addresses;
use self::parts::Parts;
use self::workers::Workers;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every request that was begun was finished.
    Finished,
    /// The stop was over before some requests were.
    Cut,
}

/// Why the program does not run.
#[derive(Debug)]
pub enum StartError {
    /// A configuration, list, certificate or template is wrong.
    BadInput(Vec<Finding>),
    /// The machine does not give what is needed: a port in use, no threads.
    Failed(Vec<Finding>),
}

/// Where the program accepts: an address with port 0 has its real one here.
#[derive(Debug, Clone)]
pub struct Bound {
    /// By name, in the order of the configuration.
    pub listeners: Vec<(String, SocketAddr)>,
    /// The admin endpoint.
    pub admin: SocketAddr,
    /// Metrics and health alone, where they have an address of their own.
    pub metrics: Option<SocketAddr>,
}

impl Bound {
    /// The address of a listener.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(found, _)| found == name).map(|(_, address)| *address)
    }
}

/// Reads the configuration again, for SIGHUP.
pub type Reread = Box<dyn Fn() -> Result<Config, Vec<Finding>>>;

/// Runs until the program is told to stop. `announce` is called once everything accepts.
///
/// # Errors
/// Everything that keeps it from starting. Once it has started, nothing does but the end.
pub fn run(config: Config, reread: Reread, announce: impl FnOnce(&Bound)) -> Result<Ending, StartError> {
    let logging = logging::init(&config.logging).map_err(|error| failed(error.to_string()))?;
    panics::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(format!("the control thread cannot be set up: {error}")))?;
    let ending = runtime.block_on(control(config, reread, logging, announce));
    // A name server that does not answer must not hold up the end.
    runtime.shutdown_background();
    log_queue::flush();
    ending
}

/// What the process is told from outside. Taken before anything is loaded: a signal during the start is not lost.
#[derive(Debug)]
struct Signals {
    hangup: Signal,
    stops: StopSignals,
}

#[derive(Debug)]
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        let take = |kind| signal(kind).map_err(|error| failed(format!("signals cannot be received: {error}")));
        // Once it is taken, a copy that is larger than files may be (RLIMIT_FSIZE) is an error like a full disk, and not
        // the end of the process.
        let _ = take(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        Ok(Self {
            hangup: take(SignalKind::hangup())?,
            stops: StopSignals { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? },
        })
    }
}

impl StopSignals {
    /// The next TERM or INT.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn control(
    config: Config,
    reread: Reread,
    logging: LoggingHandle,
    announce: impl FnOnce(&Bound),
) -> Result<Ending, StartError> {
    let mut signals = Signals::new()?;
    for warning in &config.warnings {
        tracing::warn!("{}", warning.log_line());
    }
    let addresses = Addresses::bind(&config)?;
    let stop = Arc::new(StopSignal::default());
    let mut parts = Parts::build(config, Arc::clone(&stop), logging, addresses.workers()).await?;
    let bound = addresses.bound();
    let mut workers = Workers::start(&parts, addresses.listeners, &stop)?;
    serve_admin(addresses.admin, addresses.metrics, &parts, &stop)?;
    tell(&bound);
    parts.admin.set_listening(true);
    tracing::info!(generation = parts.shared.blocklist.generation(), version = env!("CARGO_PKG_VERSION"), "ready");
    announce(&bound);
    let upstreams = {
        let shared = Arc::clone(&parts.shared);
        move || shared.settings.load().value.upstreams.clone()
    };
    let mut resolving = std::pin::pin!(resolve::keep_resolved(upstreams));
    loop {
        tokio::select! {
            Some(()) = signals.hangup.recv() => tokio::select! {
                () = parts.reread(&reread) => {}
                // A stop does not wait for what is not used any more: a large list, a name server that is away.
                () = signals.stops.next() => break,
            },
            () = signals.stops.next() => break,
            () = &mut resolving => {}
            () = workers.first_ended() => {
                tracing::error!("a worker ended by itself; stopping");
                stop.advance(Phase::Draining);
                break;
            }
        }
    }
    Ok(stop::stop(&stop, &mut signals.stops, workers, parts.drain()).await)
}

/// Starts the admin endpoint and the metrics on the sockets that they have.
fn serve_admin(
    admin_socket: std::net::TcpListener,
    metrics_socket: Option<std::net::TcpListener>,
    parts: &Parts,
    stop: &Arc<StopSignal>,
) -> Result<(), StartError> {
    let (admin, phases) = (Arc::clone(&parts.admin), stop.subscribe());
    drain::spawn_control(async move {
        if let Err(error) = admin::serve(admin_socket, admin, phases).await {
            tracing::error!(%error, "the admin endpoint has ended");
        }
    });
    let Some(socket) = metrics_socket else { return Ok(()) };
    let (admin, phases) = (Arc::clone(&parts.admin), stop.subscribe());
    drain::spawn_control(async move {
        if let Err(error) = admin::serve_metrics(socket, admin, phases).await {
            tracing::error!(%error, "the metrics endpoint has ended");
        }
    });
    Ok(())
}

fn tell(bound: &Bound) {
    for (listener, address) in &bound.listeners {
        tracing::info!(%listener, %address, "listening");
    }
    tracing::info!(listener = "admin", address = %bound.admin, "listening");
    if let Some(address) = bound.metrics {
        tracing::info!(listener = "metrics", %address, "listening");
    }
}

fn failed(message: impl Into<String>) -> StartError {
    StartError::Failed(vec![Finding::without_place(message)])
}
