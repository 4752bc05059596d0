//! The shortest way from a position to its record.
//!
//! Inside: where the records of each block are, in eight bytes, what else a hit needs to know of it, and the memory that the records of
//! many blocks share. Kept out: blocks themselves, which know the same and more.
//!
//! Where nothing is in a cache, each step that waits for the one before it costs as much as all else. So a hit takes
//! three: the slot of the table, the beginning of the block's records, the record. What else is asked of the block waits for the slot alone.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Candidate, PlacedBlock, Source};
use crate::blocklist::names::{BLOCK_BITS, NameRecord, Owner};

/// Where in its pack a block begins has so many bits; the number of the pack is above them.
const START_BITS: u32 = 40;

/// What is needed of all blocks.
#[derive(Debug, Default)]
pub(super) struct NearBlocks {
    /// Where the records of each block begin: the pack, and the place in it.
    starts: Box<[u64]>,
    blocks: Box<[Near]>,
    packs: Box<[Bytes]>,
}

/// What is needed of one block, other than its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    first_line: u32,
    /// The place of its source's first decision among all of the index.
    pub(super) first_decision: u32,
    pub(super) source: u16,
    /// Whether its source still has it.
    pub(super) is_live: bool,
}

/// Instead of a place, in a pack that no block has: not all of the block's names are under the first decision of the source, as in a feed, or they lie in no pack.
const NOT_PLAIN: u64 = u64::MAX;

impl NearBlocks {
    pub(super) fn new(blocks: &[PlacedBlock], sources: &[Source]) -> Self {
        let mut numbers: HashMap<*const u8, u64> = HashMap::new();
        let mut packs: Vec<Bytes> = Vec::new();
        let mut place_of = |placed: &PlacedBlock| {
            if placed.block.only_owner() != Some(Owner::Decision(0)) {
                return None;
            }
            let (pack, start) = placed.block.records().pack()?;
            let number = *numbers.entry(pack.as_ptr()).or_insert_with(|| {
                packs.push(pack.clone());
                packs.len() as u64 - 1
            });
            // The last number is that of `NOT_PLAIN`.
            let fits = number + 1 < 1 << (u64::BITS - START_BITS) && (start as u64) < 1 << START_BITS;
            fits.then_some(number << START_BITS | start as u64)
        };
        let starts = blocks.iter().map(|placed| place_of(placed).unwrap_or(NOT_PLAIN)).collect();
        let near = blocks.iter().map(|placed| Near {
            first_line: placed.first_line,
            first_decision: sources.get(usize::from(placed.source)).map_or(0, |source| source.first_decision),
            source: placed.source,
            is_live: placed.is_live,
        });
        Self { starts, blocks: near.collect(), packs: packs.into_boxed_slice() }
    }

    /// What is known of the block of a position.
    #[inline(always)]
    pub(super) fn of(&self, position: u64) -> Option<&Near> {
        self.blocks.get((position >> BLOCK_BITS) as usize)
    }

    /// The record at a position of a plain block, with what is known of the block.
    #[inline(always)]
    pub(super) fn record(&self, position: u64) -> Option<(&Near, NameRecord<'_>)> {
        let block = (position >> BLOCK_BITS) as usize;
        let (start, offset) = (*self.starts.get(block)?, position & ((1 << BLOCK_BITS) - 1));
        // None for a block that is not plain.
        let pack = self.packs.get((start >> START_BITS) as usize)?;
        let bytes = pack.get(((start & ((1 << START_BITS) - 1)) + offset) as usize..)?;
        let near = self.blocks.get(block)?;
        Some((near, NameRecord::read(bytes, offset as u32, near.first_line, Owner::Decision(0))?))
    }

    /// Memory, in bytes, without the records.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.blocks) + size_of_val(&*self.packs)
    }
}

impl Near {
    #[inline(always)]
    pub(super) fn candidate(&self, position: u64, record: &NameRecord<'_>) -> Candidate {
        Candidate::new(position, self.source, record)
    }
}
