//! The hash table of the index: one cache line a probe, and a hash alone never finds anything.
//!
//! Inside: lines of eight slots. Kept out: the hash and what spares probes (`walk.rs`), names, which the caller compares, and
//! what a found name means.
//!
//! A name's hash gives its line (high bits) and a tag (low bits) that is compared with the line's slots. A full line
//! passes names on to the next, and says with one of eight bits for each whether names like it were passed on. A miss ends at the first
//! line that passed on none like it. So about one miss in twenty goes on, where one in five would if there were one bit for all:
//! these cost the most, since no processor foresees them.

use bytes::Bytes;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::large::{Array, elements_of};

const SLOTS: usize = 8;

/// A line is filled to a little more than seven tenths on average: at that load about one line in five passes names on.
const NAMES_PER_TEN_LINES: u64 = 58;

/// Above the fourteen highest bits of a value: whether it is a list, and whether the line passed names on that have the slot's number
/// in their hash, wherever the value's own name is.
const VALUE_BITS: u32 = 46;
const LIST: u16 = 1 << 14;
const PASSED_ON: u16 = 1 << 15;

/// Values are below this.
pub(super) const MAX_VALUE: u64 = 1 << VALUE_BITS;

/// Eight slots in one cache line. The tags stand together, so that all are compared at once; no tag: nothing in the slot.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(64))]
struct Line {
    tags: [u16; SLOTS],
    /// The high bits of the values, with the flags.
    high: [u16; SLOTS],
    low: [u32; SLOTS],
}

/// What a slot points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pointer {
    /// The one record of a name.
    Record(u64),
    /// Where the list of a name's candidates begins.
    List(u64),
}

/// The table, which never changes once it is built.
#[derive(Debug)]
pub(super) struct Table {
    /// The bytes of its lines.
    lines: Bytes,
    home_lines: u64,
    longest_chain: u32,
}

/// What a table consists of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'t> {
    lines: &'t [Line],
    home_lines: u64,
}

/// A table that is being filled.
#[derive(Debug)]
pub(super) struct TableBuilder {
    lines: Array<Line>,
    home_lines: u64,
    longest_chain: u32,
}

impl Table {
    /// To look names up in it.
    #[inline(always)]
    pub(super) fn lines(&self) -> Lines<'_> {
        Lines { lines: elements_of(&self.lines), home_lines: self.home_lines }
    }

    /// The number of lines that the worst name costs.
    pub(super) fn longest_chain(&self) -> u32 {
        self.longest_chain
    }

    /// Memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.lines.len()
    }
}

impl Lines<'_> {
    /// Whether there may be a name with this hash. One time in about ten thousand there is none.
    #[inline(always)]
    pub(super) fn hints_at(&self, hash: u64) -> bool {
        let tag = tag(hash);
        let mut at = home(hash, self.home_lines);
        while let Some(line) = self.lines.get(at) {
            if line.has(tag) {
                return true;
            }
            if !line.passed_on(hash) {
                return false;
            }
            at += 1;
        }
        false
    }

    /// The first pointer that may be of a name with this hash, which nearly always is the only one.
    #[inline(always)]
    pub(super) fn first(&self, hash: u64) -> Option<Pointer> {
        let tag = tag(hash);
        let mut at = home(hash, self.home_lines);
        loop {
            let line = self.lines.get(at)?;
            if let Some(slot) = line.slot_of(tag) {
                return Some(line.pointer(slot % SLOTS));
            }
            if !line.passed_on(hash) {
                return None;
            }
            at += 1;
        }
    }

    /// The pointer of a name with this hash, where `accept` says that it is that name's. Allocates nothing.
    pub(super) fn find<T>(&self, hash: u64, mut accept: impl FnMut(Pointer) -> Option<T>) -> Option<T> {
        let tag = tag(hash);
        let mut at = home(hash, self.home_lines);
        loop {
            let line = self.lines.get(at)?;
            for slot in (0..SLOTS).filter(|slot| line.tags[*slot] == tag) {
                if let Some(found) = accept(line.pointer(slot)) {
                    return Some(found);
                }
            }
            if !line.passed_on(hash) {
                return None;
            }
            at += 1;
        }
    }
}

impl Line {
    const EMPTY: Self = Self { tags: [0; SLOTS], high: [0; SLOTS], low: [0; SLOTS] };

    #[inline(always)]
    fn has(&self, tag: u16) -> bool {
        self.tags.iter().fold(false, |has, other| has | (*other == tag))
    }

    /// The first slot with a tag.
    #[inline(always)]
    fn slot_of(&self, tag: u16) -> Option<usize> {
        const ONES: u64 = 0x0001_0001_0001_0001;
        let [first, second] = [0, 4].map(|at: usize| {
            let tags = (0..4).fold(0, |tags, slot| tags | u64::from(self.tags[at + slot]) << (16 * slot));
            let differ = tags ^ (u64::from(tag) * ONES);
            // The high bit of each that does not differ, and perhaps of some after it.
            differ.wrapping_sub(ONES) & !differ & ONES << 15
        });
        let (same, at) = if first == 0 { (second, 4) } else { (first, 0) };
        (same != 0).then(|| at + same.trailing_zeros() as usize / 16)
    }

    #[inline(always)]
    fn passed_on(&self, hash: u64) -> bool {
        self.high[passed_on_slot(hash)] & PASSED_ON != 0
    }

    #[inline(always)]
    fn pointer(&self, slot: usize) -> Pointer {
        let high = self.high[slot];
        let value = u64::from(high & (LIST - 1)) << 32 | u64::from(self.low[slot]);
        if high & LIST == 0 { Pointer::Record(value) } else { Pointer::List(value) }
    }

    /// Takes a name in where there is room; else says in the line that it was passed on.
    fn add(&mut self, hash: u64, pointer: Pointer) -> bool {
        let Some(free) = self.tags.iter().position(|tag| *tag == 0) else {
            self.high[passed_on_slot(hash)] |= PASSED_ON;
            return false;
        };
        let (value, flag) = match pointer {
            Pointer::Record(value) => (value, 0),
            Pointer::List(value) => (value, LIST),
        };
        self.tags[free] = tag(hash);
        self.high[free] = (value >> 32) as u16 | flag;
        self.low[free] = value as u32;
        true
    }
}

impl TableBuilder {
    /// A table for a number of distinct names.
    pub(super) fn new(names: usize) -> Self {
        let home_lines = (names as u64 * 10).div_ceil(NAMES_PER_TEN_LINES).max(1);
        let count = usize::try_from(home_lines).unwrap_or(usize::MAX);
        Self { lines: Array::zeroed(count), home_lines, longest_chain: 0 }
    }

    /// Adds a name that is not there yet. Names come in the order of their hashes, so that memory is filled from one end
    /// to the other.
    pub(super) fn insert(&mut self, hash: u64, pointer: Pointer) {
        let home = home(hash, self.home_lines);
        let mut at = home;
        loop {
            let lines = self.lines.as_mut_slice();
            match lines.get_mut(at).map(|line| line.add(hash, pointer)) {
                Some(true) => break,
                Some(false) => at += 1,
                // The last lines pass on to lines that are nobody's home.
                None => self.lines.push(Line::EMPTY),
            }
        }
        self.longest_chain = self.longest_chain.max((at - home) as u32 + 1);
    }

    pub(super) fn finish(self) -> Table {
        let Self { lines, home_lines, longest_chain } = self;
        Table { lines: lines.freeze(), home_lines, longest_chain }
    }
}

#[inline(always)]
fn home(hash: u64, home_lines: u64) -> usize {
    // The high half of the product spreads the hash evenly over the lines and keeps its order.
    ((u128::from(hash) * u128::from(home_lines)) >> 64) as usize
}

/// Which slot says whether a name was passed on: bits of the hash that neither its line nor its tag has.
#[inline(always)]
fn passed_on_slot(hash: u64) -> usize {
    (hash >> 16) as usize % SLOTS
}

#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash as u16).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::walk::NameHasher;
    use super::*;

    fn hashes(numbers: std::ops::Range<usize>) -> Vec<u64> {
        let hasher = NameHasher::new(7);
        numbers.map(|number| hasher.name(format!("n{number}.example").as_bytes()).hash).collect()
    }

    fn pointer(at: usize) -> Pointer {
        // Values that need all bits of a slot.
        let value = MAX_VALUE - 1 - at as u64;
        if at.is_multiple_of(2) { Pointer::Record(value) } else { Pointer::List(value) }
    }

    fn table(hashes: &[u64], home_for: usize) -> Table {
        let mut builder = TableBuilder::new(home_for);
        let mut keys: Vec<_> = hashes.iter().zip(0..).collect();
        keys.sort_unstable();
        for (hash, at) in keys {
            builder.insert(*hash, pointer(at));
        }
        builder.finish()
    }

    #[test]
    fn every_name_is_found_even_in_a_table_that_is_far_too_small() {
        let hashes = hashes(0..1_000);
        for home_for in [1_000, 100, 1] {
            let table = table(&hashes, home_for);
            for (at, hash) in hashes.iter().enumerate() {
                let found = table.lines().find(*hash, |found| (found == pointer(at)).then_some(found));
                assert_eq!(found, Some(pointer(at)));
            }
            assert!(table.longest_chain() >= 1);
        }
    }

    #[test]
    fn every_name_is_hinted_at_and_hardly_anything_else() {
        let (names, others) = (hashes(0..10_000), hashes(10_000..20_000));
        for home_for in [10_000, 100] {
            let table = table(&names, home_for);
            assert!(names.iter().all(|hash| table.lines().hints_at(*hash)));
            assert!(home_for < names.len() || others.iter().filter(|hash| table.lines().hints_at(**hash)).count() < 10);
        }
    }

    #[test]
    fn most_misses_compare_no_name_at_all() {
        let table = table(&hashes(0..10_000), 10_000);
        let mut compared = 0;
        for hash in hashes(10_000..20_000) {
            let missed: Option<()> = table.lines().find(hash, |_| {
                compared += 1;
                None
            });
            assert_eq!(missed, None);
        }
        assert!(compared < 10, "{compared}");
        assert!(table.longest_chain() < 8, "{}", table.longest_chain());
    }

    /// A miss at a line that passed names on goes on only where a name like it was.
    #[test]
    fn hardly_a_miss_goes_on_to_a_second_line() {
        let (table, others) = (table(&hashes(0..20_000), 20_000), hashes(20_000..40_000));
        let lines = table.lines();
        let home = |hash: u64| lines.lines[home(hash, lines.home_lines)];
        let one_bit_for_all =
            others.iter().filter(|hash| (0..8).any(|like| home(**hash).passed_on(like << 16))).count();
        let goes_on = others.iter().filter(|hash| home(**hash).passed_on(**hash)).count();
        assert!(one_bit_for_all * 10 > others.len(), "{one_bit_for_all} would go on");
        assert!(goes_on * 3 < one_bit_for_all, "{goes_on} instead of {one_bit_for_all} go on");
    }

    proptest! {
        #[test]
        fn first_slot_with_a_tag_is_found(tags: [u16; SLOTS], tag: u16, slot in 0..SLOTS, is_there: bool) {
            let mut line = Line { tags, ..Line::EMPTY };
            if is_there {
                line.tags[slot] = tag;
            }
            for tag in [tag, 0, 1, tags[0], tags[7]] {
                prop_assert_eq!(line.slot_of(tag), line.tags.iter().position(|other| *other == tag));
            }
        }
    }

    #[test]
    fn first_pointer_of_a_hash_is_one_that_is_found() {
        let hashes = hashes(0..1_000);
        for home_for in [1_000, 100, 1] {
            let table = table(&hashes, home_for);
            for hash in &hashes {
                let mut found = Vec::new();
                let _: Option<()> = table.lines().find(*hash, |pointer| {
                    found.push(pointer);
                    None
                });
                assert_eq!(table.lines().first(*hash), found.first().copied());
            }
        }
    }

    /// The tag that stands for an empty slot is nobody's.
    #[test]
    fn hash_without_a_tag_is_found_and_finds_nothing_empty() {
        let table = table(&[1 << 16], 1);
        assert_eq!(table.lines().find(1 << 16, Some), Some(pointer(0)));
        assert_eq!(TableBuilder::new(0).finish().lines().find(0, Some), None);
    }
}
