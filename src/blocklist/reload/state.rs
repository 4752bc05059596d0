//! What is known about one source between reloads.
//!
//! Inside: its content in force and its last refused one, each under the key that tells whether there is anything to
//! do. Kept out: how they come about (`examine.rs`).

use std::sync::Arc;

use jiff::Timestamp;

use crate::blocklist::config::{Config, SourceConfig};
use crate::blocklist::guard::DroppedLines;
use crate::blocklist::index::IndexSource;
use crate::blocklist::source::format_name;
use crate::blocklist::status::SourceStatus;
use crate::finding::{Finding, Place};
use crate::whole_file::Sha256;

/// Bytes and the settings that they are read with: the same key gives the same content or the same refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) bytes: Sha256,
    pub(super) settings: Sha256,
}

impl Key {
    pub(super) fn new(bytes: Sha256, source: &SourceConfig, config: &Config) -> Self {
        let settings = (
            &source.content,
            &source.path,
            &config.never_block,
            config.max_error_percent,
            config.max_shrink_percent,
            config.has_operator_url,
        );
        Self { bytes, settings: Sha256::of(format!("{settings:?}").as_bytes()) }
    }
}

/// One source.
#[derive(Debug, Clone)]
pub(super) struct SourceState {
    pub(super) config: SourceConfig,
    pub(super) in_force: Option<InForce>,
    pub(super) refused: Option<Refused>,
}

/// What a source has in force.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) key: Key,
    pub(super) content: Arc<IndexSource>,
    /// Distinct blocking patterns.
    pub(super) names: usize,
    pub(super) loaded_at: Timestamp,
    /// When what is on disk was last found to be this.
    pub(super) last_success: Option<Timestamp>,
    pub(super) from_state: bool,
    pub(super) warnings: Arc<[Finding]>,
    pub(super) dropped: Arc<[DroppedLines]>,
}

/// What is on disk and not in force.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// None where the same bytes may be good the next time: they could not be read, or another source stood in the way.
    pub(super) key: Option<Key>,
    pub(super) findings: Arc<[Finding]>,
    /// Whether another source stood in the way: then any change of another one is a reason to look again.
    pub(super) by_another_source: bool,
    /// The ids of its records with their places, at a start: another source may have them too.
    pub(super) ids: Arc<[(String, Place)]>,
}

impl SourceState {
    pub(super) fn new(config: SourceConfig) -> Self {
        Self { config, in_force: None, refused: None }
    }

    /// Notes a refusal; whether it is news.
    pub(super) fn refuse(&mut self, refused: Refused) -> bool {
        let is_news = self.refused.as_ref().is_none_or(|before| before.findings != refused.findings);
        self.refused = Some(refused);
        is_news
    }

    pub(super) fn status(&self) -> SourceStatus {
        let in_force = self.in_force.as_ref();
        SourceStatus {
            name: self.config.name.clone(),
            path: self.config.path.clone(),
            format: format_name(&self.config.content),
            names: in_force.map_or(0, |content| content.names),
            decisions: in_force.map_or(0, |content| content.content.parsed.decisions.len()),
            sha256: in_force.map(|content| content.key.bytes),
            loaded_at: in_force.map(|content| content.loaded_at),
            last_success: in_force.and_then(|content| content.last_success),
            from_state: in_force.is_some_and(|content| content.from_state),
            errors: self.refused.as_ref().map_or_else(|| Arc::from([]), |refused| Arc::clone(&refused.findings)),
            warnings: in_force.map_or_else(|| Arc::from([]), |content| Arc::clone(&content.warnings)),
            dropped: in_force.map_or_else(|| Arc::from([]), |content| Arc::clone(&content.dropped)),
            remote: None,
        }
    }
}
