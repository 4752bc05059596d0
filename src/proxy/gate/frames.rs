//! The gate before hyper's HTTP/2 server: a budget for frames that bring neither a request nor a body, and counts of what
//! `h2` refuses without a word to us.
//!
//! Inside: the budget, the heads of requests that come in, and the resets that go out. Kept out: where a frame begins and
//! ends (`frame.rs`), what follows from the counts, and the frames that `h2` bounds by itself: HEADERS and CONTINUATION by
//! the header list, DATA by a budget for small ones.
//!
//! PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM and frames of unknown kinds cost a client next to nothing, and `h2`
//! takes as many of them as come, while every other connection of the worker waits.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frame::{Frames, Heads};
use super::state::{ClientState, Http2State};

/// Frames that may come at once.
const BURST: u64 = 1_000;

/// Frames that a second earns.
const FRAMES_A_SECOND: u64 = 100;

/// Bytes that the client took and that earn a frame: a large download is answered with many WINDOW_UPDATEs, while the
/// answer to a PING or SETTINGS earns less than it cost.
const BYTES_A_FRAME: u64 = 64;

/// Frames that DATA to the client earns: one that takes messages one by one opens the window for each, and measures the way
/// with a PING.
const FRAMES_A_DATA: u64 = 2;

/// How many frames may still come.
#[derive(Debug)]
struct Budget {
    left: u64,
    /// When, and after how many bytes to the client, it was filled up last.
    filled_at: Instant,
    filled_after: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { left: BURST, filled_at: now, filled_after: 0 }
    }

    /// So many more may come.
    fn earn(&mut self, frames: u64) {
        self.left = self.left.saturating_add(frames).min(BURST);
    }

    /// Whether so many frames may come. What was earned is looked at only where nothing is left.
    fn spend(&mut self, frames: u64, written: u64, now: impl FnOnce() -> Instant) -> bool {
        if self.left < frames {
            let now = now();
            let seconds = now.duration_since(self.filled_at).as_secs_f64();
            // As precise as a budget has to be; less than one frame is not lost, since the clock is not moved for it.
            let earned =
                (seconds * FRAMES_A_SECOND as f64) as u64 + written.wrapping_sub(self.filled_after) / BYTES_A_FRAME;
            if earned > 0 {
                self.left = self.left.saturating_add(earned).min(BURST.max(frames));
                (self.filled_at, self.filled_after) = (now, written);
            }
        }
        let left = self.left.checked_sub(frames);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// A client's stream under the budget. Beyond it, reading fails.
#[derive(Debug)]
pub struct FrameGate<S> {
    inner: S,
    state: Arc<ClientState>,
    read: Frames,
    heads: Heads,
    budget: Budget,
    written: Frames,
    http2: Rc<Http2State>,
}

impl<S> FrameGate<S> {
    /// A gate before a connection that has sent nothing of HTTP/2 yet. `state` says what its socket took, and its `requests`
    /// counts the heads that came whole; `http2` counts the streams that `h2` resets for breaking the rules, and its DATA.
    pub fn new(inner: S, state: Arc<ClientState>, http2: Rc<Http2State>) -> Self {
        let (read, written) = (Frames::of_client(), Frames::of_server());
        Self { inner, state, read, heads: Heads::default(), budget: Budget::new(Instant::now()), written, http2 }
    }

    fn note_written<'b>(&mut self, result: &Poll<io::Result<usize>>, parts: impl Iterator<Item = &'b [u8]>) {
        let Poll::Ready(Ok(mut left)) = *result else { return };
        for part in parts {
            let bytes = part.get(..left.min(part.len())).unwrap_or_default();
            left -= bytes.len();
            let (Http2State { broken_streams, data_frames }, budget) = (&*self.http2, &mut self.budget);
            self.written.pass(bytes, |frame| {
                broken_streams.update(|count| count + u64::from(frame.resets_for_a_broken_rule()));
                if frame.is_data() {
                    budget.earn(FRAMES_A_DATA);
                    data_frames.update(|count| count + 1);
                }
            });
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGate<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut gate.inner).poll_read(cx, buf))?;
        let (mut count, state, heads) = (0, &gate.state, &mut gate.heads);
        gate.read.pass(buf.filled().get(before..).unwrap_or_default(), |frame| {
            count += u64::from(frame.is_without_content());
            state.requests.add(u64::from(heads.completes(frame)));
        });
        if gate.budget.spend(count, gate.state.written.get(), Instant::now) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameGate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note_written(&result, std::iter::once(buf));
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note_written(&result, bufs.iter().map(|part| &**part));
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_comes_at_once_is_bounded_and_time_and_what_is_taken_earn_more() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut budget = Budget::new(begun);
        assert!(budget.spend(BURST, 0, || begun));
        assert!(!budget.spend(1, 0, || begun), "all is spent");
        assert!(budget.spend(FRAMES_A_SECOND, 0, || after(1)));
        assert!(!budget.spend(1, BYTES_A_FRAME - 1, || after(1)));
        assert!(budget.spend(2, 2 * BYTES_A_FRAME, || after(1)));
        assert!(budget.spend(BURST + 1, 1 << 40, || after(100_000)), "more than a burst where that was earned");
        assert!(!budget.spend(1, 1 << 40, || after(100_000)));
        budget.earn(FRAMES_A_DATA);
        assert!(budget.spend(FRAMES_A_DATA, 1 << 40, || after(100_000)));
        assert!(budget.spend(BURST, 1 << 40, || after(200_000)), "no more is saved than one burst");
        assert!(!budget.spend(1, 1 << 40, || after(200_000)));
    }
}
