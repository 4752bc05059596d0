//! The proxying path: from an accepted connection to one recorded outcome a request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::blocklist::pattern::Pattern;
use crate::host::HostName;
use crate::tls;

pub mod limits;
pub mod sweep;
pub mod date;
pub mod gate;
pub mod error;
pub mod upload_pace;
pub mod request_body;
pub mod upstream;
pub mod route;
pub mod settings;
pub mod scratch;
pub mod context;
pub mod exchange;
pub mod accept_limits;
pub mod client_io;
pub mod connection;
pub mod listener;
pub mod worker;
pub mod target;
pub mod headers;
pub mod upstream_body;
pub mod upstream_head;
pub mod upgrade;
pub mod sni;
pub mod judge;
pub mod forward;
pub mod body;
pub mod own_error;
mod http1;
pub mod service;
#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use settings::Http1Path;

/// What a SIGHUP may change without a restart. All values are checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our pseudonym in Via and Proxy-Status.
    pub server_name: String,
    /// How HTTP/1 is served.
    pub http1: Http1Path,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Every limit.
    pub limits: Limits,
    /// Routes, in the order of the configuration.
    pub routes: Vec<RouteConfig>,
    /// Upstreams, in the order of the configuration.
    pub upstreams: Vec<UpstreamConfig>,
    /// What happens when the SNI and the Host differ, by listener name.
    pub listeners: Vec<ListenerConfig>,
    /// How a stop goes.
    pub drain: DrainConfig,
}

/// How a stop goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// From the signal to the end of accepting; `/readyz` is 503 meanwhile.
    pub delay: Duration,
    /// What requests in flight get after that.
    pub timeout: Duration,
}

/// Hosts and the upstream that they go to.
#[derive(Debug, Clone)]
pub struct RouteConfig {
    /// Empty: everything that is not routed elsewhere.
    pub hosts: Vec<Pattern>,
    /// Index in [`Config::upstreams`].
    pub upstream: usize,
}

/// A named group of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The name in configuration and metrics.
    pub name: String,
    /// At least one.
    pub servers: Vec<ServerConfig>,
    /// PEM file of the roots that TLS servers are checked against, instead of the platform's.
    pub ca: Option<PathBuf>,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// A name, or an address.
    pub host: HostName,
    /// The port.
    pub port: u16,
    /// Whether to speak TLS; the certificate must be for `host`.
    pub tls: bool,
}

impl ServerConfig {
    /// The server as configured, which is its label in metrics: `https://host:port` or `host:port`.
    pub fn label(&self) -> String {
        let scheme = if self.tls { "https://" } else { "" };
        format!("{scheme}{}:{}", self.host.as_str(), self.port)
    }
}

/// An address that clients come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The name in configuration and metrics.
    pub name: String,
    /// Where to accept. Needs a restart to change.
    pub address: SocketAddr,
    /// None: plaintext.
    pub tls: Option<ListenerTlsConfig>,
}

/// TLS on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTlsConfig {
    /// How it is spoken, and with which certificates.
    pub tls: tls::config::Config,
    /// When Host and SNI differ and neither is blocked.
    pub sni_mismatch: SniMismatch,
}

/// When Host and SNI differ and neither is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SniMismatch {
    /// 421 unless the certificate that was served covers Host.
    #[default]
    Certificate,
    /// 421 unless they are the same.
    Reject,
    /// Nothing.
    Allow,
}
