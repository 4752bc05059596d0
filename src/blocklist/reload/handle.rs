//! Starting the reload thread, and asking it.
//!
//! Inside: the thread and the handle. Kept out: what it does (`mod.rs`).

use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Reloader, Shared};
use crate::background::be_nice;
use crate::blocklist::config::Config;
use crate::blocklist::source::remote::{Fetcher, Outcome};
use crate::blocklist::status::{BlocklistStatus, SourceStatus, Trigger};
use crate::blocklist::store::Blocklist;
use crate::finding::Finding;
use crate::telemetry::counter::HistogramSum;

type Loaded = Result<(Blocklist, Arc<Shared>), Vec<Finding>>;

/// Reloads that may wait; each is answered by the same pass.
const WAITING_COMMANDS: usize = 64;

/// What a reload waits for lists that are fetched: the admin endpoint gives a request a minute.
const FETCH_WAIT: Duration = Duration::from_secs(45);

/// What starting gives.
#[derive(Debug)]
pub struct Started {
    /// For the workers.
    pub blocklist: Blocklist,
    /// For the admin endpoint and the signals.
    pub handle: ReloadHandle,
    /// Ends when the last handle is gone.
    pub thread: JoinHandle<()>,
}

/// Asks the reload thread; cheap to clone. When the last one is dropped, the thread ends.
#[derive(Debug, Clone)]
pub struct ReloadHandle {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    fetcher: Fetcher,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadReport {
    /// The generation in force.
    pub generation: u64,
    /// Names that came.
    pub added: usize,
    /// Names that went.
    pub removed: usize,
    /// The sources whose content is new.
    pub applied: Vec<String>,
    /// Each source whose file is not in force, with why.
    pub failed: Vec<(String, Vec<Finding>)>,
}

impl ReloadReport {
    fn add_failure(&mut self, source: String, finding: Finding) {
        match self.failed.iter_mut().find(|(name, _)| *name == source) {
            Some((_, findings)) => findings.insert(0, finding),
            None => self.failed.push((source, vec![finding])),
        }
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Reload { trigger: Trigger, allow_shrink: Option<String>, answer: oneshot::Sender<ReloadReport> },
    Apply { config: Box<Config>, answer: oneshot::Sender<Result<ReloadReport, Vec<Finding>>> },
}

/// Fetches the lists that are to be fetched, then starts as [`start`] does. Waits for the network where a list has no file
/// to start from, within its timeout.
///
/// # Errors
/// As [`start`]; a list that is not there and cannot be fetched either.
pub async fn fetch_and_start(config: Config, workers: usize) -> Result<Started, Vec<Finding>> {
    let fetcher = Fetcher::default();
    let begun = fetcher.begin(&config).await?;
    let started = start_with(config, workers, fetcher.clone());
    // Every list was asked for just now: there is nothing to adopt.
    drop(begun);
    started.map_err(|findings| fetcher.explain(findings))
}

/// Loads every source on a thread of its own, which then follows them. Blocks until they are loaded. A source that
/// does not load is taken from the state directory; without a copy there, starting fails with everything that is wrong.
/// Nothing is fetched: for lists that are files.
pub fn start(config: Config, workers: usize) -> Result<Started, Vec<Finding>> {
    start_with(config, workers, Fetcher::default())
}

fn start_with(config: Config, workers: usize, fetcher: Fetcher) -> Result<Started, Vec<Finding>> {
    let (sender, loaded) = std_mpsc::sync_channel(1);
    let (commands, receiver) = mpsc::channel(WAITING_COMMANDS);
    let run = move || {
        be_nice();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return answer(&sender, Err(vec![no_thread(&error)])),
        };
        runtime.block_on(async {
            match Reloader::load(config, workers) {
                Err(findings) => answer(&sender, Err(findings)),
                Ok(reloader) => {
                    answer(&sender, Ok((reloader.blocklist.clone(), Arc::clone(&reloader.shared))));
                    reloader.run(receiver).await;
                }
            }
        });
    };
    let thread = std::thread::Builder::new().name("sluis-blocklist".to_owned()).spawn(run);
    let thread = thread.map_err(|error| vec![no_thread(&error)])?;
    let (blocklist, shared) = loaded.recv().map_err(|_| {
        vec![Finding::without_place("the reload thread ended while it loaded the blocklist. Please report this")]
    })??;
    Ok(Started { blocklist, handle: ReloadHandle { commands, shared, fetcher }, thread })
}

impl ReloadHandle {
    /// Reads every source again, now, without waiting for it to come to rest, and fetches every list that is fetched;
    /// answers when what came is in force. `allow_shrink` names a source that may shrink this time.
    ///
    /// What is on disk does not wait for the network: it is read at once, and once more where a fetch brought something.
    pub async fn reload(&self, trigger: Trigger, allow_shrink: Option<String>) -> ReloadReport {
        let (mut report, fetched) =
            tokio::join!(self.reload_files(trigger, allow_shrink.clone()), self.fetcher.refresh(FETCH_WAIT));
        if fetched.iter().any(|(_, outcome)| *outcome == Outcome::New) {
            let before = report;
            // Once: what the files brought has used it up.
            let allow_shrink = allow_shrink.filter(|source| !before.applied.contains(source));
            report = self.reload_files(trigger, allow_shrink).await;
            report.added += before.added;
            report.removed += before.removed;
        }
        for (source, outcome) in fetched {
            if let Outcome::Failed(finding) = outcome {
                report.add_failure(source, finding);
            }
        }
        report
    }

    async fn reload_files(&self, trigger: Trigger, allow_shrink: Option<String>) -> ReloadReport {
        let (sender, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Reload { trigger, allow_shrink, answer: sender }).await;
        answer.await.unwrap_or_else(|_| self.ended())
    }

    /// Takes over a new configuration. Where a new source does not load, nothing changes; a known one that does not
    /// load keeps its last good content. New lists are fetched before; all others are asked for after, without waiting for
    /// them.
    pub async fn apply(&self, config: Config) -> Result<ReloadReport, Vec<Finding>> {
        let begun = self.fetcher.begin(&config).await?;
        let applied = self.apply_files(config.clone()).await;
        match applied {
            Ok(report) => {
                self.fetcher.adopt(&config, begun);
                Ok(report)
            }
            Err(findings) => {
                let findings = self.fetcher.explain(findings);
                self.fetcher.give_up(begun);
                Err(findings)
            }
        }
    }

    async fn apply_files(&self, config: Config) -> Result<ReloadReport, Vec<Finding>> {
        let (sender, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Apply { config: Box::new(config), answer: sender }).await;
        answer
            .await
            .unwrap_or_else(|_| Err(self.ended().failed.into_iter().flat_map(|(_, findings)| findings).collect()))
    }

    /// Fetches nothing any more: the process stops, or another has taken over. The files are followed on.
    pub fn end_fetches(&self) {
        self.fetcher.end();
    }

    /// What is in force, and what is wrong.
    pub fn status(&self) -> Arc<BlocklistStatus> {
        let status = Arc::clone(&self.shared.status.load().value);
        let fetches = |source: &SourceStatus| self.fetcher.status(&source.name, &source.path);
        if status.sources.iter().all(|source| fetches(source).is_none()) {
            return status;
        }
        let mut status = BlocklistStatus::clone(&status);
        for source in &mut status.sources {
            if let Some(remote) = fetches(source) {
                source.add_fetches(remote);
            }
        }
        Arc::new(status)
    }

    /// `sluis_blocklist_reload_duration_seconds`: from the trigger, after settling, to the answer.
    pub fn reload_durations(&self) -> HistogramSum {
        self.shared.durations.sum()
    }

    /// An answer for when there is nobody to give one.
    fn ended(&self) -> ReloadReport {
        let message = "the reload thread has ended; restart sluis, and please report this";
        let failed = vec![(String::new(), vec![Finding::without_place(message)])];
        ReloadReport { generation: self.status().generation, added: 0, removed: 0, applied: Vec::new(), failed }
    }
}

/// Whoever started the thread may have given up waiting.
fn answer(sender: &std_mpsc::SyncSender<Loaded>, loaded: Loaded) {
    let _ = sender.send(loaded);
}

fn no_thread(error: &std::io::Error) -> Finding {
    Finding::without_place(format!("the thread that loads the blocklist cannot be started: {error}"))
}
