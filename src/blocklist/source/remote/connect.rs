//! A connection to the server of a list: its name looked up as those of upstreams are, TCP, and TLS for https.
//!
//! Inside: everything up to a stream to speak HTTP on. Kept out: HTTP (`fetch.rs`).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::failure::Failure;
use crate::finding::Finding;
use crate::trusted_roots;

/// What findings about roots call the one that is checked against them.
const WHOSE: &str = "a list's server";

/// What HTTP is spoken on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What TLS servers are checked against. Read for every fetch: roots that are replaced are in force for the next.
pub(super) fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Finding> {
    let roots = trusted_roots::read(ca, WHOSE)?;
    trusted_roots::client(&roots, ca, WHOSE)
}

/// Connects to the server of a URL within `limit` in all.
pub(super) async fn connect(url: &Url, ca: Option<&Path>, limit: Duration) -> Result<Box<dyn Stream>, Failure> {
    let deadline = Instant::now() + limit;
    let too_slow = |what| Failure::Timeout { what, limit };
    let addresses = timeout_at(deadline, look_up(url)).await.map_err(|_| too_slow("looking up the name"))??;
    let tcp = open(&addresses, deadline, limit).await?;
    if url.scheme() != "https" {
        return Ok(Box::new(tcp));
    }
    let config = tls(ca).map_err(|finding| Failure::Roots(finding.log_line().to_string()))?;
    let handshake = TlsConnector::from(config).connect(server_name(url)?, tcp);
    let stream = timeout_at(deadline, handshake).await.map_err(|_| too_slow("the TLS handshake"))?;
    Ok(Box::new(stream.map_err(|error| Failure::Tls(error.to_string()))?))
}

async fn look_up(url: &Url) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port_or_known_default().unwrap_or_default();
    let name = match url.host() {
        Some(Host::Domain(name)) => name,
        Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
        None => return Err(Failure::Connect("the URL has no host".to_owned())),
    };
    let failed = |error: String| Failure::Name { name: name.to_owned(), error };
    let found = tokio::net::lookup_host((name, port)).await.map_err(|error| failed(error.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(found) }
}

/// Tries the addresses in turn, each with its share of the time that is left.
async fn open(addresses: &[SocketAddr], deadline: Instant, limit: Duration) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Connect("there is no address".to_owned());
    for (tried, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / left;
        failure = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Failure::Connect(format!("{address}: {error}")),
            Err(_) => Failure::Timeout { what: "connecting", limit },
        };
    }
    Err(failure)
}

/// The name that the certificate must be for.
fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(ServerName::from(std::net::IpAddr::from(address))),
        Some(Host::Ipv6(address)) => Ok(ServerName::from(std::net::IpAddr::from(address))),
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
            .map_err(|_| Failure::Tls(format!("no certificate can be for the name `{name}`"))),
        None => Err(Failure::Tls("the URL has no host".to_owned())),
    }
}
