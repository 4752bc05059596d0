//! Everything loaded once, as a start would load it, and nothing started.
//!
//! Inside: the lists of a configuration for the commands that look at them. Kept out: the state directory as the last resort of
//! a start, and what is done with the findings.

use std::sync::Arc;

use jiff::Timestamp;

use super::examine::Examiner;
use super::new_sources;
use super::pass::{self, Base};
use super::state::SourceState;
use crate::blocklist::config::Config;
use crate::blocklist::index::Index;
use crate::blocklist::source;
use crate::blocklist::source::remote::Once;
use crate::blocklist::status::{SourceStatus, Trigger};
use crate::finding::Finding;

/// Everything that a configuration loads, and nothing that runs.
#[derive(Debug)]
pub struct Checked {
    /// Every error and warning, in the order of the sources.
    pub findings: Vec<Finding>,
    /// What each source gave.
    pub sources: Vec<SourceStatus>,
    /// The index of what loaded.
    pub index: Arc<Index>,
}

/// Loads everything once, as a start would without a state directory. A list that is fetched is taken from the file that is
/// kept of it; where there is none, it is fetched, and nothing is kept.
pub fn check(config: &Config, now: Timestamp) -> Checked {
    let once = Once::new(config);
    let config = once.config();
    let examiner = Examiner { config, trigger: Trigger::Start, now, allow_shrink: &[], state: None };
    let sources = new_sources(config, &[]);
    let base = Base { in_force: None, rebuild: true, seed: fastrand::u64(..) };
    let pass = pass::run(examiner, &sources, |_| true, base);
    let mut statuses: Vec<SourceStatus> = pass.sources.iter().map(SourceState::status).collect();
    for source in &mut statuses {
        if let Some(failure) = once.failure(&source.name) {
            source.errors = Arc::from([failure.clone()]);
        }
    }
    let roots = source::remote::check(&config.sources).err().unwrap_or_default();
    let findings = statuses.iter().flat_map(|source| {
        let dropped = source.dropped.iter().flat_map(|lines| lines.findings.iter());
        source.errors.iter().chain(source.warnings.iter()).chain(dropped).cloned()
    });
    Checked {
        findings: roots.into_iter().chain(findings.map(|finding| once.name_url(finding))).collect(),
        index: pass.index.unwrap_or_else(|| Arc::new(Index::build(&[], 0))),
        sources: statuses,
    }
}
