//! What of the configuration a request reads, published as one value.
//!
//! Inside: the settings and how they are made from a checked [`Config`](super::Config). Kept out: the files they come from.

use std::sync::Arc;

use ipnet::IpNet;

use super::Limits;
use super::route::Routes;
use super::upstream::Upstream;

/// How HTTP/1 is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http1Path {
    /// By a codec of our own where that is plain beyond doubt, else by hyper.
    #[default]
    Fast,
    /// By hyper alone.
    Hyper,
}

/// What a request reads of the configuration.
#[derive(Debug)]
pub struct Settings {
    /// How HTTP/1 is served.
    pub http1: Http1Path,
    /// Our pseudonym in Via and Proxy-Status.
    pub server_name: String,
    /// Peers whose forwarding fields are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Every limit.
    pub limits: Limits,
    /// Host to upstream.
    pub routes: Routes,
    /// The upstreams, in the order of the configuration.
    pub upstreams: Vec<Arc<Upstream>>,
}
