//! The workers' threads.
//!
//! Inside: starting them with their sockets, and waiting for their end. Kept out: what a worker does (`proxy::worker`).

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::drain::StopSignal;
use crate::proxy::connection::TlsSource;
use crate::proxy::listener::{Listener, Sockets};
use crate::proxy::service::Edge;
use crate::proxy::worker::{self, WorkerParts};
use crate::telemetry::counter::WorkerId;

use super::parts::Parts;
use super::{StartError, failed};

/// The threads that serve requests.
#[derive(Debug)]
pub(super) struct Workers {
    threads: usize,
    starting: Vec<oneshot::Receiver<()>>,
    ended: mpsc::UnboundedReceiver<usize>,
    counted: usize,
    cut: usize,
}

impl Workers {
    /// Starts the threads, as many as there are cells in the counters, and deals out the sockets of every listener.
    pub(super) fn start(
        parts: &Parts,
        listeners: Vec<(String, Sockets)>,
        stop: &Arc<StopSignal>,
    ) -> Result<Self, StartError> {
        let (sender, ended) = mpsc::unbounded_channel();
        let (mut threads, mut starting) = (0, Vec::new());
        for (index, listeners) in by_worker(parts, listeners).into_iter().enumerate() {
            let (accepts, told) = oneshot::channel();
            starting.push(told);
            let worker = WorkerParts {
                id: WorkerId(index),
                shared: Arc::clone(&parts.shared),
                listeners,
                limits: Arc::clone(&parts.accept_limits),
                stop: stop.subscribe(),
                accepts,
            };
            let thread = worker::spawn(worker, Edge);
            let thread = thread.map_err(|error| failed(format!("worker {index} cannot be started: {error}")))?;
            report_end(thread, sender.clone())
                .map_err(|error| failed(format!("worker {index} cannot be watched: {error}")))?;
            threads += 1;
        }
        Ok(Self { threads, starting, ended, counted: 0, cut: 0 })
    }

    /// Completes when each accepts on all of its sockets.
    pub(super) async fn all_accept(&mut self) -> Result<(), StartError> {
        for worker in self.starting.drain(..) {
            worker.await.map_err(|_| failed("a worker cannot accept; the log says why"))?;
        }
        Ok(())
    }

    /// Completes when one has ended, which none does by itself.
    pub(super) async fn first_ended(&mut self) {
        if let Some(cut) = self.ended.recv().await {
            self.count(cut);
        }
    }

    /// Completes when all have ended.
    pub(super) async fn all_ended(&mut self) {
        while self.counted < self.threads {
            match self.ended.recv().await {
                Some(cut) => self.count(cut),
                None => return,
            }
        }
    }

    /// How many connections were cut with a request in progress, by the workers that have ended.
    pub(super) fn cut(&self) -> usize {
        self.cut
    }

    fn count(&mut self, cut: usize) {
        self.counted += 1;
        self.cut += cut;
    }
}

/// Each worker's sockets, in the order of the configuration.
fn by_worker(parts: &Parts, listeners: Vec<(String, Sockets)>) -> Vec<Vec<Listener>> {
    let mut workers: Vec<Vec<Listener>> = (0..parts.shared.metrics.workers()).map(|_| Vec::new()).collect();
    for (index, (_, sockets)) in listeners.into_iter().enumerate() {
        let tls = parts.listener_tls.get(index).cloned().flatten();
        // There may be more sockets than workers, where a process with more of them handed over.
        let all = (0..workers.len()).cycle();
        for (worker, socket) in all.zip(sockets.sockets) {
            let tls = tls.clone().map(|tls| tls as Arc<dyn TlsSource>);
            workers[worker].push(Listener { index, socket, tls });
        }
    }
    workers
}

/// Waits for a worker's thread on one of its own, so that a panic there is an end like any other.
fn report_end(thread: JoinHandle<std::io::Result<usize>>, ended: mpsc::UnboundedSender<usize>) -> std::io::Result<()> {
    let wait = move || {
        let cut = match thread.join() {
            Ok(Ok(cut)) => cut,
            Ok(Err(error)) => {
                tracing::error!(%error, "a worker could not run");
                1
            }
            Err(_) => {
                tracing::error!("a worker broke off");
                1
            }
        };
        // Nobody listens any more only when the process is at its end.
        let _ = ended.send(cut);
    };
    std::thread::Builder::new().name("sluis-watch".to_owned()).spawn(wait).map(drop)
}
