//! What the endpoint shows of the blocklist and the certificates.
//!
//! Inside: the one seam through which it comes, and the values that the parts below do not have in this form. Kept out:
//! how they look on the wire (`api.rs`, `metrics.rs`, `page/`), and where they come from (`parts.rs`).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;

use crate::blocklist::decision::{Basis, Decision};
use crate::blocklist::reload::ReloadReport;
use crate::blocklist::status::BlocklistStatus;
use crate::host::HostName;
use crate::telemetry::counter::HistogramSum;
use crate::tls::status::TlsStatus;

/// A reload that is under way.
pub type Reloading<'a> = Pin<Box<dyn Future<Output = ReloadReport> + Send + 'a>>;

/// What the endpoint asks of the parts below it. Everything answers at once but the reload.
pub trait Parts: fmt::Debug + Send + Sync {
    /// The number of the index in force; 0 where there is none.
    fn generation(&self) -> u64;

    /// The index in force, its sources and how reloads went.
    fn blocklist(&self) -> BlocklistView;

    /// The verdict for a host, as a request at this moment would get it.
    fn lookup(&self, host: &HostName, now: Timestamp) -> LookupView;

    /// Every decision that is loaded, in force or not, with this many of its patterns at most.
    fn decisions(&self, patterns_at_most: usize) -> Vec<DecisionView>;

    /// How many decisions are in force past their day of review.
    fn overdue(&self, now: Timestamp) -> usize;

    /// The certificates in force and how reloads went.
    fn tls(&self) -> Arc<TlsStatus>;

    /// Reads the lists again and completes when what it published is in force. The source that is named may shrink as
    /// much as it likes, this once.
    fn reload(&self, allow_shrink: Option<String>) -> Reloading<'_>;
}

/// The index in force, its sources and how reloads went.
#[derive(Debug, Clone)]
pub struct BlocklistView {
    /// What the reload knows.
    pub status: Arc<BlocklistStatus>,
    /// Distinct patterns, by source.
    pub names: u64,
    /// What the index and the names take.
    pub memory_bytes: u64,
    /// `sluis_blocklist_reload_duration_seconds`.
    pub reload_durations: HistogramSum,
    /// Blocks by source and basis, each basis of each source there ever was.
    pub blocks: Vec<BlockCount>,
    /// Hits of decision records since the start by id, in the order in which they first came.
    pub decision_hits: Vec<(Arc<str>, u64)>,
    /// Hits of the records that are not counted one by one.
    pub other_decision_hits: u64,
}

/// How many requests were blocked by one source on one basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCount {
    /// The source.
    pub source: Arc<str>,
    /// The basis.
    pub basis: Basis,
    /// Requests that got the notice.
    pub blocked: u64,
    /// Requests that a decision in shadow mode would have blocked.
    pub shadow: u64,
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
    pub line: u32,
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
    /// The first patterns of a record; empty for a feed, which is for files.
    pub hosts: Vec<String>,
    /// How many patterns it has.
    pub names: u64,
    /// Requests that it stopped (in shadow mode: would have stopped) since the start.
    pub hits: u64,
}
