//! The stop, in its order: not ready, no longer accepting, finishing what was begun, the end.
//!
//! Inside: the times between the phases, and what a signal means meanwhile. Kept out: what the parts do in each phase.

use std::sync::Arc;

use crate::drain::{Phase, StopSignal};
use crate::proxy::DrainConfig;
use crate::telemetry::log_queue;
use crate::telemetry::metrics::Metrics;

use super::Ending;
use super::handover::UpgradeError;
use super::signals::Signals;
use super::supervisor;
use super::workers::Workers;

/// Exit status of a process that is told to stop a second time.
const CUT_STATUS: i32 = 3;

/// Why the process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It was told to stop.
    Stopped,
    /// The process with this id accepts in its place.
    TakenOver(u32),
}

/// What stops.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) stop: Arc<StopSignal>,
    pub(super) admin_stop: StopSignal,
    pub(super) workers: Workers,
    pub(super) drain: DrainConfig,
    pub(super) metrics: Arc<Metrics>,
}

/// Stops; a second signal ends the process at once.
pub(super) async fn stop(leave: Leave, stopping: Stopping, signals: &mut Signals) -> Ending {
    let metrics = Arc::clone(&stopping.metrics);
    let ending = async {
        match leave {
            Leave::Stopped => stopping.in_order().await,
            Leave::TakenOver(pid) => stopping.after_handover(pid).await,
        }
    };
    tokio::select! {
        ending = ending => ending,
        () = told_to_cut(leave, signals, &metrics) => {
            tracing::warn!("told to stop while stopping; what was begun is cut");
            log_queue::flush();
            std::process::exit(CUT_STATUS)
        }
    }
}

/// Completes when the process is told to stop although it stops. One that another has taken over from was not told yet: a
/// supervisor that stops the service tells all of its processes, and this one finishes what it has begun.
async fn told_to_cut(leave: Leave, signals: &mut Signals, metrics: &Metrics) {
    let mut told_before = leave == Leave::Stopped;
    loop {
        tokio::select! {
            () = signals.stops.next() => {
                if told_before {
                    return;
                }
                tracing::info!("told to stop; draining already");
                told_before = true;
            }
            Some(()) = signals.upgrade.recv() => UpgradeError::Stopping.record(metrics),
        }
    }
}

impl Stopping {
    async fn in_order(self) -> Ending {
        let [delay_s, timeout_s] = [self.drain.delay, self.drain.timeout].map(|duration| duration.as_secs_f64());
        tracing::info!(delay_s, timeout_s, "stopping");
        supervisor::stopping();
        self.stop.advance(Phase::Leaving);
        tokio::time::sleep(self.drain.delay).await;
        self.finish().await
    }

    /// Nobody has to notice that this process leaves: its addresses are served on, so there is no delay, and whoever asks
    /// the admin endpoint is answered by the process that has taken over.
    async fn after_handover(self, pid: u32) -> Ending {
        let timeout_s = self.drain.timeout.as_secs_f64();
        self.admin_stop.advance(Phase::Cut);
        supervisor::taken_over_by(pid);
        tracing::info!(pid, timeout_s, "another process has taken over; finishing what was begun");
        self.finish().await
    }

    async fn finish(mut self) -> Ending {
        self.stop.advance(Phase::Draining);
        if tokio::time::timeout(self.drain.timeout, self.workers.all_ended()).await.is_err() {
            tracing::warn!("the time for the stop has passed; what is still open is cut, upgraded connections too");
            self.stop.advance(Phase::Cut);
            self.workers.all_ended().await;
        }
        let cut = self.workers.cut();
        self.stop.advance(Phase::Cut);
        self.admin_stop.advance(Phase::Cut);
        tracing::info!(cut, "stopped");
        if cut == 0 { Ending::Finished } else { Ending::Cut }
    }
}
