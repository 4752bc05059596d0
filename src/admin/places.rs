//! The places of one address for connections, so that whoever holds them without asking for anything shuts out nobody.
//!
//! Inside: who has a place, since when, and who makes room. Kept out: sockets (`server.rs`).
//! A newcomer always gets a place: a connection without a whole request makes room, the one that has waited longest of
//! the client that has the most. It has [`GRACE`] in any case, or a rush would end each before its request is read.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Connections at a time.
pub(super) const CONNECTIONS: usize = 64;

/// With more connections than this, each ends with its answer.
const SCARCE: usize = CONNECTIONS / 2;

/// More connections than this are not kept busy at a time, so that there is always one that can make room.
pub(super) const WORKING: usize = CONNECTIONS / 2;

/// What a connection has in any case to send its request, and to take its answer.
const GRACE: Duration = Duration::from_millis(50);

/// The places, and who has them.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    holders: Vec<Holder>,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    client: IpAddr,
    /// Since when it has had nothing to do.
    waits_since: Instant,
    is_working: bool,
    /// Tells it by its drop that the place is gone.
    _leave: oneshot::Sender<Infallible>,
}

/// Completes when the place goes to somebody else.
pub(super) type Leave = oneshot::Receiver<Infallible>;

/// A place that is held; the drop frees it.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Places>,
}

/// A request that is whole and being answered: nobody takes its place meanwhile.
#[derive(Debug)]
pub(super) struct Working<'p> {
    place: &'p Place,
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client; waits no longer than [`GRACE`] for one to become free.
    pub(super) async fn take(self: &Arc<Self>, client: IpAddr) -> (Place, Leave) {
        let client = client.to_canonical();
        loop {
            let taken = self.taken().take(client, Instant::now());
            match taken {
                Ok((number, leave)) => return (Place { number, places: Arc::clone(self) }, leave),
                Err(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.freed.notified() => {}
                },
            }
        }
    }
}

impl Taken {
    /// Takes a place, one that is held where none is free. Else says when to ask again.
    fn take(&mut self, client: IpAddr, now: Instant) -> Result<(u64, Leave), Instant> {
        if self.holders.len() >= CONNECTIONS {
            let waiting = || self.holders.iter().enumerate().filter(|(_, holder)| !holder.is_working);
            let due = waiting().filter(|(_, holder)| holder.waits_since + GRACE <= now);
            let longest = due.min_by_key(|(_, holder)| (CONNECTIONS - self.held_by(holder.client), holder.waits_since));
            let Some((index, _)) = longest else {
                let first = waiting().map(|(_, holder)| holder.waits_since).min();
                return Err(first.unwrap_or(now) + GRACE);
            };
            self.holders.swap_remove(index);
        }
        let (sender, leave) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.holders.push(Holder { number, client, waits_since: now, is_working: false, _leave: sender });
        Ok((number, leave))
    }

    fn held_by(&self, client: IpAddr) -> usize {
        self.holders.iter().filter(|holder| holder.client == client).count()
    }

    fn holder(&mut self, number: u64) -> Option<&mut Holder> {
        self.holders.iter_mut().find(|holder| holder.number == number)
    }
}

impl Place {
    /// Keeps the place until the drop of what it returns; none where too many are at work already.
    pub(super) fn work(&self) -> Option<Working<'_>> {
        let mut taken = self.places.taken();
        if taken.holders.iter().filter(|holder| holder.is_working).count() >= WORKING {
            return None;
        }
        taken.holder(self.number)?.is_working = true;
        Some(Working { place: self })
    }

    /// Says that a request has its answer. Returns whether the connection should end with it.
    pub(super) fn answered(&self) -> bool {
        let mut taken = self.places.taken();
        if let Some(holder) = taken.holder(self.number) {
            holder.waits_since = Instant::now();
        }
        taken.holders.len() > SCARCE
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().holders.retain(|holder| holder.number != self.number);
        self.places.freed.notify_one();
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if let Some(holder) = self.place.places.taken().holder(self.place.number) {
            holder.is_working = false;
            holder.waits_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "192.0.2.1";
    const OTHER: &str = "192.0.2.2";

    async fn take(places: &Arc<Places>, client: &str) -> (Place, Leave) {
        places.take(client.parse().expect("an address")).await
    }

    fn has_left(leave: &mut Leave) -> bool {
        leave.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waited_longest_of_the_client_with_the_most_makes_room_after_its_grace() {
        let places = Arc::default();
        let (_lone, mut lone_leave) = take(&places, OTHER).await;
        let mut held = Vec::new();
        for _ in 1..CONNECTIONS {
            tokio::time::advance(Duration::from_millis(1)).await;
            held.push(take(&places, ONE).await);
        }
        let started = Instant::now();
        held[0].0.answered();
        let _new = take(&places, OTHER).await;
        assert!(started.elapsed() < GRACE, "{:?}", started.elapsed());
        assert!(!has_left(&mut lone_leave), "the one with the fewest made room");
        let left: Vec<usize> = (0..held.len()).filter(|&index| has_left(&mut held[index].1)).collect();
        assert_eq!(left, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_makes_room_within_the_grace_and_a_place_that_is_free_is_taken_at_once() {
        let places = Arc::default();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(take(&places, ONE).await);
        }
        let started = Instant::now();
        let (_second, _) = take(&places, ONE).await;
        assert_eq!(started.elapsed(), GRACE);
        held.retain_mut(|(_, leave)| !has_left(leave));
        assert_eq!(held.len(), CONNECTIONS - 1);
        drop(held.pop());
        let started = Instant::now();
        let (_third, _) = take(&places, ONE).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert!(held.iter_mut().all(|(_, leave)| !has_left(leave)), "one made room where a place was free");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_at_work_stays_and_no_more_than_half_are() {
        let places = Arc::default();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(take(&places, ONE).await);
        }
        let (workers, idle) = held.split_at_mut(WORKING);
        let (at_work, mut leaves): (Vec<_>, Vec<_>) =
            workers.iter_mut().map(|(place, leave)| (place.work().expect("room for work"), leave)).unzip();
        assert!(idle[0].0.work().is_none());
        tokio::time::advance(GRACE).await;
        let mut newcomers = Vec::new();
        for _ in 0..CONNECTIONS {
            newcomers.push(take(&places, ONE).await);
        }
        assert!(leaves.iter_mut().all(|leave| !has_left(leave)), "one at work made room");
        assert!(idle.iter_mut().all(|(_, leave)| has_left(leave)), "one without work stayed");
        drop(at_work);
        assert!(newcomers[CONNECTIONS - 1].0.work().is_some());
    }
}
