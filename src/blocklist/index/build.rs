//! How an index is built from its sources.
//!
//! Inside: numbering, order of precedence, and filling the tables of base and delta. Kept out: the table's layout, which names
//! an update concerns (`update.rs`), and every question that is asked of the result. It takes about a hundred milliseconds for a
//! million names, on a thread of its own.

use std::sync::Arc;

use jiff::Timestamp;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::near::NearBlocks;
use super::table::{MAX_VALUE, Pointer, TableBuilder};
use super::walk::{Masks, NameHasher};
use super::{
    Base, Candidate, Index, IndexDecision, IndexException, IndexSource, Layer, PlacedBlock, Role, Source, is_shadow,
};
use crate::background::{breathe, sort, with_breaks};
use crate::blocklist::decision::Decision;
use crate::blocklist::names::BLOCK_BITS;
use crate::blocklist::pattern::Reach;
use crate::large::Array;

/// An index has at most this many blocks of names: what a slot of the table can tell apart.
pub(in crate::blocklist) const MAX_BLOCKS: usize = (MAX_VALUE >> BLOCK_BITS) as usize;

impl Index {
    /// Builds an index. The seed should be random for each build: who knows it can make names that collide.
    ///
    /// # Panics
    ///
    /// With 65,536 sources or more, or with more than 2^29 blocks of names, which the reload does not let come this far.
    pub fn build(sources: &[Arc<IndexSource>], seed: u64) -> Self {
        let blocks = place_blocks(sources);
        let empty = Base {
            layer: Layer { table: TableBuilder::new(0).finish(), masks: Masks::default(), lists: Box::default() },
            blocks: Box::default(),
            names: Box::default(),
            hasher: NameHasher::new(seed),
        };
        let mut index = Self::new(Arc::new(empty), blocks, sources);
        let (keys, masks) = sorted_keys(&index);
        let mut filler = Filler::new(&index, TableBuilder::new(by_hash(keys.as_slice()).count()), masks, false);
        with_breaks(by_hash(keys.as_slice())).for_each(|same_hash| filler.add(same_hash));
        let (layer, repeated) = filler.finish();
        for (source, repeated) in index.sources.iter_mut().zip(repeated) {
            let names = &source.source.parsed.names;
            source.names = names.len() - names.exceptions() - repeated;
        }
        let (blocks, names, hasher) = (index.blocks.clone(), index.names().collect(), index.base.hasher.clone());
        index.masks = layer.masks;
        index.base = Arc::new(Base { layer, blocks, names, hasher });
        index
    }

    /// An index over a base, without a delta; its sources have no names yet.
    pub(super) fn new(base: Arc<Base>, blocks: Box<[PlacedBlock]>, sources: &[Arc<IndexSource>]) -> Self {
        let decisions = number_decisions(sources);
        let numbered = number_sources(sources);
        Self {
            masks: base.layer.masks,
            base,
            delta: None,
            near: NearBlocks::new(&blocks, &numbered),
            blocks,
            sources: numbered,
            has_lifts: sources.iter().any(|source| source.parsed.names.exceptions() > 0),
            decisions,
            exceptions: number_exceptions(sources),
        }
    }

    /// The order among the entries of one name: those for the name alone first, then by decision, then as they were written.
    pub(super) fn precedence(&self, candidate: &Candidate) -> (bool, bool, u32, u16, Reach, Role, u32) {
        let lifts = candidate.role().lifts();
        let rank = if lifts { candidate.owner } else { self.decision(candidate).map_or(0, |decision| decision.rank) };
        let is_wide = candidate.reach() != Reach::Exact;
        let line = self.record(candidate.position()).map_or(0, |(_, record)| record.line);
        (lifts, is_wide, rank, candidate.source, candidate.reach(), candidate.role(), line)
    }
}

/// A record with the hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Key {
    pub(super) hash: u64,
    pub(super) position: u64,
}

/// The keys of each hash.
pub(super) fn by_hash(keys: &[Key]) -> impl Iterator<Item = &[Key]> {
    keys.chunk_by(|one, other| one.hash == other.hash)
}

/// Adds the keys of the records of a block that stands at a place among all; the masks take in the names.
pub(super) fn add_keys(
    keys: &mut Array<Key>,
    masks: &mut Masks,
    place: usize,
    placed: &PlacedBlock,
    hasher: &NameHasher,
) {
    let start = (place as u64) << BLOCK_BITS;
    keys.extend(placed.iter().map(|record| {
        let name = hasher.name(record.name);
        masks.add(record.name);
        Key { hash: name.hash, position: start + u64::from(record.offset) }
    }));
}

fn sorted_keys(index: &Index) -> (Array<Key>, Masks) {
    let mut keys = Array::with_room_for(index.blocks.iter().map(|placed| placed.block.len()).sum());
    let mut masks = Masks::default();
    for (place, placed) in index.blocks.iter().enumerate() {
        add_keys(&mut keys, &mut masks, place, placed, &index.base.hasher);
        breathe();
    }
    sort(keys.as_mut_slice());
    (keys, masks)
}

/// Fills a layer with names and their entries.
pub(super) struct Filler<'i> {
    table: TableBuilder,
    masks: Masks,
    lists: Vec<Candidate>,
    /// For each source, how many of its names block by a pattern that it has already had.
    repeated: Vec<usize>,
    /// Sources, decisions and blocks are there already.
    index: &'i Index,
    /// A delta is made anew from the base each time, and needs no spares.
    is_delta: bool,
}

impl<'i> Filler<'i> {
    pub(super) fn new(index: &'i Index, table: TableBuilder, masks: Masks, is_delta: bool) -> Self {
        Self { table, masks, lists: Vec::new(), repeated: vec![0; index.sources.len()], index, is_delta }
    }

    /// Adds the records of one hash: nearly always of one name, and most often one record.
    fn add(&mut self, same_hash: &[Key]) {
        if let [key] = same_hash {
            // The record is not touched: in the order of hashes it is not in any cache.
            self.table.insert(key.hash, Pointer::Record(key.position));
            return;
        }
        for (_, candidates) in by_name(self.index, same_hash) {
            self.add_name(same_hash[0].hash, candidates);
        }
    }

    /// Adds all entries of one name.
    pub(super) fn add_name(&mut self, hash: u64, mut candidates: Vec<Candidate>) {
        candidates.sort_by_cached_key(|candidate| self.index.precedence(candidate));
        self.count_repeated(&candidates);
        // A repeated line says nothing new. One in another block may be all that stays when this block goes.
        let block = |candidate: &Candidate| candidate.position >> BLOCK_BITS;
        candidates.dedup_by(|later, earlier| later.is_same(earlier) && block(later) == block(earlier));
        let (mut entries, mut spares): (Vec<Candidate>, Vec<Candidate>) = (Vec::new(), Vec::new());
        for candidate in candidates {
            let is_spare = entries.last().is_some_and(|entry| entry.is_same(&candidate));
            if is_spare { &mut spares } else { &mut entries }.push(candidate);
        }
        if self.is_delta {
            spares.clear();
        }
        if let ([candidate], []) = (entries.as_slice(), spares.as_slice()) {
            self.table.insert(hash, Pointer::Record(candidate.position));
            return;
        }
        self.table.insert(hash, Pointer::List(self.lists.len() as u64));
        if let Some(last) = entries.last_mut() {
            last.position |= if spares.is_empty() { Candidate::LAST } else { Candidate::LAST | Candidate::SPARES };
        }
        if let Some(last) = spares.last_mut() {
            last.position |= Candidate::LAST;
        }
        self.lists.append(&mut entries);
        self.lists.append(&mut spares);
    }

    fn count_repeated(&mut self, candidates: &[Candidate]) {
        for pair in patterns(candidates).windows(2).filter(|pair| pair[0] == pair[1]) {
            self.repeated[usize::from(pair[0].0)] += 1;
        }
    }

    pub(super) fn finish(self) -> (Layer, Vec<usize>) {
        let Self { table, masks, lists, repeated, .. } = self;
        (Layer { table: table.finish(), masks, lists: lists.into_boxed_slice() }, repeated)
    }
}

/// The patterns of one name that block, each with its source, in order; those that are repeated stand together.
pub(super) fn patterns(candidates: &[Candidate]) -> Vec<(u16, Reach)> {
    let blocking = candidates.iter().filter(|candidate| !candidate.role().lifts());
    let mut patterns: Vec<(u16, Reach)> = blocking.map(|candidate| (candidate.source, candidate.reach())).collect();
    patterns.sort_unstable();
    patterns
}

/// The records of one hash, by name.
pub(super) fn by_name<'i>(index: &'i Index, same_hash: &[Key]) -> Vec<(&'i [u8], Vec<Candidate>)> {
    let mut names: Vec<(&[u8], Vec<Candidate>)> = Vec::with_capacity(1);
    for key in same_hash {
        let Some((near, record)) = index.record(key.position) else { continue };
        let candidate = near.candidate(key.position, &record);
        match names.iter_mut().find(|(name, _)| *name == record.name) {
            Some((_, candidates)) => candidates.push(candidate),
            None => names.push((record.name, vec![candidate])),
        }
    }
    names
}

fn place_blocks(sources: &[Arc<IndexSource>]) -> Box<[PlacedBlock]> {
    let placed = (0..).zip(sources).flat_map(|(source, entry)| {
        let parts = entry.parsed.names.parts().iter();
        parts.map(move |part| PlacedBlock {
            block: Arc::clone(&part.block),
            first_line: part.first_line,
            source,
            is_live: true,
        })
    });
    let placed: Box<[PlacedBlock]> = placed.collect();
    assert!(placed.len() <= MAX_BLOCKS, "the reload does not let so many names come this far");
    placed
}

fn number_sources(sources: &[Arc<IndexSource>]) -> Box<[Source]> {
    assert!(sources.len() <= usize::from(u16::MAX), "a configuration has fewer than 65,536 sources");
    let (mut first_decision, mut first_exception) = (0, 0);
    let mut numbered = Vec::with_capacity(sources.len());
    for source in sources {
        numbered.push(Source { source: Arc::clone(source), first_decision, first_exception, names: 0 });
        first_decision += source.parsed.decisions.len() as u32;
        first_exception += source.parsed.exceptions.len() as u32;
    }
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
