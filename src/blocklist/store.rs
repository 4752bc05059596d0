//! The index in force, as workers read it, with the counters that its verdicts lead to.
//!
//! Inside: the snapshot and what a worker does with it. Kept out: publishing, which only `reload` does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::decision::Basis;
use super::index::{Index, IndexedDecision, Match};
use crate::live::{Live, Published};
use crate::telemetry::counter::{Counter, WorkerId};

/// Decision records that are counted one by one, over the life of the process; the others are counted together, so that
/// lists that come and go cannot fill the memory.
const COUNTED_DECISIONS: usize = 10_000;

/// The blocklist for those who ask it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Blocklist {
    live: Arc<Live<Snapshot>>,
}

/// An index with its counters: one generation of the blocklist.
#[derive(Debug)]
pub struct Snapshot {
    index: Arc<Index>,
    /// By [`Match::source_index`].
    sources: Box<[SourceCounters]>,
    /// By [`Match::decision_index`]; none for the decision of a feed.
    hits: Box<[Option<Arc<Counter>>]>,
    counters: Arc<BlocklistCounters>,
}

/// The counters of one source, by basis.
#[derive(Debug, Clone)]
pub struct SourceCounters {
    /// The source's name.
    pub source: Arc<str>,
    /// `sluis_blocked_total`, by [`Basis::index`].
    pub blocked: [Arc<Counter>; Basis::ALL.len()],
    /// `sluis_shadow_blocked_total`, by [`Basis::index`].
    pub shadow_blocked: [Arc<Counter>; Basis::ALL.len()],
}

/// Every counter since the process started, sources and decisions that are gone included.
#[derive(Debug, Clone)]
pub struct BlocklistCounters {
    /// By the source's name.
    pub sources: Vec<SourceCounters>,
    /// Id and hits of each decision record that is counted on its own, in the order in which they first came.
    pub decisions: Vec<(Arc<str>, Arc<Counter>)>,
    /// The hits of all other decision records.
    pub other_decisions: Arc<Counter>,
}

impl Blocklist {
    /// The generation in force. The guard is for one synchronous step, never across an await.
    pub fn load(&self) -> arc_swap::Guard<Arc<Published<Snapshot>>> {
        self.live.load()
    }

    /// The generation in force, to keep for a while. For the control thread.
    pub fn load_full(&self) -> Arc<Published<Snapshot>> {
        self.live.load_full()
    }

    /// The number of the generation in force.
    pub fn generation(&self) -> u64 {
        self.live.generation()
    }

    pub(super) fn new(first: Snapshot) -> Self {
        Self { live: Arc::new(Live::new(first)) }
    }

    /// For `reload` alone.
    pub(super) fn publish(&self, next: Snapshot) -> Arc<Published<Snapshot>> {
        self.live.publish(next)
    }

    /// For `reload` alone: the same names in another form.
    pub(super) fn renew(&self, next: Snapshot) -> Arc<Published<Snapshot>> {
        self.live.renew(next)
    }
}

impl Snapshot {
    /// The index, which gives the verdicts.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Counts a block: source, basis, and the decision where it is a record. Once a blocked request.
    pub fn count_block(&self, worker: WorkerId, found: &Match<'_>) {
        self.count(worker, found, |counters| &counters.blocked);
    }

    /// Counts a block that a decision in shadow mode would have been. Once a request.
    pub fn count_shadow_block(&self, worker: WorkerId, found: &Match<'_>) {
        self.count(worker, found, |counters| &counters.shadow_blocked);
    }

    /// Every counter since the process started.
    pub fn counters(&self) -> &BlocklistCounters {
        &self.counters
    }

    /// Every decision in the index, whether in force now or not, and, for records, its hits since the process started.
    pub fn decisions(&self) -> impl Iterator<Item = (IndexedDecision<'_>, Option<u64>)> {
        self.index.decisions().zip(&self.hits).map(|(decision, hits)| (decision, hits.as_ref().map(|hits| hits.sum())))
    }

    fn count(
        &self,
        worker: WorkerId,
        found: &Match<'_>,
        which: impl Fn(&SourceCounters) -> &[Arc<Counter>; Basis::ALL.len()],
    ) {
        let counters = self.sources.get(usize::from(found.source_index)).map(which);
        if let Some(counter) = counters.and_then(|counters| counters.get(found.decision.basis.index())) {
            counter.increment(worker);
        }
        if let Some(Some(hits)) = self.hits.get(found.decision_index as usize) {
            hits.increment(worker);
        }
    }
}

/// Makes snapshots, and keeps every counter from one to the next.
#[derive(Debug)]
pub(super) struct SnapshotMaker {
    workers: usize,
    sources: BTreeMap<Arc<str>, SourceCounters>,
    decisions: Vec<(Arc<str>, Arc<Counter>)>,
    decision_numbers: HashMap<Arc<str>, usize>,
    other_decisions: Arc<Counter>,
}

impl SnapshotMaker {
    /// With counters for this many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers,
            sources: BTreeMap::new(),
            decisions: Vec::new(),
            decision_numbers: HashMap::new(),
            other_decisions: Arc::new(Counter::new(workers)),
        }
    }

    /// A snapshot of an index.
    pub(super) fn make(&mut self, index: Arc<Index>) -> Snapshot {
        let sources = index.sources().map(|source| self.source(&source.name)).collect();
        let hits =
            index.decisions().map(|entry| (!entry.source.is_feed).then(|| self.decision(&entry.decision.id))).collect();
        let counters = Arc::new(BlocklistCounters {
            sources: self.sources.values().cloned().collect(),
            decisions: self.decisions.clone(),
            other_decisions: Arc::clone(&self.other_decisions),
        });
        Snapshot { index, sources, hits, counters }
    }

    fn source(&mut self, name: &str) -> SourceCounters {
        let workers = self.workers;
        let make = || std::array::from_fn(|_| Arc::new(Counter::new(workers)));
        let name: Arc<str> = name.into();
        let counters = self.sources.entry(Arc::clone(&name));
        counters.or_insert_with(|| SourceCounters { source: name, blocked: make(), shadow_blocked: make() }).clone()
    }

    fn decision(&mut self, id: &str) -> Arc<Counter> {
        if let Some((_, counter)) = self.decision_numbers.get(id).and_then(|number| self.decisions.get(*number)) {
            return Arc::clone(counter);
        }
        if self.decisions.len() >= COUNTED_DECISIONS {
            return Arc::clone(&self.other_decisions);
        }
        let (id, counter): (Arc<str>, _) = (id.into(), Arc::new(Counter::new(self.workers)));
        self.decision_numbers.insert(Arc::clone(&id), self.decisions.len());
        self.decisions.push((id, Arc::clone(&counter)));
        counter
    }
}
