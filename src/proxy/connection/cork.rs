//! Holds back what HTTP/2 writes until its task has had its turn, so that the frames of many streams go out as one TLS record
//! and one system call. `h2` flushes after every DATA frame, which would make each of them a record and a call of its own.
//!
//! Inside: the bytes that are held, and sending them in order. Kept out: frames, and when a turn is over (`http2.rs`).

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::context::Worker;

/// Held at most: four full TLS records (RFC 8446 section 5.1), which rustls takes at once.
const MOST_BYTES: usize = 64 * 1_024;

/// A stream whose writes are held until [`Corked::release`].
#[derive(Debug)]
pub struct Corked<S>(Rc<RefCell<Cork<S>>>);

#[derive(Debug)]
struct Cork<S> {
    io: S,
    worker: Rc<Worker>,
    held: Vec<u8>,
    /// A write found no room.
    turned_away: bool,
}

impl<S> Clone for Corked<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    /// Holds what is written to `io`, in memory of the worker.
    pub fn new(io: S, worker: Rc<Worker>) -> Self {
        Self(Rc::new(RefCell::new(Cork { io, worker, held: Vec::new(), turned_away: false })))
    }

    /// Sends what the stream takes of what is held; of the rest, the task is woken. Whether this made room for somebody who was
    /// turned away, and has to be asked again.
    ///
    /// # Errors
    /// The stream does not take it.
    pub fn release(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut cork = self.0.borrow_mut();
        if let Poll::Ready(sent) = cork.send(cx) {
            sent?;
        }
        Ok(cork.has_room() && std::mem::take(&mut cork.turned_away))
    }
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    fn has_room(&self) -> bool {
        self.held.len() < MOST_BYTES
    }

    fn hold(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.has_room() {
            self.turned_away = true;
            return Poll::Pending;
        }
        if self.held.capacity() == 0 {
            self.held = self.worker.scratch.take_cork();
        }
        let before = self.held.len();
        for part in parts {
            let room = MOST_BYTES - self.held.len();
            self.held.extend_from_slice(part.get(..room).unwrap_or(part));
        }
        Poll::Ready(Ok(self.held.len() - before))
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            let rest = self.held.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => sent += bytes,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.held.drain(..sent);
        ready!(result)?;
        if self.held.capacity() > 0 {
            self.worker.scratch.give_back_cork(std::mem::take(&mut self.held));
        }
        // TLS may hold something still.
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    /// What finds no room is not woken: it is asked again when [`Corked::release`] says so.
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().hold(&[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().hold(bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: that is what the cork is for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.0.borrow_mut();
        ready!(cork.send(cx))?;
        Pin::new(&mut cork.io).poll_shutdown(cx)
    }
}
