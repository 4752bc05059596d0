//! Standard error at one remove: whoever logs does not wait for whoever reads the log.
//!
//! Inside: the lines that wait, the thread that writes them, and what becomes of those that are too many. Kept out: how a
//! line looks (`logging.rs`).

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait while nobody reads; further ones are lost, and told of when somebody reads again.
const LINES: usize = 1_024;

/// How long the end of the process waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

static QUEUE: Queue = Queue { waiting: Mutex::new(Waiting::NONE), changed: Condvar::new() };

struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// The lock is held to move a line, never to write one.
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    lost: u64,
    is_writing: bool,
}

impl Waiting {
    const NONE: Self = Self { lines: VecDeque::new(), lost: 0, is_writing: false };

    fn is_done(&self) -> bool {
        self.lines.is_empty() && !self.is_writing
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread that writes.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start() -> io::Result<()> {
    std::thread::Builder::new().name("sluis-log".to_owned()).spawn(write_all).map(drop)
}

/// Takes each write as a line of its own and never waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued;

impl io::Write for Queued {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = QUEUE.lock();
        if waiting.lines.len() < LINES {
            waiting.lines.push_back(line.to_vec());
        } else {
            waiting.lost += 1;
        }
        drop(waiting);
        QUEUE.changed.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until everything is written, if somebody reads it: before the process ends.
pub fn flush() {
    let waited = QUEUE.changed.wait_timeout_while(QUEUE.lock(), LAST_LINES, |waiting| !waiting.is_done());
    // Whether it was written or nobody reads, this is the end.
    drop(waited);
}

fn write_all() {
    loop {
        let waited = QUEUE.changed.wait_while(QUEUE.lock(), |waiting| waiting.lines.is_empty());
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        let (lines, lost) = (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.lost));
        waiting.is_writing = true;
        drop(waiting);
        for line in lines {
            // One write keeps lines whole. Where standard error is gone there is nowhere left to say so.
            let _ = io::stderr().write_all(&line);
        }
        if lost > 0 {
            tracing::warn!(lines = lost, "lines of the log were lost: nobody took them");
        }
        QUEUE.lock().is_writing = false;
        QUEUE.changed.notify_all();
    }
}
