//! What the layers of one client connection tell each other: the socket, the gate, and the task that drives them.
//!
//! Inside: marks and counts. Kept out: what follows from them. They are relaxed atomics and not cells only because hyper
//! asks of a stream that it can be upgraded that it is `Send`; the connection stays on its worker, and an uncontended relaxed
//! load or store is a plain one. What only HTTP/2 counts is in cells, since nothing there is upgraded.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::telemetry::outcome::Rejection;

/// A number that grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds to it. There is one writer.
    pub fn add(&self, amount: u64) {
        self.0.store(self.get().wrapping_add(amount), Relaxed);
    }
}

/// The state of one client connection. Small, since most connections are idle.
#[derive(Debug, Default)]
pub struct ClientState {
    /// Bytes that the socket took.
    pub written: Count,
    /// Heads that were let through, refused ones included; on HTTP/2, heads that came whole.
    pub requests: Count,
    marks: AtomicU32,
    verdict: AtomicU8,
}

/// What is so of a connection, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The socket took nothing when it was last written to.
    WriteBlocked,
    /// The socket has given its last byte; of what it gave, something may still be on its way through TLS.
    SocketEnded,
    /// The client has ended its side.
    Ended,
    /// The stream failed.
    Failed,
    /// A head was let through and its exchange is not over.
    Answering,
    /// A byte of the next head has come, and not all of it.
    InHead,
    /// The gate holds back what it could give: what is after the exchange that is not over.
    Held,
    /// A head was refused, so that nothing more is read.
    Refused,
    /// An upgrade was asked for, so that hyper hands the stream over instead of closing it.
    Upgradable,
    /// An answer broke off that only the end of the connection delimits, so that it must not end in order.
    Broken,
    /// A 101 was sent, so that the rest is a tunnel's.
    Tunnelled,
    /// For the gate: the head did not come in time.
    HeadTimedOut,
    /// For the gate: close instead of waiting for another request.
    Quit,
    /// For the gate: the client that ended its side is taken as gone.
    Gone,
    /// For the gate: everything passes, there is no more HTTP.
    Raw,
}

impl Mark {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What is known of an HTTP/2 connection besides.
#[derive(Debug, Default)]
pub struct Http2State {
    /// DATA frames that went out.
    pub data_frames: Cell<u64>,
    /// Streams that were reset because the client broke the rules, and whose end is not accounted for yet.
    pub broken_streams: Cell<u64>,
}

const NO_VERDICT: u8 = 0;
const PASSED: u8 = 1;
const FIRST_REJECTION: u8 = 2;

impl ClientState {
    /// Whether it is so.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks.load(Relaxed) & mark.bit() != 0
    }

    /// Says whether it is so. There is one writer at a time.
    pub fn mark(&self, mark: Mark, value: bool) {
        let others = self.marks.load(Relaxed) & !mark.bit();
        self.marks.store(if value { others | mark.bit() } else { others }, Relaxed);
    }

    /// Takes it back and says whether it was so.
    pub fn take(&self, mark: Mark) -> bool {
        let value = self.has(mark);
        self.mark(mark, false);
        value
    }

    /// Whether the next head may be let through: the last exchange is over and its answer is out.
    pub fn is_free(&self) -> bool {
        !self.has(Mark::Answering) && !self.has(Mark::WriteBlocked)
    }

    /// Leaves the verdict about the head that is let through.
    pub fn leave_verdict(&self, verdict: Result<(), Rejection>) {
        let code = match verdict {
            Ok(()) => PASSED,
            Err(rejection) => u8::try_from(rejection.index()).unwrap_or(u8::MAX).saturating_add(FIRST_REJECTION),
        };
        self.verdict.store(code, Relaxed);
    }

    /// Takes the verdict about the request that hyper has read.
    ///
    /// # Errors
    /// Why it is refused; one that has no verdict did not come through the gate, and is.
    pub fn take_verdict(&self) -> Result<(), Rejection> {
        let code = self.verdict.load(Relaxed);
        self.verdict.store(NO_VERDICT, Relaxed);
        if code == PASSED {
            return Ok(());
        }
        let index = code.checked_sub(FIRST_REJECTION).map(usize::from);
        Err(index.and_then(|index| Rejection::ALL.get(index)).copied().unwrap_or(Rejection::MalformedHead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_is_taken_once_and_none_is_a_refusal() {
        let state = ClientState::default();
        state.leave_verdict(Ok(()));
        assert_eq!(state.take_verdict(), Ok(()));
        assert_eq!(state.take_verdict(), Err(Rejection::MalformedHead));
        for rejection in Rejection::ALL {
            state.leave_verdict(Err(*rejection));
            assert_eq!(state.take_verdict(), Err(*rejection));
        }
    }
}
