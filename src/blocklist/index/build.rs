//! How an index is built from its sources.
//!
//! Inside: numbering, order of precedence, and filling the table. Kept out: the table's layout, and every question that
//! is asked of the result. It takes about a hundred milliseconds for a million names, on a thread of its own.

use std::sync::Arc;

use jiff::Timestamp;

use super::table::{MAX_VALUE, Masks, Pointer, TableBuilder};
use super::walk::NameHasher;
use super::{Candidate, Index, IndexDecision, IndexException, IndexSource, Role, Source, is_shadow};
use crate::blocklist::decision::Decision;
use crate::blocklist::pattern::Reach;

impl Index {
    /// Builds an index. The seed should be random for each build: who knows it can make names that collide.
    ///
    /// # Panics
    ///
    /// With 65,536 sources or more, or with 64 GiB of names.
    pub fn build(sources: &[Arc<IndexSource>], seed: u64) -> Self {
        let mut index = Self {
            table: TableBuilder::new(0, Masks::default(), seed).finish(),
            lists: Box::default(),
            sources: number_sources(sources),
            decisions: number_decisions(sources),
            exceptions: number_exceptions(sources),
            has_shadow: false,
            has_lifts: sources.iter().any(|source| source.parsed.names.exceptions() > 0),
        };
        index.has_shadow = index.decisions.iter().any(|entry| entry.is_shadow);
        let (keys, masks) = sorted_keys(&index, seed);
        let distinct = keys.chunk_by(|one, other| one.hash == other.hash).count();
        let mut filler = Filler {
            table: TableBuilder::new(distinct, masks, seed),
            lists: Vec::new(),
            repeated: vec![0; index.sources.len()],
            index: &index,
        };
        for same_hash in keys.chunk_by(|one, other| one.hash == other.hash) {
            filler.add(same_hash);
        }
        let Filler { table, lists, repeated, .. } = filler;
        index.table = table.finish();
        index.lists = lists.into_boxed_slice();
        for (source, repeated) in index.sources.iter_mut().zip(repeated) {
            let names = &source.source.parsed.names;
            source.names = names.len() - names.exceptions() - repeated;
        }
        index
    }
}

/// A record with the hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hash: u64,
    position: u64,
}

fn sorted_keys(index: &Index, seed: u64) -> (Vec<Key>, Masks) {
    let hasher = NameHasher::new(seed);
    let total = index.sources.iter().map(|source| source.source.parsed.names.len()).sum();
    let mut keys = Vec::with_capacity(total);
    let mut masks = Masks::default();
    for source in &index.sources {
        keys.extend(source.source.parsed.names.iter().map(|record| {
            let name = hasher.name(record.name);
            masks.add(&name);
            Key { hash: name.hash, position: source.start + u64::from(record.offset) }
        }));
    }
    keys.sort_unstable();
    (keys, masks)
}

struct Filler<'i> {
    table: TableBuilder,
    lists: Vec<Candidate>,
    /// For each source, how many of its names block by a pattern that it has already had.
    repeated: Vec<usize>,
    /// Sources and decisions are there already; its table is still empty.
    index: &'i Index,
}

impl Filler<'_> {
    /// Adds the records of one hash: nearly always of one name, and most often one record.
    fn add(&mut self, same_hash: &[Key]) {
        if let [key] = same_hash {
            // The record is not touched: in the order of hashes it is not in any cache.
            self.table.insert(key.hash, Pointer::Record(key.position));
            return;
        }
        let mut entries: Vec<(&[u8], Candidate)> = same_hash
            .iter()
            .filter_map(|key| {
                let (source, record) = self.index.record(key.position)?;
                Some((record.name, self.index.candidate(source, &record)?))
            })
            .collect();
        entries.sort_by_cached_key(|(name, candidate)| (*name, self.precedence(candidate)));
        for same_name in entries.chunk_by(|one, other| one.0 == other.0) {
            let candidates: Vec<Candidate> = same_name.iter().map(|(_, candidate)| *candidate).collect();
            self.add_name(same_hash[0].hash, candidates);
        }
    }

    fn add_name(&mut self, hash: u64, mut candidates: Vec<Candidate>) {
        self.count_repeated(&candidates);
        // A line that is repeated says nothing new; the first one counts.
        candidates.dedup_by(|later, earlier| later.is_same(earlier));
        if let [candidate] = candidates.as_slice() {
            self.table.insert(hash, Pointer::Record(candidate.position));
            return;
        }
        let start = self.lists.len() as u64;
        if let Some(last) = candidates.last_mut() {
            last.position |= Candidate::LAST;
        }
        self.lists.append(&mut candidates);
        self.table.insert(hash, Pointer::List(start));
    }

    fn count_repeated(&mut self, candidates: &[Candidate]) {
        let blocking = candidates.iter().filter(|candidate| !candidate.role.lifts());
        let mut patterns: Vec<(u16, Reach)> = blocking.map(|candidate| (candidate.source, candidate.reach)).collect();
        patterns.sort_unstable();
        for pair in patterns.windows(2).filter(|pair| pair[0] == pair[1]) {
            self.repeated[usize::from(pair[0].0)] += 1;
        }
    }

    /// The order among the entries of one name: those for the name alone first, then by decision, then as they were written.
    fn precedence(&self, candidate: &Candidate) -> (bool, bool, u32, u16, Reach, Role, u64) {
        let lifts = candidate.role.lifts();
        let rank = if lifts { candidate.owner } else { self.index.decisions[candidate.owner as usize].rank };
        let is_wide = candidate.reach != Reach::Exact;
        (lifts, is_wide, rank, candidate.source, candidate.reach, candidate.role, candidate.position)
    }
}

fn number_sources(sources: &[Arc<IndexSource>]) -> Box<[Source]> {
    assert!(sources.len() <= usize::from(u16::MAX), "a configuration has fewer than 65,536 sources");
    let (mut start, mut first_decision, mut first_exception) = (0, 0, 0);
    let mut numbered = Vec::with_capacity(sources.len());
    for source in sources {
        numbered.push(Source { source: Arc::clone(source), start, first_decision, first_exception, names: 0 });
        start += source.parsed.names.end_offset() as u64;
        first_decision += source.parsed.decisions.len() as u32;
        first_exception += source.parsed.exceptions.len() as u32;
    }
    assert!(start < MAX_VALUE, "the names of all sources together are less than 64 GiB");
    numbered.into_boxed_slice()
}

fn number_decisions(sources: &[Arc<IndexSource>]) -> Box<[IndexDecision]> {
    let mut decisions: Vec<IndexDecision> = Vec::new();
    for (source, entry) in (0..).zip(sources) {
        decisions.extend(entry.parsed.decisions.iter().map(|decision| IndexDecision {
            starts: decision.starts(),
            ends: decision.ends().unwrap_or(Timestamp::MAX),
            rank: 0,
            source,
            is_shadow: is_shadow(decision),
            countries: decision.countries.iter().filter_map(|country| country_code(country)).collect(),
            decision: Arc::clone(decision),
        }));
    }
    let mut order: Vec<usize> = (0..decisions.len()).collect();
    order.sort_by(|one, other| precedence(&decisions[*one].decision).cmp(&precedence(&decisions[*other].decision)));
    for (rank, place) in (0..).zip(order) {
        decisions[place].rank = rank;
    }
    decisions.into_boxed_slice()
}

fn number_exceptions(sources: &[Arc<IndexSource>]) -> Box<[IndexException]> {
    let exceptions = sources.iter().flat_map(|source| &source.parsed.exceptions);
    exceptions
        .map(|exception| IndexException {
            starts: exception.starts(),
            ends: exception.ends().unwrap_or(Timestamp::MAX),
            exception: Arc::clone(exception),
        })
        .collect()
}

/// The strongest basis first, then the earlier date, then the smaller id.
pub(super) fn precedence(decision: &Decision) -> (super::super::decision::Basis, Timestamp, &str) {
    (decision.basis, decision.decided_at.begins(), &decision.id)
}

fn country_code(country: &str) -> Option<[u8; 2]> {
    country.as_bytes().try_into().ok()
}
