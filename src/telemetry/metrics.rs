//! Every counter of the request path, resolved before a request needs it.
//!
//! Inside: the counters by listener and upstream, one cell a worker. Kept out: their text form (`exposition.rs`), and
//! what the control thread alone counts (reloads, certificates), which its owners keep.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::counter::{Counter, Gauge, Histogram, WorkerId};
use super::outcome::{CodeClass, Failure, Outcome, Rejection, UpgradeResult};

/// The counters of the request path; one a process.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    listeners: Box<[ListenerMetrics]>,
    upstreams: Mutex<BTreeMap<String, Arc<UpstreamMetrics>>>,
    /// `sluis_request_duration_seconds`, by [`Outcome::index`].
    pub request_duration: Box<[Histogram]>,
    /// `sluis_rejected_total`, by [`Rejection::index`].
    pub rejected: Box<[Counter]>,
    /// `sluis_failed_total`, by [`Failure::index`].
    pub failed: Box<[Counter]>,
    /// `sluis_request_body_bytes_total`.
    pub request_body_bytes: Counter,
    /// `sluis_response_body_bytes_total`.
    pub response_body_bytes: Counter,
    /// `sluis_tunnels_cut_total`.
    pub tunnels_cut: Counter,
    /// `sluis_accept_errors_total`.
    pub accept_errors: Counter,
    /// `sluis_upgrades_total`, by [`UpgradeResult::index`]; one cell, the control thread's.
    pub upgrades: Box<[Counter]>,
}

/// The counters of one listener.
#[derive(Debug)]
pub struct ListenerMetrics {
    /// The label.
    pub name: String,
    /// `sluis_requests_started_total`.
    pub started: Counter,
    /// `sluis_requests_in_flight`.
    pub in_flight: Gauge,
    /// `sluis_requests_total`, see [`ListenerMetrics::requests`].
    requests: Box<[Counter]>,
    /// `sluis_connections_total` with protocol `http1`.
    pub connections_http1: Counter,
    /// `sluis_connections_total` with protocol `http2`.
    pub connections_http2: Counter,
    /// `sluis_connections_active`.
    pub connections_active: Gauge,
    /// `sluis_tunnels_active`.
    pub tunnels_active: Gauge,
    handshakes_failed: Box<[Counter]>,
}

/// Why a TLS handshake with a client failed; the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// Not within `tls_handshake_timeout`.
    Timeout,
    /// The client closed its side, or took its leave.
    Closed,
    /// The client's certificate is missing, or not one of `tls.client_ca`.
    ClientCertificate,
    /// Anything else: no common version, cipher or protocol, or bytes that are no TLS.
    Protocol,
}

impl HandshakeFailure {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Closed, Self::ClientCertificate, Self::Protocol];

    /// The value of the label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::ClientCertificate => "client-certificate",
            Self::Protocol => "protocol",
        }
    }
}

/// How connecting to an upstream ended; the label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectResult {
    /// Connected.
    Ok,
    /// Refused or unreachable.
    Refused,
    /// Not within `upstream_connect_timeout`.
    Timeout,
    /// The TLS handshake failed.
    Tls,
}

impl ConnectResult {
    /// Every result, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Refused, Self::Timeout, Self::Tls];

    /// The value of the label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
        }
    }
}

/// The counters of one upstream. They survive a change of configuration under the same name.
#[derive(Debug)]
pub struct UpstreamMetrics {
    /// The label.
    pub name: String,
    requests: Box<[Counter]>,
    connects: Box<[Counter]>,
    /// `sluis_upstream_connections_active`.
    pub connections_active: Gauge,
    /// `sluis_upstream_response_seconds`: from the request to the response's head.
    pub response_seconds: Histogram,
    /// `sluis_upstream_retries_total`.
    pub retries: Counter,
    servers: Mutex<BTreeMap<String, Arc<ServerState>>>,
}

/// Whether a server answered when it was last tried; the gauge `sluis_upstream_up`.
#[derive(Debug)]
pub struct ServerState {
    up: AtomicBool,
}

impl ServerState {
    /// Whether it answered when it was last tried; true until it was tried.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Records how the last try went.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }
}

impl Metrics {
    /// The counters for a number of workers and the listeners of the configuration.
    pub fn new(workers: usize, listener_names: impl IntoIterator<Item = String>) -> Self {
        let listener = |name| ListenerMetrics::new(workers, name);
        Self {
            workers,
            listeners: listener_names.into_iter().map(listener).collect(),
            upstreams: Mutex::default(),
            request_duration: Outcome::ALL.iter().map(|_| Histogram::new(workers)).collect(),
            rejected: counters(workers, Rejection::ALL.len()),
            failed: counters(workers, Failure::ALL.len()),
            request_body_bytes: Counter::new(workers),
            response_body_bytes: Counter::new(workers),
            tunnels_cut: Counter::new(workers),
            accept_errors: Counter::new(workers),
            upgrades: counters(1, UpgradeResult::ALL.len()),
        }
    }

    /// How many workers count.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The counters of every listener, in the order of the configuration.
    pub fn listeners(&self) -> &[ListenerMetrics] {
        &self.listeners
    }

    /// The counters of an upstream, made where they are not there yet. Off the request path.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(UpstreamMetrics::new(self.workers, name.to_owned()));
        Arc::clone(upstreams.entry(name.to_owned()).or_insert_with(make))
    }

    /// The counters of every upstream there ever was, by name.
    pub fn upstreams(&self) -> Vec<Arc<UpstreamMetrics>> {
        let upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        upstreams.values().map(Arc::clone).collect()
    }
}

impl ListenerMetrics {
    fn new(workers: usize, name: String) -> Self {
        Self {
            name,
            started: Counter::new(workers),
            in_flight: Gauge::new(workers),
            requests: counters(workers, Outcome::ALL.len() * CodeClass::ALL.len()),
            connections_http1: Counter::new(workers),
            connections_http2: Counter::new(workers),
            connections_active: Gauge::new(workers),
            tunnels_active: Gauge::new(workers),
            handshakes_failed: counters(workers, HandshakeFailure::ALL.len()),
        }
    }

    /// Counts a TLS handshake that failed.
    pub fn count_failed_handshake(&self, worker: WorkerId, reason: HandshakeFailure) {
        if let Some(counter) = self.handshakes_failed.get(reason as usize) {
            counter.increment(worker);
        }
    }

    /// `sluis_tls_handshakes_failed_total` of a reason.
    pub fn failed_handshakes(&self, reason: HandshakeFailure) -> u64 {
        self.handshakes_failed.get(reason as usize).map_or(0, Counter::sum)
    }

    /// `sluis_requests_total` of an outcome and a code class.
    pub fn requests(&self, outcome: Outcome, code: CodeClass) -> Option<&Counter> {
        self.requests.get(outcome.index() * CodeClass::ALL.len() + code.index())
    }
}

impl UpstreamMetrics {
    fn new(workers: usize, name: String) -> Self {
        Self {
            name,
            requests: counters(workers, CodeClass::ALL.len()),
            connects: counters(workers, ConnectResult::ALL.len()),
            connections_active: Gauge::new(workers),
            response_seconds: Histogram::new(workers),
            retries: Counter::new(workers),
            servers: Mutex::default(),
        }
    }

    /// Counts an answer of the upstream, or (with [`CodeClass::None`]) that it gave none.
    pub fn count_request(&self, worker: WorkerId, code: CodeClass) {
        if let Some(counter) = self.requests.get(code.index()) {
            counter.increment(worker);
        }
    }

    /// `sluis_upstream_requests_total` of a code class.
    pub fn requests(&self, code: CodeClass) -> u64 {
        self.requests.get(code.index()).map_or(0, Counter::sum)
    }

    /// Counts how a connect ended.
    pub fn count_connect(&self, worker: WorkerId, result: ConnectResult) {
        if let Some(counter) = self.connects.get(result as usize) {
            counter.increment(worker);
        }
    }

    /// `sluis_upstream_connects_total` of a result.
    pub fn connects(&self, result: ConnectResult) -> u64 {
        self.connects.get(result as usize).map_or(0, Counter::sum)
    }

    /// The state of a server, made where it is not there yet. Off the request path.
    pub fn server(&self, label: &str) -> Arc<ServerState> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(ServerState { up: AtomicBool::new(true) });
        Arc::clone(servers.entry(label.to_owned()).or_insert_with(make))
    }

    /// The state of every server, by label; those that left the configuration are dropped by [`Self::retain_servers`].
    pub fn servers(&self) -> Vec<(String, Arc<ServerState>)> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.iter().map(|(label, state)| (label.clone(), Arc::clone(state))).collect()
    }

    /// Forgets the servers that are no longer configured.
    pub fn retain_servers(&self, configured: &[String]) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|label, _| configured.contains(label));
    }
}

fn counters(workers: usize, count: usize) -> Box<[Counter]> {
    (0..count).map(|_| Counter::new(workers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_and_code_has_a_counter_of_its_own() {
        let metrics = Metrics::new(1, ["http".to_owned()]);
        let listener = &metrics.listeners()[0];
        for outcome in Outcome::ALL {
            for code in CodeClass::ALL {
                listener.requests(*outcome, *code).expect("a counter").increment(WorkerId(0));
            }
        }
        assert!(listener.requests.iter().all(|counter| counter.sum() == 1));
    }

    #[test]
    fn an_upstream_keeps_its_counters_under_its_name() {
        let metrics = Metrics::new(1, []);
        metrics.upstream("origin").count_request(WorkerId(0), CodeClass::Success);
        assert_eq!(metrics.upstream("origin").requests(CodeClass::Success), 1);
        assert_eq!(metrics.upstreams().len(), 1);
    }
}
