//! What the layers of one client connection tell each other: the socket, the gate, and the task that drives them.
//!
//! Inside: flags and counts. Kept out: what follows from them. They are relaxed atomics and not cells only because hyper
//! asks of a stream that it can be upgraded that it is `Send`; the connection stays on its worker, and an uncontended relaxed
//! load or store is a plain one.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::telemetry::outcome::Rejection;

/// Yes or no.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Whether it is set.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets or takes it back.
    pub fn set(&self, value: bool) {
        self.0.store(value, Relaxed);
    }

    /// Takes it back and says whether it was set.
    pub fn take(&self) -> bool {
        let value = self.get();
        self.set(false);
        value
    }
}

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

/// The state of one client connection.
#[derive(Debug, Default)]
pub struct ClientState {
    /// Bytes that the socket took.
    pub written: Count,
    /// The socket took nothing when it was last written to.
    pub write_blocked: Flag,
    /// The socket has given its last byte; of what it gave, something may still be on its way through TLS.
    pub socket_ended: Flag,
    /// The client has ended its side.
    pub ended: Flag,
    /// The stream failed.
    pub failed: Flag,
    /// Heads that were let through, refused ones included; on HTTP/2, heads that came whole.
    pub requests: Count,
    /// A head was let through and its exchange is not over.
    pub answering: Flag,
    /// A byte of the next head has come, and not all of it.
    pub in_head: Flag,
    /// The gate holds back what it could give: what is after the exchange that is not over.
    pub held: Flag,
    /// A head was refused, so that nothing more is read.
    pub refused: Flag,
    /// An upgrade was asked for, so that hyper hands the stream over instead of closing it.
    pub upgradable: Flag,
    /// An answer broke off that only the end of the connection delimits, so that it must not end in order.
    pub broken: Flag,
    /// A 101 was sent, so that the rest is a tunnel's.
    pub tunnelled: Flag,
    /// For the gate: the head did not come in time.
    pub head_timed_out: Flag,
    /// For the gate: close instead of waiting for another request.
    pub quit: Flag,
    /// For the gate: the client that ended its side is taken as gone.
    pub gone: Flag,
    /// For the gate: everything passes, there is no more HTTP.
    pub raw: Flag,
    verdict: AtomicU8,
}

const NO_VERDICT: u8 = 0;
const PASSED: u8 = 1;
const FIRST_REJECTION: u8 = 2;

impl ClientState {
    /// Whether the next head may be let through: the last exchange is over and its answer is out.
    pub fn is_free(&self) -> bool {
        !self.answering.get() && !self.write_blocked.get()
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
