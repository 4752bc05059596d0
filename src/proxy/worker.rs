//! One thread with its own event loop, from its first socket to its last.
//!
//! Inside: building it, accepting, and stopping in order. Kept out: what the workers share, which `app.rs` makes, and what
//! a connection does (`connection/`).

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

use crate::drain::{LocalTasks, Phase};
use crate::telemetry::counter::WorkerId;

use super::accept_limits::{AcceptLimits, OpenSockets};
use super::connection::{Connections, Service};
use super::context::{Shared, Worker};
use super::listener::{Acceptor, Listener};
use super::sweep::Sweep;
use super::upstream::Pools;

/// How long connections that are cut get to close their sockets and to be counted.
const CUT: Duration = Duration::from_millis(100);

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// The index of its cells in every counter.
    pub id: WorkerId,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its own sockets.
    pub listeners: Vec<Listener>,
    /// The caps on connections, over all workers.
    pub limits: Arc<AcceptLimits>,
    /// How far the stop has come.
    pub stop: watch::Receiver<Phase>,
}

/// Starts a worker on a thread of its own; what the thread returns is that of [`run`].
///
/// # Errors
/// The system gives no thread.
pub fn spawn<V: Service + Send>(parts: WorkerParts, service: V) -> io::Result<JoinHandle<io::Result<usize>>> {
    std::thread::Builder::new().name(format!("worker-{}", parts.id.0)).spawn(move || run(parts, service))
}

/// Runs a worker until it has drained or is cut: how many connections were cut while something was in progress on them.
///
/// # Errors
/// The event loop cannot be made.
pub fn run<V: Service>(parts: WorkerParts, service: V) -> io::Result<usize> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    Ok(runtime.block_on(work(parts, service)))
}

async fn work<V: Service>(parts: WorkerParts, service: V) -> usize {
    let WorkerParts { id, shared, listeners, limits, mut stop } = parts;
    let (sweep, tasks) = (Sweep::default(), LocalTasks::default());
    let worker = Rc::new(Worker {
        id,
        shared,
        pools: Pools::new(id, sweep.clone(), tasks.clone()),
        sweep: sweep.clone(),
        tasks,
        phase: Cell::new(*stop.borrow()),
    });
    // Nobody waits for these: they run as long as the worker.
    let (background, accepting) = (LocalTasks::default(), LocalTasks::default());
    background.spawn(sweep.run());
    let open = Arc::new(OpenSockets::default());
    let connections = Rc::new(Connections::new(Rc::clone(&worker), service));
    for listener in listeners {
        let acceptor = Acceptor {
            connections: Rc::clone(&connections),
            limits: Arc::clone(&limits),
            open: Arc::clone(&open),
            stop: stop.clone(),
            index: listener.index,
            tls: listener.tls,
        };
        accepting.spawn(acceptor.run(listener.socket));
    }
    follow(&worker, &mut stop, async {
        accepting.idle().await;
        open.closed().await;
    })
    .await;
    worker.pools.close();
    if worker.phase.get() == Phase::Cut {
        // What is open after that are tunnels, and whatever else does not let go.
        let _ = tokio::time::timeout(CUT, open.closed()).await;
    }
    connections.cut() + open.count()
}

/// Hands each phase of the stop to the worker's tasks, until it drains and nothing is left, or the rest is cut.
async fn follow(worker: &Worker, stop: &mut watch::Receiver<Phase>, all_closed: impl Future<Output = ()>) {
    let mut all_closed = std::pin::pin!(all_closed);
    loop {
        let phase = *stop.borrow_and_update();
        if phase > worker.phase.get() {
            worker.phase.set(phase);
            worker.sweep.wake_all();
        }
        if phase == Phase::Cut {
            return;
        }
        let changed = tokio::select! {
            changed = stop.changed() => changed,
            () = &mut all_closed, if phase == Phase::Draining => return,
        };
        if changed.is_err() {
            // Whoever could have asked for more time is gone.
            worker.phase.set(Phase::Cut);
            worker.sweep.wake_all();
            return;
        }
    }
}
