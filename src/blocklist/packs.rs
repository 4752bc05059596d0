//! Where the records of blocks lie: many blocks of a long list one after the other, in pages that are found quickly.
//!
//! Inside: moving the bytes of many blocks into one piece of memory. Kept out: what they say (`names.rs`).
//!
//! A piece of memory is freed when the last of its blocks is. Blocks that are gone stay in it until then, so the reader of a feed
//! asks whether so little of one is left that the rest had better be read again.

use std::collections::HashMap;

use bytes::Bytes;

use super::names::Names;
use super::records::Records;
use crate::large::Array;

/// Records of fewer bytes stay where each block has them.
const WORTH_PACKING_BYTES: usize = 1 << 20;

/// Moves the records of one block after the other.
#[derive(Debug, Default)]
pub(super) struct Packer {
    packs: Vec<Array<u8>>,
    /// How many bytes to make room for; 0: nothing is moved.
    room: usize,
    /// How many there are likely to be.
    expected: usize,
}

/// Where a packer moved records.
#[derive(Debug)]
pub(super) struct Packs(Vec<Bytes>);

impl Packer {
    /// For a text of which so many bytes are to be read.
    pub(super) fn for_text(bytes: usize) -> Self {
        // A record is three bytes longer than its line, and what is not written to takes no memory.
        let room = bytes.saturating_add(bytes / 2);
        let expected = bytes.saturating_add(bytes / 8);
        Self { packs: Vec::new(), room: if bytes < WORTH_PACKING_BYTES { 0 } else { room }, expected }
    }

    /// Moves the records of some names, which are their owner's alone.
    pub(super) fn take_in(&mut self, names: &mut Names) {
        if self.room == 0 {
            return names.shrink_to_fit();
        }
        for block in names.own_blocks() {
            let bytes = block.records().bytes();
            if self.packs.last().is_none_or(|pack| pack.room() < bytes.len()) {
                self.packs.push(Array::with_room_for_perhaps(self.room.max(bytes.len()), self.expected));
            }
            let number = self.packs.len() - 1;
            let Some(pack) = self.packs.last_mut() else { return };
            let (start, len) = (pack.as_slice().len(), bytes.len());
            pack.extend_from_slice(bytes);
            *block.records_mut() = Records::Moved { pack: number, start, len };
        }
        names.shrink_to_fit();
    }

    /// Nothing is added any more.
    pub(super) fn finish(self) -> Packs {
        Packs(self.packs.into_iter().map(Array::freeze).collect())
    }
}

impl Packs {
    /// Lets names have their records again.
    pub(super) fn give_back(&self, names: &mut Names) {
        for block in names.own_blocks() {
            let records = block.records_mut();
            if let Records::Moved { pack, start, len } = *records {
                let pack = self.0.get(pack).cloned().unwrap_or_default();
                *records = Records::Packed { pack, start, len };
            }
        }
    }
}

/// Moves the records of names that were read from a text of so many bytes.
pub(super) fn pack(names: &mut Names, text_bytes: usize) {
    let mut packer = Packer::for_text(text_bytes);
    packer.take_in(names);
    packer.finish().give_back(names);
}

/// How much of each pack some names take.
#[derive(Debug, Default)]
pub(super) struct PackUse {
    bytes: HashMap<*const u8, usize>,
}

impl PackUse {
    pub(super) fn by<'n>(all: impl Iterator<Item = &'n Names>) -> Self {
        let mut bytes = HashMap::new();
        for (pack, len) in all.flat_map(packed) {
            *bytes.entry(pack.as_ptr()).or_default() += len;
        }
        Self { bytes }
    }

    /// Whether some names keep a pack of which less than half is used.
    pub(super) fn is_waste(&self, names: &Names) -> bool {
        packed(names).any(|(pack, _)| self.bytes.get(&pack.as_ptr()).is_some_and(|used| *used * 2 < pack.len()))
    }
}

/// The pack of each block, and how much of it the block takes.
fn packed(names: &Names) -> impl Iterator<Item = (&Bytes, usize)> {
    let records = names.parts().iter().map(|part| part.block.records());
    records.filter_map(|records| Some((records.pack()?.0, records.bytes().len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklist::names::{Effect, Owner};
    use crate::blocklist::pattern::{PatternView, Reach};

    fn names(first: u32, count: u32) -> Names {
        let mut names = Names::default();
        for line in 1..=count {
            let name = format!("name-{}.example", first + line);
            names.push(PatternView { name: &name, reach: Reach::Subtree }, Effect::Block, line, Owner::Decision(0));
        }
        names
    }

    fn all(names: &Names) -> Vec<(String, u32)> {
        names.iter().map(|record| (record.view().name.to_owned(), record.line)).collect()
    }

    /// Two pieces of a text of so many bytes.
    fn packed_pieces(text_bytes: usize) -> [Names; 2] {
        let mut pieces = [names(0, 9_000), names(10_000, 500)];
        let mut packer = Packer::for_text(text_bytes);
        pieces.iter_mut().for_each(|piece| packer.take_in(piece));
        let packs = packer.finish();
        pieces.iter_mut().for_each(|piece| packs.give_back(piece));
        pieces
    }

    #[test]
    fn names_are_the_same_wherever_their_records_are() {
        for text_bytes in [0, WORTH_PACKING_BYTES - 1, WORTH_PACKING_BYTES, 40 * WORTH_PACKING_BYTES] {
            let pieces = packed_pieces(text_bytes);
            assert_eq!(pieces.each_ref().map(all), [all(&names(0, 9_000)), all(&names(10_000, 500))], "{text_bytes}");
            let packs: std::collections::HashSet<_> =
                pieces.iter().flat_map(packed).map(|(pack, _)| pack.as_ptr()).collect();
            let blocks: usize = pieces.iter().map(|piece| piece.parts().len()).sum();
            let expected = if text_bytes < WORTH_PACKING_BYTES { blocks } else { 1 };
            assert_eq!((packs.len(), blocks > 2), (expected, true), "{text_bytes}");
        }
    }

    #[test]
    fn records_that_do_not_fit_go_into_the_next_pack() {
        let mut packer = Packer { packs: Vec::new(), room: 100_000, expected: 100_000 };
        let mut piece = names(0, 9_000);
        packer.take_in(&mut piece);
        assert!(packer.packs.len() > 1);
        packer.finish().give_back(&mut piece);
        assert_eq!(all(&piece), all(&names(0, 9_000)));
    }

    #[test]
    fn what_comes_later_is_in_another_block() {
        let mut names = names(0, 3);
        pack(&mut names, WORTH_PACKING_BYTES);
        names.push(PatternView { name: "later", reach: Reach::Exact }, Effect::Block, 4, Owner::Decision(0));
        assert_eq!((names.parts().len(), all(&names).last()), (2, Some(&("later".to_owned(), 4))));
    }

    #[test]
    fn pack_is_waste_when_less_than_half_of_it_is_used() {
        let [most, rest] = packed_pieces(WORTH_PACKING_BYTES);
        assert!(!PackUse::by([&most, &rest].into_iter()).is_waste(&rest));
        assert!(!PackUse::by([&most].into_iter()).is_waste(&most));
        assert!(PackUse::by([&rest].into_iter()).is_waste(&rest));
        assert!(!PackUse::by([&rest].into_iter()).is_waste(&names(0, 3)), "it is in no pack");
    }
}
