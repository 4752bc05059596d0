//! Following one list: the first fetch at once, then one every `refresh`, after failures ever less often, and whenever
//! somebody asks.
//!
//! Inside: the loop, and what a fetch leaves behind: the list on disk, the status, a line in the log. Kept out: the fetch
//! itself (`fetch.rs`), and putting the list in force, which the reload does with the file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::fetch::{Answer, Patience, Refusal, fetch};
use super::kept::{Kept, Note, Validators};
use super::schedule;
use super::status::{FetchResult, RemoteStatus};
use crate::blocklist::config::RemoteConfig;
use crate::finding::{Finding, Place};

/// Lists whose last confirmation is remembered: the one in force may be older than what was fetched since and refused.
const CONFIRMED: usize = 8;

/// How a fetch ended, for whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::blocklist) enum Outcome {
    /// Another list is on disk.
    New,
    /// The list on disk is still it.
    Unchanged,
    /// Nothing changed, because of this.
    Failed(Finding),
}

/// Somebody who wants a fetch that begins after the question, and waits for its outcome.
pub(super) type Asked = oneshot::Sender<Outcome>;

/// The status of one list, shared with whoever shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedStatus(Arc<Mutex<RemoteStatus>>);

impl SharedStatus {
    /// The status now. Never held across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, RemoteStatus> {
        // Whoever panicked with it has left every field whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows one list.
#[derive(Debug)]
pub(super) struct Follower {
    source: String,
    remote: RemoteConfig,
    kept: Kept,
    status: SharedStatus,
    asked: mpsc::UnboundedReceiver<Asked>,
    /// Failures in a row, and the last one.
    failures: u32,
    last_failure: Option<Failure>,
}

impl Follower {
    /// For a source. What is known of the list on disk is in `status` from now on.
    pub(super) fn new(
        source: &str,
        remote: RemoteConfig,
        mut kept: Kept,
        status: SharedStatus,
        asked: mpsc::UnboundedReceiver<Asked>,
    ) -> Self {
        {
            let mut status = status.lock();
            status.url = remote.shown_url();
            status.failure = None;
            if let Some(note) = kept.note() {
                status.fetched_at = Some(note.fetched_at);
                status.checked_at = Some(note.checked_at);
                confirm(&mut status, &note);
            }
        }
        Self { source: source.to_owned(), remote, kept, status, asked, failures: 0, last_failure: None }
    }

    /// Fetches until nobody can ask any more.
    pub(super) async fn run(mut self) {
        let mut waiting: Vec<Asked> = Vec::new();
        loop {
            // Whoever asks while a fetch is under way waits for the next: this one may have seen what was before.
            while let Ok(asked) = self.asked.try_recv() {
                waiting.push(asked);
            }
            let (outcome, pause) = self.fetch().await;
            for asked in waiting.drain(..) {
                // Whoever asked may have left.
                let _ = asked.send(outcome.clone());
            }
            tokio::select! {
                asked = self.asked.recv() => match asked {
                    Some(asked) => waiting.push(asked),
                    None => return,
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Fetches once; the outcome, and the pause before the next.
    async fn fetch(&mut self) -> (Outcome, Duration) {
        let note = self.kept.note().filter(|note| note.url == self.remote.url.as_str());
        let known = note.as_ref().map(|note| &note.validators);
        let known = known.filter(|known| known.etag.is_some() || known.last_modified.is_some());
        let answer = fetch(&self.remote, &self.kept, known, Patience::default()).await;
        let taken = answer.and_then(|answer| Ok(self.take(answer, note, Timestamp::now())?));
        match taken {
            Ok(outcome) => (outcome, self.succeeded()),
            Err(refusal) => self.failed(refusal),
        }
    }

    fn take(&mut self, answer: Answer, known: Option<Note>, now: Timestamp) -> Result<Outcome, Failure> {
        let not_kept = |error: std::io::Error| Failure::NotKept(error.to_string());
        let (is_new, note) = match (answer, known) {
            (Answer::List(incoming, validators), _) => {
                let note = self.note(incoming.sha256(), validators, now);
                (self.kept.keep(incoming, &note).map_err(not_kept)?, note)
            }
            (Answer::NotModified, Some(known)) => {
                let note = Note { checked_at: now, ..known };
                self.kept.write_note(&note).map_err(not_kept)?;
                (false, note)
            }
            (Answer::NotModified, None) => return Err(Failure::UnaskedNotModified),
        };
        let mut status = self.status.lock();
        if is_new || status.fetched_at.is_none() {
            status.fetched_at = Some(note.fetched_at);
        }
        status.checked_at = Some(now);
        confirm(&mut status, &note);
        let (result, outcome) =
            if is_new { (FetchResult::New, Outcome::New) } else { (FetchResult::Unchanged, Outcome::Unchanged) };
        count(&mut status, result);
        Ok(outcome)
    }

    fn note(&self, sha256: String, validators: Validators, now: Timestamp) -> Note {
        Note { url: self.remote.url.to_string(), sha256, validators, fetched_at: now, checked_at: now }
    }

    fn succeeded(&mut self) -> Duration {
        if self.last_failure.take().is_some() {
            tracing::info!(source = self.source, url = self.remote.shown_url(), "list can be fetched again");
        }
        self.failures = 0;
        self.status.lock().failure = None;
        schedule::after_success(self.remote.refresh, fastrand::f64())
    }

    fn failed(&mut self, refusal: Refusal) -> (Outcome, Duration) {
        let Refusal { failure, retry_after } = refusal;
        let finding = Finding::error(Place::file(self.remote.shown_url()), format!("cannot fetch the list: {failure}"));
        // Said once for each cause, and shown as long as it lasts.
        if !self.last_failure.as_ref().is_some_and(|last| last.same_cause(&failure)) {
            tracing::error!(source = self.source, "source stays as it is: {}", finding.log_line());
        }
        {
            let mut status = self.status.lock();
            count(&mut status, failure.result());
            status.failure = Some(finding.clone());
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(failure);
        let pause = schedule::after_failure(self.remote.refresh, self.failures, retry_after, fastrand::f64());
        (Outcome::Failed(finding), pause)
    }
}

fn count(status: &mut RemoteStatus, result: FetchResult) {
    if let Some(count) = status.fetches.get_mut(result.index()) {
        *count += 1;
    }
}

/// Remembers when the server last stood by a list.
fn confirm(status: &mut RemoteStatus, note: &Note) {
    status.confirmed.retain(|(sha256, _)| *sha256 != note.sha256);
    if status.confirmed.len() >= CONFIRMED {
        status.confirmed.remove(0);
    }
    status.confirmed.push((note.sha256.clone(), note.checked_at));
}
