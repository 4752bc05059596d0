//! What one source says once it has been read: its names, packed, and the decisions and exceptions that own them.
//!
//! Inside: the packed names and the counts that guards need. Kept out: how each format is read (`format/`) and how a
//! host is found among all sources (`index/`).
//!
//! A list may have ten million names, so a name costs its bytes and six more, and nothing is allocated for it alone.
//! The index points into these bytes; they are written once, perhaps filtered once, and never change after that.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;

use super::decision::{Decision, Exception};
use super::pattern::{PatternView, Reach};
use crate::finding::{Finding, Place};

/// Everything that one source says.
#[derive(Debug, Clone, Default)]
pub struct ParsedSource {
    /// The names, in the order of the file.
    pub names: Names,
    /// The records of a decisions file, or the one decision of a feed.
    pub decisions: Vec<Arc<Decision>>,
    /// Where each decision stands; empty for a feed, whose decision stands in the configuration.
    pub decision_places: Vec<Place>,
    /// The id of each record, decision or exception, with where the record begins: of those that are wrong elsewhere too.
    pub record_places: Vec<(String, Place)>,
    /// The `[[exception]]` records.
    pub exceptions: Vec<Arc<Exception>>,
    /// What is wrong or odd. An error refuses the source. Lines of a feed that are not names are warnings, of which the
    /// first hundred are kept and all are counted.
    pub findings: Vec<Finding>,
    /// What the lines were.
    pub lines: LineCounts,
    /// How many names the file itself says that it has, where it says so.
    pub stated_count: Option<u64>,
}

/// What the lines of a source were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// All of them.
    pub total: u32,
    /// Those that were meant to say something: neither blank nor a comment.
    pub content: u32,
    /// Of these, the ones that are not names.
    pub wrong: u32,
    /// Of these, the ones that are rules for something other than hosts.
    pub skipped: u32,
}

impl ParsedSource {
    /// Whether the source is refused for what is wrong with it.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }

    /// Where the record of that id begins; none for a feed, whose decision is in the configuration.
    pub fn place_of_record(&self, id: &str) -> Option<&Place> {
        self.record_places.iter().find(|(found, _)| found == id).map(|(_, place)| place)
    }

    /// The count that the file states and the one that was found, where they differ. Publishers count lines or distinct
    /// names; either will do, and so will lines that are not names. Ask before names are dropped.
    pub fn stated_count_contradicted(&self) -> Option<(u64, usize)> {
        let stated = self.stated_count?;
        let is_stated = |count: usize| count as u64 == stated;
        let found = self.names.len();
        // Counting the distinct ones is the most work, so it comes last.
        let agrees = is_stated(found) || is_stated(self.lines.content as usize) || is_stated(self.names.distinct());
        (!agrees).then_some((stated, found))
    }
}

impl LineCounts {
    /// Whether more than this many percent of the lines with content are not names.
    pub fn exceeds(&self, max_error_percent: u8) -> bool {
        u64::from(self.wrong) * 100 > u64::from(self.content) * u64::from(max_error_percent)
    }
}

/// Names with their reach, their line and their owner, packed.
///
/// A record is line (4 bytes, little-endian), flags, length, and the canonical name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    records: Vec<u8>,
    /// From which record on which decision or exception owns the names; owners' names stand together.
    owners: Vec<(u32, Owner)>,
    count: usize,
    exceptions: usize,
}

/// What a name is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The decision with this place in [`ParsedSource::decisions`].
    Decision(u32),
    /// The exception with this place in [`ParsedSource::exceptions`].
    Exception(u32),
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

/// One name in [`Names`].
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
    /// Where the record stands among the packed ones.
    pub offset: u32,
}

/// The source has more bytes of names than an offset can tell apart (4 GiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source has more than 4 GiB of names; divide it into several sources")]
pub struct NamesFull;

const HEADER_BYTES: usize = 6;

impl Names {
    /// Adds a name. Names of one owner must come one after the other.
    pub fn push(&mut self, pattern: PatternView<'_>, effect: Effect, line: u32, owner: Owner) -> Result<(), NamesFull> {
        let offset = u32::try_from(self.records.len()).map_err(|_| NamesFull)?;
        let length = u8::try_from(pattern.name.len()).map_err(|_| NamesFull)?;
        if self.owners.last().is_none_or(|(_, last)| *last != owner) {
            self.owners.push((offset, owner));
        }
        let line = line.to_le_bytes();
        self.records.extend_from_slice(&[line[0], line[1], line[2], line[3], flags(pattern.reach, effect), length]);
        self.records.extend_from_slice(pattern.name.as_bytes());
        self.count += 1;
        self.exceptions += usize::from(effect == Effect::Lift);
        Ok(())
    }

    /// Room for this many bytes of names, so that a large list is not moved while it grows.
    pub fn reserve_bytes(&mut self, bytes: usize) {
        self.records.reserve(bytes);
    }

    /// Gives back what was reserved and not needed.
    pub fn shrink_to_fit(&mut self) {
        self.records.shrink_to_fit();
        self.owners.shrink_to_fit();
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
        self.records.capacity() + self.owners.capacity() * size_of::<(u32, Owner)>()
    }

    /// How far offsets go.
    pub fn end_offset(&self) -> usize {
        self.records.len()
    }

    /// How many distinct patterns block. It hashes and sorts all names: milliseconds for a hundred thousand.
    pub fn distinct(&self) -> usize {
        let hasher = foldhash::quality::FixedState::default();
        let blocking = self.iter().filter(|record| record.effect != Effect::Lift);
        let mut hashes: Vec<u64> = blocking
            .map(|record| {
                let mut state = hasher.build_hasher();
                state.write(record.name);
                state.write_u8(record.reach as u8);
                state.finish()
            })
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    }

    /// The names in the order of the file.
    pub fn iter(&self) -> NamesIter<'_> {
        NamesIter { names: self, offset: 0, run: 0 }
    }

    /// The names of one owner.
    pub fn of(&self, owner: Owner) -> impl Iterator<Item = NameRecord<'_>> {
        self.owners.iter().enumerate().filter(move |(_, (_, other))| *other == owner).flat_map(|(run, (start, _))| {
            let end = self.owners.get(run + 1).map_or(u32::MAX, |(start, _)| *start);
            NamesIter { names: self, offset: *start as usize, run }.take_while(move |record| record.offset < end)
        })
    }

    /// The record at an offset that an iteration gave out. Allocates nothing.
    pub fn at(&self, offset: u32) -> Option<NameRecord<'_>> {
        let run = self.owners.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        self.read(offset as usize, self.owners.get(run)?.1)
    }

    /// Keeps the names for which `keep` says so, and says how many it dropped.
    pub fn retain(&mut self, mut keep: impl FnMut(&NameRecord<'_>) -> bool) -> usize {
        let mut kept = Self::default();
        let mut first_dropped = None;
        for record in self.iter() {
            if keep(&record) {
                if first_dropped.is_some() {
                    kept.push_record(&record);
                }
            } else if first_dropped.is_none() {
                // Nothing is copied until something is dropped, which is the rule.
                first_dropped = Some(record.offset);
                kept = self.before(record.offset);
            }
        }
        if first_dropped.is_none() {
            return 0;
        }
        let dropped = self.count - kept.count;
        kept.shrink_to_fit();
        *self = kept;
        dropped
    }

    fn before(&self, offset: u32) -> Self {
        let mut front = Self::default();
        front.reserve_bytes(self.records.len());
        for record in self.iter().take_while(|record| record.offset < offset) {
            front.push_record(&record);
        }
        front
    }

    fn push_record(&mut self, record: &NameRecord<'_>) {
        let pushed = self.push(record.view(), record.effect, record.line, record.owner);
        debug_assert!(pushed.is_ok(), "a part of what fitted fits");
    }

    fn read(&self, offset: usize, owner: Owner) -> Option<NameRecord<'_>> {
        let (header, rest) = self.records.get(offset..)?.split_first_chunk::<HEADER_BYTES>()?;
        let [l0, l1, l2, l3, flags, length] = *header;
        let (reach, effect) = from_flags(flags);
        let line = u32::from_le_bytes([l0, l1, l2, l3]);
        Some(NameRecord { name: rest.get(..usize::from(length))?, reach, effect, line, owner, offset: offset as u32 })
    }
}

impl<'a> IntoIterator for &'a Names {
    type Item = NameRecord<'a>;
    type IntoIter = NamesIter<'a>;

    fn into_iter(self) -> NamesIter<'a> {
        self.iter()
    }
}

impl<'a> NameRecord<'a> {
    /// Name and reach as a pattern.
    pub fn view(&self) -> PatternView<'a> {
        PatternView { name: std::str::from_utf8(self.name).unwrap_or_default(), reach: self.reach }
    }
}

/// The names of a source one after the other; see [`Names::iter`].
#[derive(Debug, Clone)]
pub struct NamesIter<'a> {
    names: &'a Names,
    offset: usize,
    run: usize,
}

impl<'a> Iterator for NamesIter<'a> {
    type Item = NameRecord<'a>;

    fn next(&mut self) -> Option<NameRecord<'a>> {
        if self.names.owners.get(self.run + 1).is_some_and(|(start, _)| *start as usize <= self.offset) {
            self.run += 1;
        }
        let record = self.names.read(self.offset, self.names.owners.get(self.run)?.1)?;
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
        proptest::collection::vec(("[a-c]{1,3}", reach, effect, any::<u32>(), owner), 0..40)
    }

    fn pack(rows: &[Row]) -> Names {
        let mut names = Names::default();
        for (name, reach, effect, line, owner) in rows {
            names.push(PatternView { name, reach: *reach }, *effect, *line, *owner).expect("few names fit");
        }
        names
    }

    fn unpack(records: impl Iterator<Item = Row>) -> Vec<Row> {
        records.collect()
    }

    fn row(record: NameRecord<'_>) -> Row {
        (record.view().name.to_owned(), record.reach, record.effect, record.line, record.owner)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out(rows in rows()) {
            let names = pack(&rows);
            prop_assert_eq!(names.len(), rows.len());
            prop_assert_eq!(&unpack(names.iter().map(row)), &rows);
            prop_assert_eq!(&unpack(names.iter().filter_map(|record| names.at(record.offset)).map(row)), &rows);
            let owner = Owner::Decision(1);
            let of_owner: Vec<Row> = rows.iter().filter(|row| row.4 == owner).cloned().collect();
            prop_assert_eq!(unpack(names.of(owner).map(row)), of_owner);
        }

        #[test]
        fn retain_keeps_what_it_is_told(rows in rows(), drop in "[a-c]") {
            let mut names = pack(&rows);
            let dropped = names.retain(|record| !record.view().name.starts_with(&drop));
            let kept: Vec<Row> = rows.iter().filter(|row| !row.0.starts_with(&drop)).cloned().collect();
            prop_assert_eq!(dropped, rows.len() - kept.len());
            prop_assert_eq!(names.exceptions(), kept.iter().filter(|row| row.2 == Effect::Lift).count());
            prop_assert_eq!(unpack(names.iter().map(row)), kept);
        }

        #[test]
        fn distinct_counts_blocking_patterns_once(rows in rows()) {
            let blocking = rows.iter().filter(|row| row.2 != Effect::Lift);
            let distinct: std::collections::HashSet<_> = blocking.map(|row| (&row.0, row.1)).collect();
            prop_assert_eq!(pack(&rows).distinct(), distinct.len());
        }
    }

    #[test]
    fn error_percentage_is_of_lines_with_content() {
        let lines = |content, wrong| LineCounts { total: 1_000, content, wrong, skipped: 0 };
        assert!(!lines(100, 1).exceeds(1));
        assert!(lines(99, 1).exceeds(1));
        assert!(!lines(0, 0).exceeds(0));
        assert!(lines(1_000, 1).exceeds(0));
    }
}
