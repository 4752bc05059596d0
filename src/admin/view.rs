//! What the endpoint shows of the blocklist and the certificates.
//!
//! Inside: plain values, and the one seam through which they come. Kept out: how they look on the wire (`api.rs`,
//! `metrics.rs`, `page.rs`), and the parts that they are taken from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;

use crate::blocklist::decision::{Basis, Decision};
use crate::finding::Finding;
use crate::host::HostName;
use crate::telemetry::counter::HistogramSum;

/// What the endpoint asks of the parts below it. Everything answers at once but the reload.
pub trait Parts: fmt::Debug + Send + Sync {
    /// The index in force, its sources and how reloads went.
    fn blocklist(&self) -> BlocklistView;

    /// The verdict for a host, as a request at this moment would get it.
    fn lookup(&self, host: &HostName, now: Timestamp) -> LookupView;

    /// Every decision that is loaded, in force or not.
    fn decisions(&self) -> Vec<DecisionView>;

    /// The certificates in force and how reloads went.
    fn tls(&self) -> TlsView;

    /// Reads the lists again and completes when what it published is in force. The source that is named may shrink as
    /// much as it likes, this once.
    fn reload(&self, allow_shrink: Option<String>) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>>;
}

/// The index in force, its sources and how reloads went.
#[derive(Debug, Clone, Default)]
pub struct BlocklistView {
    /// The number of the index in force; 0 where there is none yet.
    pub generation: u64,
    /// Distinct patterns.
    pub names: u64,
    /// What the index takes.
    pub memory_bytes: u64,
    /// In the order of the configuration.
    pub sources: Vec<SourceView>,
    /// The latest attempt, where there was one since the start.
    pub last_reload: Option<LastReload>,
    /// `sluis_blocklist_reloads_total`, by result.
    pub reloads: ReloadCounts,
    /// `sluis_blocklist_reload_duration_seconds`.
    pub reload_durations: Option<HistogramSum>,
    /// Blocks by source and basis.
    pub blocks: Vec<BlockCount>,
}

/// How many reloads ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Something new came into force.
    pub applied: u64,
    /// What was read is what is in force.
    pub unchanged: u64,
    /// At least one source was refused.
    pub refused: u64,
}

/// How many requests were blocked by one source on one basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCount {
    /// The source.
    pub source: String,
    /// The basis.
    pub basis: Basis,
    /// Requests that got the notice.
    pub blocked: u64,
    /// Requests that a decision in shadow mode would have blocked.
    pub shadow: u64,
}

/// One source: what of it is in force, and what is wrong with what is on disk.
#[derive(Debug, Clone, Default)]
pub struct SourceView {
    /// The name in the configuration.
    pub name: String,
    /// The file.
    pub path: String,
    /// The name of the format.
    pub format: String,
    /// Distinct patterns in force.
    pub names: u64,
    /// Decision records in force or scheduled; 1 for a feed.
    pub decisions: u64,
    /// Of the bytes in force, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// When what is in force was loaded.
    pub loaded_at: Option<Timestamp>,
    /// When the file was last found to be what is in force.
    pub confirmed_at: Option<Timestamp>,
    /// What is in force came from `state_directory`, since the file did not load at the start.
    pub is_stored_copy: bool,
    /// Why what is on disk is not what is in force; empty where it is.
    pub errors: Vec<Finding>,
    /// Lines of a feed that were left out, by reason.
    pub dropped: Vec<(String, u64)>,
    /// Some of those lines.
    pub dropped_lines: Vec<Finding>,
}

/// The latest attempt to reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastReload {
    /// When it ended.
    pub at: Timestamp,
    /// Whether every source was accepted.
    pub ok: bool,
    /// What set it off.
    pub trigger: String,
    /// Names that were not in force before.
    pub added: u64,
    /// Names that are no longer in force.
    pub removed: u64,
    /// What went wrong.
    pub error: Option<String>,
}

/// The verdict for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupView {
    /// The generation that was asked.
    pub generation: u64,
    /// The decision that blocks it; none where it passes.
    pub block: Option<BlockView>,
    /// The decision in shadow mode that would block it.
    pub shadow: Option<BlockView>,
}

/// What blocks a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockView {
    /// The decision's id.
    pub decision: String,
    /// The source that it comes from.
    pub source: String,
    /// The line in the source's file, from 1.
    pub line: Option<u64>,
    /// The pattern that covers the host.
    pub pattern: String,
}

/// A decision that is loaded.
#[derive(Debug, Clone)]
pub struct DecisionView {
    /// The record.
    pub decision: Arc<Decision>,
    /// The source that it comes from.
    pub source: String,
    /// Whether it is that of a whole feed.
    pub is_feed: bool,
    /// The patterns of a record; empty for a feed, which is for files.
    pub hosts: Vec<String>,
    /// How many patterns it has.
    pub names: u64,
    /// Requests that it stopped (in shadow mode: would have stopped) since the start.
    pub hits: u64,
}

/// The certificates in force and how reloads went.
#[derive(Debug, Clone, Default)]
pub struct TlsView {
    /// By listener, then by name.
    pub certificates: Vec<CertificateView>,
    /// What is wrong with a listener's certificates as a whole, such as a directory that cannot be read.
    pub listener_errors: Vec<Finding>,
    /// `sluis_tls_reloads_total`, by result.
    pub reloads: ReloadCounts,
}

/// One certificate.
#[derive(Debug, Clone)]
pub struct CertificateView {
    /// The listener that serves it.
    pub listener: String,
    /// The NAME of its files.
    pub name: String,
    /// The hosts that it is for.
    pub hosts: Vec<String>,
    /// When it expires; none where no pair of that name is in force.
    pub not_after: Option<Timestamp>,
    /// What is in force came from `state_directory`.
    pub is_stored_copy: bool,
    /// Why what is on disk is not what is in force; empty where it is.
    pub errors: Vec<Finding>,
}

/// How a reload that was asked for went.
#[derive(Debug, Clone, Default)]
pub struct Reloaded {
    /// The generation in force after it.
    pub generation: u64,
    /// Names that were not in force before.
    pub added: u64,
    /// Names that are no longer in force.
    pub removed: u64,
    /// The sources that were refused, each with what is wrong with it.
    pub refused: Vec<RefusedSource>,
}

/// A source that was refused.
#[derive(Debug, Clone)]
pub struct RefusedSource {
    /// The name in the configuration.
    pub name: String,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}
