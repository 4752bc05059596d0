//! The names of one source, packed into blocks that two versions of the source can share.
//!
//! Inside: blocks, their records, and where each stands in the file. Kept out: how each format is read (`format/`) and how a
//! host is found among all sources (`index/`).
//!
//! A list may have ten million names, so a name costs its bytes and four more, and nothing is allocated for it alone.
//! The index points into these bytes; they are written once and never change after that. Lines are counted from where the
//! block begins, so that a block is the same one wherever the file has it.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use super::pattern::{PatternView, Reach};
use super::records::Records;

/// A block has fewer bytes of records than this.
pub const BLOCK_BYTES: usize = 1 << BLOCK_BITS;

/// An offset in a block has this many bits.
pub const BLOCK_BITS: u32 = 17;

/// Line (2 bytes, little-endian, from the first of the block), flags, length; then the canonical name.
const HEADER_BYTES: usize = 4;

/// Names with their reach, their line and their owner, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Names {
    parts: Vec<Part>,
    count: usize,
    exceptions: usize,
}

/// A block, and where the file has it.
#[derive(Debug, Clone)]
pub struct Part {
    /// The names.
    pub block: Arc<Block>,
    /// The line of the file from which the block counts.
    pub first_line: u32,
}

/// Some names that stand one after the other.
#[derive(Debug, Default)]
pub struct Block {
    records: Records,
    /// What owns the names from the first on: in a feed all of them, so that a lookup finds it without a further step.
    owner: Owner,
    /// From which offset on which other decision or exception owns the names; owners' names stand together.
    owners: Vec<(u32, Owner)>,
    /// Whether an owner comes after a larger one, so that they cannot be searched.
    owners_descend: bool,
    count: u32,
    exceptions: u32,
}

/// What a name is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The decision with this place in [`ParsedSource::decisions`](super::parsed::ParsedSource::decisions).
    Decision(u32),
    /// The exception with this place in [`ParsedSource::exceptions`](super::parsed::ParsedSource::exceptions).
    Exception(u32),
}

impl Default for Owner {
    fn default() -> Self {
        Self::Decision(0)
    }
}

/// What a name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Its hosts are blocked.
    Block,
    /// As `Block`, and the exceptions of its own feed do not lift it (`$important`).
    BlockImportant,
    /// Its hosts are lifted: from every feed where an exception record owns the name, else from the feed that has it.
    Lift,
}

/// One name of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRecord<'a> {
    /// The canonical name.
    pub name: &'a [u8],
    /// Which hosts around it.
    pub reach: Reach,
    /// What happens to them.
    pub effect: Effect,
    /// The line of the file, counted from 1.
    pub line: u32,
    /// What the name is under.
    pub owner: Owner,
    /// Where the record stands in its block.
    pub offset: u32,
}

impl Names {
    /// Adds a name. Lines should ascend, and names of one owner should come one after the other: it costs a block or a few
    /// bytes where they do not.
    pub fn push(&mut self, pattern: PatternView<'_>, effect: Effect, line: u32, owner: Owner) {
        let relative = |part: &Part| line.checked_sub(part.first_line).and_then(|line| u16::try_from(line).ok());
        let is_full = |part: &mut Part| {
            relative(part).is_none() || Arc::get_mut(&mut part.block).is_none_or(|block| block.is_full())
        };
        if self.parts.last_mut().is_none_or(is_full) {
            self.parts.push(Part { block: Arc::default(), first_line: line });
        }
        let Some((block, line)) = self.parts.last_mut().and_then(|part| {
            let line = relative(part)?;
            Some((Arc::get_mut(&mut part.block)?, line))
        }) else {
            return;
        };
        block.push(pattern, effect, line, owner);
        self.count += 1;
        self.exceptions += usize::from(effect == Effect::Lift);
    }

    /// Adds the names of another version, which stand `lines` lines further down here.
    pub fn append(&mut self, other: &Self, lines: u32) {
        let parts = other.parts.iter();
        self.parts.extend(parts.map(|part| Part { first_line: part.first_line + lines, ..part.clone() }));
        self.count += other.count;
        self.exceptions += other.exceptions;
    }

    /// Gives back what was reserved and not needed. What is added after that is in other blocks.
    pub fn shrink_to_fit(&mut self) {
        for block in self.own_blocks() {
            block.records.shrink_to_fit();
            block.owners.shrink_to_fit();
        }
        self.parts.shrink_to_fit();
    }

    /// The blocks that nothing else has.
    pub(super) fn own_blocks(&mut self) -> impl Iterator<Item = &mut Block> {
        self.parts.iter_mut().filter_map(|part| Arc::get_mut(&mut part.block))
    }

    /// The blocks, in the order of the file.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many names there are, exceptions and repeated ones included.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many of them lift instead of blocking.
    pub fn exceptions(&self) -> usize {
        self.exceptions
    }

    /// Memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let blocks: usize = self.parts.iter().map(|part| part.block.memory_bytes()).sum();
        blocks + self.parts.capacity() * size_of::<Part>()
    }

    /// How many distinct patterns block. It hashes and sorts all names: a tenth of a second for a million.
    pub fn distinct(&self) -> usize {
        let hasher = foldhash::quality::FixedState::default();
        let blocking = self.iter().filter(|record| record.effect != Effect::Lift);
        let mut hashes: Vec<u64> = blocking.map(|record| record.pattern_hash(&hasher)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    }

    /// The names in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = NameRecord<'_>> {
        self.parts.iter().flat_map(Part::iter)
    }

    /// The names of one owner.
    pub fn of(&self, owner: Owner) -> impl Iterator<Item = NameRecord<'_>> {
        self.parts.iter().filter(move |part| part.block.may_have(owner)).flat_map(move |part| part.of(owner))
    }
}

impl Part {
    /// Its names.
    pub fn iter(&self) -> RecordIter<'_> {
        self.block.iter(self.first_line)
    }

    fn of(&self, owner: Owner) -> impl Iterator<Item = NameRecord<'_>> {
        let owners = &self.block.owners;
        let (from, to) = if self.block.owners_descend {
            (0, owners.len())
        } else {
            (owners.partition_point(|run| run.1 < owner), owners.partition_point(|run| run.1 <= owner))
        };
        let first = (self.block.owner == owner).then_some((0, 0));
        let others = (from..to).filter(move |run| owners.get(*run).is_some_and(|run| run.1 == owner));
        let others = others.filter_map(move |run| Some((run + 1, owners.get(run)?.0)));
        first.into_iter().chain(others).flat_map(move |(next_run, start)| {
            let end = owners.get(next_run).map_or(u32::MAX, |(start, _)| *start);
            let run = RecordIter { owner, next_run, offset: start as usize, ..self.iter() };
            run.take_while(move |record| record.offset < end)
        })
    }
}

impl Block {
    /// Its names, where it begins at this line.
    pub fn iter(&self, first_line: u32) -> RecordIter<'_> {
        RecordIter { block: self, first_line, offset: 0, owner: self.owner, next_run: 0 }
    }

    /// The record at an offset that an iteration gave out. Allocates nothing.
    #[inline]
    pub fn at(&self, offset: u32, first_line: u32) -> Option<NameRecord<'_>> {
        let run = if self.owners.is_empty() { 0 } else { self.owners.partition_point(|(start, _)| *start <= offset) };
        let owner = run.checked_sub(1).and_then(|run| self.owners.get(run)).map_or(self.owner, |(_, owner)| *owner);
        self.read(offset as usize, first_line, owner)
    }

    /// Whether a name of it may be under an owner.
    fn may_have(&self, owner: Owner) -> bool {
        self.owners_descend || (self.owner <= owner && owner <= self.last_owner())
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many of its names lift instead of blocking.
    pub fn exceptions(&self) -> usize {
        self.exceptions as usize
    }

    /// Memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.records.memory_bytes() + self.owners.capacity() * size_of::<(u32, Owner)>()
    }

    fn push(&mut self, pattern: PatternView<'_>, effect: Effect, line: u16, owner: Owner) {
        if self.is_empty() {
            self.owner = owner;
        } else if self.last_owner() != owner {
            self.owners_descend |= self.last_owner() > owner;
            self.owners.push((self.records.bytes().len() as u32, owner));
        }
        debug_assert!(pattern.name.len() <= usize::from(u8::MAX), "a host has at most 253 bytes");
        let line = line.to_le_bytes();
        if let Some(records) = self.records.open() {
            records.extend_from_slice(&[line[0], line[1], flags(pattern.reach, effect), pattern.name.len() as u8]);
            records.extend_from_slice(pattern.name.as_bytes());
        }
        self.count += 1;
        self.exceptions += u32::from(effect == Effect::Lift);
    }

    fn last_owner(&self) -> Owner {
        self.owners.last().map_or(self.owner, |(_, owner)| *owner)
    }

    /// Where its names are.
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// The same, to be moved.
    pub(super) fn records_mut(&mut self) -> &mut Records {
        &mut self.records
    }

    /// The owner of all names, where there is one.
    pub(super) fn only_owner(&self) -> Option<Owner> {
        self.owners.is_empty().then_some(self.owner)
    }

    /// Whether the longest name might not fit any more.
    fn is_full(&mut self) -> bool {
        let longest = HEADER_BYTES + usize::from(u8::MAX);
        self.records.open().is_none_or(|records| records.len() + longest > BLOCK_BYTES)
    }

    #[inline]
    fn read(&self, offset: usize, first_line: u32, owner: Owner) -> Option<NameRecord<'_>> {
        NameRecord::read(self.records.bytes().get(offset..)?, offset as u32, first_line, owner)
    }
}

impl<'a> NameRecord<'a> {
    /// The record with which some bytes of a block begin; what they do not say is given.
    #[inline(always)]
    pub(super) fn read(bytes: &'a [u8], offset: u32, first_line: u32, owner: Owner) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [l0, l1, flags, length] = *header;
        let (reach, effect) = from_flags(flags);
        let line = first_line.wrapping_add(u32::from(u16::from_le_bytes([l0, l1])));
        Some(Self { name: rest.get(..usize::from(length))?, reach, effect, line, owner, offset })
    }

    /// Name and reach as a pattern.
    pub fn view(&self) -> PatternView<'a> {
        PatternView { name: std::str::from_utf8(self.name).unwrap_or_default(), reach: self.reach }
    }

    /// A hash of name and reach, to count by.
    pub(super) fn pattern_hash(&self, hasher: &foldhash::quality::FixedState) -> u64 {
        let mut state = hasher.build_hasher();
        state.write(self.name);
        state.write_u8(self.reach as u8);
        state.finish()
    }
}

/// The names of a block one after the other; see [`Block::iter`].
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    block: &'a Block,
    first_line: u32,
    offset: usize,
    owner: Owner,
    /// Which of the other owners comes next.
    next_run: usize,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = NameRecord<'a>;

    fn next(&mut self) -> Option<NameRecord<'a>> {
        if let Some((start, owner)) = self.block.owners.get(self.next_run)
            && *start as usize <= self.offset
        {
            (self.owner, self.next_run) = (*owner, self.next_run + 1);
        }
        let record = self.block.read(self.offset, self.first_line, self.owner)?;
        self.offset += HEADER_BYTES + record.name.len();
        Some(record)
    }
}

const fn flags(reach: Reach, effect: Effect) -> u8 {
    reach as u8 | (effect as u8) << 2
}

const fn from_flags(flags: u8) -> (Reach, Effect) {
    let reach = match flags & 3 {
        0 => Reach::Exact,
        1 => Reach::Below,
        _ => Reach::Subtree,
    };
    let effect = match flags >> 2 {
        0 => Effect::Block,
        1 => Effect::BlockImportant,
        _ => Effect::Lift,
    };
    (reach, effect)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (String, Reach, Effect, u32, Owner);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let reach = prop_oneof![Just(Reach::Exact), Just(Reach::Below), Just(Reach::Subtree)];
        let effect = prop_oneof![Just(Effect::Block), Just(Effect::BlockImportant), Just(Effect::Lift)];
        let owner = prop_oneof![(0..3_u32).prop_map(Owner::Decision), (0..3_u32).prop_map(Owner::Exception)];
        let line = prop_oneof![3 => 1..200_u32, 1 => 65_000..66_000_u32, 1 => any::<u32>()];
        proptest::collection::vec(("[a-c]{1,3}", reach, effect, line, owner), 0..40)
    }

    fn pack(rows: &[Row]) -> Names {
        let mut names = Names::default();
        for (name, reach, effect, line, owner) in rows {
            names.push(PatternView { name, reach: *reach }, *effect, *line, *owner);
        }
        names.shrink_to_fit();
        names
    }

    fn row(record: NameRecord<'_>) -> Row {
        (record.view().name.to_owned(), record.reach, record.effect, record.line, record.owner)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out(rows in rows()) {
            let names = pack(&rows);
            prop_assert_eq!(names.len(), rows.len());
            prop_assert_eq!(names.exceptions(), rows.iter().filter(|row| row.2 == Effect::Lift).count());
            prop_assert_eq!(&names.iter().map(row).collect::<Vec<_>>(), &rows);
            let at = |part: &Part| -> Vec<Row> {
                part.iter().filter_map(|record| part.block.at(record.offset, part.first_line)).map(row).collect()
            };
            prop_assert_eq!(&names.parts().iter().flat_map(at).collect::<Vec<_>>(), &rows);
            let counted: usize = names.parts().iter().map(|part| part.block.len()).sum();
            prop_assert_eq!(counted, rows.len());
            let owner = Owner::Decision(1);
            let of_owner: Vec<Row> = rows.iter().filter(|row| row.4 == owner).cloned().collect();
            prop_assert_eq!(names.of(owner).map(row).collect::<Vec<_>>(), of_owner);
        }

        #[test]
        fn distinct_counts_blocking_patterns_once(rows in rows()) {
            let blocking = rows.iter().filter(|row| row.2 != Effect::Lift);
            let distinct: std::collections::HashSet<_> = blocking.map(|row| (&row.0, row.1)).collect();
            prop_assert_eq!(pack(&rows).distinct(), distinct.len());
        }

        #[test]
        fn appended_names_are_the_same_blocks_further_down(rows in rows(), lines in 0..1_000_u32) {
            let rows: Vec<Row> = rows.into_iter().filter(|row| row.3 < u32::MAX - 1_000).collect();
            let (names, mut further) = (pack(&rows), pack(&rows));
            further.append(&names, lines);
            let moved = rows.iter().cloned().map(|row| (row.0, row.1, row.2, row.3 + lines, row.4));
            let expected: Vec<Row> = rows.iter().cloned().chain(moved).collect();
            prop_assert_eq!(further.iter().map(row).collect::<Vec<_>>(), expected);
            let shared = names.parts().iter().all(|part| Arc::strong_count(&part.block) == 2);
            prop_assert!(shared);
        }
    }

    #[test]
    fn a_block_is_never_longer_than_an_offset_can_say() {
        let name = ["a".repeat(63).as_str(); 3].join(".");
        let rows: Vec<Row> =
            (1..=2_000).map(|line| (name.clone(), Reach::Exact, Effect::Block, line, Owner::Decision(0))).collect();
        let names = pack(&rows);
        assert!(names.parts().len() > 1);
        assert!(names.parts().iter().all(|part| part.block.records.bytes().len() <= BLOCK_BYTES));
        assert_eq!(names.iter().map(row).collect::<Vec<_>>(), rows);
    }
}
