//! Work that takes long, behind everything else that the machine has to do.
//!
//! Inside: a thread for one such piece of work, its breaks, and sorting with breaks. Kept out: what the work is, and what is short.
//!
//! A reload takes a share of a busy core, so that a decision is in force soon whatever the load. With a list of a million names that
//! share is some hundred milliseconds, and the scheduler hands it out in pieces of up to some milliseconds, during which whoever
//! becomes ready on that core waits, whatever the priorities. So what is long runs on a thread that has a small share of a busy
//! core, and all of an idle one, and that lets go of its core for a moment some thousand times a second. Where all cores are busy it
//! gets them back late; so that the list is in force soon all the same, no more than a quarter of its time goes that way.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// So much nicer than the program: a quarter of a core that one other thread wants for itself too. With the least share that there
/// is, such a core would do the work of half a second in half a minute.
const NICER: i32 = 5;

/// The nicest that there is.
const NICEST: i32 = 19;

/// How long such a thread keeps others waiting.
const STRETCH: Duration = Duration::from_micros(200);

/// How long its core is idle then: long enough for the scheduler to find it so. Where others have to share what cores are left,
/// they wait for each other.
const BREAK: Duration = Duration::from_micros(50);

/// Of what is done quickly, so many without a break: some tens of microseconds.
const AT_ONCE: usize = 1 << 10;

/// Elements that are sorted without a break: some hundred microseconds.
const SORTED_AT_ONCE: usize = 1 << 12;

/// The pace of a thread that has stepped back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    began: Instant,
    /// When its last break ended.
    working_since: Instant,
    /// What its breaks took longer than they should.
    late: Duration,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { began: now, working_since: now, late: Duration::ZERO }
    }

    fn is_break_due(&self, now: Instant) -> bool {
        now - self.working_since >= STRETCH && self.late <= (now - self.began) / 4
    }

    fn rested(self, from: Instant, until: Instant) -> Self {
        Self { working_since: until, late: self.late + (until - from).saturating_sub(BREAK), ..self }
    }
}

thread_local! {
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

/// Runs work on a thread of its own, behind all others, and waits for it; here, where there is no thread to be had. None: it
/// panicked.
pub fn behind_all_others<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    let mut work = Some(work);
    let done = thread::scope(|scope| {
        let work = || {
            step_back();
            work.take().map(|work| work())
        };
        let thread = thread::Builder::new().name("sluis-build".to_owned()).spawn_scoped(scope, work);
        thread.ok()?.join().ok()?
    });
    done.or_else(|| catch_unwind(AssertUnwindSafe(work?)).ok())
}

/// Puts this thread behind all others, for as long as it lives, and has it take breaks.
pub fn step_back() {
    be_nice();
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    PACE.set(Some(Pace::new(Instant::now())));
}

/// Gives this thread a smaller share of a busy core than the threads of the request path have.
pub fn be_nice() {
    // Not being allowed to is no reason not to work.
    let program = rustix::process::getpriority_process(Some(rustix::process::getpid())).unwrap_or_default();
    let _ = rustix::process::setpriority_process(None, (program + NICER).min(NICEST));
}

/// Lets others have the core for a moment, where this thread has stepped back and had it for long. To be called every some tens of
/// microseconds.
///
/// It sleeps, since a thread that yields loses its share of a busy core for much longer than that.
pub fn breathe() {
    let Some(pace) = PACE.get() else { return };
    let now = Instant::now();
    if pace.is_break_due(now) {
        thread::sleep(BREAK);
        PACE.set(Some(pace.rested(now, Instant::now())));
    }
}

/// The same, with breaks between what is done quickly.
pub fn with_breaks<I: Iterator>(work: I) -> impl Iterator<Item = I::Item> {
    work.enumerate().map(|(number, item)| {
        if number % AT_ONCE == 0 {
            breathe();
        }
        item
    })
}

/// Sorts, with breaks. Halves are told apart first, so that the first break comes after about two milliseconds a million
/// elements.
pub fn sort<T: Ord>(elements: &mut [T]) {
    if elements.len() > SORTED_AT_ONCE {
        let (lower, _, upper) = elements.select_nth_unstable(elements.len() / 2);
        breathe();
        sort(lower);
        sort(upper);
    } else {
        elements.sort_unstable();
        breathe();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn work_is_done_behind_all_others_and_a_panic_is_told() {
        let of_thread = || rustix::process::getpriority_process(None).expect("a priority");
        let before = of_thread();
        let here = 1;
        let done = behind_all_others(|| (here + 1, of_thread()));
        assert_eq!(done, Some((2, (before + NICER).min(NICEST))));
        assert_eq!(behind_all_others(|| assert_eq!(here, 2)), None);
        assert_eq!(of_thread(), before, "it is the thread's own");
    }

    #[test]
    fn only_a_thread_that_stepped_back_and_worked_for_long_takes_a_break() {
        breathe();
        assert_eq!(PACE.get(), None);
        let done = behind_all_others(|| {
            let before = PACE.get();
            while before == PACE.get() {
                breathe();
            }
            before.zip(PACE.get())
        });
        let (before, after) = done.flatten().expect("it works");
        assert!(after.working_since - before.working_since >= STRETCH + BREAK);
    }

    #[test]
    fn breaks_that_take_long_are_rare() {
        let began = Instant::now();
        let at = |micros| began + Duration::from_micros(micros);
        let pace = Pace::new(began);
        assert!(!pace.is_break_due(at(199)));
        assert!(pace.is_break_due(at(200)));
        let quick = pace.rested(at(200), at(250));
        assert!(!quick.is_break_due(at(449)));
        assert!(quick.is_break_due(at(450)));
        let slow = pace.rested(at(200), at(5_250));
        assert!(!slow.is_break_due(at(19_999)), "5 of 20 ms");
        assert!(slow.is_break_due(at(20_000)));
    }

    proptest! {
        #[test]
        fn sorting_sorts(mut elements in proptest::collection::vec(any::<u16>(), 0..20_000)) {
            let mut expected = elements.clone();
            expected.sort_unstable();
            sort(&mut elements);
            prop_assert_eq!(elements, expected);
        }
    }
}
