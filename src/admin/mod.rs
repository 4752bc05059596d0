//! The admin endpoint: health, API, status page, metrics.

use std::net::SocketAddr;

/// The `[admin]` part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Where it is; loopback by default. Needs a restart to change.
    pub address: SocketAddr,
}
