//! The bytes of a block of names, wherever they lie.
//!
//! Inside: the bytes while more may come, and as a part of what many blocks share. Kept out: what they say (`names.rs`), and moving
//! them (`packs.rs`).

use bytes::Bytes;

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
