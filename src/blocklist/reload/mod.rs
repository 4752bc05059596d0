//! The only place that publishes an index: what is on disk comes into force, source by source, or stays out with its
//! reason.
//!
//! Inside: the thread that follows the files, the handle that asks it, publishing, and letting the old index go. Kept
//! out: what becomes of one source (`examine.rs`) and of all together (`pass.rs`).
//!
//! Everything happens on one thread of its own, so that no build, no read and no freeing of a large index is ever on a
//! worker, or keeps the admin endpoint waiting.

mod state;
mod examine;
mod pass;
mod merge;
mod telling;
mod check;
mod handle;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use check::{Checked, check};
pub use handle::{ReloadHandle, ReloadReport, Started, fetch_and_start, start};

use self::examine::Examiner;
use self::handle::Command;
use self::merge::{Merge, Merged};
use self::pass::{Base, Pass};
use self::state::SourceState;
use super::config::Config;
use super::index::Index;
use super::memory;
use super::status::{BlocklistStatus, LastReload, ReloadCounts, Trigger};
use super::store::{Blocklist, Snapshot, SnapshotMaker};
use crate::background::behind_all_others;
use crate::file_watch::{FileWatch, Target};
use crate::finding::Finding;
use crate::kept_copy::StateDirectory;
use crate::live::{Live, Published};
use crate::telemetry::counter::{Histogram, WorkerId};

/// A decision that starts or ends does so within this time, even where the clock was set meanwhile.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// How often an old index is asked whether anyone still reads it.
const RETIRE_INTERVAL: Duration = Duration::from_millis(20);

/// A reload that has more to read than this goes behind everything else. Below it takes some milliseconds.
const LONG_BYTES: u64 = 1 << 20;

/// The histogram of reload durations has one writer: the reload thread.
const RELOAD_THREAD: WorkerId = WorkerId(0);

/// Follows the sources. There is one; it publishes every index.
#[derive(Debug)]
struct Reloader {
    config: Config,
    sources: Vec<SourceState>,
    state: Option<StateDirectory>,
    watch: FileWatch,
    snapshots: SnapshotMaker,
    index: Arc<Index>,
    blocklist: Blocklist,
    /// The index in force without its delta, at some time.
    merge: Merge,
    /// Old generations that somebody may still read.
    retired: Vec<Arc<Published<Snapshot>>>,
    next_change: Option<Timestamp>,
    counts: ReloadCounts,
    last_reload: Option<LastReload>,
    shared: Arc<Shared>,
}

/// What the handles see without asking the thread.
#[derive(Debug)]
struct Shared {
    status: Live<BlocklistStatus>,
    durations: Histogram,
}

fn new_sources(config: &Config, before: &[SourceState]) -> Vec<SourceState> {
    let sources = config.sources.iter().map(|source| {
        let known = before.iter().find(|state| state.config.name == source.name).cloned();
        SourceState { config: source.clone(), ..known.unwrap_or_else(|| SourceState::new(source.clone())) }
    });
    sources.collect()
}

fn watch(config: &Config) -> FileWatch {
    let targets = config.sources.iter().map(|source| Target::File(source.path.clone())).collect();
    FileWatch::new(targets, config.settle, config.poll)
}

/// A pass that panics is a pass that is refused: the index in force stays, and the thread lives on.
fn guarded_pass(
    examiner: Examiner<'_>,
    sources: &[SourceState],
    wanted: impl Fn(usize) -> bool + Send,
    in_force: Option<&Index>,
    rebuild: bool,
) -> Result<Pass, Finding> {
    let base = Base { in_force, rebuild, seed: fastrand::u64(..) };
    let (trigger, bytes) = (examiner.trigger, bytes_of(sources, &wanted));
    guarded(trigger, bytes, || pass::run(examiner, sources, wanted, base)).ok_or_else(|| {
        Finding::without_place("the reload broke off; what is in force stays in force. Please report this")
    })
}

/// Does what there is to do about so many bytes, behind all others where that is long and others wait: at the start nobody does.
/// None: it panicked.
fn guarded<T: Send>(trigger: Trigger, bytes: u64, work: impl FnOnce() -> T + Send) -> Option<T> {
    if trigger != Trigger::Start && bytes >= LONG_BYTES {
        behind_all_others(work)
    } else {
        catch_unwind(AssertUnwindSafe(work)).ok()
    }
}

/// How much there is to read, as far as can be told before.
fn bytes_of(sources: &[SourceState], wanted: impl Fn(usize) -> bool) -> u64 {
    let wanted = sources.iter().enumerate().filter(|(index, _)| wanted(*index));
    wanted.filter_map(|(_, source)| Some(fs::metadata(&source.config.path).ok()?.len())).sum()
}

impl Reloader {
    /// Loads every source for the first time.
    fn load(config: Config, workers: usize) -> Result<Self, Vec<Finding>> {
        let (began, now) = (Instant::now(), Timestamp::now());
        // Watched before it is read: a change in between is seen.
        let watch = watch(&config);
        let state = config.state_directory.as_ref().map(StateDirectory::new);
        let trigger = Trigger::Start;
        let examiner = Examiner { config: &config, trigger, now, allow_shrink: &[], state: state.as_ref() };
        let sources = new_sources(&config, &[]);
        let mut pass = guarded_pass(examiner, &sources, |_| true, None, true).map_err(|finding| vec![finding])?;
        let missing = pass.sources.iter().filter(|source| source.in_force.is_none());
        let missing: Vec<Finding> = missing.flat_map(errors_of).chain(pass.unbuilt.take()).collect();
        let Some(index) = pass.index.take().filter(|_| missing.is_empty()) else { return Err(missing) };
        let mut snapshots = SnapshotMaker::new(workers);
        let blocklist = Blocklist::new(snapshots.make(Arc::clone(&index)));
        let shared = Shared { status: Live::new(BlocklistStatus::default()), durations: Histogram::new(1) };
        let mut reloader = Self {
            next_change: index.next_change_after(now),
            config,
            sources: Vec::new(),
            state,
            watch,
            snapshots,
            index,
            blocklist,
            merge: Merge::default(),
            retired: Vec::new(),
            counts: ReloadCounts::default(),
            last_reload: None,
            shared: Arc::new(shared),
        };
        reloader.conclude(pass, trigger, began, 0);
        Ok(reloader)
    }

    /// Follows the files, the clock and the handles until the last handle is gone.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let clock = self.next_change.map_or(CLOCK_CHECK, |next| time_until(next).min(CLOCK_CHECK));
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some(first) => self.obey(first, &mut commands),
                },
                changed = self.watch.changed() => {
                    let trigger = if self.watch.has_events() { Trigger::Event } else { Trigger::Poll };
                    let changed: BTreeSet<usize> = changed.into_iter().collect();
                    self.reload(trigger, &[], |index| changed.contains(&index));
                }
                () = tokio::time::sleep(clock) => self.follow_the_clock(Timestamp::now()),
                merged = self.merge.merged() => self.take_merged(merged),
                () = tokio::time::sleep(RETIRE_INTERVAL), if !self.retired.is_empty() => {
                    if self.let_go() {
                        self.publish_status();
                    }
                }
            }
        }
    }

    /// One pass for all reloads that were asked for by now: each was asked for before it begins.
    fn obey(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) {
        let mut waiting = Vec::new();
        let mut allow_shrink = Vec::new();
        let mut trigger = Trigger::Api;
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Reload { trigger: asked, allow_shrink: allowed, answer } => {
                    trigger = asked;
                    allow_shrink.extend(allowed);
                    waiting.push(answer);
                    next = commands.try_recv().ok();
                }
                Command::Apply { config, answer } => {
                    // The reloads that were asked for before it are answered first.
                    if !waiting.is_empty() {
                        self.answer_all(trigger, &std::mem::take(&mut allow_shrink), std::mem::take(&mut waiting));
                    }
                    // Whoever asked may have left; what is in force stands.
                    let _ = answer.send(self.apply(*config));
                    next = commands.try_recv().ok();
                }
            }
        }
        if !waiting.is_empty() {
            self.answer_all(trigger, &allow_shrink, waiting);
        }
    }

    fn answer_all(
        &mut self,
        trigger: Trigger,
        allow_shrink: &[String],
        waiting: Vec<tokio::sync::oneshot::Sender<ReloadReport>>,
    ) {
        let mut report = self.reload(trigger, allow_shrink, |_| true);
        for name in allow_shrink {
            if !self.sources.iter().any(|source| source.config.name == *name) {
                let message = format!("allow_shrink names `{name}`, and there is no such source");
                report.failed.push((name.clone(), vec![Finding::without_place(message)]));
            }
        }
        for answer in waiting {
            let _ = answer.send(report.clone());
        }
    }

    fn reload(
        &mut self,
        trigger: Trigger,
        allow_shrink: &[String],
        wanted: impl Fn(usize) -> bool + Send,
    ) -> ReloadReport {
        let began = Instant::now();
        let examiner = Examiner { config: &self.config, trigger, now: Timestamp::now(), allow_shrink, state: None };
        let result = guarded_pass(examiner, &self.sources, wanted, Some(&self.index), false);
        self.finish(result, trigger, began, 0)
    }

    /// Takes over a new configuration, as a whole or, where a new source does not load, not at all. A source that is
    /// not in it any more is lifted.
    fn apply(&mut self, config: Config) -> Result<ReloadReport, Vec<Finding>> {
        let (began, trigger) = (Instant::now(), Trigger::Hangup);
        let watch = watch(&config);
        let sources = new_sources(&config, &self.sources);
        let names =
            |sources: &[SourceState]| sources.iter().map(|source| source.config.name.clone()).collect::<Vec<_>>();
        let rebuild = names(&sources) != names(&self.sources);
        let examiner = Examiner { config: &config, trigger, now: Timestamp::now(), allow_shrink: &[], state: None };
        let pass =
            guarded_pass(examiner, &sources, |_| true, Some(&self.index), rebuild).map_err(|finding| vec![finding])?;
        let missing: Vec<Finding> =
            pass.sources.iter().filter(|source| source.in_force.is_none()).flat_map(errors_of).collect();
        let too_large = pass.unbuilt.clone().or_else(|| self.larger_than(&config, &pass));
        if let Some(finding) = too_large {
            return Err(missing.into_iter().chain([finding]).collect());
        }
        if !missing.is_empty() || rebuild && pass.index.is_none() {
            return Err(if missing.is_empty() { pass.sources.iter().flat_map(errors_of).collect() } else { missing });
        }
        let gone =
            self.sources.iter().filter(|source| !config.sources.iter().any(|kept| kept.name == source.config.name));
        let gone: Vec<(String, usize)> = gone
            .map(|source| (source.config.name.clone(), source.in_force.as_ref().map_or(0, |content| content.names)))
            .collect();
        self.state = config.state_directory.as_ref().map(StateDirectory::new);
        (self.config, self.watch) = (config, watch);
        let report = self.finish(Ok(pass), trigger, began, gone.iter().map(|(_, names)| names).sum());
        for (source, names) in gone {
            tracing::info!(
                generation = report.generation,
                source,
                names,
                "source lifted: it is not in the configuration any more"
            );
        }
        Ok(report)
    }

    /// A limit that is set below what is in force is no limit: whoever set it is to hear of it.
    fn larger_than(&self, config: &Config, pass: &Pass) -> Option<Finding> {
        if pass.index.is_some() {
            return None;
        }
        memory::over_limit(0, self.index.memory_bytes(), config.max_memory_mib).map(Finding::without_place)
    }

    /// Puts the result of a pass in force; `lifted` names went with their source.
    fn finish(
        &mut self,
        result: Result<Pass, Finding>,
        trigger: Trigger,
        began: Instant,
        lifted: usize,
    ) -> ReloadReport {
        match result {
            Ok(mut pass) => {
                if let Some(index) = pass.index.clone() {
                    let old = Arc::clone(&self.index);
                    self.publish(index, Timestamp::now());
                    if guarded(trigger, pass.bytes_applied(), || pass.count_changes(&old)).is_none() {
                        tracing::error!("what came and went could not be counted. Please report this");
                    }
                }
                self.conclude(pass, trigger, began, lifted)
            }
            Err(finding) => {
                tracing::error!(trigger = trigger.name(), "{}", finding.log_line());
                self.counts.refused += 1;
                self.publish_status();
                let failed = vec![(String::new(), vec![finding])];
                ReloadReport {
                    generation: self.blocklist.generation(),
                    added: 0,
                    removed: 0,
                    applied: Vec::new(),
                    failed,
                }
            }
        }
    }

    fn publish(&mut self, index: Arc<Index>, now: Timestamp) {
        self.next_change = index.next_change_after(now);
        let old = self.blocklist.publish(self.snapshots.make(Arc::clone(&index)));
        self.retire(old, index);
    }

    /// Puts an index without a delta in the place of the one that it was built from, if that is still in force.
    fn take_merged(&mut self, merged: Merged) {
        if !Arc::ptr_eq(&merged.of, &self.index) {
            return;
        }
        drop(merged.of);
        match merged.index {
            Ok(index) => {
                let names: usize = index.names().sum();
                tracing::debug!(names, "changes merged into the base of the index");
                let index = Arc::new(index);
                let old = self.blocklist.renew(self.snapshots.make(Arc::clone(&index)));
                self.retire(old, index);
            }
            Err(error) => tracing::warn!(error, "changes stay beside the base of the index"),
        }
    }

    /// Keeps what was replaced until nobody reads it any more.
    fn retire(&mut self, old: Arc<Published<Snapshot>>, index: Arc<Index>) {
        self.merge.begin(&index, self.config.settle);
        self.index = index;
        self.retired.push(old);
        self.let_go();
    }

    /// After publishing: logs and counts one pass, and keeps the good bytes for the next start.
    fn conclude(&mut self, mut pass: Pass, trigger: Trigger, began: Instant, lifted: usize) -> ReloadReport {
        let generation = self.blocklist.generation();
        self.shared.durations.observe(RELOAD_THREAD, began.elapsed());
        self.log(&pass, trigger, began);
        self.count(&pass, trigger, lifted);
        pass.changing.iter().for_each(|index| self.watch.recheck(*index));
        self.sources = std::mem::take(&mut pass.sources);
        let added = pass.applied.iter().map(|applied| applied.changes.added).sum();
        let removed = pass.applied.iter().map(|applied| applied.changes.removed).sum::<usize>() + lifted;
        let refused = self.sources.iter().filter(|source| source.refused.is_some());
        let failed: Vec<(String, Vec<Finding>)> =
            refused.map(|source| (source.config.name.clone(), errors_of(source).collect())).collect();
        if trigger.is_asked_for() || !pass.applied.is_empty() || pass.newly_refused > 0 {
            let error = self.sources.iter().find_map(|source| source.status().error());
            let ok = failed.is_empty();
            self.last_reload = Some(LastReload { at: Timestamp::now(), ok, trigger, added, removed, error });
        }
        self.publish_status();
        if let Some(state) = &self.state
            && guarded(trigger, pass.bytes_applied(), || pass.keep_copies(state)).is_none()
        {
            tracing::error!("no copy could be kept for the next start: that broke off. Please report this");
        }
        let applied = pass.applied.into_iter().map(|applied| applied.source).collect();
        ReloadReport { generation, added, removed, applied, failed }
    }

    /// A decision starts or ends: the names are the same, the generation is another. Where the clock was set back, what
    /// comes next is another too.
    fn follow_the_clock(&mut self, now: Timestamp) {
        if self.index.next_change_after(now) == self.next_change {
            return;
        }
        self.publish(Arc::clone(&self.index), now);
        let generation = self.blocklist.generation();
        tracing::info!(generation, trigger = Trigger::Time.name(), "a decision started or ended");
        self.publish_status();
    }

    /// Frees the old generations that nobody reads any more; whether there were any. A reader that is late would else free
    /// them where it runs.
    fn let_go(&mut self) -> bool {
        let before = self.retired.len();
        self.retired.retain(|old| Arc::strong_count(old) > 1);
        self.retired.len() < before
    }

    fn publish_status(&self) {
        self.shared.status.publish(BlocklistStatus {
            generation: self.blocklist.generation(),
            sources: self.sources.iter().map(SourceState::status).collect(),
            last_reload: self.last_reload.clone(),
            reloads: self.counts,
            next_change: self.next_change,
            retired_indexes: self.retired.len(),
        });
    }
}

fn errors_of(source: &SourceState) -> impl Iterator<Item = Finding> {
    source.refused.iter().flat_map(|refused| refused.findings.iter().cloned())
}

fn time_until(moment: Timestamp) -> Duration {
    let left = Timestamp::now().duration_until(moment);
    Duration::try_from(left).unwrap_or(Duration::ZERO)
}
