//! The stream between a client's socket and hyper: it lets through one checked head at a time, and its body.
//!
//! Inside: reading ahead, holding back, and letting through. Kept out: the rules (`head.rs`, `framing.rs`) and time
//! (`connection.rs`), which speaks to the gate through [`ClientState`].
//!
//! What is refused is not shown to hyper: it gets one canned request in its place, whose verdict is the refusal, so that
//! the answer comes out of our own service, counted and in order, and after it nothing more is read.
//!
//! A client that ends its side while it is being answered is not gone for certain (RFC 9112 section 9.6 lets it half-close).
//! nginx and hyper take it as gone at once; here the end is held back until the answer is out, or until the connection
//! says that nothing has gone out for a while.
//!
//! Of a connection on which an upgrade was asked for, hyper lets go as soon as the last byte of the last answer is in its
//! buffer, and drops what the client has not taken yet. So the gate takes that end of an answer off it, and keeps it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::telemetry::outcome::Rejection;

use super::BrokenFraming;
use super::framing::{Followed, Follower};
use super::head::{Head, HeadLimits, HeadParser, Progress};
use super::state::{ClientState, Mark};

/// Bytes of further requests that are read while one is being answered. A client that sends more is not watched for its
/// departure until the answer is out.
const AHEAD_BYTES: usize = 16 * 1_024;

/// A client's stream that gives checked requests only.
#[derive(Debug)]
pub struct Gate<S> {
    inner: S,
    state: Arc<ClientState>,
    limits: HeadLimits,
    stage: Stage,
    parser: HeadParser,
    /// What was read and not let through yet.
    buffer: BytesMut,
    /// How much at its beginning is let through as the reader asks for it.
    released: usize,
    /// The end of an answer that hyper is done with and the client has not taken yet.
    kept: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Between requests, or in a head.
    Head,
    /// In a body.
    Body(Follower),
    /// The framing of a body was broken.
    Broken,
    /// A head was refused.
    Refused,
}

impl<S> Gate<S> {
    /// A gate before a stream from which nothing was read but `unread`, which comes first.
    pub fn new(inner: S, state: Arc<ClientState>, limits: HeadLimits, unread: &[u8]) -> Self {
        let parser = HeadParser::default();
        let (buffer, kept) = (BytesMut::from(unread), BytesMut::new());
        Self { inner, state, limits, stage: Stage::Head, parser, buffer, released: 0, kept }
    }

    /// Whether the client may still be sending what nobody will read, so that closing at once would reset the connection
    /// before it has read its answer.
    pub fn is_mid_request(&self) -> bool {
        self.stage != Stage::Head || !self.buffer.is_empty()
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>, most: usize) -> usize {
        let length = most.min(buf.remaining()).min(self.buffer.len());
        buf.put_slice(&self.buffer.split_to(length));
        if self.buffer.is_empty() {
            // An idle connection owns no buffer.
            self.buffer = BytesMut::new();
        }
        length
    }

    fn let_through(&mut self, head: &Head) {
        self.parser = HeadParser::default();
        self.stage = Follower::new(head.framing).map_or(Stage::Head, Stage::Body);
        self.begin_exchange(Ok(()));
    }

    fn begin_exchange(&self, verdict: Result<(), Rejection>) {
        self.state.leave_verdict(verdict);
        self.state.requests.add(1);
        self.state.mark(Mark::Answering, true);
        self.state.mark(Mark::InHead, false);
        self.state.mark(Mark::HeadTimedOut, false);
        self.state.mark(Mark::Quit, false);
    }

    /// Puts one canned request in the place of what was refused; `bytes` is the head as far as it came.
    fn refuse(&mut self, rejection: Rejection, bytes: &[u8]) {
        let method: &[u8] = if self.parser.is_head() { b"HEAD" } else { b"GET" };
        let accept = bytes.get(self.parser.accept()).filter(|accept| !accept.is_empty());
        let mut canned = BytesMut::new();
        for part in [method, b" / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n"] {
            canned.extend_from_slice(part);
        }
        if let Some(accept) = accept {
            for part in [b"Accept: ", accept, b"\r\n"] {
                canned.extend_from_slice(part);
            }
        }
        canned.extend_from_slice(b"\r\n");
        self.released = canned.len();
        self.buffer = canned;
        self.stage = Stage::Refused;
        self.state.mark(Mark::Refused, true);
        self.begin_exchange(Err(rejection));
    }

    /// Judges what was read ahead. Whether there is something to let through now.
    fn judge_buffer(&mut self) -> bool {
        match self.parser.advance(&self.buffer, &self.limits) {
            Progress::Incomplete if self.state.has(Mark::HeadTimedOut) && self.parser.has_begun(self.buffer.len()) => {
                let bytes = std::mem::take(&mut self.buffer);
                self.refuse(Rejection::HeadTimeout, &bytes);
            }
            Progress::Incomplete => return false,
            Progress::Complete(head) => {
                self.buffer.advance(head.range.start);
                self.released = head.range.len();
                self.let_through(&head);
            }
            Progress::Refused(rejection) => {
                let bytes = std::mem::take(&mut self.buffer);
                self.refuse(rejection, &bytes);
            }
        }
        true
    }

    /// Judges what was read into the reader's own buffer, from `before`, where nothing was read ahead. Whether there is
    /// something in it now, or in ours to be let through.
    fn judge_in_place(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> bool {
        let bytes = buf.filled().get(before..).unwrap_or_default();
        match self.parser.advance(bytes, &self.limits) {
            Progress::Complete(head) if head.range.start == 0 => {
                self.buffer.extend_from_slice(bytes.get(head.range.end..).unwrap_or_default());
                buf.set_filled(before + head.range.end);
                self.let_through(&head);
                return true;
            }
            Progress::Refused(rejection) => {
                self.refuse(rejection, bytes);
                buf.set_filled(before);
                return true;
            }
            Progress::Complete(_) => self.parser = HeadParser::default(),
            Progress::Incomplete => {}
        }
        self.buffer.extend_from_slice(bytes);
        buf.set_filled(before);
        false
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.state.is_free() || self.state.has(Mark::Tunnelled) {
            return self.poll_ahead(cx, buf);
        }
        loop {
            if !self.buffer.is_empty() && self.judge_buffer() {
                self.released -= self.give(buf, self.released);
                return Poll::Ready(Ok(()));
            }
            self.state.mark(Mark::InHead, self.parser.has_begun(self.buffer.len()));
            if self.state.has(Mark::Ended) {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            match Pin::new(&mut self.inner).poll_read(cx, buf) {
                Poll::Ready(result) => result?,
                // Nothing has come: an end that was asked for disturbs nobody.
                Poll::Pending if self.state.has(Mark::Quit) && !self.state.has(Mark::InHead) => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return Poll::Pending,
            }
            if buf.filled().len() == before {
                self.state.mark(Mark::Ended, true);
                return Poll::Ready(Ok(()));
            }
            if self.buffer.is_empty() {
                if self.judge_in_place(buf, before) {
                    self.released -= if self.released > 0 { self.give(buf, self.released) } else { 0 };
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.buffer.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
                buf.set_filled(before);
            }
        }
    }

    /// Reads ahead while an exchange goes on, to notice when the client leaves; gives nothing. The reader's buffer is the
    /// scratch.
    fn poll_ahead(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // It can be given when the exchange is over, without another byte having come.
        self.state.mark(Mark::Held, true);
        while !self.state.has(Mark::Ended) && self.buffer.len() < AHEAD_BYTES {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                self.state.mark(Mark::Ended, true);
            }
            self.buffer.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
            buf.set_filled(before);
        }
        if self.state.has(Mark::Gone) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>, follower: Follower) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.buffer.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                self.state.mark(Mark::Ended, true);
                return Poll::Ready(Ok(()));
            }
        } else {
            self.give(buf, usize::MAX);
        }
        let mut follower = follower;
        let bytes = buf.filled().get(before..).unwrap_or_default();
        let (passed, stage) = match follower.advance(bytes) {
            Followed::More => (bytes.len(), Stage::Body(follower)),
            Followed::End(passed) => (passed, Stage::Head),
            Followed::Broken(passed) => (passed, Stage::Broken),
        };
        self.stage = stage;
        if let Some(surplus) = bytes.get(passed..).filter(|surplus| !surplus.is_empty()) {
            let rest = std::mem::take(&mut self.buffer);
            self.buffer.extend_from_slice(surplus);
            self.buffer.extend_from_slice(&rest);
        }
        buf.set_filled(before + passed);
        if passed == 0 { self.poll_gate(cx, buf) } else { Poll::Ready(Ok(())) }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.stage {
            Stage::Head => self.poll_head(cx, buf),
            Stage::Body(follower) => self.poll_body(cx, buf, follower),
            Stage::Broken => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, BrokenFraming))),
            // The answer is on its way, and after it the connection closes.
            Stage::Refused => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        gate.state.mark(Mark::Held, false);
        // In a tunnel, nobody may write for a long time.
        if let Poll::Ready(Err(error)) = gate.poll_kept(cx) {
            return Poll::Ready(Err(error));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if gate.released > 0 {
            gate.released -= gate.give(buf, gate.released);
            return Poll::Ready(Ok(()));
        }
        if gate.state.has(Mark::Raw) {
            if gate.buffer.is_empty() {
                return Pin::new(&mut gate.inner).poll_read(cx, buf);
            }
            gate.give(buf, usize::MAX);
            return Poll::Ready(Ok(()));
        }
        let result = gate.poll_gate(cx, buf);
        if matches!(result, Poll::Ready(Err(_))) && gate.stage != Stage::Broken {
            gate.state.mark(Mark::Failed, true);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> Gate<S> {
    /// Writes out what is kept.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept.advance(written);
            if self.kept.is_empty() {
                self.kept = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether what is written now is the end of an answer that hyper would drop.
    fn is_end_of_answer(&self) -> bool {
        self.state.has(Mark::Upgradable) && !self.state.has(Mark::Answering) && !self.state.has(Mark::Raw)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = match gate.poll_kept(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut gate.inner).poll_write_vectored(cx, bufs),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        if written.is_ready() || !gate.is_end_of_answer() {
            return written;
        }
        bufs.iter().for_each(|buf| gate.kept.extend_from_slice(buf));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
