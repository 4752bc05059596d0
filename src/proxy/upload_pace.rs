//! How long a client may take with the body of its request.
//!
//! Inside: the time that is left, and what buys the client new time. Kept out: the alarm that keeps it, and the body.

use std::time::Duration;

use tokio::time::Instant;

/// What a client must send in `request_body_idle_timeout` while it is waited for.
const LEAST_BYTES: u64 = 1_024;

/// The pace of one upload.
#[derive(Debug, Clone, Copy)]
pub struct UploadPace {
    timeout: Duration,
    /// How much longer it may be waited for before [`LEAST_BYTES`] have come, and how many have.
    patience: Duration,
    come: u64,
    waiting_since: Option<Instant>,
}

impl UploadPace {
    /// Of a client that nobody waits for yet; `timeout` is `request_body_idle_timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, patience: timeout, come: 0, waiting_since: None }
    }

    /// Whether the client is waited for.
    pub fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// The deadline for the client, which is waited for from now on.
    pub fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.patience
    }

    /// So much has come. Little does not buy the client all of its time again, or a byte now and then would keep an upload
    /// open for ever; time in which the upstream takes nothing is not the client's.
    pub fn add(&mut self, bytes: u64, now: Instant) {
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

    #[test]
    fn a_byte_now_and_then_does_not_buy_the_client_its_time_again_and_a_kibibyte_does() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        for (bytes, left) in [(1, 5), (1_023, 5), (1_024, 15)] {
            let mut pace = UploadPace::new(TIMEOUT);
            assert_eq!((pace.wait(begun), pace.is_waiting()), (begun + TIMEOUT, true));
            assert_eq!(pace.wait(after(10)), begun + TIMEOUT, "it is waited for already");
            pace.add(bytes, after(10));
            assert!(!pace.is_waiting());
            assert_eq!(pace.wait(after(100)), after(100 + left), "{bytes}");
        }
    }
}
