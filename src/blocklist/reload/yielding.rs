//! Work that takes long, behind everything else that the machine has to do.
//!
//! Inside: a thread for one such piece of work. Kept out: what the work is, and what is short.
//!
//! A reload takes a share of a busy core, so that a decision is in force soon whatever the load. With a list of a million names that
//! share is some hundred milliseconds, and the scheduler hands it out in pieces during which a worker waits. So what is
//! long runs on a thread that has almost no share of a busy core, and all of an idle one.

use std::thread;

/// The least share that every thread may choose.
const LAST: i32 = 19;

/// Runs work on a thread of its own, behind all others, and waits for it. An error: it panicked, or there is no thread.
pub(super) fn behind_all_others<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ()> {
    thread::scope(|scope| {
        let work = || {
            step_back();
            work()
        };
        let thread = thread::Builder::new().name("sluis-build".to_owned()).spawn_scoped(scope, work);
        thread.map_err(|_| ())?.join().map_err(|_| ())
    })
}

/// Puts this thread behind all others, for as long as it lives.
pub(super) fn step_back() {
    // Not being allowed to is no reason not to work.
    let _ = rustix::process::setpriority_process(None, LAST);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_behind_all_others_and_a_panic_is_an_error() {
        let before = rustix::process::getpriority_process(None).expect("a priority");
        let here = 1;
        let done = behind_all_others(|| (here + 1, rustix::process::getpriority_process(None).ok()));
        assert_eq!(done, Ok((2, Some(LAST))));
        assert_eq!(behind_all_others(|| assert_eq!(here, 2)), Err(()));
        assert_eq!(rustix::process::getpriority_process(None), Ok(before), "it is the thread's own");
    }
}
