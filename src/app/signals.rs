//! What the process is told by signals.
//!
//! Inside: taking them, as the first thing that the process does: what is sent during the start is neither lost nor the
//! end of the process. Kept out: what each of them sets off (`mod.rs`, `stop.rs`).

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{StartError, failed};

/// Every signal that means something.
#[derive(Debug)]
pub(super) struct Signals {
    /// Read everything again.
    pub(super) hangup: Signal,
    /// Start the program file anew and hand over to it.
    pub(super) upgrade: Signal,
    /// Stop.
    pub(super) stops: StopSignals,
}

/// TERM and INT.
#[derive(Debug)]
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes them. Needs the runtime whose context this is.
    pub(super) fn take() -> Result<Self, StartError> {
        let take = |kind| signal(kind).map_err(|error| failed(format!("signals cannot be received: {error}")));
        // Once it is taken, a copy that is larger than files may be (RLIMIT_FSIZE) is an error like a full disk, and not
        // the end of the process.
        let _ = take(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        Ok(Self {
            hangup: take(SignalKind::hangup())?,
            upgrade: take(SignalKind::user_defined2())?,
            stops: StopSignals { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? },
        })
    }
}

impl StopSignals {
    /// The next TERM or INT.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
