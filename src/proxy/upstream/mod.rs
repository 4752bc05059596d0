//! Upstreams: named groups of servers, and the connections to them.
//!
//! Inside: the upstream as all workers share it. Kept out: which server a request goes to and over which connection,
//! which each worker decides for itself (`pool.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::finding::Finding;
use crate::telemetry::metrics::{Metrics, UpstreamMetrics};

use super::{ServerConfig, UpstreamConfig};

pub mod tls;
pub mod server;
pub mod resolve;
pub mod admission;
pub mod retry_budget;
pub mod response_head;
pub mod decoder;
pub mod connection;
pub mod received;
pub mod outgoing;
pub mod pool;
pub mod connect;
#[cfg(test)]
pub(in crate::proxy) mod testing;

pub use pool::Pools;
pub use resolve::{keep_resolved, resolve_all};
pub use server::Server;

use tls::UpstreamTls;

/// Tells upstreams apart within the process; it stays with the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(u64);

/// A named group of servers.
#[derive(Debug)]
pub struct Upstream {
    id: UpstreamId,
    name: String,
    metrics: Arc<UpstreamMetrics>,
    servers: Vec<Arc<Server>>,
    tls: Option<Arc<UpstreamTls>>,
    workers: usize,
}

impl Upstream {
    /// Builds an upstream from its configuration. What `previous` (the upstream of that name in force) has in common with
    /// it is kept: unchanged servers with their addresses and pools. Reads the roots: for the control thread. Names are
    /// not looked up here; see [`resolve_all`].
    ///
    /// # Errors
    /// Roots or a server name that cannot be used for TLS; every one of them.
    pub fn build(
        config: &UpstreamConfig,
        metrics: &Metrics,
        previous: Option<&Arc<Self>>,
    ) -> Result<Self, Vec<Finding>> {
        let needs_tls = config.ca.is_some() || config.servers.iter().any(|server| server.tls);
        let previous_tls = previous.and_then(|previous| previous.tls.as_ref());
        let tls = needs_tls.then(|| UpstreamTls::build(config.ca.as_deref(), previous_tls)).transpose();
        let tls = tls.map_err(|finding| vec![finding])?;
        let is_same_tls = match (&tls, previous_tls) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
        let upstream_metrics = metrics.upstream(&config.name);
        let mut servers = Vec::with_capacity(config.servers.len());
        let mut findings = Vec::new();
        for server in &config.servers {
            let kept = previous.filter(|_| is_same_tls || !server.tls).and_then(|previous| previous.server(server));
            match kept.map_or_else(|| new_server(server, tls.as_deref(), &upstream_metrics), |kept| Ok(kept.clone())) {
                Ok(server) => servers.push(server),
                Err(finding) => findings.push(finding),
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let id = previous.map_or_else(next_id, |previous| previous.id);
        let workers = metrics.workers();
        Ok(Self { id, name: config.name.clone(), metrics: upstream_metrics, servers, tls, workers })
    }

    /// The name in configuration and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its counters.
    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// Its servers, in the order of the configuration.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Takes the gauges of servers that are not configured any more off the metrics; called once this one is in force.
    pub fn retire_other_servers(&self) {
        let labels: Vec<String> = self.servers.iter().map(|server| server.label().to_owned()).collect();
        self.metrics.retain_servers(&labels);
    }

    fn server(&self, config: &ServerConfig) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.config() == config)
    }
}

fn next_id() -> UpstreamId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    UpstreamId(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn new_server(
    config: &ServerConfig,
    tls: Option<&UpstreamTls>,
    metrics: &UpstreamMetrics,
) -> Result<Arc<Server>, Finding> {
    let tls = tls.filter(|_| config.tls).map(|tls| tls.server(config)).transpose()?;
    Ok(Arc::new(Server::new(config.clone(), tls, metrics.server(&config.label()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostName;
    use std::io::Write as _;

    fn server(host: &str, port: u16, tls: bool) -> ServerConfig {
        ServerConfig { host: HostName::parse(host.as_bytes()).expect("a host"), port, tls }
    }

    fn config(servers: Vec<ServerConfig>, ca: Option<&std::path::Path>) -> UpstreamConfig {
        UpstreamConfig { name: "origin".to_owned(), servers, ca: ca.map(Into::into) }
    }

    fn ca_file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn root(name: &str) -> String {
        rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate").cert.pem()
    }

    #[test]
    fn unchanged_servers_are_kept_over_a_change_of_configuration() {
        let metrics = Metrics::new(1, []);
        let (first, second) = (server("192.0.2.1", 80, false), server("192.0.2.2", 80, false));
        let before = Upstream::build(&config(vec![first.clone(), second], None), &metrics, None);
        let before = Arc::new(before.expect("an upstream"));
        let after = config(vec![server("192.0.2.3", 80, false), first], None);
        let after = Upstream::build(&after, &metrics, Some(&before)).expect("an upstream");
        assert!(Arc::ptr_eq(&after.servers()[1], &before.servers()[0]));
        assert_ne!(after.servers()[0].id(), before.servers()[1].id());
        assert_eq!(after.id, before.id);
        after.retire_other_servers();
        let labels: Vec<String> = after.metrics().servers().into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels, ["192.0.2.1:80", "192.0.2.3:80"]);
    }

    #[test]
    fn other_roots_make_another_server_and_the_same_roots_keep_it() {
        let metrics = Metrics::new(1, []);
        let (one, other) = (ca_file(&root("one.example")), ca_file(&root("other.example")));
        let servers = vec![server("shop.example", 443, true)];
        let build = |ca: &tempfile::NamedTempFile, previous: Option<&Arc<Upstream>>| {
            Arc::new(Upstream::build(&config(servers.clone(), Some(ca.path())), &metrics, previous).expect("built"))
        };
        let first = build(&one, None);
        let same = build(&one, Some(&first));
        let changed = build(&other, Some(&same));
        assert!(Arc::ptr_eq(&first.servers()[0], &same.servers()[0]));
        assert!(!Arc::ptr_eq(&same.servers()[0], &changed.servers()[0]));
    }

    #[test]
    fn roots_that_cannot_be_used_are_findings() {
        let metrics = Metrics::new(1, []);
        let missing = std::path::PathBuf::from("no-such-file.pem");
        let empty = ca_file("");
        let broken = ca_file("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        let not_a_certificate = ca_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for path in [missing.as_path(), empty.path(), broken.path(), not_a_certificate.path()] {
            let built = Upstream::build(&config(vec![server("shop.example", 443, true)], Some(path)), &metrics, None);
            let findings = built.expect_err("refused");
            assert_eq!(findings.len(), 1, "{}", path.display());
            assert_eq!(findings[0].place.as_ref().map(|place| place.file.as_path()), Some(path));
        }
    }
}
