//! Where upstream servers are: names looked up at start and every [`INTERVAL`], never because of a request.
//!
//! Inside: the look-ups, on the control thread. Kept out: choosing among the addresses (`connect.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::drain::spawn_control;

use super::{Server, Upstream};

/// How often names are looked up.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// How long one look-up may take. A start does not wait longer for a name server that is away.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Looks up every name of these upstreams once, all at the same time; takes [`TIMEOUT`] at most. A name that leads
/// nowhere is logged, and its server is not used until it leads somewhere.
pub async fn resolve_all(upstreams: &[Arc<Upstream>]) {
    let servers = upstreams.iter().flat_map(|upstream| upstream.servers());
    let named = servers.filter(|server| server.needs_resolving()).map(Arc::clone);
    let lookups: Vec<JoinHandle<()>> =
        named.map(|server| spawn_control(async move { resolve(&server).await })).collect();
    for lookup in lookups {
        if let Err(error) = lookup.await {
            tracing::error!(%error, "a look-up of an upstream server's name ended early");
        }
    }
}

/// Looks names up every [`INTERVAL`] until it is dropped; `current` gives the upstreams in force.
pub async fn keep_resolved(current: impl Fn() -> Vec<Arc<Upstream>>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        resolve_all(&current()).await;
    }
}

async fn resolve(server: &Server) {
    let name = (server.config().host.as_str(), server.config().port);
    let found = match tokio::time::timeout(TIMEOUT, tokio::net::lookup_host(name)).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the name server did not answer in time".to_owned()),
    };
    settle(server, found);
}

/// Takes over what was found. A look-up that fails or finds nothing leaves the addresses as they are, and is logged
/// when it is the first to.
fn settle(server: &Server, found: Result<Vec<SocketAddr>, String>) {
    let found = found.and_then(|found| if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) });
    match found {
        Ok(addresses) => {
            let is_first = !server.has_address();
            if server.set_resolves(true) {
                tracing::info!(server = server.label(), "the upstream server's name can be looked up again");
            }
            if server.set_addresses(addresses) {
                let addresses = server.addresses();
                tracing::info!(server = server.label(), ?addresses, "the upstream server has other addresses");
            }
            if is_first {
                server.set_up(true);
            }
        }
        Err(error) => {
            let keeps = server.has_address();
            if !keeps {
                server.set_up(false);
            }
            if server.set_resolves(false) {
                let consequence = if keeps { "its last addresses stay in use" } else { "it is not used" };
                tracing::warn!(
                    server = server.label(),
                    error,
                    "cannot look up the upstream server's name; {consequence}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostName;
    use crate::proxy::{ServerConfig, UpstreamConfig};
    use crate::telemetry::metrics::Metrics;

    fn upstream(host: &str) -> Arc<Upstream> {
        let host = HostName::parse(host.as_bytes()).expect("a host");
        let servers = vec![ServerConfig { host, port: 80, tls: false }];
        let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: None };
        Arc::new(Upstream::build(&config, &Metrics::new(1, []), None).expect("an upstream"))
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_look_up_that_fails_keeps_the_last_addresses() {
        let upstream = upstream("origin.example");
        let server = &upstream.servers()[0];
        assert!(!server.has_address());
        settle(server, Err("no such name".to_owned()));
        assert!(!server.has_address() && !server.resolves());
        assert!(!upstream.metrics().servers()[0].1.is_up());
        settle(server, Ok(vec![address("192.0.2.1:80")]));
        assert!(server.has_address() && server.resolves());
        assert!(upstream.metrics().servers()[0].1.is_up());
        for failure in [Err("server failure".to_owned()), Ok(Vec::new())] {
            settle(server, failure);
            assert_eq!(*server.addresses(), [address("192.0.2.1:80")]);
            assert!(server.has_address() && !server.resolves());
        }
    }

    #[test]
    fn the_same_addresses_in_another_order_are_no_change() {
        let upstream = upstream("origin.example");
        let server = &upstream.servers()[0];
        let (one, two) = (address("192.0.2.1:80"), address("192.0.2.2:80"));
        assert!(server.set_addresses(vec![one, two]));
        assert!(!server.set_addresses(vec![two, one]));
        assert!(server.set_addresses(vec![two]));
    }

    #[tokio::test]
    async fn a_name_is_looked_up_at_start_and_an_address_needs_no_look_up() {
        let (named, literal) = (upstream("localhost"), upstream("192.0.2.1"));
        assert!(literal.servers()[0].has_address());
        resolve_all(&[Arc::clone(&named), literal]).await;
        let addresses = named.servers()[0].addresses();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{addresses:?}");
        assert!(named.servers()[0].has_address());
    }
}
