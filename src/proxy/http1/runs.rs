//! The lines of a head that are passed on as they are, as few pieces as they make; and how names and values are looked at.
//!
//! Inside: collecting lines and copying them. Kept out: which lines those are (`request.rs`, `response.rs`).

use std::ops::Range;

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

/// The longest name that is looked up among those that are not passed on.
pub(super) const NAME_BYTES: usize = 32;

/// A name in lower case; none where it is longer than all that count.
pub(super) fn lower<'r>(name: &[u8], room: &'r mut [u8; NAME_BYTES]) -> Option<&'r [u8]> {
    let lower = room.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
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
