//! What a supervisor is told, by the protocol of systemd's `sd_notify`.
//!
//! Inside: one function for each thing that is told. Kept out: when. Without `NOTIFY_SOCKET` nothing is told to anyone.

use sd_notify::NotifyState;

/// Everything accepts.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Everything is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "there is no monotonic clock"),
    }
}

/// The process drains, and ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service from now on. This one tells it, since systemd listens to the main process only.
pub(super) fn taken_over_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}
