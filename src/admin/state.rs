//! What the admin endpoint holds on to.
//!
//! Inside: the handles that its answers are made from, and the three things that the application tells it while it runs.
//! Kept out: the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use crate::drain::StopSignal;
use crate::finding::Finding;
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

/// How reading the configuration again went, since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigReloads {
    /// `sluis_config_reloads_total{result="applied"}`.
    pub(super) applied: u64,
    /// `sluis_config_reloads_total{result="refused"}`.
    pub(super) refused: u64,
    /// The last one; none where nobody has asked since the start.
    pub(super) last: Option<ConfigReload>,
}

/// One time that the configuration was read again.
#[derive(Debug, Clone)]
pub(super) struct ConfigReload {
    pub(super) at: Timestamp,
    /// Why what was read is not in force; empty where it is.
    pub(super) errors: Vec<Finding>,
}

impl ConfigReloads {
    /// `sluis_config_last_reload_successful`: whether what was read last is in force. What was read at the start is.
    pub(super) fn last_successful(&self) -> bool {
        self.errors().is_empty()
    }

    /// Why what was read last is not in force; empty where it is.
    pub(super) fn errors(&self) -> &[Finding] {
        self.last.as_ref().map_or(&[], |last| &last.errors)
    }
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
    pub(super) config_reloads: Live<ConfigReloads>,
    listening: AtomicBool,
}

impl Admin {
    /// An endpoint that is alive and not ready yet.
    pub fn new(setup: Setup) -> Self {
        let Setup { version, started_at, metrics, parts, stop, facts } = setup;
        let listening = AtomicBool::new(false);
        let (facts, config_reloads) = (Live::new(facts), Live::new(ConfigReloads::default()));
        Self { version, started_at, metrics, parts, stop, facts, config_reloads, listening }
    }

    /// Says whether every listener accepts.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Release);
    }

    /// Replaces what the page names.
    pub fn set_facts(&self, facts: Facts) {
        self.facts.publish(facts);
    }

    /// Says how reading the configuration again went: what it read is in force, or why not. For one caller at a time.
    pub fn set_config_reload(&self, at: Timestamp, result: Result<(), Vec<Finding>>) {
        let before = self.config_reloads.load_full();
        let ConfigReloads { mut applied, mut refused, .. } = *before.value;
        let errors = result.err().unwrap_or_default();
        *if errors.is_empty() { &mut applied } else { &mut refused } += 1;
        self.config_reloads.publish(ConfigReloads { applied, refused, last: Some(ConfigReload { at, errors }) });
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }
}
