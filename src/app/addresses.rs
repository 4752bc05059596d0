//! Every address of a program, taken before anything is loaded.
//!
//! Inside: binding what did not come with the process, and what the system made of port 0. Kept out: accepting.
//! SO_REUSEPORT would hide that a port is in use, so admin and metrics are bound without it and listeners are probed
//! (`proxy::listener`); sockets that were inherited are there already, so that nothing is asked about them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::Config;
use crate::finding::Finding;
use crate::proxy::listener::{self, ListenError, Sockets};

use super::inherited::{ADMIN, Inherited, METRICS, listener_name};
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
    /// Takes every address, with the sockets that are there for it or by binding it; each one that cannot be had is named.
    pub(super) fn bind(config: &Config, inherited: &mut Inherited) -> Result<Self, StartError> {
        let workers = worker_count(config.workers);
        let mut wrong = Vec::new();
        let mut complain = |what: &str, error: ListenError| {
            wrong.push(Finding::without_place(format!("{what}: {error}")));
        };
        let admin = alone(inherited, ADMIN, config.admin.address).map_err(|error| complain("admin", error)).ok();
        let metrics = config.metrics.map(|address| alone(inherited, METRICS, address));
        let metrics = metrics.transpose().unwrap_or_else(|error| {
            complain("metrics", error);
            None
        });
        let mut listeners = Vec::new();
        for listener in &config.proxy.listeners {
            match shared(inherited, &listener.name, listener.address, workers) {
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

    /// A copy of each socket, with the name by which a process that takes over finds it.
    pub(super) fn copies(&self) -> io::Result<Vec<(String, TcpListener)>> {
        let mut copies = vec![(ADMIN.to_owned(), self.admin.try_clone()?)];
        if let Some(metrics) = &self.metrics {
            copies.push((METRICS.to_owned(), metrics.try_clone()?));
        }
        for (name, sockets) in &self.listeners {
            for socket in &sockets.sockets {
                copies.push((listener_name(name), socket.try_clone()?));
            }
        }
        Ok(copies)
    }

    /// How many workers there are sockets for.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }
}

/// The one socket of an address.
fn alone(inherited: &mut Inherited, name: &str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    match inherited.claim(name, address).into_iter().next() {
        Some(socket) => Ok(socket),
        None => listener::open_alone(address),
    }
}

/// The sockets of a listener.
fn shared(inherited: &mut Inherited, name: &str, address: SocketAddr, workers: usize) -> Result<Sockets, ListenError> {
    let sockets = inherited.claim(&listener_name(name), address);
    if sockets.is_empty() { listener::open(address, workers) } else { listener::adopt(address, sockets, workers) }
}

fn address_of(socket: &TcpListener, asked: SocketAddr) -> SocketAddr {
    socket.local_addr().unwrap_or(asked)
}

/// 0: one per core that this process may use.
fn worker_count(configured: usize) -> usize {
    if configured > 0 { configured } else { std::thread::available_parallelism().map_or(1, usize::from) }
}
