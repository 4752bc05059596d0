//! The stop, in its order: not ready, no longer accepting, finishing what was begun, the end.
//!
//! Inside: the times between the phases. Kept out: what the parts do in each phase.

use std::sync::Arc;

use crate::drain::{Phase, StopSignal};
use crate::proxy::DrainConfig;
use crate::telemetry::log_queue;

use super::workers::Workers;
use super::{Ending, StopSignals};

/// Exit status of a process that is told to stop a second time.
const CUT_STATUS: i32 = 3;

/// Stops; a second signal ends the process at once.
pub(super) async fn stop(
    stop: &Arc<StopSignal>,
    signals: &mut StopSignals,
    workers: Workers,
    config: DrainConfig,
) -> Ending {
    let [delay_s, timeout_s] = [config.delay, config.timeout].map(|duration| duration.as_secs_f64());
    tracing::info!(delay_s, timeout_s, "stopping");
    tokio::select! {
        ending = in_order(stop, workers, config) => ending,
        () = signals.next() => {
            tracing::warn!("told to stop a second time; what was begun is cut");
            log_queue::flush();
            std::process::exit(CUT_STATUS)
        }
    }
}

async fn in_order(stop: &Arc<StopSignal>, mut workers: Workers, config: DrainConfig) -> Ending {
    stop.advance(Phase::Leaving);
    tokio::time::sleep(config.delay).await;
    stop.advance(Phase::Draining);
    if tokio::time::timeout(config.timeout, workers.all_ended()).await.is_err() {
        tracing::warn!("the time for the stop has passed; what is still open is cut, upgraded connections too");
        stop.advance(Phase::Cut);
        workers.all_ended().await;
    }
    let cut = workers.cut();
    stop.advance(Phase::Cut);
    tracing::info!(cut, "stopped");
    if cut == 0 { Ending::Finished } else { Ending::Cut }
}
