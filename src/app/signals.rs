//! What the process is told by signals.
//!
//! Inside: taking them. HUP and USR2 as the first thing that the process does: what is sent during the start is neither lost
//! nor the end of the process. TERM and INT when the configuration was read: before that, nothing was begun, and they end a
//! process that waits for a file that does not come. Kept out: what each of them sets off (`mod.rs`, `stop.rs`).

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{StartError, failed};

/// The signals that are taken first.
#[derive(Debug)]
pub(super) struct EarlySignals {
    hangup: Signal,
    upgrade: Signal,
}

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

impl EarlySignals {
    /// Takes them. Needs the runtime whose context this is.
    pub(super) fn take() -> Result<Self, StartError> {
        // Once it is taken, a copy that is larger than files may be (RLIMIT_FSIZE) is an error like a full disk, and not
        // the end of the process.
        let _ = take(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        Ok(Self { hangup: take(SignalKind::hangup())?, upgrade: take(SignalKind::user_defined2())? })
    }

    /// Takes the others, too. Needs the runtime whose context this is.
    pub(super) fn and_stops(self) -> Result<Signals, StartError> {
        let Self { hangup, upgrade } = self;
        Ok(Signals { hangup, upgrade, stops: StopSignals::take()? })
    }
}

fn take(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|error| failed(format!("signals cannot be received: {error}")))
}

impl StopSignals {
    fn take() -> Result<Self, StartError> {
        Ok(Self { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    /// The next TERM or INT.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
