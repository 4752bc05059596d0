//! Every address of a program, taken before anything is loaded.
//!
//! Inside: binding, and what the system made of port 0. Kept out: accepting. SO_REUSEPORT would hide that a port is in
//! use, so admin and metrics are bound without it and listeners are probed (`proxy::listener`).

use std::net::{SocketAddr, TcpListener};

use crate::config::Config;
use crate::finding::Finding;
use crate::proxy::listener::{self, ListenError, Sockets};

use super::{Bound, StartError};

/// The sockets of a program that is about to start.
#[derive(Debug)]
pub(super) struct Addresses {
    /// By name, in the order of the configuration.
    pub(super) listeners: Vec<(String, Sockets)>,
    /// The admin endpoint.
    pub(super) admin: TcpListener,
    /// Metrics and health alone.
    pub(super) metrics: Option<TcpListener>,
    bound: Bound,
    workers: usize,
}

impl Addresses {
    /// Takes every address; each one that cannot be had is named.
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let workers = worker_count(config.workers);
        let mut wrong = Vec::new();
        let mut complain = |what: &str, error: ListenError| {
            wrong.push(Finding::without_place(format!("{what}: {error}")));
        };
        let admin = listener::open_alone(config.admin.address).map_err(|error| complain("admin", error)).ok();
        let metrics = config.metrics.map(listener::open_alone);
        let metrics = metrics.transpose().unwrap_or_else(|error| {
            complain("metrics", error);
            None
        });
        let mut listeners = Vec::new();
        for listener in &config.proxy.listeners {
            match listener::open(listener.address, workers) {
                Ok(sockets) => listeners.push((listener.name.clone(), sockets)),
                Err(error) => complain(&format!("listener.{}", listener.name), error),
            }
        }
        let Some(admin) = admin.filter(|_| wrong.is_empty()) else { return Err(StartError::Failed(wrong)) };
        let bound = Bound {
            listeners: listeners.iter().map(|(name, sockets)| (name.clone(), sockets.address)).collect(),
            admin: address_of(&admin, config.admin.address),
            metrics: metrics.as_ref().zip(config.metrics).map(|(socket, asked)| address_of(socket, asked)),
        };
        Ok(Self { listeners, admin, metrics, bound, workers })
    }

    /// Where the program accepts.
    pub(super) fn bound(&self) -> Bound {
        self.bound.clone()
    }

    /// How many workers there are sockets for.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }
}

fn address_of(socket: &TcpListener, asked: SocketAddr) -> SocketAddr {
    socket.local_addr().unwrap_or(asked)
}

/// 0: one per core that this process may use.
fn worker_count(configured: usize) -> usize {
    if configured > 0 { configured } else { std::thread::available_parallelism().map_or(1, usize::from) }
}
