//! The gate before hyper's HTTP/2 server: a budget for frames that bring neither a request nor a body.
//!
//! Inside: following frames by their heads (RFC 9113 section 4.1), and the budget. Kept out: what a frame means, and the
//! frames that `h2` bounds by itself: HEADERS and CONTINUATION by the header list, DATA by a budget for small ones.
//!
//! PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM and frames of unknown kinds cost a client next to nothing, and `h2`
//! takes as many of them as come, while every other connection of the worker waits.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::state::ClientState;

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;

/// DATA, HEADERS and CONTINUATION (RFC 9113 section 6).
const KINDS_WITH_CONTENT: [u8; 3] = [0, 1, 9];

/// Frames that may come at once.
const BURST: u64 = 1_000;

/// Frames that a second earns.
const FRAMES_A_SECOND: u64 = 100;

/// Bytes that the client took and that earn a frame: a large download is answered with many WINDOW_UPDATEs, while the
/// answer to a PING or SETTINGS earns less than it cost.
const BYTES_A_FRAME: u64 = 64;

/// Follows frames without keeping them.
#[derive(Debug)]
struct Frames {
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of the head that have come.
    filled: usize,
    /// Bytes before the next head.
    skip: usize,
}

impl Frames {
    fn new() -> Self {
        Self { head: [0; FRAME_HEAD_BYTES], filled: 0, skip: PREFACE_BYTES }
    }

    /// Takes bytes, and says how many frames without content began in them.
    fn advance(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            for (slot, byte) in self.head.iter_mut().skip(self.filled).zip(bytes) {
                *slot = *byte;
            }
            let taken = bytes.len().min(FRAME_HEAD_BYTES - self.filled);
            self.filled += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.filled < FRAME_HEAD_BYTES {
                return count;
            }
            let [high, middle, low, kind, ..] = self.head;
            self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.filled = 0;
            count += u64::from(!KINDS_WITH_CONTENT.contains(&kind));
        }
    }
}

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

    /// Whether so many frames may come. What was earned is looked at only where nothing is left.
    fn spend(&mut self, frames: u64, written: u64, now: impl FnOnce() -> Instant) -> bool {
        if self.left < frames {
            let now = now();
            let seconds = now.duration_since(self.filled_at).as_secs_f64();
            // As precise as a budget has to be; less than one frame is not lost, since the clock is not moved for it.
            let earned =
                (seconds * FRAMES_A_SECOND as f64) as u64 + written.wrapping_sub(self.filled_after) / BYTES_A_FRAME;
            if earned > 0 {
                self.left = self.left.saturating_add(earned).min(BURST);
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
    frames: Frames,
    budget: Budget,
}

impl<S> FrameGate<S> {
    /// A gate before a connection that has sent nothing of HTTP/2 yet. `state` says what its socket took.
    pub fn new(inner: S, state: Arc<ClientState>) -> Self {
        Self { inner, state, frames: Frames::new(), budget: Budget::new(Instant::now()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGate<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut gate.inner).poll_read(cx, buf))?;
        let count = gate.frames.advance(buf.filled().get(before..).unwrap_or_default());
        if gate.budget.spend(count, gate.state.written.get(), Instant::now) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameGate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
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

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("small").to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], &vec![b'x'; payload]].concat()
    }

    #[test]
    fn frames_without_content_are_counted_and_others_are_not() {
        let mut frames = Frames::new();
        assert_eq!(frames.advance(&[b'x'; PREFACE_BYTES]), 0);
        for (kind, payload, expected) in
            [(0, 300, 0), (1, 0, 0), (9, 5, 0), (2, 5, 1), (3, 4, 1), (4, 0, 1), (6, 8, 1), (8, 4, 1), (250, 70_000, 1)]
        {
            assert_eq!(frames.advance(&frame(kind, payload)), expected, "{kind}");
        }
    }

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
        assert!(!budget.spend(BURST + 1, 1 << 40, || after(100_000)), "no more is saved than one burst");
        assert!(budget.spend(BURST, 1 << 40, || after(100_000)));
    }

    proptest! {
        #[test]
        fn frames_are_counted_the_same_however_they_are_cut_up(
            kinds in proptest::collection::vec((0_u8..12, 0_usize..40), 0..40),
            cut in 1_usize..30,
        ) {
            let mut bytes = vec![b'x'; PREFACE_BYTES];
            bytes.extend(kinds.iter().flat_map(|(kind, payload)| frame(*kind, *payload)));
            let expected = kinds.iter().filter(|(kind, _)| !KINDS_WITH_CONTENT.contains(kind)).count() as u64;
            let mut frames = Frames::new();
            prop_assert_eq!(bytes.chunks(cut).map(|piece| frames.advance(piece)).sum::<u64>(), expected);
        }
    }
}
