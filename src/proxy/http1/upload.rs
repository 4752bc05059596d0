//! The body of a request on its way to the upstream: counted, and timed as `request_body.rs` times others.
//!
//! Inside: what is left of it, and how long the client may take. Kept out: the bytes of a body without an end, which the fast path
//! does not take.

use std::time::Duration;

use tokio::time::Instant;

/// What a client must send in `request_body_idle_timeout` while it is waited for.
const LEAST_BYTES: u64 = 1_024;

/// A body of known length.
#[derive(Debug)]
pub(super) struct Upload {
    /// What the client has not sent yet.
    left: u64,
    /// What it has sent, and the upstream has not taken yet.
    pub(super) rest: Vec<u8>,
    /// How much of the rest the upstream has taken.
    pub(super) taken: usize,
    timeout: Duration,
    /// How much longer it may be waited for before [`LEAST_BYTES`] have come, and how many have.
    patience: Duration,
    come: u64,
    waiting_since: Option<Instant>,
}

impl Upload {
    pub(super) fn new(length: u64, rest: Vec<u8>, timeout: Duration) -> Self {
        Self { left: length, rest, taken: 0, timeout, patience: timeout, come: 0, waiting_since: None }
    }

    /// What the client has still to send.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// What of the rest the upstream has not taken yet.
    pub(super) fn untaken(&self) -> &[u8] {
        self.rest.get(self.taken..).unwrap_or_default()
    }

    /// Whether the upstream has taken all of it.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.untaken().is_empty()
    }

    /// The upstream took so much of the rest.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= self.rest.len() {
            self.rest.clear();
            self.taken = 0;
        }
    }

    /// The deadline for the client, which is waited for from now on.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.patience
    }

    /// So much has come. Little does not buy the client all of its time again, or a byte now and then would keep an upload
    /// open for ever; time in which the upstream takes nothing is not the client's.
    pub(super) fn come(&mut self, bytes: u64, now: Instant) {
        self.left = self.left.saturating_sub(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.patience = self.patience.saturating_sub(now.saturating_duration_since(since));
        }
        self.come += bytes;
        if self.come >= LEAST_BYTES {
            (self.come, self.patience) = (0, self.timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_buy_the_client_its_time_again_and_a_kibibyte_does() {
        for (bytes, left) in [(1, 5), (1_023, 5), (1_024, 15)] {
            let mut upload = Upload::new(10_000, Vec::new(), TIMEOUT);
            assert_eq!(upload.wait(Instant::now()), Instant::now() + TIMEOUT);
            tokio::time::advance(Duration::from_secs(10)).await;
            assert_eq!(
                upload.wait(Instant::now()),
                Instant::now() + TIMEOUT - Duration::from_secs(10),
                "it is waited for already"
            );
            upload.come(bytes, Instant::now());
            tokio::time::advance(Duration::from_secs(100)).await;
            assert_eq!(upload.wait(Instant::now()), Instant::now() + Duration::from_secs(left), "{bytes}");
        }
    }

    #[test]
    fn it_is_done_when_all_has_come_and_was_taken() {
        let mut upload = Upload::new(3, vec![1, 2], TIMEOUT);
        upload.come(2, Instant::now());
        upload.take(1);
        assert_eq!((upload.left(), upload.untaken(), upload.is_done()), (1, &[2][..], false));
        upload.come(1, Instant::now());
        assert!(!upload.is_done());
        upload.take(1);
        assert!(upload.is_done() && upload.rest.is_empty());
    }
}
