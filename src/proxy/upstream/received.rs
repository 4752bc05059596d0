//! What a server has sent since the last request on a connection.
//!
//! Inside: the count, and when it is too much. Kept out: the connection (`connect.rs`) and who asks (`forward.rs`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes that may come before the head of an answer is whole: the head, interim responses (1xx), and what of the body was
/// read with them. hyper skips 1xx without end and without a pause, and a flood of them would keep the worker busy for as
/// long as the answer may take.
const BYTES_TO_HEAD: u64 = 1_024 * 1_024;

/// How much a server has sent on a connection since the last request, so that it is known whether an answer had begun,
/// and that it is never too much. The worker's tasks take turns at it.
#[derive(Debug, Default)]
pub struct Received {
    since_request: AtomicU64,
    has_head: AtomicBool,
}

impl Received {
    /// A request is about to be sent.
    pub fn begin(&self) {
        self.since_request.store(0, Ordering::Relaxed);
        self.has_head.store(false, Ordering::Relaxed);
    }

    /// The head of the answer is whole.
    pub fn set_head(&self) {
        self.has_head.store(true, Ordering::Relaxed);
    }

    /// Whether a byte of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.since_request.load(Ordering::Relaxed) > 0
    }

    /// Whether more came than belongs before a head.
    pub fn is_flood(&self) -> bool {
        !self.has_head.load(Ordering::Relaxed) && self.since_request.load(Ordering::Relaxed) > BYTES_TO_HEAD
    }

    /// So many bytes came.
    pub fn add(&self, bytes: usize) {
        let total = self.since_request.load(Ordering::Relaxed).wrapping_add(bytes as u64);
        self.since_request.store(total, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_the_head_can_be_too_much() {
        let received = Received::default();
        for _ in 0..2 {
            received.begin();
            assert!(!received.has_begun());
            received.add(1_024 * 1_024);
            assert!(received.has_begun() && !received.is_flood());
            received.add(1);
            assert!(received.is_flood());
            received.set_head();
            received.add(1 << 30);
            assert!(!received.is_flood());
        }
    }
}
