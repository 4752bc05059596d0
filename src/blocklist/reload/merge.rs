//! Taking small changes into the base of the index, in the background.
//!
//! Inside: when, and on which thread. Kept out: the build itself, and publishing, which `mod.rs` alone does.
//!
//! An index that was updated has its new names in a delta, and the bytes of names that are gone. Once nothing has changed for a
//! while, one without both is built while the updated one serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::pass::build_anew;
use crate::background::step_back;
use crate::blocklist::index::{Index, IndexSource};

/// As long as changes come more often than this many times `settle`, they stay in the delta.
const QUIET: u32 = 25;

/// One index at a time, and what becomes of it.
#[derive(Debug, Default)]
pub(super) enum Merge {
    /// There is no delta.
    #[default]
    Idle,
    /// There is one, and perhaps there is more to come.
    Waiting { until: Instant, of: Arc<Index> },
    /// The index of the same content is being built.
    Building { of: Arc<Index>, task: JoinHandle<Result<Index, String>> },
}

/// An index without a delta.
#[derive(Debug)]
pub(super) struct Merged {
    /// The index whose content it has.
    pub(super) of: Arc<Index>,
    pub(super) index: Result<Index, String>,
}

impl Merge {
    /// An index has come into force. One that is being built from an older one is of no use any more.
    pub(super) fn begin(&mut self, index: &Arc<Index>, settle: Duration) {
        *self = match index.delta_names() {
            0 => Self::Idle,
            _ => Self::Waiting { until: Instant::now() + settle * QUIET, of: Arc::clone(index) },
        };
    }

    /// Waits for the next one that is built; for ever, where there is nothing to merge. Dropping the future loses nothing.
    pub(super) async fn merged(&mut self) -> Merged {
        loop {
            match self {
                Self::Idle => std::future::pending().await,
                Self::Waiting { until, of } => {
                    tokio::time::sleep_until(*until).await;
                    let of = Arc::clone(of);
                    let contents: Vec<Arc<IndexSource>> = of.sources().map(Arc::clone).collect();
                    let task = tokio::task::spawn_blocking(move || {
                        step_back();
                        build_anew(&contents, fastrand::u64(..))
                    });
                    *self = Self::Building { of, task };
                }
                Self::Building { of, task } => {
                    let index = task.await.unwrap_or_else(|error| Err(format!("the build broke off: {error}")));
                    let merged = Merged { of: Arc::clone(of), index };
                    *self = Self::Idle;
                    return merged;
                }
            }
        }
    }
}
