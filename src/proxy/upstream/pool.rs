//! What one worker knows of the upstreams: their idle connections, whose turn it is, who failed lately.
//!
//! Inside: the choice of a server and the pool of its connections, last in first out. Kept out: making a connection
//! (`connect.rs`), and when one may come back, which is after its response was read whole (`upstream_body.rs`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::drain::LocalTasks;
use crate::proxy::Limits;
use crate::proxy::sweep::{Alarm, Sweep};
use crate::telemetry::counter::WorkerId;
use crate::telemetry::outcome::Failure;

use super::admission::{Admission, Permit, Share};
use super::connection::Connection;
use super::retry_budget::RetryBudget;
use super::server::{Server, ServerId};
use super::{Upstream, UpstreamId};

/// Idle connections that one worker keeps to one server. More are only idle after a burst, and cost a file descriptor on
/// both sides each; they are closed.
pub const MAX_IDLE_PER_SERVER: usize = 512;

/// How long a server that failed to connect is passed over, doubled with each further failure.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often idle connections are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What one worker knows of the upstreams. Clones are the same.
#[derive(Debug, Clone)]
pub struct Pools {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    worker: WorkerId,
    sweep: Sweep,
    tasks: LocalTasks,
    is_closed: Cell<bool>,
    is_swept: Cell<bool>,
    /// One entry for each name that was ever configured.
    upstreams: RefCell<HashMap<UpstreamId, Rc<Turns>, foldhash::fast::FixedState>>,
    servers: RefCell<HashMap<ServerId, Known, foldhash::fast::FixedState>>,
}

/// Whose turn it is among the servers of an upstream, and who waits for one.
#[derive(Debug, Default)]
struct Turns {
    next: Cell<usize>,
    admission: Rc<Admission>,
    retries: RetryBudget,
}

/// What is known of a server.
#[derive(Debug, Default)]
struct Known {
    /// The one used last is last.
    idle: Vec<Idle>,
    /// There was a look since a connection was given back last.
    is_unused: bool,
    failures: u32,
    down_until: Option<Instant>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    expires: Instant,
}

impl Pools {
    /// The pools of a worker that knows nothing yet.
    pub fn new(worker: WorkerId, sweep: Sweep, tasks: LocalTasks) -> Self {
        let inner = Inner {
            worker,
            sweep,
            tasks,
            is_closed: Cell::new(false),
            is_swept: Cell::new(false),
            upstreams: RefCell::default(),
            servers: RefCell::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Whose pools they are.
    pub fn worker(&self) -> WorkerId {
        self.inner.worker
    }

    /// The worker's tasks.
    pub(in crate::proxy) fn tasks(&self) -> &LocalTasks {
        &self.inner.tasks
    }

    /// Waits for a turn where `upstream_in_flight` is set.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] where there are too many requests, and too many that wait.
    pub async fn admit(&self, upstream: &Upstream, limits: &Limits) -> Result<Option<Permit>, Failure> {
        if limits.upstream_in_flight == 0 {
            return Ok(None);
        }
        let admission = Rc::clone(&self.turns(upstream).admission);
        let (worker, workers) = (self.inner.worker.0, upstream.workers);
        let share = Share::of(limits.upstream_in_flight, limits.upstream_queue, worker, workers);
        admission.admit(share, limits.upstream_queue_timeout, &self.inner.sweep).await.map(Some)
    }

    /// Whether a request that may have been heard may be sent again, as far as the budget goes.
    pub fn may_repeat(&self, upstream: &Upstream) -> bool {
        self.turns(upstream).retries.spend()
    }

    /// The server whose turn it is: round robin, without those that failed to connect lately unless all did, and without
    /// `other_than` where there is another. A request that has had none earns its part of a repetition.
    ///
    /// # Errors
    /// [`Failure::NoServer`] where no server has an address.
    pub fn choose<'a>(&self, upstream: &'a Upstream, other_than: Option<ServerId>) -> Result<&'a Arc<Server>, Failure> {
        let servers = upstream.servers();
        let count = servers.len();
        let turns = self.turns(upstream);
        if other_than.is_none() {
            turns.retries.earn();
        }
        let first = turns.next.get();
        let in_turn = || (first..first + count).filter_map(|index| Some((index, servers.get(index % count)?)));
        let located = || in_turn().filter(|(_, server)| server.has_address());
        let is_other = |server: &Server| other_than != Some(server.id());
        let chosen = located()
            .find(|(_, server)| is_other(server) && !self.is_down(server))
            .or_else(|| located().find(|(_, server)| !self.is_down(server)))
            .or_else(|| located().find(|(_, server)| is_other(server)))
            .or_else(|| located().next());
        let (index, server) = chosen.ok_or(Failure::NoServer)?;
        turns.next.set((index + 1) % count);
        Ok(server)
    }

    /// The connection to a server that was used last and is still good.
    pub fn take(&self, server: &Server, now: Instant) -> Option<Connection> {
        let mut servers = self.inner.servers.borrow_mut();
        let idle = &mut servers.get_mut(&server.id())?.idle;
        while let Some(Idle { mut connection, expires }) = idle.pop() {
            if expires > now && connection.is_quiet() {
                connection.set_reused();
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for `keep`. It must be ready for another request: the one before was sent whole, its response read
    /// exactly to its end, and nothing is left over. One on which something has come since is closed.
    pub fn give_back(&self, connection: Connection, keep: Duration, now: Instant) {
        if self.inner.is_closed.get() || !connection.is_quiet() {
            return;
        }
        let mut servers = self.inner.servers.borrow_mut();
        let known = servers.entry(connection.server()).or_default();
        known.is_unused = false;
        if known.idle.len() < MAX_IDLE_PER_SERVER {
            known.idle.push(Idle { connection, expires: now + keep });
            drop(servers);
            self.keep_swept();
        }
    }

    /// Records that a server let itself be connected to.
    pub fn connected(&self, server: &Server) {
        server.set_up(true);
        if let Some(known) = self.inner.servers.borrow_mut().get_mut(&server.id()) {
            known.failures = 0;
            known.down_until = None;
        }
    }

    /// Records that a server could not be connected to: it is passed over for a while.
    pub fn failed(&self, server: &Server) {
        server.set_up(false);
        let mut servers = self.inner.servers.borrow_mut();
        let known = servers.entry(server.id()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << known.failures.min(8)).min(LONGEST_PAUSE);
        known.failures = known.failures.saturating_add(1);
        known.down_until = Some(Instant::now() + pause);
        drop(servers);
        self.keep_swept();
    }

    /// Closes every idle connection, and every other one when it would come back: the worker stops.
    pub fn close(&self) {
        self.inner.is_closed.set(true);
        self.inner.servers.borrow_mut().clear();
        self.inner.sweep.wake_all();
    }

    /// How many idle connections there are.
    pub fn idle(&self) -> usize {
        self.inner.servers.borrow().values().map(|known| known.idle.len()).sum()
    }

    /// Whether a server failed to connect lately.
    pub fn is_down(&self, server: &Server) -> bool {
        let servers = self.inner.servers.borrow();
        let until = servers.get(&server.id()).and_then(|known| known.down_until);
        until.is_some_and(|until| until > Instant::now())
    }

    fn turns(&self, upstream: &Upstream) -> Rc<Turns> {
        let mut upstreams = self.inner.upstreams.borrow_mut();
        // Workers begin with different servers, or all of them would begin with the first.
        let begin = || {
            Rc::new(Turns {
                next: Cell::new(self.inner.worker.0),
                admission: Rc::default(),
                retries: RetryBudget::default(),
            })
        };
        Rc::clone(upstreams.entry(upstream.id).or_insert_with(begin))
    }

    /// Starts the task that looks through the pools, where there is none. It ends after the last idle connection, so that
    /// it never keeps a worker from stopping.
    fn keep_swept(&self) {
        if self.inner.is_swept.replace(true) {
            return;
        }
        let alarm = self.inner.sweep.alarm();
        self.inner.tasks.spawn(sweep_idle(Rc::downgrade(&self.inner), alarm));
    }
}

async fn sweep_idle(inner: Weak<Inner>, alarm: Alarm) {
    loop {
        alarm.set(SWEEP_INTERVAL);
        poll_fn(|cx| match inner.upgrade() {
            Some(inner) if !inner.is_closed.get() => alarm.poll_due(cx),
            _ => Poll::Ready(()),
        })
        .await;
        let Some(inner) = inner.upgrade() else { return };
        if !inner.sweep_once(Instant::now()) {
            inner.is_swept.set(false);
            return;
        }
    }
}

impl Inner {
    /// Closes what was idle for too long or is of no use any more, forgets what there is nothing to know of, and returns whether anything is left.
    fn sweep_once(&self, now: Instant) -> bool {
        let mut servers = self.servers.borrow_mut();
        servers.retain(|_, known| {
            known.idle.retain(|idle| idle.expires > now && idle.connection.is_quiet());
            // A server that failed is remembered past its pause, so that the next failure pauses it for longer.
            let remembers = known.down_until.is_some_and(|until| until + LONGEST_PAUSE > now);
            // One that gave a connection back since the last look is not forgotten, though it may be in use just now.
            let was_unused = std::mem::replace(&mut known.is_unused, true);
            if !remembers {
                (known.failures, known.down_until) = (0, None);
            }
            remembers || !known.idle.is_empty() || !was_unused
        });
        !servers.is_empty() && !self.is_closed.get()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::super::connection::Stream;
    use super::super::testing::{connection, upstream};
    use super::*;

    const KEEP: Duration = Duration::from_secs(60);

    /// Pools that nobody looks through but the test.
    fn pools() -> Pools {
        let pools = Pools::new(WorkerId(0), Sweep::default(), LocalTasks::default());
        pools.inner.is_swept.set(true);
        pools
    }

    /// A connection to the one server of an upstream, and its other end.
    fn made(upstream: &Upstream) -> (Connection, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        (connection(upstream, Stream::Other(RefCell::new(Box::new(near)))), far)
    }

    #[tokio::test]
    async fn a_server_whose_connection_is_in_use_at_a_look_is_known_until_it_has_been_unused_for_one() {
        let (pools, upstream, now) = (pools(), upstream(), Instant::now());
        let (made, _far) = made(&upstream);
        let mut used = Some(made);
        for _ in 0..3 {
            pools.give_back(used.take().expect("a connection"), KEEP, now);
            used = pools.take(&upstream.servers()[0], now);
            assert!(pools.inner.sweep_once(now));
        }
        assert!(!pools.inner.sweep_once(now));
        assert!(pools.inner.servers.borrow().is_empty());
    }

    #[tokio::test]
    async fn failures_are_forgotten_after_the_longest_pause_though_connections_are_left() {
        let (pools, upstream) = (pools(), upstream());
        let server = &upstream.servers()[0];
        for _ in 0..3 {
            pools.failed(server);
        }
        let later = Instant::now() + LONGEST_PAUSE * 3;
        let (made, _far) = made(&upstream);
        pools.give_back(made, KEEP, later);
        assert!(pools.is_down(server) && pools.inner.sweep_once(later));
        let servers = pools.inner.servers.borrow();
        assert_eq!(servers.get(&server.id()).map(|known| (known.failures, known.down_until)), Some((0, None)));
    }
}
