//! Lists that are fetched: each becomes a file in the state directory, which the reload follows like any other.
//!
//! Inside: the thread that fetches, one task a list, and what is known of each. Kept out: what a list means and whether it
//! comes into force: that is for the reload, as with every file, so that whatever a server sends has the same guards before
//! it.
//!
//! What a server sends never changes what is in force by itself, and what it does not send changes nothing at all: the
//! file stays, and the next start is with it.

mod status;
mod failure;
mod shape;
mod schedule;
mod kept;
mod connect;
mod fetch;
mod follow;
mod once;

/// Whether the file of a source is the list of another URL: what it says was decided about that one.
pub(in crate::blocklist) fn has_list_of_another_url(source: &SourceConfig) -> bool {
    let Some(remote) = &source.remote else { return false };
    let mut kept = Kept::new(&source.path);
    // The file is read only where its note gives cause to.
    kept.is_noted_for_another(&remote.url) && !kept.is_of(&remote.url)
}

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::follow::{Asked, Follower, SharedStatus};
use self::kept::Kept;
use crate::blocklist::config::{Config, RemoteConfig, SourceConfig};
use crate::drain::spawn_on;
use crate::finding::Finding;

pub(in crate::blocklist) use follow::Outcome;
pub(in crate::blocklist) use once::Once;
pub use status::{FetchResult, RemoteStatus};

/// Fetches the lists of a blocklist; cheap to clone. Its thread runs while there is a list to fetch, and ends with the last
/// clone or with [`Fetcher::end`].
#[derive(Debug, Clone, Default)]
pub(in crate::blocklist) struct Fetcher {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    thread: Option<Thread>,
    /// By the file that the list is kept in.
    followed: BTreeMap<PathBuf, Followed>,
    ended: bool,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// Dropped, it ends the thread, and every fetch with it.
    _end: oneshot::Sender<()>,
}

/// One list that is followed.
#[derive(Debug)]
struct Followed {
    source: String,
    remote: RemoteConfig,
    status: SharedStatus,
    ask: mpsc::UnboundedSender<Asked>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lists that were begun for a configuration that is not in force yet.
#[derive(Debug, Default)]
#[must_use = "a configuration is adopted or given up"]
pub(in crate::blocklist) struct Begun(Vec<PathBuf>);

impl Fetcher {
    /// Begins to fetch the lists of a configuration that are not followed yet, each at once. Waits, within the timeouts and
    /// for all at the same time, for those of which there is no file to start from. A fetch that fails is no error here: what
    /// follows from it is seen when the file is read.
    ///
    /// # Errors
    /// Roots that cannot be used, or no thread.
    pub(in crate::blocklist) async fn begin(&self, config: &Config) -> Result<Begun, Vec<Finding>> {
        check(&config.sources)?;
        let (mut begun, mut needed) = (Begun::default(), Vec::new());
        {
            let mut inner = self.lock();
            for (source, remote) in remotes(&config.sources) {
                if inner.ended || inner.followed.contains_key(&source.path) {
                    continue;
                }
                let has_file = Kept::new(&source.path).is_of(&remote.url);
                let first = inner.follow(source, remote, SharedStatus::default()).map_err(no_thread)?;
                begun.0.push(source.path.clone());
                needed.extend((!has_file).then_some(first));
            }
        }
        for first in needed {
            // It ends without an answer only where the fetches were ended meanwhile.
            let _ = first.await;
        }
        Ok(begun)
    }

    /// The configuration is in force: lists that it has no more are let go, changed ones are followed anew, and all are
    /// asked for again, without waiting.
    pub(in crate::blocklist) fn adopt(&self, config: &Config, begun: Begun) {
        let mut inner = self.lock();
        inner.followed.retain(|path, _| remotes(&config.sources).any(|(source, _)| source.path == *path));
        for (source, remote) in remotes(&config.sources).filter(|(source, _)| !begun.0.contains(&source.path)) {
            let Some(followed) = inner.followed.get(&source.path) else { continue };
            if followed.remote == *remote && followed.source == source.name {
                followed.ask();
                continue;
            }
            let status = followed.status.clone();
            if let Err(error) = inner.follow(source, remote, status) {
                tracing::error!(%error, source = source.name, "the list is fetched as it was before");
            }
        }
    }

    /// The configuration is not to be: what was begun for it is let go.
    pub(in crate::blocklist) fn give_up(&self, begun: Begun) {
        let mut inner = self.lock();
        inner.followed.retain(|path, _| !begun.0.contains(path));
    }

    /// Fetches every list now, all at the same time; each source with its outcome. One that takes longer than `limit` is
    /// not waited for, and goes on.
    pub(in crate::blocklist) async fn refresh(&self, limit: Duration) -> Vec<(String, Outcome)> {
        let deadline = Instant::now() + limit;
        let asked: Vec<_> =
            self.lock().followed.values().map(|followed| (followed.source.clone(), followed.ask())).collect();
        let mut outcomes = Vec::new();
        for (source, answer) in asked {
            // No answer where the fetches were ended meanwhile: then what is there is all there is.
            match timeout_at(deadline, answer).await {
                Ok(Ok(outcome)) => outcomes.push((source, outcome)),
                Ok(Err(_)) => {}
                Err(_) => outcomes.push((source, Outcome::Failed(still_under_way(limit)))),
            }
        }
        outcomes
    }

    /// Ends every fetch, for good: a process that stops, or that another has taken over from, asks for nothing any more.
    pub(in crate::blocklist) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.followed.clear();
        inner.thread = None;
    }

    /// What is known of the fetches of a source that is kept in this file.
    pub(in crate::blocklist) fn status(&self, source: &str, path: &Path) -> Option<RemoteStatus> {
        let inner = self.lock();
        let followed = inner.followed.get(path).filter(|followed| followed.source == source)?;
        Some(followed.status.lock().clone())
    }

    /// Says why there is no file where none could be fetched, in place of that there is none.
    pub(in crate::blocklist) fn explain(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let inner = self.lock();
        let cause = |finding: &Finding| {
            let path = &finding.place.as_ref()?.file;
            inner.followed.get(path).filter(|_| !path.exists())?.status.lock().failure.clone()
        };
        findings.into_iter().map(|finding| cause(&finding).unwrap_or(finding)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Follows a list from now on, in place of whoever followed it; the outcome of the first fetch.
    fn follow(
        &mut self,
        source: &SourceConfig,
        remote: &RemoteConfig,
        status: SharedStatus,
    ) -> io::Result<oneshot::Receiver<Outcome>> {
        let runtime = self.runtime()?;
        if let Some(directory) = source.path.parent() {
            kept::remove_leftovers(directory);
        }
        let (ask, asked) = mpsc::unbounded_channel();
        // Asked before the task runs: its first fetch is the answer.
        let first = ask_for_a_fetch(&ask);
        let follower = Follower::new(&source.name, remote.clone(), Kept::new(&source.path), status.clone(), asked);
        let task = spawn_on(&runtime, follower.run());
        let followed = Followed { source: source.name.clone(), remote: remote.clone(), status, ask, task };
        self.followed.insert(source.path.clone(), followed);
        Ok(first)
    }

    /// The runtime of the thread, which is started where there is none.
    fn runtime(&mut self) -> io::Result<Handle> {
        if let Some(thread) = &self.thread {
            return Ok(thread.runtime.clone());
        }
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            let _ = runtime.block_on(ended);
            // A name server that does not answer must not hold up the end.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("sluis-fetch".to_owned()).spawn(run)?;
        self.thread = Some(Thread { runtime: handle.clone(), _end: end });
        Ok(handle)
    }
}

impl Followed {
    /// Asks for a fetch; its outcome, if it comes to one.
    fn ask(&self) -> oneshot::Receiver<Outcome> {
        ask_for_a_fetch(&self.ask)
    }
}

fn ask_for_a_fetch(ask: &mpsc::UnboundedSender<Asked>) -> oneshot::Receiver<Outcome> {
    let (sender, answer) = oneshot::channel();
    // Where the task is gone, there is no answer, which the receiver sees.
    let _ = ask.send(sender);
    answer
}

/// What is wrong with the roots of any list.
pub(in crate::blocklist) fn check(sources: &[SourceConfig]) -> Result<(), Vec<Finding>> {
    let with_tls = remotes(sources).filter(|(_, remote)| remote.url.scheme() == "https");
    let wrong: Vec<Finding> = with_tls.filter_map(|(_, remote)| connect::tls(remote.ca.as_deref()).err()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// The sources whose list is fetched.
fn remotes(sources: &[SourceConfig]) -> impl Iterator<Item = (&SourceConfig, &RemoteConfig)> {
    sources.iter().filter_map(|source| Some((source, source.remote.as_ref()?)))
}

fn still_under_way(limit: Duration) -> Finding {
    let seconds = limit.as_secs_f64();
    Finding::without_place(format!(
        "the list is still being fetched after {seconds} s; it comes into force when it is here, and the status says if it does not"
    ))
}

fn no_thread(error: io::Error) -> Vec<Finding> {
    vec![Finding::without_place(format!("the thread that fetches lists cannot be started: {error}"))]
}
