//! The hash table of the index: one cache line a probe, and a hash alone never finds anything.
//!
//! Inside: lines of eight slots, the hash, and the masks that spare probes. Kept out: names, which the caller compares,
//! and what a found name means.
//!
//! A name's hash gives its line (high bits) and a tag (low bits) that is compared with the line's slots. A full line
//! passes names on to the next and says so, so that a miss ends at the first line that does not.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::quality::FixedState;

const SLOTS: usize = 8;

/// A line is filled to seven tenths on average: at that load about one line in nine passes names on.
const NAMES_PER_TEN_LINES: u64 = 56;

/// Slot: value, whether it is a list, tag, whether there is one, whether the line passed names on (last slot alone).
const VALUE_BITS: u32 = 36;
const LIST: u64 = 1 << VALUE_BITS;
const TAG_SHIFT: u32 = VALUE_BITS + 1;
const TAG_BITS: u32 = 25;
const OCCUPIED: u64 = 1 << 62;
const PASSED_ON: u64 = 1 << 63;
const COMPARED: u64 = OCCUPIED | (((1 << TAG_BITS) - 1) << TAG_SHIFT);

/// Values are below this.
pub(super) const MAX_VALUE: u64 = 1 << VALUE_BITS;

/// Eight slots in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; SLOTS]);

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
    lines: Box<[Line]>,
    masks: Masks,
    hasher: FixedState,
    home_lines: u64,
    longest_chain: u32,
}

/// Which numbers of labels and which lengths the names have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Masks {
    labels: u128,
    lengths: [u64; 4],
}

/// A table that is being filled.
#[derive(Debug)]
pub(super) struct TableBuilder {
    lines: Vec<Line>,
    masks: Masks,
    hasher: FixedState,
    home_lines: u64,
    longest_chain: u32,
}

impl Table {
    /// The pointer of a name, where `accept` says that it is that name's. Allocates nothing.
    #[inline]
    pub(super) fn find<T>(&self, name: &[u8], mut accept: impl FnMut(Pointer) -> Option<T>) -> Option<T> {
        let hash = hash(&self.hasher, name);
        let wanted = wanted(hash);
        let mut at = home(hash, self.home_lines);
        loop {
            let Line(slots) = self.lines.get(at)?;
            let mut hits = 0_u32;
            for (slot, bits) in slots.iter().enumerate() {
                hits |= u32::from((bits ^ wanted) & COMPARED == 0) << slot;
            }
            while hits != 0 {
                let bits = slots[hits.trailing_zeros() as usize % SLOTS];
                if let Some(found) = accept(pointer(bits)) {
                    return Some(found);
                }
                hits &= hits - 1;
            }
            if slots[SLOTS - 1] & PASSED_ON == 0 {
                return None;
            }
            at += 1;
        }
    }

    /// Whether any name has this many labels and this many bytes.
    #[inline]
    pub(super) fn may_have(&self, labels: usize, bytes: usize) -> bool {
        self.masks.labels >> (labels % 128) & 1 != 0 && self.masks.lengths[bytes / 64 % 4] >> (bytes % 64) & 1 != 0
    }

    /// The number of lines that the worst name costs.
    pub(super) fn longest_chain(&self) -> u32 {
        self.longest_chain
    }

    /// Memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }
}

impl Masks {
    /// Takes in a name.
    pub(super) fn add(&mut self, name: &[u8]) {
        self.labels |= 1 << (labels(name) % 128);
        self.lengths[name.len() / 64 % 4] |= 1 << (name.len() % 64);
    }
}

impl TableBuilder {
    /// A table for a number of distinct names, which are those that the masks have taken in.
    pub(super) fn new(names: usize, masks: Masks, seed: u64) -> Self {
        let home_lines = (names as u64 * 10).div_ceil(NAMES_PER_TEN_LINES).max(1);
        let lines = vec![Line([0; SLOTS]); usize::try_from(home_lines).unwrap_or(usize::MAX)];
        Self { lines, masks, hasher: hasher(seed), home_lines, longest_chain: 0 }
    }

    /// Adds a name that is not there yet. Names come in the order of their hashes, so that memory is filled from one end
    /// to the other.
    pub(super) fn insert(&mut self, hash: u64, pointer: Pointer) {
        let bits = wanted(hash)
            | match pointer {
                Pointer::Record(value) => value,
                Pointer::List(value) => value | LIST,
            };
        let home = home(hash, self.home_lines);
        let mut at = home;
        loop {
            if at == self.lines.len() {
                // The last lines pass on to lines that are nobody's home.
                self.lines.push(Line([0; SLOTS]));
            }
            let slots = &mut self.lines[at].0;
            if let Some(free) = slots.iter_mut().find(|slot| **slot == 0) {
                *free = bits;
                break;
            }
            slots[SLOTS - 1] |= PASSED_ON;
            at += 1;
        }
        self.longest_chain = self.longest_chain.max((at - home) as u32 + 1);
    }

    pub(super) fn finish(self) -> Table {
        let Self { lines, masks, hasher, home_lines, longest_chain } = self;
        Table { lines: lines.into_boxed_slice(), masks, hasher, home_lines, longest_chain }
    }
}

/// The hash of a table with this seed.
pub(super) fn hasher(seed: u64) -> FixedState {
    FixedState::with_seed(seed)
}

#[inline]
pub(super) fn hash(hasher: &FixedState, name: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(name);
    state.finish()
}

/// The labels of a name, counted from 1.
#[inline]
pub(super) fn labels(name: &[u8]) -> usize {
    name.iter().filter(|byte| **byte == b'.').count() + 1
}

#[inline]
fn home(hash: u64, home_lines: u64) -> usize {
    // The high half of the product spreads the hash evenly over the lines and keeps its order.
    ((u128::from(hash) * u128::from(home_lines)) >> 64) as usize
}

#[inline]
const fn wanted(hash: u64) -> u64 {
    OCCUPIED | (hash << TAG_SHIFT & COMPARED & !OCCUPIED)
}

#[inline]
const fn pointer(bits: u64) -> Pointer {
    let value = bits & (MAX_VALUE - 1);
    if bits & LIST == 0 { Pointer::Record(value) } else { Pointer::List(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[String], home_for: usize) -> Table {
        let mut masks = Masks::default();
        names.iter().for_each(|name| masks.add(name.as_bytes()));
        let mut builder = TableBuilder::new(home_for, masks, 7);
        let mut keys: Vec<_> =
            names.iter().enumerate().map(|(at, name)| (hash(&builder.hasher, name.as_bytes()), at)).collect();
        keys.sort_unstable();
        for (hash, at) in keys {
            let pointer = if at % 2 == 0 { Pointer::Record(at as u64) } else { Pointer::List(at as u64) };
            builder.insert(hash, pointer);
        }
        builder.finish()
    }

    #[test]
    fn every_name_is_found_even_in_a_table_that_is_far_too_small() {
        let names: Vec<String> = (0..1_000).map(|number| format!("n{number}.example")).collect();
        for home_for in [1_000, 100, 1] {
            let table = table(&names, home_for);
            for (at, name) in names.iter().enumerate() {
                let expected = if at % 2 == 0 { Pointer::Record(at as u64) } else { Pointer::List(at as u64) };
                let found = table.find(name.as_bytes(), |pointer| (pointer == expected).then_some(pointer));
                assert_eq!(found, Some(expected), "{name}");
                assert!(table.may_have(2, name.len()));
            }
            assert!(!table.may_have(1, 10) && !table.may_have(2, 200));
            assert!(table.longest_chain() >= 1);
        }
    }

    #[test]
    fn most_misses_compare_no_name_at_all() {
        let names: Vec<String> = (0..10_000).map(|number| format!("n{number}.example")).collect();
        let table = table(&names, names.len());
        let mut compared = 0;
        for number in 10_000..20_000 {
            let missed: Option<()> = table.find(format!("n{number}.example").as_bytes(), |_| {
                compared += 1;
                None
            });
            assert_eq!(missed, None);
        }
        assert!(compared < 10, "{compared}");
        assert!(table.longest_chain() < 8, "{}", table.longest_chain());
    }

    #[test]
    fn empty_table_needs_no_probe() {
        let table = TableBuilder::new(0, Masks::default(), 0).finish();
        assert!((1..128).all(|labels| (1..254).all(|bytes| !table.may_have(labels, bytes))));
        assert_eq!(table.find(b"a", Some), None);
    }
}
