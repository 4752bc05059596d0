//! The body of a request on its way to the upstream.
//!
//! Inside: what is left of it, on either side. Kept out: how long the client may take (`upload_pace.rs`), and bodies without a length,
//! which the fast path does not take.

use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::upload_pace::UploadPace;

/// A body of known length.
#[derive(Debug)]
pub(super) struct Upload {
    /// What the client has not sent yet.
    left: u64,
    /// What it has sent, and the upstream has not taken yet.
    pub(super) rest: Vec<u8>,
    /// How much of the rest the upstream has taken.
    pub(super) taken: usize,
    pace: UploadPace,
}

impl Upload {
    pub(super) fn new(length: u64, rest: Vec<u8>, timeout: Duration) -> Self {
        Self { left: length, rest, taken: 0, pace: UploadPace::new(timeout) }
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
        self.pace.wait(now)
    }

    /// So much has come.
    pub(super) fn come(&mut self, bytes: u64, now: Instant) {
        self.left = self.left.saturating_sub(bytes);
        self.pace.add(bytes, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(15);

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
