//! What the admin endpoint holds on to.
//!
//! Inside: the handles that its answers are made from, and the two things that the application tells it while it runs.
//! Kept out: the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use crate::drain::StopSignal;
use crate::live::Live;
use crate::notice::Operator;
use crate::telemetry::metrics::Metrics;

use super::view::Parts;

/// What the endpoint is built from.
#[derive(Debug)]
pub struct Setup {
    /// The version of the program.
    pub version: &'static str,
    /// When the process started.
    pub started_at: Timestamp,
    /// The counters of the request path.
    pub metrics: Arc<Metrics>,
    /// The blocklist and the certificates.
    pub parts: Arc<dyn Parts>,
    /// How far a stop has come.
    pub stop: Arc<StopSignal>,
    /// What the page names.
    pub facts: Facts,
}

/// What the page names, which a SIGHUP may change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Our pseudonym in Via and Proxy-Status.
    pub server_name: String,
    /// Who runs this edge.
    pub operator: Operator,
}

/// The admin endpoint; one a process, for every address that it has.
#[derive(Debug)]
pub struct Admin {
    pub(super) version: &'static str,
    pub(super) started_at: Timestamp,
    pub(super) metrics: Arc<Metrics>,
    pub(super) parts: Arc<dyn Parts>,
    pub(super) stop: Arc<StopSignal>,
    pub(super) facts: Live<Facts>,
    listening: AtomicBool,
}

impl Admin {
    /// An endpoint that is alive and not ready yet.
    pub fn new(setup: Setup) -> Self {
        let Setup { version, started_at, metrics, parts, stop, facts } = setup;
        let listening = AtomicBool::new(false);
        Self { version, started_at, metrics, parts, stop, facts: Live::new(facts), listening }
    }

    /// Says whether every listener accepts.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Release);
    }

    /// Replaces what the page names.
    pub fn set_facts(&self, facts: Facts) {
        self.facts.publish(facts);
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }
}
