//! Timeouts of the request path: one coarse timer a worker in place of a timer a request.
//!
//! Inside: a slab of deadlines that one task walks every [`TICK`], and the alarm that a connection or an exchange
//! holds on it. Kept out: what a timeout means. A deadline is met at most one tick late, never early.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

/// How often deadlines are looked at.
pub const TICK: Duration = Duration::from_millis(50);

/// The deadlines of one worker.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    entries: Rc<RefCell<Slab<Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    deadline: Deadline,
    waker: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Deadline {
    #[default]
    Never,
    At(Instant),
    /// The sweep has found it past, and woken whoever waited.
    Rung,
}

impl Deadline {
    fn of(deadline: Option<Instant>) -> Self {
        deadline.map_or(Self::Never, Self::At)
    }
}

/// One deadline that can be moved; dropping it takes it out.
#[derive(Debug)]
pub struct Alarm {
    entries: Rc<RefCell<Slab<Entry>>>,
    key: usize,
}

impl Sweep {
    /// An alarm without a deadline.
    pub fn alarm(&self) -> Alarm {
        let key = self.entries.borrow_mut().insert(Entry::default());
        Alarm { entries: Rc::clone(&self.entries), key }
    }

    /// Wakes whoever waits for an alarm that is due.
    pub fn tick(&self, now: Instant) {
        self.wake_where(|entry| {
            if matches!(entry.deadline, Deadline::At(deadline) if deadline <= now) {
                entry.deadline = Deadline::Rung;
            }
            matches!(entry.deadline, Deadline::Rung)
        });
    }

    /// Wakes whoever holds an alarm, due or not: something has happened that all of them look at.
    pub fn wake_all(&self) {
        self.wake_where(|_| true);
    }

    fn wake_where(&self, due: impl Fn(&mut Entry) -> bool) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if due(entry)
                && let Some(waker) = entry.waker.take()
            {
                waker.wake();
            }
        }
    }

    /// Looks at the deadlines until it is dropped; one task a worker runs it.
    pub async fn run(self) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.tick(interval.tick().await);
        }
    }
}

impl Alarm {
    /// Moves the deadline to `after` from now.
    pub fn set(&self, after: Duration) {
        self.set_at(Instant::now() + after);
    }

    /// Moves the deadline.
    pub fn set_at(&self, deadline: Instant) {
        self.set_or_clear(Some(deadline));
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.set_or_clear(None);
    }

    /// Moves the deadline, or takes it away.
    pub fn set_or_clear(&self, deadline: Option<Instant>) {
        self.with(|entry| entry.deadline = Deadline::of(deadline));
    }

    /// Whether a deadline is set and past.
    pub fn is_due(&self) -> bool {
        let entries = self.entries.borrow();
        match entries.get(self.key).map(|entry| entry.deadline) {
            Some(Deadline::At(deadline)) => deadline <= Instant::now(),
            Some(Deadline::Rung) => true,
            Some(Deadline::Never) | None => false,
        }
    }

    /// Ready when the deadline is past; else the task is woken when it is, and by [`Sweep::wake_all`].
    pub fn poll_due(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_due() {
            return Poll::Ready(());
        }
        self.with(|entry| match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        });
        Poll::Pending
    }

    /// Moves the deadline and has the task woken when it is past, and by [`Sweep::wake_all`]; reads no clock.
    pub fn arm(&self, deadline: Option<Instant>, cx: &Context<'_>) {
        self.with(|entry| {
            entry.deadline = Deadline::of(deadline);
            match &mut entry.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        });
    }

    /// Whether the sweep has found the deadline past since it was armed; reads no clock.
    pub fn has_rung(&self) -> bool {
        self.entries.borrow().get(self.key).is_some_and(|entry| matches!(entry.deadline, Deadline::Rung))
    }

    /// Completes when the deadline is past.
    pub async fn due(&self) {
        poll_fn(|cx| self.poll_due(cx)).await;
    }

    fn with(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(self.key) {
            change(entry);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.entries.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_after_its_deadline_and_never_before() {
        let sweep = Sweep::default();
        let alarm = sweep.alarm();
        alarm.set(Duration::from_secs(1));
        let started = Instant::now();
        tokio::select! {
            () = alarm.due() => {}
            () = sweep.clone().run() => {}
        }
        let waited = started.elapsed();
        assert!((Duration::from_secs(1)..=Duration::from_secs(1) + TICK * 2).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_armed_alarm_has_rung_once_the_sweep_found_it_past_until_it_is_armed_again() {
        let sweep = Sweep::default();
        let alarm = sweep.alarm();
        let cx = Context::from_waker(Waker::noop());
        let now = Instant::now();
        alarm.arm(Some(now + Duration::from_secs(1)), &cx);
        for (seconds, expected) in [(0, false), (1, true)] {
            sweep.tick(now + Duration::from_secs(seconds));
            assert_eq!(alarm.has_rung(), expected, "{seconds}");
        }
        alarm.arm(None, &cx);
        sweep.tick(now + Duration::from_secs(9));
        assert!(!alarm.has_rung());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_has_rung_is_due_until_it_is_moved_or_cleared() {
        let sweep = Sweep::default();
        let alarm = sweep.alarm();
        let cx = &mut Context::from_waker(Waker::noop());
        let changes: [fn(&Alarm); 2] = [|alarm| alarm.set(Duration::from_secs(5)), Alarm::clear];
        for change in changes {
            alarm.arm(Some(Instant::now()), cx);
            sweep.tick(Instant::now());
            for _ in 0..2 {
                assert!(alarm.has_rung() && alarm.is_due() && alarm.poll_due(cx).is_ready());
            }
            change(&alarm);
            assert!(!alarm.has_rung() && !alarm.is_due() && alarm.poll_due(cx).is_pending());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_moved_or_cleared_rings_at_the_new_time_or_not_at_all() {
        let sweep = Sweep::default();
        let alarm = sweep.alarm();
        alarm.set(Duration::from_secs(1));
        alarm.set(Duration::from_secs(5));
        tokio::select! {
            () = alarm.due() => panic!("too early"),
            () = sweep.clone().run() => {}
            () = tokio::time::sleep(Duration::from_secs(4)) => {}
        }
        alarm.clear();
        tokio::select! {
            () = alarm.due() => panic!("cleared"),
            () = sweep.clone().run() => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
        drop(alarm);
        assert!(sweep.entries.borrow().is_empty());
    }
}
