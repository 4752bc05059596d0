//! How many requests one worker has in flight to an upstream, and who waits for their turn.
//!
//! Inside: the cap, the queue and its order. Kept out: the limits' values and what a refused request is told. Each
//! worker has its share of both numbers, so that nothing is shared between workers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::proxy::sweep::Sweep;
use crate::telemetry::outcome::Failure;

/// The requests in flight of one worker to one upstream.
#[derive(Debug, Default)]
pub struct Admission {
    in_flight: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

/// The right to have one request in flight; dropping it lets the next one in.
#[derive(Debug)]
pub struct Permit {
    admission: Rc<Admission>,
}

#[derive(Debug, Default)]
struct Waiter {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A worker's share of the cap and the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Requests in flight; at least one, or some workers could not serve at all.
    pub in_flight: usize,
    /// Requests that wait.
    pub queue: usize,
}

impl Share {
    /// The share of worker number `worker` of `workers`.
    pub fn of(in_flight: usize, queue: usize, worker: usize, workers: usize) -> Self {
        let workers = workers.max(1);
        let part = |total: usize| total / workers + usize::from(worker < total % workers);
        Self { in_flight: part(in_flight).max(1), queue: part(queue) }
    }
}

impl Admission {
    /// Waits for a turn, first come first served.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] where the queue is full, or the turn does not come within `timeout`.
    pub async fn admit(self: Rc<Self>, share: Share, timeout: Duration, sweep: &Sweep) -> Result<Permit, Failure> {
        if self.in_flight.get() < share.in_flight && self.waiting.borrow().is_empty() {
            self.in_flight.set(self.in_flight.get() + 1);
            return Ok(Permit { admission: self });
        }
        if self.waiting.borrow().len() >= share.queue {
            return Err(Failure::Overloaded);
        }
        let turn = Turn::new(self);
        let alarm = sweep.alarm();
        alarm.set(timeout);
        poll_fn(|cx| {
            if turn.waiter.granted.get() {
                return Poll::Ready(Ok(()));
            }
            *turn.waiter.waker.borrow_mut() = Some(cx.waker().clone());
            alarm.poll_due(cx).map(|()| Err(Failure::Overloaded))
        })
        .await?;
        Ok(turn.into_permit())
    }

    /// Hands a place over to the first in the queue, or frees it.
    fn release(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        let Some(next) = next else {
            self.in_flight.set(self.in_flight.get().saturating_sub(1));
            return;
        };
        next.granted.set(true);
        if let Some(waker) = next.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.release();
    }
}

/// A place in the queue; whoever leaves it early leaves no gap, and no place that was granted is lost.
struct Turn {
    admission: Option<Rc<Admission>>,
    waiter: Rc<Waiter>,
}

impl Turn {
    fn new(admission: Rc<Admission>) -> Self {
        let waiter = Rc::new(Waiter::default());
        admission.waiting.borrow_mut().push_back(Rc::clone(&waiter));
        Self { admission: Some(admission), waiter }
    }

    fn into_permit(mut self) -> Permit {
        let admission = self.admission.take().unwrap_or_default();
        Permit { admission }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(admission) = &self.admission else { return };
        if self.waiter.granted.get() {
            admission.release();
        } else {
            admission.waiting.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    fn is_idle(admission: &Admission) -> bool {
        admission.in_flight.get() == 0 && admission.waiting.borrow().is_empty()
    }

    const SHARE: Share = Share { in_flight: 1, queue: 1 };
    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn shares_add_up_and_every_worker_can_serve() {
        let shares: Vec<Share> = (0..4).map(|worker| Share::of(10, 5, worker, 4)).collect();
        assert_eq!(shares.iter().map(|share| share.in_flight).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(shares.iter().map(|share| share.queue).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(Share::of(1, 0, 3, 4), Share { in_flight: 1, queue: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_in_the_queue_gets_the_place_and_one_more_is_refused() {
        let (admission, sweep) = (Rc::new(Admission::default()), Sweep::default());
        let first = Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep).await.expect("free");
        let mut second = pin!(Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let third = Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep).await;
        assert_eq!(third.err(), Some(Failure::Overloaded));
        drop(first);
        let second = second.await.expect("its turn");
        assert_eq!(admission.in_flight.get(), 1);
        drop(second);
        assert!(is_idle(&admission));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_too_long_is_refused_and_leaves_the_queue() {
        let (admission, sweep) = (Rc::new(Admission::default()), Sweep::default());
        let first = Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep).await.expect("free");
        let waiting = Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep);
        let refused = tokio::select! {
            refused = waiting => refused.err(),
            () = sweep.clone().run() => None,
        };
        assert_eq!(refused, Some(Failure::Overloaded));
        drop(first);
        assert!(is_idle(&admission));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_granted_to_one_who_left_is_not_lost() {
        let (admission, sweep) = (Rc::new(Admission::default()), Sweep::default());
        let first = Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep).await.expect("free");
        {
            let mut second = pin!(Rc::clone(&admission).admit(SHARE, TIMEOUT, &sweep));
            assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(first);
        }
        assert!(is_idle(&admission));
    }
}
