//! The admin endpoint: health, API, status page, metrics.
//!
//! Inside: what the endpoint answers and to whom, in the order in which the files build on each other. Kept out: what
//! the answers are made of, which the parts below keep, and every listener of the proxy: nothing here is reachable
//! through one.

use std::net::SocketAddr;

pub mod view;

mod guard;
mod places;
mod query;
mod reply;

mod parts;
mod state;

mod api;
mod health;
mod metrics;
mod page;

mod endpoint;

mod server;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use parts::RunningParts;
pub use server::{serve, serve_metrics};
pub use state::{Admin, Facts, Setup};

/// The `[admin]` part of the configuration. The address needs a restart to change, as that of `[metrics]` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Where the whole endpoint listens.
    pub address: SocketAddr,
}
