//! Notices a client that does not read: the socket takes less than [`LEAST_BYTES`] in `response_write_timeout`.
//!
//! Inside: the watch over one socket. Kept out: the alarm that asks it, and cutting the connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::gate::state::ClientState;

/// What a client must take in `response_write_timeout` while there is more for it.
pub const LEAST_BYTES: u64 = 1_024;

/// Watches what a socket takes while it blocks.
#[derive(Debug)]
pub struct WriteWatch {
    timeout: Duration,
    since: Option<Since>,
}

#[derive(Debug, Clone, Copy)]
struct Since {
    written: u64,
    deadline: Instant,
}

impl WriteWatch {
    /// A watch with `response_write_timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, since: None }
    }

    /// Looks at the socket after it was written to; the deadline to ask [`WriteWatch::is_stuck`] at, where there is one.
    pub fn look(&mut self, state: &ClientState) -> Option<Instant> {
        if !state.write_blocked.get() {
            self.since = None;
        } else if self.since.is_none_or(|since| state.written.get() - since.written >= LEAST_BYTES) {
            self.since = Some(Since { written: state.written.get(), deadline: Instant::now() + self.timeout });
        }
        self.since.map(|since| since.deadline)
    }

    /// Whether the client took too little since the watch began.
    pub fn is_stuck(&self, state: &ClientState, now: Instant) -> bool {
        self.since.is_some_and(|since| since.deadline <= now && state.written.get() - since.written < LEAST_BYTES)
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
            let mut watch = WriteWatch::new(TIMEOUT);
            state.write_blocked.set(true);
            assert_eq!(watch.look(&state), Some(Instant::now() + TIMEOUT));
            tokio::time::advance(TIMEOUT / 2).await;
            state.written.add(bytes);
            watch.look(&state);
            tokio::time::advance(TIMEOUT / 2).await;
            assert_eq!(watch.is_stuck(&state, Instant::now()), expected, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_takes_everything_is_not_watched() {
        let state = ClientState::default();
        let mut watch = WriteWatch::new(TIMEOUT);
        state.write_blocked.set(true);
        watch.look(&state);
        state.write_blocked.set(false);
        assert_eq!(watch.look(&state), None);
        tokio::time::advance(TIMEOUT * 2).await;
        assert!(!watch.is_stuck(&state, Instant::now()));
    }
}
