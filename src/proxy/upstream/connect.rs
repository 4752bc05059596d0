//! A new connection to a server: TCP, and TLS where it is configured.
//!
//! Inside: connecting within one deadline over all addresses, and what of it is counted. Kept out: which server, and how
//! often to try (`pool.rs`, `forward.rs`).

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::telemetry::metrics::ConnectResult;
use crate::telemetry::outcome::Failure;

use super::Upstream;
use super::connection::{Connection, Stream};
use super::pool::Pools;
use super::server::Server;

/// Connects to a server, within `timeout` in all.
///
/// # Errors
/// [`Failure::ConnectRefused`], [`Failure::ConnectTimeout`] or [`Failure::UpstreamTls`]; counted, and the server is
/// passed over for a while. [`Failure::OutOfResources`] where this machine cannot even try: that says nothing of the
/// server, which stays as it was.
pub async fn connect(
    server: &Server,
    upstream: &Upstream,
    pools: &Pools,
    timeout: Duration,
) -> Result<Connection, Failure> {
    let connected = open(server, upstream, pools, Instant::now() + timeout).await;
    if matches!(connected, Err(Failure::OutOfResources)) {
        tracing::debug!(server = server.label(), "no descriptor, port or memory is left to connect with");
        return connected;
    }
    let result = match &connected {
        Ok(_) => ConnectResult::Ok,
        Err(Failure::ConnectTimeout) => ConnectResult::Timeout,
        Err(Failure::UpstreamTls) => ConnectResult::Tls,
        Err(_) => ConnectResult::Refused,
    };
    upstream.metrics().count_connect(pools.worker(), result);
    match &connected {
        Ok(_) => pools.connected(server),
        Err(failure) => {
            tracing::debug!(server = server.label(), ?failure, "cannot connect to an upstream server");
            pools.failed(server);
        }
    }
    connected
}

async fn open(server: &Server, upstream: &Upstream, pools: &Pools, deadline: Instant) -> Result<Connection, Failure> {
    let made = |stream| Connection::new(stream, server, upstream, pools.worker());
    let tcp = open_tcp(&server.addresses(), first_address(), deadline).await?;
    // Without it, a request whose head and body are written apart waits for the server's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = server.tls() else { return Ok(made(Stream::Tcp(tcp))) };
    let handshake = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), tcp);
    let stream = timeout_at(deadline, handshake).await.map_err(|_| Failure::ConnectTimeout)?;
    Ok(made(Stream::Tls(Box::new(stream.map_err(|_| Failure::UpstreamTls)?))))
}

/// With which address a connect begins: another one each time, so that all are used.
fn first_address() -> usize {
    thread_local! {
        static NEXT: Cell<usize> = const { Cell::new(0) };
    }
    NEXT.with(|next| next.replace(next.get().wrapping_add(1)))
}

/// Tries the addresses in turn, each with its share of the time that is left, so that one that does not answer leaves
/// some to the next.
async fn open_tcp(addresses: &[SocketAddr], first: usize, deadline: Instant) -> Result<TcpStream, Failure> {
    let mut failure = Failure::NoServer;
    for tried in 0..addresses.len() {
        let Some(address) = addresses.get(first.wrapping_add(tried) % addresses.len()) else { break };
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / left;
        failure = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if is_own_shortage(&error) => return Err(Failure::OutOfResources),
            // No port is left; for IPv6 it is also what a machine without IPv6 says, and another address may do.
            Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable && address.is_ipv4() => {
                Failure::OutOfResources
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Failure::ConnectTimeout,
            Ok(Err(_)) => Failure::ConnectRefused,
            Err(_) => Failure::ConnectTimeout,
        };
    }
    Err(failure)
}

/// Whether a connect failed because this machine has no more of something, and not because of the server.
fn is_own_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|error| short.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_our_own_is_told_from_a_server_that_cannot_be_reached() {
        use rustix::io::Errno;
        for (error, is_ours) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::ADDRNOTAVAIL, false),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
            (Errno::TIMEDOUT, false),
        ] {
            assert_eq!(is_own_shortage(&error.into()), is_ours, "{error}");
        }
        assert!(!is_own_shortage(&io::ErrorKind::UnexpectedEof.into()));
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over_for_one_that_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let refusing = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
            closed.local_addr().expect("an address")
        };
        let good = listener.local_addr().expect("an address");
        let deadline = || Instant::now() + Duration::from_secs(5);
        for first in 0..2 {
            let stream = open_tcp(&[refusing, good], first, deadline()).await.expect("connected");
            assert_eq!(stream.peer_addr().expect("a peer"), good);
        }
        assert_eq!(open_tcp(&[refusing], 0, deadline()).await.err(), Some(Failure::ConnectRefused));
        assert_eq!(open_tcp(&[], 0, deadline()).await.err(), Some(Failure::NoServer));
    }
}
