//! The composition root: builds every part, starts the threads, follows the signals, stops in order or hands over.
//!
//! Inside: what knows all parts. Kept out: what any of them does. Listeners, certificates and lists are loaded before
//! anything is accepted; what does not load ends the start with everything that is wrong.

mod signals;
mod inherited;
mod program;
mod addresses;
mod notices;
mod parts;
mod reread;
mod workers;
mod handover;
mod supervisor;
mod stop;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::admin;
use crate::config::Config;
use crate::drain::{self, Phase, StopSignal};
use crate::finding::Finding;
use crate::proxy::upstream::resolve;
use crate::telemetry::log_queue;
use crate::telemetry::logging::{self, LoggingHandle};
use crate::telemetry::outcome::UpgradeResult;
use crate::telemetry::panics;

use self::addresses::Addresses;
use self::handover::Handover;
use self::inherited::Inherited;
use self::parts::Parts;
use self::program::Program;
use self::signals::{EarlySignals, Signals};
use self::stop::{Leave, Stopping};
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

/// A process that can be told things already and has loaded nothing yet.
#[derive(Debug)]
pub struct Starting {
    runtime: Runtime,
    signals: EarlySignals,
    inherited: Inherited,
    program: Program,
}

/// Begins the start, before the configuration is read: a signal that comes meanwhile is not lost.
///
/// # Errors
/// The machine does not give what every start needs, or the process came with sockets that are none.
pub fn begin() -> Result<Starting, StartError> {
    let inherited = Inherited::take()?;
    let program = Program::of_this_process();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(format!("the control thread cannot be set up: {error}")))?;
    let signals = {
        let _context = runtime.enter();
        EarlySignals::take()?
    };
    Ok(Starting { runtime, signals, inherited, program })
}

impl Starting {
    /// Runs until the program is told to stop, or another process has taken over. `announce` is called once everything
    /// accepts.
    ///
    /// # Errors
    /// Everything that keeps it from starting. Once it has started, nothing does but the end.
    pub fn run(self, config: Config, reread: Reread, announce: impl FnOnce(&Bound)) -> Result<Ending, StartError> {
        let Self { runtime, signals, inherited, program } = self;
        let logging = logging::init(&config.logging).map_err(|error| failed(error.to_string()))?;
        panics::install();
        let ending = runtime.block_on(async {
            let mut signals = signals.and_stops()?;
            let running = tokio::select! {
                running = Running::start(config, logging, inherited, program) => running?,
                // Nothing was begun: a start that waits for a list's server need not be waited for.
                () = signals.stops.next() => return Ok(Ending::Finished),
            };
            announce(&running.bound);
            Ok(running.control(signals, reread).await)
        });
        // A name server that does not answer must not hold up the end.
        runtime.shutdown_background();
        log_queue::flush();
        ending
    }
}

/// Everything that runs.
#[derive(Debug)]
struct Running {
    parts: Parts,
    workers: Workers,
    handover: Handover,
    stop: Arc<StopSignal>,
    /// The admin endpoint answers during a drain, and not beside that of a process that has taken over.
    admin_stop: StopSignal,
    bound: Bound,
}

impl Running {
    async fn start(
        config: Config,
        logging: LoggingHandle,
        mut inherited: Inherited,
        program: Program,
    ) -> Result<Self, StartError> {
        for warning in &config.warnings {
            tracing::warn!("{}", warning.log_line());
        }
        let addresses = Addresses::bind(&config, &mut inherited)?;
        let copies = addresses.copies().map_err(|error| failed(format!("sockets cannot be copied: {error}")))?;
        let stop = Arc::new(StopSignal::default());
        let parts = Parts::build(config, Arc::clone(&stop), logging, addresses.workers()).await?;
        let bound = addresses.bound();
        let mut workers = Workers::start(&parts, addresses.listeners, &stop)?;
        workers.all_accept().await?;
        let admin_stop = StopSignal::default();
        serve_admin(addresses.admin, addresses.metrics, &parts, &admin_stop);
        tell(&bound);
        parts.admin.set_listening(true);
        tracing::info!(generation = parts.shared.blocklist.generation(), version = env!("CARGO_PKG_VERSION"), "ready");
        if inherited.is_upgrade() {
            handover::count(&parts.shared.metrics, UpgradeResult::Succeeded);
            inherited.tell_ready();
        } else {
            supervisor::ready();
        }
        inherited.close_the_rest();
        let handover = Handover::new(program, copies, Arc::clone(&parts.shared.metrics));
        Ok(Self { parts, workers, handover, stop, admin_stop, bound })
    }

    /// Does what it is told until it is told to stop or has handed over, and then that.
    async fn control(mut self, mut signals: Signals, reread: Reread) -> Ending {
        let mut leave = self.serve(&mut signals, &reread).await;
        if let Some(pid) = self.handover.overtake().await {
            leave = Leave::TakenOver(pid);
        }
        let Self { parts, workers, handover, stop, admin_stop, .. } = self;
        parts.reload.end_fetches();
        // What is left is the workers' own sockets: they close when their queues are empty.
        drop(handover);
        let (drain, metrics) = (parts.drain(), Arc::clone(&parts.shared.metrics));
        stop::stop(leave, Stopping { stop, admin_stop, workers, drain, metrics }, &mut signals).await
    }

    async fn serve(&mut self, signals: &mut Signals, reread: &Reread) -> Leave {
        let upstreams = {
            let shared = Arc::clone(&self.parts.shared);
            move || shared.settings.load().value.upstreams.clone()
        };
        let mut resolving = std::pin::pin!(resolve::keep_resolved(upstreams));
        loop {
            tokio::select! {
                Some(()) = signals.hangup.recv() => {
                    supervisor::reloading();
                    // Nothing waits for what takes its time, a list that is fetched or a name server that is away: not a stop, not
                    // the servers whose names are resolved, not a worker that has ended.
                    tokio::select! {
                        () = self.parts.reread(reread) => supervisor::ready(),
                        () = &mut resolving => {}
                        () = signals.stops.next() => return Leave::Stopped,
                        () = self.workers.first_ended() => return self.worker_ended(),
                    }
                }
                Some(()) = signals.upgrade.recv() => self.handover.begin(self.parts.config.upgrade_timeout),
                pid = self.handover.completed() => return Leave::TakenOver(pid),
                () = signals.stops.next() => return Leave::Stopped,
                () = &mut resolving => {}
                () = self.workers.first_ended() => return self.worker_ended(),
            }
        }
    }

    fn worker_ended(&self) -> Leave {
        tracing::error!("a worker ended by itself; stopping");
        self.stop.advance(Phase::Draining);
        Leave::Stopped
    }
}

/// Starts the admin endpoint and the metrics on the sockets that they have.
fn serve_admin(
    admin_socket: std::net::TcpListener,
    metrics_socket: Option<std::net::TcpListener>,
    parts: &Parts,
    stop: &StopSignal,
) {
    let (admin, phases) = (Arc::clone(&parts.admin), stop.subscribe());
    drain::spawn_control(async move {
        if let Err(error) = admin::serve(admin_socket, admin, phases).await {
            tracing::error!(%error, "the admin endpoint has ended");
        }
    });
    let Some(socket) = metrics_socket else { return };
    let (admin, phases) = (Arc::clone(&parts.admin), stop.subscribe());
    drain::spawn_control(async move {
        if let Err(error) = admin::serve_metrics(socket, admin, phases).await {
            tracing::error!(%error, "the metrics endpoint has ended");
        }
    });
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
