//! The blocklist and the certificates as the endpoint asks them.
//!
//! Inside: the seam's one implementation outside tests. Kept out: what is shown of it. It loads one snapshot a question,
//! so that what belongs together is of one generation.

use std::sync::Arc;

use jiff::Timestamp;

use super::view::{BlockCount, BlockView, BlocklistView, DecisionView, LookupView, Parts, Reloading};
use crate::blocklist::decision::Basis;
use crate::blocklist::index::{Index, IndexedDecision, Match, Moment};
use crate::blocklist::reload::ReloadHandle;
use crate::blocklist::status::Trigger;
use crate::blocklist::store::{Blocklist, BlocklistCounters, SourceCounters};
use crate::host::HostName;
use crate::telemetry::counter::Counter;
use crate::tls::reload::TlsHandle;
use crate::tls::status::TlsStatus;

/// The parts of a running process.
#[derive(Debug, Clone)]
pub struct RunningParts {
    /// The index in force.
    pub blocklist: Blocklist,
    /// Asks for reloads.
    pub reload: ReloadHandle,
    /// The certificates in force; none where no listener speaks TLS.
    pub tls: Option<TlsHandle>,
}

impl Parts for RunningParts {
    fn generation(&self) -> u64 {
        self.blocklist.generation()
    }

    fn blocklist(&self) -> BlocklistView {
        let snapshot = Arc::clone(&self.blocklist.load_full().value);
        let index = snapshot.index();
        let counters = snapshot.counters();
        BlocklistView {
            status: self.reload.status(),
            names: index.names().map(|names| names as u64).sum(),
            memory_bytes: index.memory_bytes() as u64,
            reload_durations: self.reload.reload_durations(),
            blocks: counters.sources.iter().flat_map(block_counts).collect(),
            decision_hits: counters.decisions.iter().map(|(id, hits)| (Arc::clone(id), hits.sum())).collect(),
            other_decision_hits: counters.other_decisions.sum(),
        }
    }

    fn lookup(&self, host: &HostName, now: Timestamp) -> LookupView {
        let published = self.blocklist.load_full();
        let index = published.value.index();
        let verdict = index.verdict(host, &Moment { now, country: None });
        LookupView {
            generation: published.generation,
            block: verdict.block.map(|found| block(index, &found)),
            shadow: verdict.shadow.map(|found| block(index, &found)),
        }
    }

    fn decisions(&self, patterns_at_most: usize) -> Vec<DecisionView> {
        let snapshot = Arc::clone(&self.blocklist.load_full().value);
        let (index, counters) = (snapshot.index(), snapshot.counters());
        let names: Vec<usize> = index.names().collect();
        let view = |(entry, hits): (IndexedDecision<'_>, Option<u64>)| match hits {
            Some(hits) => record(index, &entry, patterns_at_most, hits),
            None => feed(&entry, &names, counters),
        };
        snapshot.decisions().map(view).collect()
    }

    fn overdue(&self, now: Timestamp) -> usize {
        let snapshot = Arc::clone(&self.blocklist.load_full().value);
        let decisions = snapshot.index().decisions().map(|entry| entry.decision);
        decisions.filter(|decision| decision.in_force(now) && decision.is_overdue(now)).count()
    }

    fn tls(&self) -> Arc<TlsStatus> {
        self.tls.as_ref().map(TlsHandle::status).unwrap_or_default()
    }

    fn reload(&self, allow_shrink: Option<String>) -> Reloading<'_> {
        Box::pin(self.reload.reload(Trigger::Api, allow_shrink))
    }
}

fn block(index: &Index, found: &Match<'_>) -> BlockView {
    BlockView {
        decision: found.decision.id.clone(),
        source: index.source(found.source_index).map(|source| source.name.clone()).unwrap_or_default(),
        line: found.line,
        pattern: found.pattern().to_string(),
    }
}

fn record(index: &Index, entry: &IndexedDecision<'_>, patterns_at_most: usize, hits: u64) -> DecisionView {
    let patterns = || index.patterns(entry.decision_index);
    DecisionView {
        decision: Arc::clone(entry.decision),
        source: entry.source.name.clone(),
        is_feed: false,
        hosts: patterns().take(patterns_at_most).map(|pattern| pattern.to_string()).collect(),
        names: patterns().count() as u64,
        hits,
    }
}

/// A feed has one decision, so that its hits are those of its source.
fn feed(entry: &IndexedDecision<'_>, names: &[usize], counters: &BlocklistCounters) -> DecisionView {
    let own = counters.sources.iter().filter(|source| *source.source == *entry.source.name);
    DecisionView {
        decision: Arc::clone(entry.decision),
        source: entry.source.name.clone(),
        is_feed: true,
        hosts: Vec::new(),
        names: names.get(usize::from(entry.source_index)).map_or(0, |names| *names as u64),
        hits: own.flat_map(block_counts).map(|count| count.blocked + count.shadow).sum(),
    }
}

fn block_counts(counters: &SourceCounters) -> impl Iterator<Item = BlockCount> {
    let sum = |counters: &[Arc<Counter>; Basis::ALL.len()], basis: Basis| {
        counters.get(basis.index()).map_or(0, |counter| counter.sum())
    };
    Basis::ALL.into_iter().map(move |basis| BlockCount {
        source: Arc::clone(&counters.source),
        basis,
        blocked: sum(&counters.blocked, basis),
        shadow: sum(&counters.shadow_blocked, basis),
    })
}
