//! What is known about the sources and their reloads, for the admin endpoint, the metrics and `check`.
//!
//! Inside: the values. Kept out: how they are shown, and how they come about.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::guard::DroppedLines;
pub use super::source::remote::{FetchResult, RemoteStatus};
use crate::finding::Finding;
use crate::whole_file::Sha256;

/// The sources, and how their reloads went.
#[derive(Debug, Clone, Default)]
pub struct BlocklistStatus {
    /// The generation that this is the status of.
    pub generation: u64,
    /// In the order of the configuration.
    pub sources: Vec<SourceStatus>,
    /// The last reload that did or refused something, or that somebody asked for.
    pub last_reload: Option<LastReload>,
    /// `sluis_blocklist_reloads_total`, by result.
    pub reloads: ReloadCounts,
    /// When a decision starts or ends by itself next.
    pub next_change: Option<Timestamp>,
    /// Generations that are not in force any more and that somebody still reads: their memory is not free yet.
    pub retired_indexes: usize,
}

/// One source.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    /// The name in configuration and metrics.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// `decisions`, `domains`, ...
    pub format: &'static str,
    /// Distinct blocking patterns in force.
    pub names: usize,
    /// Decisions in it.
    pub decisions: usize,
    /// Of the bytes in force.
    pub sha256: Option<Sha256>,
    /// When what is in force was loaded.
    pub loaded_at: Option<Timestamp>,
    /// When what is on disk was last found to be what is in force.
    pub last_success: Option<Timestamp>,
    /// Whether it came from the state directory, because what is on disk did not load.
    pub from_state: bool,
    /// Why what is on disk is not what is in force; empty where it is.
    pub errors: Arc<[Finding]>,
    /// What is odd about what is in force.
    pub warnings: Arc<[Finding]>,
    /// Lines that do nothing, by reason.
    pub dropped: Arc<[DroppedLines]>,
    /// How its fetches went; none where the list is a file of the operator's.
    pub remote: Option<RemoteStatus>,
}

impl SourceStatus {
    /// Adds what is known of its fetches to what is known of its file.
    pub(super) fn add_fetches(&mut self, remote: RemoteStatus) {
        let sha256 = self.sha256.map(|hash| hash.to_string());
        // What the file says of itself is that it is what is in force. What counts here is when the server last did.
        self.last_success = match remote.confirmed.iter().find(|(confirmed, _)| Some(confirmed) == sha256.as_ref()) {
            Some((_, at)) => Some(*at),
            None if remote.confirmed.is_empty() => None,
            None => self.last_success,
        };
        if let Some(failure) = &remote.failure {
            self.errors = std::iter::once(failure).chain(&*self.errors).cloned().collect();
        }
        self.remote = Some(remote);
    }

    /// The first error, as text with its place.
    pub fn error(&self) -> Option<String> {
        self.errors.first().map(|finding| {
            let place = finding.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
            format!("{place}{}", finding.message)
        })
    }
}

/// How a reload went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When it was done.
    pub at: Timestamp,
    /// Whether everything on disk is in force.
    pub ok: bool,
    /// What set it off.
    pub trigger: Trigger,
    /// Names that came.
    pub added: usize,
    /// Names that went.
    pub removed: usize,
    /// The first error.
    pub error: Option<String>,
}

/// What sets off a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The program starts.
    Start,
    /// A file changed, by its events.
    Event,
    /// A file changed, by the poll where there are no events.
    Poll,
    /// The signal HUP.
    Hangup,
    /// The admin endpoint.
    Api,
    /// A decision started or ended.
    Time,
}

impl Trigger {
    /// The name in the log and in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Event => "event",
            Self::Poll => "poll",
            Self::Hangup => "hup",
            Self::Api => "api",
            Self::Time => "time",
        }
    }

    /// Whether somebody waits for the answer.
    pub const fn is_asked_for(self) -> bool {
        matches!(self, Self::Start | Self::Hangup | Self::Api)
    }
}

/// How many reloads ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Something new is in force.
    pub applied: u64,
    /// Nothing had changed.
    pub unchanged: u64,
    /// Something was refused; its last good content stayed.
    pub refused: u64,
}
