//! Where the records of blocks lie: many blocks of a long list one after the other, in pages that are found quickly.
//!
//! Inside: the bytes of a block, and moving those of many blocks into one piece of memory. Kept out: what the bytes say (`names.rs`).
//!
//! A piece of memory is freed when the last of its blocks is. Blocks that are gone stay in it until then, so the reader of a feed
//! asks whether so little of one is left that the rest had better be read again.

use std::collections::HashMap;

use bytes::Bytes;

use super::names::Names;
use crate::large::Array;

/// Records of fewer bytes stay where each block has them.
const WORTH_PACKING_BYTES: usize = 1 << 20;

/// The bytes of one block.
#[derive(Debug)]
pub(super) enum Records {
    /// More may come.
    Open(Vec<u8>),
    /// They are on the way into a pack, and cannot be read until it is finished.
    Moved { pack: usize, start: usize, len: usize },
    /// They are a part of these bytes.
    Packed { pack: Bytes, start: usize, len: usize },
}

/// Moves the records of one block after the other.
#[derive(Debug, Default)]
pub(super) struct Packer {
    packs: Vec<Array<u8>>,
    /// How many bytes to make room for; 0: nothing is moved.
    room: usize,
}

/// Where a packer moved records.
#[derive(Debug)]
pub(super) struct Packs(Vec<Bytes>);

impl Default for Records {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Records {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Open(bytes) => bytes,
            Self::Moved { .. } => &[],
            Self::Packed { pack, start, len } => pack.get(*start..*start + *len).unwrap_or_default(),
        }
    }

    /// The bytes that they are among, and where they begin there; none as long as more may come.
    pub(super) fn pack(&self) -> Option<(&Bytes, usize)> {
        match self {
            Self::Packed { pack, start, .. } => Some((pack, *start)),
            Self::Open(_) | Self::Moved { .. } => None,
        }
    }

    /// To add to them, as long as they may change.
    pub(super) fn open(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Open(bytes) => Some(bytes),
            Self::Moved { .. } | Self::Packed { .. } => None,
        }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        if let Self::Open(bytes) = self {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            let len = bytes.len();
            *self = Self::Packed { pack: Bytes::from(bytes), start: 0, len };
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Open(bytes) => bytes.capacity(),
            Self::Moved { len, .. } | Self::Packed { len, .. } => *len,
        }
    }
}

impl Packer {
    /// For a text of which so many bytes are to be read.
    pub(super) fn for_text(bytes: usize) -> Self {
        // A record is a little longer than its line mostly, and what is not written to takes no memory.
        let room = bytes.saturating_add(bytes / 2);
        Self { packs: Vec::new(), room: if bytes < WORTH_PACKING_BYTES { 0 } else { room } }
    }

    /// Moves the records of some names, which are their owner's alone.
    pub(super) fn take_in(&mut self, names: &mut Names) {
        if self.room == 0 {
            return names.shrink_to_fit();
        }
        for block in names.own_blocks() {
            let bytes = block.records().bytes();
            if self.packs.last().is_none_or(|pack| pack.room() < bytes.len()) {
                self.packs.push(Array::with_room_for(self.room.max(bytes.len())));
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
