//! One server of an upstream: what is configured, where its name leads now, whether it answered last.
//!
//! Inside: the server that all workers share, read-only but for its addresses and two flags. Kept out: looking names up
//! (`resolve.rs`), and what one worker thinks of a server (`pool.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::live::Live;
use crate::proxy::ServerConfig;
use crate::telemetry::metrics::ServerState;

use super::tls::ServerTls;

/// Tells servers apart within the process; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId(u64);

impl ServerId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One server of an upstream. It survives a change of configuration that leaves it as it is.
#[derive(Debug)]
pub struct Server {
    id: ServerId,
    config: ServerConfig,
    label: String,
    tls: Option<ServerTls>,
    addresses: Live<Vec<SocketAddr>>,
    has_address: AtomicBool,
    resolves: AtomicBool,
    state: Arc<ServerState>,
}

impl Server {
    /// A server whose address is known where it is configured as one, and is still to be looked up else.
    pub fn new(config: ServerConfig, tls: Option<ServerTls>, state: Arc<ServerState>) -> Self {
        let addresses: Vec<SocketAddr> =
            config.host.address().map(|address| SocketAddr::new(address, config.port)).into_iter().collect();
        Self {
            id: ServerId::next(),
            label: config.label(),
            tls,
            has_address: AtomicBool::new(!addresses.is_empty()),
            addresses: Live::new(addresses),
            resolves: AtomicBool::new(true),
            state,
            config,
        }
    }

    /// Tells it from every other server.
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// What is configured.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Its label in metrics and logs.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How TLS is spoken with it; none where it is not.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// Where it is now, to keep: for a connect, not for a request.
    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        Arc::clone(&self.addresses.load().value)
    }

    /// Whether it is known where it is.
    pub fn has_address(&self) -> bool {
        self.has_address.load(Ordering::Relaxed)
    }

    /// Whether the last look at its name succeeded; true until there was one.
    pub fn resolves(&self) -> bool {
        self.resolves.load(Ordering::Relaxed)
    }

    /// Records whether it answered; the gauge `sluis_upstream_up`.
    pub fn set_up(&self, up: bool) {
        if self.state.is_up() != up {
            self.state.set_up(up);
        }
    }

    /// Whether its name has to be looked up.
    pub(super) fn needs_resolving(&self) -> bool {
        self.config.host.address().is_none()
    }

    /// Takes over what the name leads to now, in the resolver's order of preference. Called by the control thread only.
    /// Returns whether the set of addresses has changed.
    pub(super) fn set_addresses(&self, found: Vec<SocketAddr>) -> bool {
        let current = self.addresses();
        if found.len() == current.len() && found.iter().all(|address| current.contains(address)) {
            return false;
        }
        self.has_address.store(!found.is_empty(), Ordering::Relaxed);
        self.addresses.publish(found);
        true
    }

    /// Records whether the name could be looked up, and returns whether that is news.
    pub(super) fn set_resolves(&self, resolves: bool) -> bool {
        self.resolves.swap(resolves, Ordering::Relaxed) != resolves
    }
}
