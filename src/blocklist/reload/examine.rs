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
use crate::blocklist::guard::{Candidate, Guarded, guard};
use crate::blocklist::index::IndexSource;
use crate::blocklist::parsed::ParsedSource;
use crate::blocklist::source;
use crate::blocklist::source::difference::PatternSet;
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
    pub(super) added: usize,
    pub(super) removed: usize,
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
        match (self.examine_file(source), self.trigger) {
            (Step::Refused(refused), Trigger::Start) if source.in_force.is_none() => {
                self.fall_back_to_state(source, refused)
            }
            (step, _) => step,
        }
    }

    fn examine_file(&self, source: &SourceState) -> Step {
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
        let parsed = source::parse(&source.config, &source.config.path, &file.bytes);
        // A start tells everything that is wrong in one run.
        let ids = if self.trigger == Trigger::Start { parsed.record_places.clone() } else { Vec::new() };
        let names_before = if may_shrink { 0 } else { self.names_before(source, file.sha256) };
        match self.guard(source, parsed, &file.bytes, names_before) {
            Err(findings) => {
                let (findings, ids) = (findings.into(), ids.into());
                Step::Refused(Refused { key: Some(key), findings, by_another_source: false, ids })
            }
            Ok(guarded) => Step::Ready(Box::new(self.ready(source, guarded, key, Some(file.bytes)))),
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

    fn guard(
        &self,
        source: &SourceState,
        parsed: ParsedSource,
        bytes: &[u8],
        names_before: usize,
    ) -> Result<Guarded, Vec<Finding>> {
        let SourceConfig { name, path, content, .. } = &source.config;
        guard(Candidate { source: name, content, file: path, bytes, parsed, names_before }, self.config)
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
            Ok(kept) if Sha256::of(&kept) != on_disk => {
                self.parse_kept(source, &kept).map_or(0, |guarded| guarded.patterns.len())
            }
            _ => 0,
        }
    }

    /// A copy was in force once: it may be as small as it is.
    fn parse_kept(&self, source: &SourceState, bytes: &[u8]) -> Result<Guarded, Vec<Finding>> {
        self.guard(source, source::parse(&source.config, &source.config.path, bytes), bytes, 0)
    }

    fn ready(&self, source: &SourceState, guarded: Guarded, key: Key, bytes: Option<Vec<u8>>) -> Ready {
        let before = source.in_force.as_ref();
        let before = before.map(|content| PatternSet::of(&content.content.parsed.names)).unwrap_or_default();
        let (added, removed) = before.added_and_removed(&guarded.patterns);
        let from_state = bytes.is_none();
        let in_force = InForce {
            key,
            names: guarded.patterns.len(),
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
        Ready { in_force, bytes, added, removed, refused: None }
    }

    /// The copy of a source whose file is no good.
    fn fall_back_to_state(&self, source: &SourceState, mut refused: Refused) -> Step {
        let Some(state) = self.state else { return Step::Refused(refused) };
        let loaded = state.load(KIND, &source.config.name, FILE_BYTES).map_err(|error| error.to_string());
        let loaded = loaded.and_then(|bytes| {
            let key = Key::new(Sha256::of(&bytes), &source.config, self.config);
            let guarded = self.parse_kept(source, &bytes);
            let guarded = guarded.map_err(|findings| findings.first().map(ToString::to_string).unwrap_or_default())?;
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

/// A refusal of what could not be read: it may be good the next time.
fn refused(findings: Vec<Finding>) -> Step {
    Step::Refused(Refused { key: None, findings: findings.into(), by_another_source: false, ids: Arc::default() })
}
