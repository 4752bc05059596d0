//! What a request finds around it: the worker that it runs on, the settings in force, its connection.
//!
//! Inside: the plain structures and nothing that acts. Kept out: how they are made (`app`, `worker.rs`) and what is
//! done with them (`service.rs`).

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::blocklist::store::Blocklist;
use crate::drain::{LocalTasks, Phase};
use crate::host::HostName;
use crate::live::Live;
use crate::notice::Notices;
use crate::notice::memo::Memo;
use crate::notice::wire::DATE_BYTES;
use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::{ListenerMetrics, Metrics};

use super::SniMismatch;
use super::date::DateCell;
use super::gate::state::Http2State;
use super::scratch::Scratch;
use super::settings::Settings;
use super::sweep::Sweep;
use super::upstream::Pools;

/// What all workers share: snapshots that are only read, and counters with a cell for each.
#[derive(Debug)]
pub struct Shared {
    /// Routes, upstreams, limits and names.
    pub settings: Live<Settings>,
    /// What is blocked and why.
    pub blocklist: Blocklist,
    /// What the visitor of a blocked host is shown.
    pub notices: Live<Notices>,
    /// Every counter of the request path.
    pub metrics: Arc<Metrics>,
}

/// One thread with its own event loop. Everything in it stays on that thread.
#[derive(Debug)]
pub struct Worker {
    /// The index of its cells in every counter.
    pub id: WorkerId,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its deadlines.
    pub sweep: Sweep,
    /// Its tasks: connections, upstream connections, tunnels.
    pub tasks: LocalTasks,
    /// How far the stop has come, as this worker has heard. When it changes, [`Sweep::wake_all`] is called.
    pub phase: Cell<Phase>,
    /// Its idle upstream connections.
    pub pools: Pools,
    /// The notices that it has sent lately.
    pub notice_memo: Memo,
    /// The date of its answers.
    pub dates: DateCell,
    /// Memory that its connections share.
    pub scratch: Scratch,
    /// The settings as of their generation.
    settings: RefCell<Option<(u64, Rc<HeldSettings>)>>,
}

/// A snapshot of the settings that one worker holds.
#[derive(Debug)]
pub struct HeldSettings(Arc<Settings>);

impl Deref for HeldSettings {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl Worker {
    /// A worker that has served nobody yet.
    pub fn new(id: WorkerId, shared: Arc<Shared>, phase: Phase) -> Self {
        let (sweep, tasks) = (Sweep::default(), LocalTasks::default());
        Self {
            id,
            shared,
            pools: Pools::new(id, sweep.clone(), tasks.clone()),
            sweep,
            tasks,
            phase: Cell::new(phase),
            notice_memo: Memo::default(),
            dates: DateCell::default(),
            scratch: Scratch::default(),
            settings: RefCell::default(),
        }
    }

    /// The settings in force, to keep for one request. All workers count the holders of a snapshot in one place, which with
    /// each request would move its cache line between them; so a worker holds it once, and counts its own holders.
    pub fn settings(&self) -> Rc<HeldSettings> {
        let generation = self.shared.settings.generation();
        let mut kept = self.settings.borrow_mut();
        match &*kept {
            Some((of, settings)) if *of == generation => Rc::clone(settings),
            _ => {
                let published = self.shared.settings.load();
                let settings = Rc::new(HeldSettings(Arc::clone(&published.value)));
                *kept = Some((published.generation, Rc::clone(&settings)));
                settings
            }
        }
    }

    /// The value of `Date` now.
    pub fn date(&self) -> [u8; DATE_BYTES] {
        // A clock before 1970 is no clock.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.dates.at(since.as_secs())
    }

    /// The counters of the request path.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The counters of a listener.
    pub fn listener_metrics(&self, listener: usize) -> Option<&ListenerMetrics> {
        self.shared.metrics.listeners().get(listener)
    }
}

/// The version of HTTP that a client connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, chosen by ALPN.
    Http2,
}

/// What is known of a client's connection.
#[derive(Debug)]
pub struct Client {
    /// The worker that it lives on.
    pub worker: Rc<Worker>,
    /// The listener's index in the configuration.
    pub listener: usize,
    /// Who is there; an IPv4-mapped address is that IPv4 address.
    pub peer: IpAddr,
    /// What TLS said; none on plaintext.
    pub tls: Option<Box<ClientTls>>,
    /// The version of HTTP.
    pub protocol: Protocol,
    /// Whether the connection closes after the requests that it has begun: its age or its number of requests is
    /// reached, or the worker drains. The service then answers HTTP/1 with `Connection: close`.
    pub closing: Cell<bool>,
    /// When it was accepted; under TLS, when its handshake was done.
    pub began: Instant,
    /// When it closes because of its age.
    pub until: Instant,
    /// HTTP/2: what is known of its streams.
    pub http2: Option<Rc<Http2State>>,
}

/// What a client's TLS handshake said.
#[derive(Debug)]
pub struct ClientTls {
    /// The name that it asked for; none where it was missing, an address or invalid.
    pub sni: Option<HostName>,
    /// What the listener does when the SNI and the Host differ.
    pub sni_mismatch: SniMismatch,
    /// The names of the certificate that was served: exact names and one-label wildcards (`*.x`).
    pub certificate_names: Arc<[Box<str>]>,
}

impl Client {
    /// Whether a stream that just ended did so because its client broke the rules. Which stream that was does not matter:
    /// each is accounted for once.
    pub fn take_broken_stream(&self) -> bool {
        let Some(http2) = &self.http2 else { return false };
        http2.broken_streams.replace(http2.broken_streams.get().saturating_sub(1)) > 0
    }

    /// The scheme that its requests have.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The port that its scheme has by default.
    pub fn default_port(&self) -> u16 {
        if self.tls.is_some() { 443 } else { 80 }
    }
}
