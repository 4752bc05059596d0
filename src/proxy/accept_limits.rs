//! How many client connections there may be, over all workers, and from one address.
//!
//! Inside: the caps, and the place under them that a connection keeps until its socket closes. Kept out: accepting
//! (`listener.rs`). The caps are touched when a connection comes and goes, never by a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;

use crate::telemetry::counter::WorkerId;

use super::Limits;
use super::context::Shared;

/// Descriptors that are not for clients and their upstream connections: listeners, files, the admin endpoint.
const RESERVED_FILES: usize = 64;

/// The caps on client connections; one a process.
#[derive(Debug)]
pub struct AcceptLimits {
    connections: CachePadded<AtomicUsize>,
    cap: AtomicUsize,
    cap_per_client: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl AcceptLimits {
    /// The caps of `[limits]` for a process that may have so many files open.
    pub fn new(limits: &Limits, open_files: usize) -> Self {
        let caps = Self {
            connections: CachePadded::default(),
            cap: AtomicUsize::new(0),
            cap_per_client: AtomicUsize::new(0),
            clients: Mutex::default(),
        };
        caps.configure(limits, open_files);
        caps
    }

    /// Puts other caps in force; connections that are there stay.
    pub fn configure(&self, limits: &Limits, open_files: usize) {
        // A client's connection needs a second file for its upstream's.
        let by_files = (open_files / 2).saturating_sub(RESERVED_FILES.min(open_files / 8)).max(1);
        let cap = if limits.connections == 0 { by_files } else { limits.connections };
        self.cap.store(cap, Ordering::Relaxed);
        self.cap_per_client.store(limits.connections_per_client, Ordering::Relaxed);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub fn cap(&self) -> usize {
        self.cap.load(Ordering::Relaxed)
    }

    /// Takes one place of all; none is left where the cap is reached.
    fn enter(&self) -> bool {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let fits = before < self.cap();
        if !fits {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        }
        fits
    }

    /// Takes one place of those of an address; whether it was counted, or none where there is none left.
    fn enter_client(&self, address: IpAddr) -> Option<bool> {
        let cap = self.cap_per_client.load(Ordering::Relaxed);
        if cap == 0 {
            return Some(false);
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(address).or_default();
        if *count >= cap {
            return None;
        }
        *count += 1;
        Some(true)
    }

    fn leave_client(&self, address: IpAddr) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&address);
            }
        }
    }
}

/// The sockets of clients that one worker has open: a stop waits for them.
#[derive(Debug, Default)]
pub struct OpenSockets {
    count: AtomicUsize,
    none: Notify,
}

impl OpenSockets {
    /// How many are open.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Completes when none is open. There is one waiter.
    pub async fn closed(&self) {
        while self.count() > 0 {
            self.none.notified().await;
        }
    }
}

/// Where the connections of one listener come in on one worker, and are counted.
#[derive(Debug)]
pub struct Door {
    /// The caps that they are under.
    pub limits: Arc<AcceptLimits>,
    /// The open sockets of the worker.
    pub open: Arc<OpenSockets>,
    /// Whose counters they count in.
    pub shared: Arc<Shared>,
    /// The worker.
    pub worker: WorkerId,
    /// The listener's index in the configuration.
    pub listener: usize,
}

impl Door {
    fn count_active(&self, amount: i64) {
        if let Some(listener) = self.shared.metrics.listeners().get(self.listener) {
            listener.connections_active.add(self.worker, amount);
        }
    }
}

/// A connection's place under the caps. Dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    door: Arc<Door>,
    holder: Holder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// Somebody who is not counted by address.
    Anybody,
    Client(IpAddr),
}

impl Place {
    /// A place for the next connection through a door; none where the cap is reached.
    pub fn reserve(door: &Arc<Door>) -> Option<Self> {
        if !door.limits.enter() {
            return None;
        }
        door.open.count.fetch_add(1, Ordering::Relaxed);
        Some(Self { door: Arc::clone(door), holder: Holder::Nobody })
    }

    /// Whether the connection from an address that has come may take the place; it counts as active from then on.
    pub fn take(&mut self, client: IpAddr) -> bool {
        let Some(is_counted) = self.door.limits.enter_client(client) else { return false };
        self.door.count_active(1);
        self.holder = if is_counted { Holder::Client(client) } else { Holder::Anybody };
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Door { limits, open, .. } = &*self.door;
        if self.holder != Holder::Nobody {
            self.door.count_active(-1);
        }
        if let Holder::Client(client) = self.holder {
            limits.leave_client(client);
        }
        limits.connections.fetch_sub(1, Ordering::Relaxed);
        if open.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            open.none.notify_one();
        }
    }
}

/// Raises the soft limit of open files to the hard one, and returns what it is then.
///
/// # Errors
/// The system does not let us raise it; the limit that there was is in force.
pub fn raise_open_files() -> (usize, std::io::Result<()>) {
    let limit = getrlimit(Resource::Nofile);
    // No limit at all: more than there can be anyway.
    let files =
        |value: Option<u64>| value.map_or(usize::MAX / 2, |value| usize::try_from(value).unwrap_or(usize::MAX / 2));
    if limit.current == limit.maximum {
        return (files(limit.current), Ok(()));
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => (files(limit.maximum), Ok(())),
        Err(error) => (files(limit.current), Err(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::connection::tests::shared;

    fn caps(connections: usize, connections_per_client: usize, open_files: usize) -> Arc<AcceptLimits> {
        let limits = Limits { connections, connections_per_client, ..Limits::default() };
        Arc::new(AcceptLimits::new(&limits, open_files))
    }

    #[test]
    fn the_cap_follows_from_the_open_files_where_none_is_configured() {
        for (connections, open_files, expected) in
            [(0, 1_048_576, 524_224), (0, 1_024, 448), (0, 64, 24), (0, 1, 1), (7, 1_024, 7)]
        {
            assert_eq!(caps(connections, 0, open_files).cap(), expected, "{connections} {open_files}");
        }
    }

    #[tokio::test]
    async fn a_place_is_given_back_when_it_is_dropped() {
        let (caps, open) = (caps(1, 1, 64), Arc::new(OpenSockets::default()));
        let (shared, _) = shared(Limits::default());
        let (limits, open_sockets) = (Arc::clone(&caps), Arc::clone(&open));
        let door = Arc::new(Door { limits, open: open_sockets, shared, worker: WorkerId(0), listener: 0 });
        let mut place = Place::reserve(&door).expect("a place");
        assert!(Place::reserve(&door).is_none());
        assert!(place.take([192, 0, 2, 1].into()));
        assert_eq!(caps.clients.lock().expect("not poisoned").len(), 1);
        assert_eq!((caps.connections(), open.count()), (1, 1));
        drop(place);
        assert_eq!((caps.connections(), open.count()), (0, 0));
        assert!(caps.clients.lock().expect("not poisoned").is_empty());
        open.closed().await;
    }

    #[test]
    fn one_address_gets_its_cap_and_no_more_and_the_table_is_empty_in_the_end() {
        let caps = caps(0, 2, 64);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(
            [one, one, one, other].map(|client| caps.enter_client(client)),
            [Some(true), Some(true), None, Some(true)]
        );
        for client in [one, one, other] {
            caps.leave_client(client);
        }
        assert!(caps.clients.lock().expect("not poisoned").is_empty());
    }
}
