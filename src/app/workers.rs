//! The workers' threads.
//!
//! Inside: starting them with their sockets, and waiting for their end. Kept out: what a worker does (`proxy::worker`).

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

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
    ended: mpsc::UnboundedReceiver<usize>,
    counted: usize,
    cut: usize,
}

impl Workers {
    /// Starts one thread for each socket that a listener has.
    pub(super) fn start(
        parts: &Parts,
        listeners: Vec<(String, Sockets)>,
        stop: &Arc<StopSignal>,
    ) -> Result<Self, StartError> {
        let (sender, ended) = mpsc::unbounded_channel();
        let mut threads = 0;
        for (index, listeners) in by_worker(parts, listeners).into_iter().enumerate() {
            let worker = WorkerParts {
                id: WorkerId(index),
                shared: Arc::clone(&parts.shared),
                listeners,
                limits: Arc::clone(&parts.accept_limits),
                stop: stop.subscribe(),
            };
            let thread = worker::spawn(worker, Edge);
            let thread = thread.map_err(|error| failed(format!("worker {index} cannot be started: {error}")))?;
            report_end(thread, sender.clone())
                .map_err(|error| failed(format!("worker {index} cannot be watched: {error}")))?;
            threads += 1;
        }
        Ok(Self { threads, ended, counted: 0, cut: 0 })
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
    let mut workers: Vec<Vec<Listener>> = Vec::new();
    for (index, (_, sockets)) in listeners.into_iter().enumerate() {
        let tls = parts.listener_tls.get(index).cloned().flatten();
        for (worker, socket) in sockets.sockets.into_iter().enumerate() {
            if workers.len() <= worker {
                workers.push(Vec::new());
            }
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
