//! A new connection to a server: TCP, TLS where it is configured, and the task that drives HTTP/1.1 on it.
//!
//! Inside: connecting within one deadline over all addresses, and what of it is counted. Kept out: which server, and how
//! often to try (`pool.rs`, `forward.rs`).

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::proxy::request_body::RequestBody;
use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::{ConnectResult, UpstreamMetrics};
use crate::telemetry::outcome::Failure;

use super::Upstream;
use super::pool::{Connection, Pools};
use super::received::Received;
use super::server::Server;

/// Bytes of a response's head, over which it is malformed: as with requests, an endless head would fill memory.
pub const RESPONSE_HEAD_BYTES: usize = 64 * 1_024;

/// Bytes that one connection buffers each way; large bodies move in pieces of this size.
const BUFFER_BYTES: usize = 128 * 1_024;

/// Connects to a server and starts to drive the connection, within `timeout` in all.
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
    let tcp = open_tcp(&server.addresses(), first_address(), deadline).await?;
    // Without it, a request whose head and body are written apart waits for the server's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = server.tls() else { return drive(tcp, server, upstream, pools).await };
    let handshake = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), tcp);
    let stream = timeout_at(deadline, handshake).await.map_err(|_| Failure::ConnectTimeout)?;
    let stream = Box::new(stream.map_err(|_| Failure::UpstreamTls)?);
    drive(stream, server, upstream, pools).await
}

/// Starts to drive HTTP/1.1 on a stream to a server that is open already.
///
/// # Errors
/// [`Failure::Internal`], which hyper gives no reason to expect.
pub async fn drive<T>(io: T, server: &Server, upstream: &Upstream, pools: &Pools) -> Result<Connection, Failure>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let received = Arc::new(Received::default());
    let io = UpstreamIo { io, received: Arc::clone(&received) };
    let handshake = http1::Builder::new()
        .max_header_size(RESPONSE_HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .handshake::<_, RequestBody>(TokioIo::new(io));
    let (sender, driver) = handshake.await.map_err(|_| Failure::Internal)?;
    let active = Active::new(Arc::clone(&upstream.metrics), pools.worker());
    pools.tasks().spawn(async move {
        let _active = active;
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    Ok(Connection::new(sender, received, server.id()))
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

/// Counts a connection while it is there.
#[derive(Debug)]
struct Active {
    metrics: Arc<UpstreamMetrics>,
    worker: WorkerId,
}

impl Active {
    fn new(metrics: Arc<UpstreamMetrics>, worker: WorkerId) -> Self {
        metrics.connections_active.add(worker, 1);
        Self { metrics, worker }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.metrics.connections_active.add(self.worker, -1);
    }
}

/// A stream to a server that counts what comes in.
#[derive(Debug)]
struct UpstreamIo<T> {
    io: T,
    received: Arc<Received>,
}

impl<T: AsyncRead + Unpin> AsyncRead for UpstreamIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received.is_flood() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.received.add(buf.filled().len() - before);
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for UpstreamIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
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
