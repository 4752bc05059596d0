//! How many requests to an upstream may be sent a second time: a tenth of all, and a burst besides.
//!
//! Inside: the count of one worker. Kept out: which requests may be repeated at all (`forward.rs`). Without a budget, an
//! origin that hears requests and dies of them would get each of them twice.

use std::cell::Cell;

/// Requests that earn one repetition.
const REQUESTS_A_REPETITION: u32 = 10;

/// Repetitions that may come at once: an origin that restarts ends every connection that is in use.
const BURST: u32 = 200;

/// The budget of one worker for one upstream.
#[derive(Debug)]
pub struct RetryBudget {
    /// Requests that have not been spent; [`REQUESTS_A_REPETITION`] buy one.
    saved: Cell<u32>,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { saved: Cell::new(BURST * REQUESTS_A_REPETITION) }
    }
}

impl RetryBudget {
    /// A request comes.
    pub fn earn(&self) {
        self.saved.set((self.saved.get() + 1).min(BURST * REQUESTS_A_REPETITION));
    }

    /// Whether one may be repeated; that is spent then.
    pub fn spend(&self) -> bool {
        match self.saved.get().checked_sub(REQUESTS_A_REPETITION) {
            Some(left) => {
                self.saved.set(left);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_may_be_repeated_and_from_then_on_a_tenth() {
        let budget = RetryBudget::default();
        let repeated = |requests: usize| {
            (0..requests)
                .filter(|_| {
                    budget.earn();
                    budget.spend()
                })
                .count()
        };
        assert!((0..BURST).all(|_| budget.spend()));
        assert!(!budget.spend());
        assert_eq!(repeated(1_000), 100);
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!((0..1_000).filter(|_| budget.spend()).count(), BURST as usize, "no more is saved than one burst");
    }
}
