//! The client's side of a connection: what was read ahead of its turn, and what the client has not taken yet.
//!
//! Inside: reading and writing without owning memory while nothing is left over. Kept out: what the bytes mean.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::client_io::Socket;
use crate::proxy::gate::state::{ClientState, Mark};

/// Bytes of further requests that are read while one is being answered.
const AHEAD_BYTES: usize = 16 * 1_024;

/// The client's stream.
#[derive(Debug)]
pub(super) struct ClientSide<S> {
    pub(super) io: S,
    pub(super) state: Arc<ClientState>,
    /// Read, and not its turn yet.
    pub(super) ahead: Vec<u8>,
    /// Written, and not taken yet. Boxed, since there is nearly never any.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    taken: usize,
}

impl<S: AsyncRead + AsyncWrite + Socket + Unpin> ClientSide<S> {
    pub(super) fn new(io: S, state: Arc<ClientState>, ahead: Vec<u8>) -> Self {
        Self { io, state, ahead, rest: None }
    }

    /// Whether the client has taken everything.
    pub(super) fn is_flushed(&self) -> bool {
        // Under TLS, what was taken may still be on this side.
        self.rest.is_none() && !self.state.has(Mark::WriteBlocked)
    }

    /// Reads into `scratch`: how many bytes came. None is the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            self.state.mark(Mark::Ended, true);
        }
        Poll::Ready(Ok(count))
    }

    /// Reads ahead while an answer is on its way, to notice when the client leaves.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> io::Result<()> {
        while !self.state.has(Mark::Ended) && self.ahead.len() < AHEAD_BYTES {
            let room = (AHEAD_BYTES - self.ahead.len()).min(scratch.len());
            let Some(scratch) = scratch.get_mut(..room) else { break };
            let Poll::Ready(count) = self.poll_read(cx, scratch)? else { break };
            self.ahead.extend_from_slice(scratch.get(..count).unwrap_or_default());
        }
        Ok(())
    }

    /// Sends bytes behind those that the client has not taken yet; keeps what it does not take.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut taken = 0;
        if self.rest.is_none() && !(head.is_empty() && body.is_empty()) {
            let io = Pin::new(&mut self.io);
            let written = if body.is_empty() {
                io.poll_write(cx, head)?
            } else {
                io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)])?
            };
            if let Poll::Ready(count) = written {
                taken = count;
            }
        }
        for part in [head, body] {
            let rest = part.get(taken.min(part.len())..).unwrap_or_default();
            taken -= part.len() - rest.len();
            if !rest.is_empty() {
                self.rest.get_or_insert_default().bytes.extend_from_slice(rest);
            }
        }
        Ok(())
    }

    /// Completes when the client has taken everything, out of the buffers of TLS too.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(rest) = &mut self.rest {
            while let Some(bytes) = rest.bytes.get(rest.taken..).filter(|bytes| !bytes.is_empty()) {
                match ready!(Pin::new(&mut self.io).poll_write(cx, bytes))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => rest.taken += count,
                }
            }
            self.rest = None;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}
