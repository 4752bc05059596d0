//! What the connections of a worker share because each needs it only while it runs: buffers to read into and to build heads in.
//!
//! Inside: the buffers, and spare memory of exchanges that are over. Kept out: what is in them, which is void whenever a task
//! waits.

use std::cell::{RefCell, RefMut};

/// Bytes that are read at once.
const INPUT_BYTES: usize = 64 * 1_024;

/// Spare buffers that are kept.
const SPARE: usize = 256;

/// A buffer that has grown beyond this is not kept.
const SPARE_BYTES: usize = 8 * 1_024;

/// The scratch memory of one worker.
#[derive(Debug)]
pub struct Scratch {
    buffers: RefCell<Buffers>,
    spare: RefCell<Vec<Vec<u8>>>,
    cork: RefCell<Vec<u8>>,
}

/// Memory that is used within one poll.
#[derive(Debug)]
pub struct Buffers {
    /// What is read into.
    pub input: Vec<u8>,
    /// Where a head is built; empty between polls.
    pub output: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        let buffers = Buffers { input: vec![0; INPUT_BYTES], output: Vec::new() };
        Self { buffers: RefCell::new(buffers), spare: RefCell::default(), cork: RefCell::default() }
    }
}

impl Scratch {
    /// The buffers, for as long as one poll does not call another that needs them.
    pub fn borrow(&self) -> RefMut<'_, Buffers> {
        self.buffers.borrow_mut()
    }

    /// An empty buffer that is kept beyond a poll.
    pub fn take(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes one back.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && (1..=SPARE_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// The buffer in which HTTP/2 holds back what it writes; an empty one while another connection has it.
    pub fn take_cork(&self) -> Vec<u8> {
        self.cork.take()
    }

    /// Takes it back.
    pub fn give_back_cork(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.cork.replace(buffer);
    }
}
