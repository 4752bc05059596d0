//! Notices a client that does not read: the socket takes less than [`LEAST_BYTES`] in `response_write_timeout`.
//!
//! Inside: the watch over one socket. Kept out: the alarm that asks it, and cutting the connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::gate::state::{ClientState, Mark};

/// What a client must take in `response_write_timeout` while there is more for it.
pub const LEAST_BYTES: u64 = 1_024;

/// Watches what a socket takes while it blocks.
#[derive(Debug, Default)]
pub struct WriteWatch(Option<Since>);

#[derive(Debug, Clone, Copy)]
struct Since {
    written: u64,
    deadline: Instant,
}

impl WriteWatch {
    /// Looks at the socket after it was written to; the deadline to ask [`WriteWatch::is_stuck`] at, where there is one.
    /// `timeout`: `response_write_timeout`.
    pub fn look(&mut self, state: &ClientState, timeout: impl FnOnce() -> Duration) -> Option<Instant> {
        if !state.has(Mark::WriteBlocked) {
            self.0 = None;
        } else if self.0.is_none_or(|since| state.written.get() - since.written >= LEAST_BYTES) {
            self.0 = Some(Since { written: state.written.get(), deadline: Instant::now() + timeout() });
        }
        self.0.map(|since| since.deadline)
    }

    /// Whether the client took too little since the watch began.
    pub fn is_stuck(&self, state: &ClientState, now: Instant) -> bool {
        self.0.is_some_and(|since| since.deadline <= now && state.written.get() - since.written < LEAST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_too_little_is_stuck_and_one_that_takes_enough_is_not() {
        for (bytes, expected) in [(0, true), (1_023, true), (1_024, false), (5_000, false)] {
            let state = ClientState::default();
            let mut watch = WriteWatch::default();
            state.mark(Mark::WriteBlocked, true);
            assert_eq!(watch.look(&state, || TIMEOUT), Some(Instant::now() + TIMEOUT));
            tokio::time::advance(TIMEOUT / 2).await;
            state.written.add(bytes);
            watch.look(&state, || TIMEOUT);
            tokio::time::advance(TIMEOUT / 2).await;
            assert_eq!(watch.is_stuck(&state, Instant::now()), expected, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_takes_everything_is_not_watched() {
        let state = ClientState::default();
        let mut watch = WriteWatch::default();
        state.mark(Mark::WriteBlocked, true);
        watch.look(&state, || TIMEOUT);
        state.mark(Mark::WriteBlocked, false);
        assert_eq!(watch.look(&state, || TIMEOUT), None);
        tokio::time::advance(TIMEOUT * 2).await;
        assert!(!watch.is_stuck(&state, Instant::now()));
    }
}
