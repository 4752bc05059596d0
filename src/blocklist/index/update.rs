//! An index from another one and a small change.
//!
//! Inside: which blocks of names came and went, and the delta that says what that means. Kept out: building from nothing, which
//! is what larger changes get, and what takes the delta into a new base now and then.

use std::collections::HashMap;
use std::sync::Arc;

use super::build::{Filler, Key, MAX_BLOCKS, add_keys, by_hash, by_name, patterns};
use super::table::TableBuilder;
use super::walk::Masks;
use super::{Candidate, Index, IndexSource, PlacedBlock};
use crate::background::sort;
use crate::blocklist::names::Block;
use crate::large::Array;

/// A change that concerns more than this part of the base's names is built from nothing.
const LARGEST_PART: usize = 8;

/// Below this many names the part does not matter.
const ALWAYS_SMALL: usize = 16_384;

impl Index {
    /// The index of other content of the same sources, over the same base; none where so much changed that it had better be built.
    pub fn update(&self, sources: &[Arc<IndexSource>]) -> Option<Self> {
        let is_same = |one: &IndexSource, other: &IndexSource| one.name == other.name && one.is_feed == other.is_feed;
        if self.sources.len() != sources.len() || !self.sources().zip(sources).all(|(one, other)| is_same(one, other)) {
            return None;
        }
        let blocks = place_blocks(&self.base.blocks, sources);
        let is_concerned = |place: usize, placed: &PlacedBlock| !placed.is_live || place >= self.base.blocks.len();
        let concerned = || blocks.iter().enumerate().filter(|(place, placed)| is_concerned(*place, placed));
        let names: usize = concerned().map(|(_, placed)| placed.block.len()).sum();
        let all: usize = self.base.blocks.iter().map(|placed| placed.block.len()).sum();
        if names > (all / LARGEST_PART).max(ALWAYS_SMALL) || blocks.len() > MAX_BLOCKS {
            return None;
        }
        let mut keys = Array::with_room_for(names);
        let mut masks = Masks::default();
        for (place, placed) in concerned() {
            // The names that are gone are among those of the base, whose masks stay.
            add_keys(&mut keys, &mut masks, place, placed, &self.base.hasher);
        }
        sort(keys.as_mut_slice());
        let mut index = Self::new(Arc::clone(&self.base), blocks, sources);
        index.take_in(keys.as_slice(), masks);
        Some(index)
    }

    /// How many names are not in the base, or are there and gone.
    pub fn delta_names(&self) -> usize {
        let new = self.blocks.iter().skip(self.base.blocks.len());
        new.chain(self.blocks.iter().filter(|placed| !placed.is_live)).map(|placed| placed.block.len()).sum()
    }

    /// Makes the delta of the records of all blocks that came or went.
    fn take_in(&mut self, keys: &[Key], masks: Masks) {
        let distinct = by_hash(keys).count();
        let mut filler = Filler::new(self, TableBuilder::new(distinct), masks, true);
        let mut names: Vec<isize> = self.base.names.iter().map(|names| *names as isize).collect();
        for same_hash in by_hash(keys) {
            for (name, concerned) in by_name(self, same_hash) {
                let found = self.find_in(&self.base.layer, &self.base.hasher.name(name)).unwrap_or_default();
                let (entries, spares) = found.with_spares();
                let live =
                    |candidate: &&Candidate| self.placed(candidate.position()).is_some_and(|block| block.is_live);
                let new: Vec<Candidate> = concerned.iter().filter(live).copied().collect();
                let says_the_same = |spare: &Candidate| entries.iter().filter(live).any(|entry| entry.is_same(spare));
                let is_in_base = new.is_empty() && spares.iter().filter(live).all(says_the_same);
                let before: Vec<Candidate> = entries.iter().chain(&spares).copied().collect();
                let stay = before.iter().filter(live).map(Candidate::alone);
                let after: Vec<Candidate> = stay.chain(new).collect();
                sources_of(&before).for_each(|source| names[source] -= 1);
                sources_of(&after).for_each(|source| names[source] += 1);
                // What is gone is marked so in its block.
                if !is_in_base {
                    filler.add_name(same_hash[0].hash, after);
                }
            }
        }
        let (layer, _) = filler.finish();
        self.masks = self.masks.union(&layer.masks);
        self.delta = (!keys.is_empty()).then_some(layer);
        for (source, names) in self.sources.iter_mut().zip(names) {
            source.names = usize::try_from(names).unwrap_or_default();
        }
    }
}

/// The source of each distinct pattern that blocks.
fn sources_of(candidates: &[Candidate]) -> impl Iterator<Item = usize> {
    let mut patterns = patterns(candidates);
    patterns.dedup();
    patterns.into_iter().map(|(source, _)| usize::from(source))
}

/// The blocks of the base, those that the sources still have at their new lines, and after them the blocks that it does not have.
/// A block that was moved before another counts as a new one, so that what stays is in the order of the file.
fn place_blocks(base: &[PlacedBlock], sources: &[Arc<IndexSource>]) -> Box<[PlacedBlock]> {
    let mut placed: Vec<PlacedBlock> =
        base.iter().map(|placed| PlacedBlock { is_live: false, ..placed.clone() }).collect();
    let mut places: HashMap<(u16, *const Block), Vec<usize>> = HashMap::with_capacity(base.len());
    for (place, block) in base.iter().enumerate().rev() {
        places.entry((block.source, Arc::as_ptr(&block.block))).or_default().push(place);
    }
    for (source, entry) in (0..).zip(sources) {
        let mut next = 0;
        for part in entry.parsed.names.parts() {
            let known = places.get_mut(&(source, Arc::as_ptr(&part.block))).and_then(Vec::pop);
            let (block, first_line) = (Arc::clone(&part.block), part.first_line);
            match known.filter(|place| *place >= next).and_then(|place| Some((place, placed.get_mut(place)?))) {
                Some((place, known)) => {
                    (known.first_line, known.is_live) = (first_line, true);
                    next = place + 1;
                }
                None => placed.push(PlacedBlock { block, first_line, source, is_live: true }),
            }
        }
    }
    placed.into_boxed_slice()
}
