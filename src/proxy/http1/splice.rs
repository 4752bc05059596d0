//! Large bodies from socket to socket without passing through this process (splice(2)).
//!
//! Inside: one way through a pipe. Kept out: which bodies: those of a known length, in the clear on both sides, where enough is left.
//!
//! A socket's data becomes a pipe's and then another socket's by moving pages. The pipe is emptied before it is filled again, so
//! that "not now" has one meaning at a time; it goes back to the worker only when it is empty.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Below this, copying costs less than two more system calls.
pub(super) const LEAST_BYTES: u64 = 64 * 1_024;

/// What a pipe holds: enough for one turn of a fast sender, and within what a process may ask for (pipe(7)).
const PIPE_BYTES: usize = 512 * 1_024;

/// Pipes that a worker's thread keeps.
const SPARE: usize = 16;

thread_local! {
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// A pipe that a body goes through.
#[derive(Debug)]
pub(super) struct Splice {
    /// None once it was given back.
    pipe: Option<Pipe>,
    /// Bytes that are in it.
    inside: usize,
}

/// What one move came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// So many bytes came out of the sender.
    In(u64),
    /// So many bytes went to the receiver.
    Out(u64),
    /// The sender has ended.
    End,
}

impl Splice {
    /// A pipe, where one can be had.
    pub(super) fn new() -> Option<Self> {
        let pipe = PIPES.with_borrow_mut(Vec::pop).or_else(|| {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            // Where it may not be that large, it is as large as pipes are.
            let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
            Some(Pipe { reader, writer })
        })?;
        Some(Self { pipe: Some(pipe), inside: 0 })
    }

    /// Whether everything that came is with the receiver.
    pub(super) fn is_empty(&self) -> bool {
        self.inside == 0
    }

    /// Moves once: what is inside to the receiver, else up to `most` bytes out of the sender.
    pub(super) fn poll_move(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Moved>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        if self.inside > 0 {
            let inside = self.inside;
            let out = || Ok(splice(&pipe.reader, None, to, None, inside, flags)?);
            let count = ready!(poll_io(cx, to, Interest::WRITABLE, out))?;
            self.inside -= count;
            return Poll::Ready(Ok(Moved::Out(count as u64)));
        }
        let most = usize::try_from(most).unwrap_or(PIPE_BYTES).min(PIPE_BYTES);
        let count =
            ready!(poll_io(cx, from, Interest::READABLE, || Ok(splice(from, None, &pipe.writer, None, most, flags)?)))?;
        self.inside += count;
        Poll::Ready(Ok(if count == 0 { Moved::End } else { Moved::In(count as u64) }))
    }
}

/// Does something with a socket when it is ready for it.
fn poll_io(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    mut io: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        if interest.is_readable() {
            ready!(socket.poll_read_ready(cx))?;
        } else {
            ready!(socket.poll_write_ready(cx))?;
        }
        match socket.try_io(interest, &mut io) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        // One that is not empty would give what is in it to the next body.
        let Some(pipe) = self.pipe.take().filter(|_| self.inside == 0) else { return };
        let _ = PIPES.try_with(|pipes| {
            let mut pipes = pipes.borrow_mut();
            if pipes.len() < SPARE {
                pipes.push(pipe);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
        (near, listener.accept().await.expect("accepted").0)
    }

    #[tokio::test]
    async fn every_byte_goes_through_in_order_and_none_beyond_the_body() {
        let ((mut sender, from), (to, mut receiver)) = (pair().await, pair().await);
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
        let body = sent[..2_999_990].to_vec();
        let sending = async {
            sender.write_all(&sent).await.expect("sent");
            sender
        };
        let moving = async {
            let mut splice = Splice::new().expect("a pipe");
            let (mut left, mut out) = (body.len() as u64, 0);
            while left > 0 || !splice.is_empty() {
                match poll_fn(|cx| splice.poll_move(&from, &to, left, cx)).await.expect("moved") {
                    Moved::In(count) => left -= count,
                    Moved::Out(count) => out += count,
                    Moved::End => panic!("it has not ended"),
                }
            }
            drop(to);
            (out, from)
        };
        let receiving = async {
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).await.expect("received");
            received
        };
        let (sender, (out, mut from), received) = tokio::join!(sending, moving, receiving);
        assert_eq!(out, body.len() as u64);
        assert!(received == body, "{} bytes", received.len());
        drop(sender);
        let mut rest = Vec::new();
        from.read_to_end(&mut rest).await.expect("read");
        assert_eq!(rest, sent[body.len()..]);
    }

    #[tokio::test]
    async fn the_end_of_the_sender_is_told_and_an_empty_pipe_is_used_again() {
        let ((sender, from), (to, _receiver)) = (pair().await, pair().await);
        drop(sender);
        let mut splice = Splice::new().expect("a pipe");
        let moved = poll_fn(|cx| splice.poll_move(&from, &to, 10, cx)).await.expect("moved");
        assert_eq!(moved, Moved::End);
        let spare = || PIPES.with_borrow(Vec::len);
        let before = spare();
        drop(splice);
        assert_eq!(spare(), before + 1);
    }

    #[tokio::test]
    async fn pipe_with_something_in_it_is_not_used_again() {
        let ((mut sender, from), (to, _receiver)) = (pair().await, pair().await);
        sender.write_all(b"left over").await.expect("sent");
        let mut splice = Splice::new().expect("a pipe");
        let moved = poll_fn(|cx| splice.poll_move(&from, &to, 4, cx)).await.expect("moved");
        assert_eq!((moved, splice.is_empty()), (Moved::In(4), false));
        let before = PIPES.with_borrow(Vec::len);
        drop(splice);
        assert_eq!(PIPES.with_borrow(Vec::len), before);
    }
}
