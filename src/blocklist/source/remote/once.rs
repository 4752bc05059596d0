//! Lists that a command looks at once: the ones that are kept, and the others fetched for as long as the command takes.
//!
//! Inside: the fetch into a directory that is removed again. Kept out: the state directory, in which a command that only
//! looks writes nothing.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use tokio::task::JoinHandle;

use super::fetch::{Answer, Patience, fetch};
use super::kept::{Kept, Note};
use crate::blocklist::config::{Config, RemoteConfig, SourceConfig};
use crate::drain::spawn_control;
use crate::finding::{Finding, Place};

/// A configuration whose lists are all files.
#[derive(Debug)]
pub(in crate::blocklist) struct Once {
    config: Config,
    directory: Option<PathBuf>,
    fetched: Vec<Fetched>,
}

/// A list that was fetched, or was to be.
#[derive(Debug)]
struct Fetched {
    source: String,
    path: PathBuf,
    url: String,
    failure: Option<Finding>,
}

impl Once {
    /// Fetches the lists of which no file is kept, all at the same time, within their timeouts.
    pub(in crate::blocklist) fn new(config: &Config) -> Self {
        let mut once = Self { config: config.clone(), directory: None, fetched: Vec::new() };
        if once.config.sources.iter().any(is_missing)
            && let Err(error) = once.fetch_missing()
        {
            tracing::debug!(%error, "the lists cannot be fetched");
            for fetched in &mut once.fetched {
                fetched.failure.get_or_insert_with(|| failed(&fetched.url, &error.to_string()));
            }
        }
        once
    }

    /// The configuration, with files only.
    pub(in crate::blocklist) fn config(&self) -> &Config {
        &self.config
    }

    /// Why a source has no list, where it was to be fetched and was not.
    pub(in crate::blocklist) fn failure(&self, source: &str) -> Option<&Finding> {
        self.fetched.iter().find(|fetched| fetched.source == source)?.failure.as_ref()
    }

    /// A finding with the URL in place of the file that is gone again by the time that anyone reads it.
    pub(in crate::blocklist) fn name_url(&self, mut finding: Finding) -> Finding {
        if let Some(place) = &mut finding.place
            && let Some(fetched) = self.fetched.iter().find(|fetched| fetched.path == place.file)
        {
            place.file = PathBuf::from(&fetched.url);
        }
        finding
    }

    fn fetch_missing(&mut self) -> io::Result<()> {
        let directory = std::env::temp_dir().join(format!("sluis-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        let mut wanted = Vec::new();
        for source in self.config.sources.iter_mut().filter(|source| is_missing(source)) {
            let Some(remote) = source.remote.clone() else { continue };
            source.path = directory.join(source.path.file_name().unwrap_or_default());
            let (url, path) = (remote.shown_url(), source.path.clone());
            self.fetched.push(Fetched { source: source.name.clone(), path: path.clone(), url, failure: None });
            wanted.push((remote, path));
        }
        // Nobody else may put anything there: it must not be there yet.
        DirBuilder::new().mode(0o700).create(&directory)?;
        self.directory = Some(directory);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let failures = runtime.block_on(async {
            let tasks: Vec<JoinHandle<Option<Finding>>> =
                wanted.into_iter().map(|(remote, path)| spawn_control(one(remote, path))).collect();
            let mut failures = Vec::new();
            for task in tasks {
                failures.push(task.await.unwrap_or_else(|error| Some(failed("", &error.to_string()))));
            }
            failures
        });
        runtime.shutdown_background();
        for (fetched, failure) in self.fetched.iter_mut().zip(failures) {
            fetched.failure = failure;
        }
        Ok(())
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

fn is_missing(source: &SourceConfig) -> bool {
    source.remote.as_ref().is_some_and(|remote| !Kept::new(&source.path).is_of(&remote.url))
}

/// Fetches one list into a file; why there is none.
async fn one(remote: RemoteConfig, path: PathBuf) -> Option<Finding> {
    let mut kept = Kept::new(path);
    let url = remote.shown_url();
    match fetch(&remote, &kept, None, Patience::default()).await {
        Ok(Answer::List(incoming, validators)) => {
            let now = jiff::Timestamp::now();
            let sha256 = incoming.sha256();
            let note = Note { url: remote.url.to_string(), sha256, validators, fetched_at: now, checked_at: now };
            kept.keep(incoming, &note).err().map(|error| failed(&url, &error.to_string()))
        }
        Ok(Answer::NotModified) => Some(failed(&url, "the server says that nothing was modified")),
        Err(refusal) => Some(failed(&url, &refusal.failure.to_string())),
    }
}

fn failed(url: &str, why: &str) -> Finding {
    Finding::error(Place::file(url), format!("cannot fetch the list: {why}"))
}
