//! A client's socket, below TLS: what goes over it is noted, so that a client that does not read can be told.
//!
//! Inside: noting what was written, whether the socket takes more, and how it ended; and keeping the place of the connection
//! under the limits for as long as the socket is open, in a tunnel too; and ending it so that a broken answer does not look
//! whole. Kept out: time, and what follows (`connection.rs`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::accept_limits::Place;
use super::gate::state::{ClientState, Mark};

/// A stream that may be a socket with nothing between it and the bytes.
pub trait Socket {
    /// The socket.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Socket for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Socket for DuplexStream {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl<T> Socket for Box<TlsStream<T>> {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl<T: Socket> Socket for ClientIo<T> {
    fn socket(&self) -> Option<&TcpStream> {
        self.io.socket()
    }
}

/// A client's socket.
#[derive(Debug)]
pub struct ClientIo<T> {
    io: T,
    state: Arc<ClientState>,
    reset_at_close: fn(&T),
    _place: Option<Place>,
}

impl<T> ClientIo<T> {
    /// A socket whose connection has a place under the limits.
    pub fn new(io: T, state: Arc<ClientState>, place: Option<Place>) -> Self {
        Self { io, state, reset_at_close: |_| {}, _place: place }
    }

    /// Nothing goes out behind an answer that broke off: TLS would take its leave, and the answer look whole.
    fn check_whole(&self) -> io::Result<()> {
        if self.state.has(Mark::Broken) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn note_written(&self, result: &Poll<io::Result<usize>>) {
        self.state.mark(Mark::WriteBlocked, result.is_pending());
        match result {
            Poll::Ready(Ok(bytes)) => self.state.written.add(*bytes as u64),
            Poll::Ready(Err(_)) => self.state.mark(Mark::Failed, true),
            Poll::Pending => {}
        }
    }
}

impl ClientIo<TcpStream> {
    /// The same for a real socket: where an answer broke off that only the end of the connection delimits, that end is a
    /// reset.
    pub fn of_socket(socket: TcpStream, state: Arc<ClientState>, place: Place) -> Self {
        // Where it fails, the connection is gone already.
        let reset_at_close = |socket: &TcpStream| drop(socket.set_zero_linger());
        Self { io: socket, state, reset_at_close, _place: Some(place) }
    }
}

impl<T> Drop for ClientIo<T> {
    fn drop(&mut self) {
        if self.state.has(Mark::Broken) {
            (self.reset_at_close)(&self.io);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ClientIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) if buf.filled().len() == before && buf.remaining() > 0 => {
                self.state.mark(Mark::SocketEnded, true)
            }
            Poll::Ready(Err(_)) => self.state.mark(Mark::Failed, true),
            _ => {}
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ClientIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_whole()?;
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_whole()?;
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.has(Mark::Broken) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_written_and_whether_the_socket_takes_more_is_noted() {
        let (socket, mut client) = tokio::io::duplex(8);
        let state = Arc::new(ClientState::default());
        let mut io = ClientIo::new(socket, Arc::clone(&state), None);
        let mut writing = Box::pin(io.write_all(b"0123456789"));
        tokio::select! {
            biased;
            _ = &mut writing => panic!("it does not fit"),
            () = std::future::ready(()) => {}
        }
        assert!(state.has(Mark::WriteBlocked));
        assert_eq!(state.written.get(), 8);
        let mut bytes = [0; 10];
        let (written, read) = tokio::join!(writing, client.read_exact(&mut bytes));
        assert!(written.is_ok() && read.is_ok());
        assert!(!state.has(Mark::WriteBlocked));
        assert_eq!(state.written.get(), 10);
    }

    #[tokio::test]
    async fn nothing_goes_out_behind_an_answer_that_broke_off() {
        let (socket, _client) = tokio::io::duplex(8);
        let state = Arc::new(ClientState::default());
        let mut io = ClientIo::new(socket, Arc::clone(&state), None);
        assert_eq!(io.write_vectored(&[IoSlice::new(b"1")]).await.ok(), Some(1));
        state.mark(Mark::Broken, true);
        assert!(io.write(b"2").await.is_err());
        assert!(io.write_vectored(&[IoSlice::new(b"2")]).await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_the_socket_is_noted() {
        let (socket, client) = tokio::io::duplex(8);
        let state = Arc::new(ClientState::default());
        let mut io = ClientIo::new(socket, Arc::clone(&state), None);
        drop(client);
        let mut bytes = [0; 1];
        assert_eq!(io.read(&mut bytes).await.ok(), Some(0));
        assert!(state.has(Mark::SocketEnded) && !state.has(Mark::Failed));
    }
}
