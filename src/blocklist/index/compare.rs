//! One index against another, and against what it was built from.
//!
//! Inside: how many names came and went, and the check before an index is published. Kept out: the guards that say
//! whether so much change is allowed.

use std::collections::HashSet;
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Index;
use crate::background::{breathe, sort, with_breaks};
use crate::blocklist::names::{BLOCK_BITS, Block, Effect, NameRecord, Part};
use crate::large::Array;

/// How many distinct patterns of a source came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the new index and not in the old one.
    pub added: usize,
    /// In the old index and not in the new one.
    pub removed: usize,
}

/// A name of a source that the index built from it does not find.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the index does not find `{pattern}` of source `{source_name}`, line {line}; it is not used")]
pub struct SelfCheckError {
    /// The source.
    pub source_name: String,
    /// The line.
    pub line: u32,
    /// The pattern.
    pub pattern: String,
}

impl Index {
    /// What came and went in each source since another index. Blocks of names that both share cost nothing.
    pub fn changes_since(&self, old: &Self) -> Vec<Changes> {
        let changes = (0..).zip(&self.sources).map(|(place, source)| {
            let Some(before) = old.place_of(&source.source.name) else {
                return Changes { added: source.names, removed: 0 };
            };
            let (old_parts, new_parts) = (old.parts(before), self.parts(place));
            let gone = Patterns::of(old_parts, new_parts);
            let new = Patterns::of(new_parts, old_parts);
            Changes {
                // A name may also be in a block that both share.
                added: new.without(&gone).filter(|record| gone.is_all || !old.blocks_by(before, record)).count(),
                removed: gone.without(&new).filter(|record| new.is_all || !self.blocks_by(place, record)).count(),
            }
        });
        changes.collect()
    }

    /// Looks up at least `samples` names of each source, evenly spread, as a request would; returns how many it looked up.
    pub fn self_check(&self, samples: usize) -> Result<usize, Box<SelfCheckError>> {
        let mut checked = 0;
        for (place, placed) in self.blocks.iter().enumerate().filter(|(_, placed)| placed.is_live) {
            let source = &self.sources[usize::from(placed.source)].source;
            let start = (place as u64) << BLOCK_BITS;
            for record in placed.iter().step_by((source.parsed.names.len() / samples.max(1)).max(1)) {
                let expected = placed.candidate(start + u64::from(record.offset), &record);
                let name = self.base.hasher.name(record.name);
                let is_found =
                    self.masks.may_have(record.name) && self.candidates(&name).any(|found| found.is_same(&expected));
                if !is_found {
                    return Err(Box::new(SelfCheckError {
                        source_name: source.name.clone(),
                        line: record.line,
                        pattern: record.view().to_string(),
                    }));
                }
                checked += 1;
            }
        }
        Ok(checked)
    }

    fn parts(&self, place: u16) -> &[Part] {
        self.source(place).map_or(&[], |source| source.parsed.names.parts())
    }

    fn place_of(&self, name: &str) -> Option<u16> {
        (0..).zip(&self.sources).find(|(_, source)| source.source.name == name).map(|(place, _)| place)
    }

    /// Whether a source blocks by exactly this pattern.
    fn blocks_by(&self, source: u16, record: &NameRecord<'_>) -> bool {
        let name = self.base.hasher.name(record.name);
        let mut candidates = self.candidates(&name);
        candidates.any(|found| found.source == source && found.reach() == record.reach && !found.role().lifts())
    }
}

/// Distinct patterns that block, in the order of their hashes. A hash is enough to count by: nothing is blocked because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct PatternKey {
    hash: u64,
    part: u32,
    offset: u32,
}

struct Patterns<'p> {
    parts: Vec<&'p Part>,
    /// Whether these are the patterns of all parts.
    is_all: bool,
    keys: Array<PatternKey>,
}

impl<'p> Patterns<'p> {
    /// The patterns of the parts that are not among others.
    fn of(parts: &'p [Part], others: &[Part]) -> Self {
        let others: HashSet<*const Block> = others.iter().map(|part| Arc::as_ptr(&part.block)).collect();
        let all = parts.len();
        let parts: Vec<&Part> = parts.iter().filter(|part| !others.contains(&Arc::as_ptr(&part.block))).collect();
        let hasher = foldhash::quality::FixedState::default();
        let mut keys = Array::with_room_for(parts.iter().map(|part| part.block.len()).sum());
        for (place, part) in (0..).zip(&parts) {
            let blocking = part.iter().filter(|record| record.effect != Effect::Lift);
            keys.extend(blocking.map(|record| PatternKey {
                hash: record.pattern_hash(&hasher),
                part: place,
                offset: record.offset,
            }));
            breathe();
        }
        sort(keys.as_mut_slice());
        Self { is_all: parts.len() == all, parts, keys }
    }

    /// Those whose hash is not among others.
    fn without(&self, others: &Self) -> impl Iterator<Item = NameRecord<'p>> {
        let mut others = others.keys.as_slice().iter().map(|key| key.hash).peekable();
        let distinct = self.keys.as_slice().chunk_by(|one, other| one.hash == other.hash).filter_map(<[_]>::first);
        let alone = with_breaks(distinct).filter(move |key| {
            while others.next_if(|other| *other < key.hash).is_some() {}
            others.peek() != Some(&key.hash)
        });
        alone.filter_map(|key| {
            let part = self.parts.get(key.part as usize)?;
            part.block.at(key.offset, part.first_line)
        })
    }
}
