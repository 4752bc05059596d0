//! The memory of exchanges that are over, for those to come: an idle connection has none, and a request allocates none.
//!
//! Inside: one free list a worker's thread. Kept out: what an exchange is.

use std::cell::RefCell;

use super::forwarding::Forwarding;

/// Slots that a thread keeps.
const MOST: usize = 256;

thread_local! {
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// Room for one exchange, which stays where it is.
#[derive(Debug, Default)]
struct Memory(Box<Option<Forwarding>>);

/// An exchange in memory that is used again.
#[derive(Debug)]
pub(super) struct Slot(Memory);

impl Slot {
    pub(super) fn of(forwarding: Forwarding) -> Self {
        let mut memory = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        *memory.0 = Some(forwarding);
        Self(memory)
    }

    pub(super) fn get(&mut self) -> Option<&mut Forwarding> {
        self.0.0.as_mut().as_mut()
    }

    /// Takes the exchange out.
    pub(super) fn take(self) -> Option<Forwarding> {
        let mut memory = self.0;
        let forwarding = memory.0.take();
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST {
                spare.push(memory);
            }
        });
        forwarding
    }
}
