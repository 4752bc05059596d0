//! The lines of a head that are passed on as they are, as few pieces as they make.
//!
//! Inside: collecting them and copying them. Kept out: which lines those are (`request.rs`, `response.rs`).

use std::ops::Range;

use crate::proxy::gate::field::{Field, trim};

/// Pieces that a head may have: one more than the lines that are taken out of it.
const MOST: usize = 16;

/// Ranges of a head.
#[derive(Debug, Default)]
pub(super) struct Runs {
    ranges: [Range<usize>; MOST],
    count: usize,
}

impl Runs {
    /// Adds a line that follows the last one added, or another one after a gap. None where there are too many gaps.
    pub(super) fn add(&mut self, line: Range<usize>) -> Option<()> {
        if let Some(last) = self.count.checked_sub(1).and_then(|last| self.ranges.get_mut(last))
            && last.end == line.start
        {
            last.end = line.end;
            return Some(());
        }
        *self.ranges.get_mut(self.count)? = line;
        self.count += 1;
        Some(())
    }

    /// Appends the lines to `out`.
    pub(super) fn put(&self, head: &[u8], out: &mut Vec<u8>) {
        for range in self.ranges.iter().take(self.count) {
            out.extend_from_slice(head.get(range.clone()).unwrap_or_default());
        }
    }
}

/// A field line of a head, and where it stands in it, its CRLF included.
pub(super) struct Line<'h> {
    pub(super) field: Field<'h>,
    pub(super) range: Range<usize>,
}

/// The field lines of a head that was found to keep every rule, from `start`, behind its first line.
pub(super) fn lines(head: &[u8], start: usize) -> impl Iterator<Item = Line<'_>> {
    let mut next = start;
    std::iter::from_fn(move || {
        let rest = head.get(next..)?;
        let end = memchr::memchr(b'\n', rest)? + 1;
        let line = rest.get(..end)?;
        let (name, value) = line.split_at(memchr::memchr(b':', line)?);
        let range = next..next + end;
        next = range.end;
        let value = value.strip_suffix(b"\r\n").and_then(|value| value.get(1..)).unwrap_or_default();
        Some(Line { field: Field { name, value: trim(value) }, range })
    })
}

/// A field that has one value, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Seen<'h> {
    /// It is not there.
    #[default]
    Never,
    /// In one line.
    Once(&'h [u8]),
    /// In several.
    Often,
}

impl<'h> Seen<'h> {
    pub(super) fn add(&mut self, value: &'h [u8]) {
        *self = if *self == Self::Never { Self::Once(value) } else { Self::Often };
    }

    /// The value, where there is exactly one.
    pub(super) fn once(self) -> Option<&'h [u8]> {
        if let Self::Once(value) = self { Some(value) } else { None }
    }
}
