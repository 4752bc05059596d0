//! A connection to a server: the stream, whose it is, and whether it can take a request.
//!
//! Inside: reading and writing, with TLS or without, and the count of connections that there are. Kept out: what is said
//! (`outgoing.rs`, `received.rs`), connecting (`connect.rs`), and keeping it between requests (`pool.rs`). There is no task
//! behind a connection: whoever holds it reads and writes, and dropping it closes it.

use std::cell::RefCell;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::UpstreamMetrics;

use super::Upstream;
use super::server::{Server, ServerId};

/// A connection to a server that one exchange at a time has to itself.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    server: ServerId,
    is_reused: bool,
    _active: Active,
}

/// Any other stream.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// What a connection goes over.
pub enum Stream {
    /// In the clear.
    Tcp(TcpStream),
    /// TLS, boxed since it is large.
    Tls(Box<TlsStream<TcpStream>>),
    /// In memory, as tests and fuzzing have it.
    Other(RefCell<Box<dyn Duplex>>),
}

impl Connection {
    /// A new connection, which is counted as long as it is there.
    pub fn new(stream: Stream, server: &Server, upstream: &Upstream, worker: WorkerId) -> Self {
        let active = Active::new(Arc::clone(&upstream.metrics), worker);
        Self { stream, server: server.id(), is_reused: false, _active: active }
    }

    /// Whether it has carried a request before: if it ends without an answer, the server may just have been closing it.
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The socket, where nothing stands between it and the bytes.
    pub fn socket(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Tcp(tcp) => Some(tcp),
            Stream::Tls(_) | Stream::Other(_) => None,
        }
    }

    /// Whose it is.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// Whether it goes over TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// It has carried a request.
    pub(super) fn set_reused(&mut self) {
        self.is_reused = true;
    }

    /// Whether nothing was received that nobody has read, and the other side has not closed. Asks the event loop, and the
    /// socket only where that has seen something.
    pub fn is_quiet(&self) -> bool {
        match &self.stream {
            Stream::Tcp(tcp) => is_quiet(tcp),
            Stream::Tls(tls) => {
                let (tcp, session) = tls.get_ref();
                session.wants_read() && !session.wants_write() && is_quiet(tcp)
            }
            Stream::Other(other) => {
                let mut byte = [0];
                let mut cx = Context::from_waker(Waker::noop());
                let reading = Pin::new(&mut **other.borrow_mut()).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
                reading.is_pending()
            }
        }
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
            Stream::Other(other) => Pin::new(&mut **other.get_mut()).poll_read(cx, buffer),
        }
    }

    /// Writes some of the bytes. Under TLS they may stay behind until [`Connection::poll_flush`].
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
            Stream::Other(other) => Pin::new(&mut **other.get_mut()).poll_write(cx, bytes),
        }
    }

    /// Writes some of the parts, in one system call where they are in the clear.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, parts),
            Stream::Other(other) => Pin::new(&mut **other.get_mut()).poll_write_vectored(cx, parts),
        }
    }

    /// Sends what TLS has kept of what was written.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            // A socket keeps nothing.
            Stream::Tcp(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Stream::Other(other) => Pin::new(&mut **other.get_mut()).poll_flush(cx),
        }
    }

    /// Ends this side.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            Stream::Other(other) => Pin::new(&mut **other.get_mut()).poll_shutdown(cx),
        }
    }
}

/// Whether a socket has neither bytes nor an end for us. Without an event it is not asked: no system call then.
fn is_quiet(tcp: &TcpStream) -> bool {
    tcp.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Self::poll_read(self.get_mut(), cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(self.get_mut(), cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write_vectored(self.get_mut(), cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_shutdown(self.get_mut(), cx)
    }
}

impl Debug for Stream {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Tls(_) => "Tls",
            Self::Other(_) => "Other",
        })
    }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::testing::{connection, in_memory, upstream};
    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("connected"), far.expect("accepted").0)
    }

    async fn until_loud(connection: &Connection) {
        while connection.is_quiet() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_connection_is_quiet_until_something_comes_or_the_other_side_closes() {
        let upstream = upstream();
        for end in [true, false] {
            let (near, mut far) = pair().await;
            let mut connection = connection(&upstream, Stream::Tcp(near));
            // It is quiet again when a read has filled its buffer to the last byte and there is nothing left.
            far.write_all(b"hello").await.expect("sent");
            let mut bytes = [0; 5];
            connection.read_exact(&mut bytes).await.expect("read");
            assert!(connection.is_quiet());
            if end {
                drop(far);
            } else {
                far.write_all(b"x").await.expect("sent");
            }
            until_loud(&connection).await;
        }
        let (near, mut far) = tokio::io::duplex(8);
        let connection = in_memory(near);
        assert!(connection.is_quiet());
        far.write_all(b"x").await.expect("sent");
        assert!(!connection.is_quiet());
    }

    #[tokio::test]
    async fn a_connection_is_counted_while_it_is_there() {
        let upstream = upstream();
        let (near, _far) = pair().await;
        let connection = connection(&upstream, Stream::Tcp(near));
        assert_eq!(upstream.metrics().connections_active.sum(), 1);
        drop(connection);
        assert_eq!(upstream.metrics().connections_active.sum(), 0);
    }
}
