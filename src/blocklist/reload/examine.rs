//! One source, from its file to content that may come into force.
//!
//! Inside: read, compare, parse, guard, and the copy in the state directory where the file is no good at start. Kept
//! out: everything that looks at more than one source (`pass.rs`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::state::{InForce, Key, Refused, SourceState};
use crate::blocklist::config::{Config, SourceConfig, SourceContent};
use crate::blocklist::format::FeedInput;
use crate::blocklist::guard::{Candidate, Guarded, guard};
use crate::blocklist::index::IndexSource;
use crate::blocklist::memory::{self, Task};
use crate::blocklist::parsed::Chunk;
use crate::blocklist::source;
use crate::blocklist::source::file::{FILE_BYTES, FileError};
use crate::blocklist::status::Trigger;
use crate::finding::{Finding, Place};
use crate::kept_copy::StateDirectory;
use crate::whole_file::{Sha256, WholeFile};

/// The kind of the copies in the state directory.
pub(super) const KIND: &str = "source";

/// How often, and how long apart, a file is read that changes while it is: where somebody waits for the answer, so
/// that a rename in the wrong moment does not fail a start.
const READ_ATTEMPTS: u32 = 20;
const READ_PAUSE: Duration = Duration::from_millis(50);

/// What there is to do about a source.
#[derive(Debug)]
pub(super) enum Step {
    /// Its file is being written: look again when it has come to rest.
    Changing,
    /// What is on disk is what is in force.
    Confirmed,
    /// What is on disk was refused before.
    RefusedBefore,
    /// What is on disk is refused.
    Refused(Refused),
    /// What is on disk may come into force.
    Ready(Box<Ready>),
}

/// Content that may come into force.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) in_force: InForce,
    /// What the state directory is to keep; none where it came from there.
    pub(super) bytes: Option<Vec<u8>>,
    /// How many names the source had that must not lose too many at once; 0 where it may.
    pub(super) names_before: usize,
    /// Why it came from the state directory, where it did.
    pub(super) refused: Option<Refused>,
}

/// How sources are examined in one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Examiner<'c> {
    pub(super) config: &'c Config,
    pub(super) trigger: Trigger,
    pub(super) now: Timestamp,
    /// The sources that may shrink this time.
    pub(super) allow_shrink: &'c [String],
    /// Where copies are taken from, at start.
    pub(super) state: Option<&'c StateDirectory>,
}

impl Examiner<'_> {
    /// Looks at one source.
    pub(super) fn examine(&self, source: &SourceState) -> Step {
        match self.examine_file(source) {
            Step::Refused(refused) => self.instead_of(source, refused),
            step => step,
        }
    }

    /// What there is to do about a source whose file is refused: at a start, its copy may be good.
    pub(super) fn instead_of(&self, source: &SourceState, refused: Refused) -> Step {
        if self.trigger == Trigger::Start && source.in_force.is_none() {
            self.fall_back_to_state(source, refused)
        } else {
            Step::Refused(refused)
        }
    }

    fn examine_file(&self, source: &SourceState) -> Step {
        if source::remote::has_list_of_another_url(&source.config) {
            // Read under this configuration, it would block hosts for reasons that nobody has given.
            let message =
                "the file is the list of another url; that of this one comes into force when its server has sent it";
            return refused(vec![Finding::error(Place::file(&source.config.path), message)]);
        }
        // What cannot be looked at, or is too large anyway, is told by reading it.
        let size = std::fs::metadata(&source.config.path).map_or(0, |metadata| metadata.len());
        if let Some(message) = memory::refuse(Task::Bytes(size)).filter(|_| size <= FILE_BYTES) {
            return refused(vec![Finding::error(Place::file(&source.config.path), message)]);
        }
        let file = match self.read(&source.config.path) {
            Ok(file) => file,
            Err(FileError::Changing) if self.trigger.is_asked_for() => {
                let message = "the file changes while it is read; write to a temporary file and rename it";
                return refused(vec![Finding::error(Place::file(&source.config.path), message)]);
            }
            Err(FileError::Changing) => return Step::Changing,
            Err(FileError::Refused(finding)) => return refused(vec![finding]),
        };
        let key = Key::new(file.sha256, &source.config, self.config);
        let may_shrink = self.allow_shrink.contains(&source.config.name);
        if source.in_force.as_ref().is_some_and(|content| content.key == key) {
            return Step::Confirmed;
        }
        if !may_shrink && source.refused.as_ref().is_some_and(|refused| refused.key == Some(key)) {
            return Step::RefusedBefore;
        }
        let names_before = if may_shrink { 0 } else { self.names_before(source, file.sha256) };
        match self.parse(source, key, &file.bytes) {
            Err(refused) => Step::Refused(refused),
            Ok(guarded) => {
                let ready = self.ready(source, guarded, key, Some(file.bytes));
                Step::Ready(Box::new(Ready { names_before, ..ready }))
            }
        }
    }

    fn read(&self, path: &Path) -> Result<WholeFile, FileError> {
        let mut attempts = if self.trigger.is_asked_for() { READ_ATTEMPTS } else { 1 };
        loop {
            let result = source::file::read(path);
            attempts -= 1;
            if attempts == 0 || !matches!(result, Err(FileError::Changing)) {
                return result;
            }
            std::thread::sleep(READ_PAUSE);
        }
    }

    /// Reads what the bytes say, as far as they differ from what is in force, and asks the guards.
    fn parse(&self, source: &SourceState, key: Key, bytes: &[u8]) -> Result<Guarded, Refused> {
        let SourceConfig { path: file, content, .. } = &source.config;
        let refusal = |key, findings: Vec<Finding>, ids| Refused {
            key,
            findings: findings.into(),
            by_another_source: false,
            ids,
        };
        let weigh = |bytes| memory::refuse(task(&source.config, bytes));
        let list = source::compression::decompressed(file, bytes, weigh)
            .map_err(|not| refusal((!not.may_do_later).then_some(key), vec![not.finding], Arc::default()))?;
        if let Some(message) = weigh(list.len()) {
            // There may be room the next time.
            return Err(refusal(None, vec![Finding::error(Place::file(file), message)], Arc::default()));
        }
        let in_force = source.in_force.as_ref().filter(|in_force| in_force.key.settings == key.settings);
        let known: &[Arc<Chunk>] = in_force.map_or(&[], |in_force| &in_force.content.parsed.chunks);
        let input = FeedInput { file, known, never_block: Some(&self.config.never_block) };
        let parsed = source::parse(&source.config, input, &list);
        // A start tells everything that is wrong in one run.
        let ids = if self.trigger == Trigger::Start { parsed.record_places.clone() } else { Vec::new() };
        let guarded = guard(Candidate { content, file, bytes: &list, parsed }, self.config);
        guarded.map_err(|findings| refusal(Some(key), findings, ids.into()))
    }

    /// How many names a source has that must not lose too many at once: those in force or, at a start, those of the copy
    /// that was kept of another list. A feed that was cut off while nobody ran is as doubtful as one that is cut off now.
    fn names_before(&self, source: &SourceState, on_disk: Sha256) -> usize {
        if let Some(content) = &source.in_force {
            return content.names;
        }
        let Some(state) = self.state.filter(|_| matches!(source.config.content, SourceContent::Feed { .. })) else {
            return 0;
        };
        match state.load(KIND, &source.config.name, FILE_BYTES) {
            Ok(kept) => match Sha256::of(&kept) {
                sha256 if sha256 == on_disk => 0,
                sha256 => {
                    let guarded = self.parse(source, Key::new(sha256, &source.config, self.config), &kept);
                    guarded.map_or(0, |guarded| guarded.parsed.names.distinct())
                }
            },
            Err(_) => 0,
        }
    }

    fn ready(&self, source: &SourceState, guarded: Guarded, key: Key, bytes: Option<Vec<u8>>) -> Ready {
        let from_state = bytes.is_none();
        let in_force = InForce {
            key,
            // Until the index has counted the distinct ones.
            names: guarded.parsed.names.len(),
            content: Arc::new(IndexSource {
                name: source.config.name.clone(),
                is_feed: matches!(source.config.content, SourceContent::Feed { .. }),
                parsed: Arc::new(guarded.parsed),
            }),
            loaded_at: self.now,
            last_success: (!from_state).then_some(self.now),
            from_state,
            warnings: guarded.warnings.into(),
            dropped: guarded.dropped.into(),
        };
        Ready { in_force, bytes, names_before: 0, refused: None }
    }

    /// The copy of a source whose file is no good.
    fn fall_back_to_state(&self, source: &SourceState, mut refused: Refused) -> Step {
        let Some(state) = self.state else { return Step::Refused(refused) };
        let loaded = state.load(KIND, &source.config.name, FILE_BYTES).map_err(|error| error.to_string());
        let loaded = loaded.and_then(|bytes| {
            let key = Key::new(Sha256::of(&bytes), &source.config, self.config);
            // It was in force once: it may be as small as it is.
            let guarded = self.parse(source, key, &bytes);
            let first = |refused: Refused| refused.findings.first().map(ToString::to_string).unwrap_or_default();
            let guarded = guarded.map_err(first)?;
            Ok(self.ready(source, guarded, key, None))
        });
        match loaded {
            Ok(ready) => {
                tracing::warn!(source = source.config.name, "source taken from the state directory");
                Step::Ready(Box::new(Ready { refused: Some(refused), ..ready }))
            }
            Err(error) => {
                let message = format!("there is nothing to start from instead: {error}");
                let place = Place::file(state.path());
                refused.findings = refused.findings.iter().cloned().chain([Finding::error(place, message)]).collect();
                Step::Refused(refused)
            }
        }
    }
}

/// What reading a source of this many bytes is.
fn task(source: &SourceConfig, bytes: usize) -> Task {
    match source.content {
        SourceContent::Decisions => Task::Records(bytes),
        SourceContent::Feed { .. } => Task::Feed(bytes),
    }
}

/// A refusal of what could not be read: it may be good the next time.
fn refused(findings: Vec<Finding>) -> Step {
    Step::Refused(Refused { key: None, findings: findings.into(), by_another_source: false, ids: Arc::default() })
}
