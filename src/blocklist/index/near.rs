//! The shortest way from a position to its record.
//!
//! Inside: what a hit needs to know of each block, in sixteen bytes, and the memory that the records of many blocks share. Kept
//! out: blocks themselves, which know the same and more.
//!
//! Where nothing is in a cache, each step that waits for the one before it costs as much as all else. So a hit takes
//! three: the slot of the table, this, the record.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Candidate, PlacedBlock};
use crate::blocklist::names::{BLOCK_BITS, NameRecord, Owner};

/// Where in its pack a block begins has so many bits; the number of the pack is above them.
const START_BITS: u32 = 40;

/// What is needed of all blocks.
#[derive(Debug, Default)]
pub(super) struct NearBlocks {
    blocks: Box<[Near]>,
    packs: Box<[Bytes]>,
}

/// What is needed of one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    /// Where its records begin.
    start: u64,
    first_line: u32,
    pub(super) source: u16,
    /// Whether its source still has it.
    pub(super) is_live: bool,
    /// Whether all of its names are under the first decision of the source, as in a feed, and lie in a pack.
    is_plain: bool,
}

impl NearBlocks {
    pub(super) fn new(blocks: &[PlacedBlock]) -> Self {
        let mut numbers: HashMap<*const u8, u64> = HashMap::new();
        let mut packs: Vec<Bytes> = Vec::new();
        let near = blocks.iter().map(|placed| {
            let mut near = Near {
                start: 0,
                first_line: placed.first_line,
                source: placed.source,
                is_live: placed.is_live,
                is_plain: false,
            };
            if placed.block.only_owner() == Some(Owner::Decision(0))
                && let Some((pack, start)) = placed.block.records().pack()
            {
                let number = *numbers.entry(pack.as_ptr()).or_insert_with(|| {
                    packs.push(pack.clone());
                    packs.len() as u64 - 1
                });
                near.start = number << START_BITS | start as u64;
                near.is_plain = number < 1 << (u64::BITS - START_BITS) && (start as u64) < 1 << START_BITS;
            }
            near
        });
        Self { blocks: near.collect(), packs: packs.into_boxed_slice() }
    }

    /// What is known of the block of a position.
    #[inline(always)]
    pub(super) fn of(&self, position: u64) -> Option<&Near> {
        self.blocks.get((position >> BLOCK_BITS) as usize)
    }

    /// The record at a position of a plain block.
    #[inline(always)]
    pub(super) fn record(&self, near: &Near, position: u64) -> Option<NameRecord<'_>> {
        if !near.is_plain {
            return None;
        }
        let offset = position & ((1 << BLOCK_BITS) - 1);
        let pack = self.packs.get((near.start >> START_BITS) as usize)?;
        let start = (near.start & ((1 << START_BITS) - 1)) + offset;
        NameRecord::read(pack.get(start as usize..)?, offset as u32, near.first_line, Owner::Decision(0))
    }

    /// Memory, in bytes, without the records.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.blocks) + size_of_val(&*self.packs)
    }
}

impl Near {
    #[inline(always)]
    pub(super) fn candidate(&self, position: u64, record: &NameRecord<'_>) -> Candidate {
        Candidate::new(position, self.source, record)
    }
}
