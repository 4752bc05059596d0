//! Where the bytes of a host stand.
//!
//! Inside: room for the longest name in pieces, and where in it names begin. Kept out: what is a name.
//!
//! A host ends where its room ends, with zeros before it, and so does every name above it. So where a name begins says how long it is, and
//! all of them are hashed from the same pieces.

use super::MAX_HOST_BYTES;

/// A name is hashed in pieces of so many bytes.
pub(crate) const CHUNK_BYTES: usize = 16;

/// What the longest name needs.
pub(crate) const CHUNKS: usize = MAX_HOST_BYTES.div_ceil(CHUNK_BYTES);

/// All of it, in bytes.
pub(crate) const ROOM: usize = CHUNKS * CHUNK_BYTES;

/// The room of one host.
pub(crate) type Room = [[u8; CHUNK_BYTES]; CHUNKS];

const WORDS: usize = ROOM / 64;

/// Where a name of so many bytes begins.
#[inline(always)]
pub(crate) const fn start_of(length: usize) -> usize {
    ROOM.saturating_sub(length)
}

/// Where some names begin, a bit each. Those of a host are seen once, when it is made, and asked for on every request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Starts([u64; WORDS]);

/// Where names of a host begin; see [`Starts::common`].
#[derive(Debug, Clone)]
pub(crate) struct CommonStarts<'s> {
    host: &'s Starts,
    others: &'s Starts,
    /// The word in which the host begins.
    first_word: usize,
    word: usize,
    /// What is left of the word.
    left: u64,
}

impl Starts {
    /// A place after the room is that of an empty label, and refused.
    pub(crate) fn add(&mut self, start: usize) {
        self.0[start / 64 % WORDS] |= 1 << (start % 64);
    }

    pub(crate) fn has(&self, start: usize) -> bool {
        self.0[start / 64 % WORDS] >> (start % 64) & 1 != 0
    }

    /// What either has.
    pub(crate) fn union(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one |= other);
        self
    }

    /// What the names of a host, which has so many bytes, have in common with others: the shortest name first, and on demand without it.
    #[inline(always)]
    pub(super) fn common<'s>(&'s self, others: &'s Self, length: usize, spares_shortest: bool) -> CommonStarts<'s> {
        let mut left = self.0[WORDS - 1];
        // It begins in the last word: a label has at most 63 bytes, and an address fewer.
        if spares_shortest && let Some(bit) = left.checked_ilog2() {
            left ^= 1 << bit;
        }
        let (first_word, word) = (start_of(length) / 64, WORDS - 1);
        CommonStarts { host: self, others, first_word, word, left: left & others.0[word] }
    }
}

impl Iterator for CommonStarts<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        loop {
            if let Some(bit) = self.left.checked_ilog2() {
                self.left ^= 1 << bit;
                return Some(self.word * 64 + bit as usize);
            }
            if self.word <= self.first_word {
                return None;
            }
            self.word -= 1;
            self.left = self.host.0.get(self.word)? & self.others.0.get(self.word)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::HostName;
    use super::*;

    /// How long the host and the names above it are, as they come.
    fn lengths(host: &HostName) -> Vec<usize> {
        let all = Starts([u64::MAX; WORDS]);
        let starts: Vec<usize> = host.starts_among(&all, false).collect();
        assert!(host.starts_among(&all, true).eq(starts.iter().copied().skip(1)), "{host}");
        starts.iter().map(|start| ROOM - start).collect()
    }

    fn lengths_of_suffixes(host: &HostName) -> Vec<usize> {
        let mut lengths: Vec<usize> = host.suffixes().map(<[u8]>::len).collect();
        lengths.reverse();
        lengths
    }

    /// The words in which starts are kept meet at 64, 128 and 192.
    #[test]
    fn starts_are_those_of_the_suffixes_wherever_the_dots_are() {
        for first in 1..=63 {
            let text = format!("{0}.{1}.{1}.{1}.{2}", "a".repeat(first), "b".repeat(62), "c");
            let Ok(host) = HostName::parse(text.as_bytes()) else { continue };
            assert_eq!(lengths(&host), lengths_of_suffixes(&host));
        }
        let longest = HostName::parse("a.".repeat(127).as_bytes()).expect("253 bytes and the root's dot");
        assert_eq!(lengths(&longest), (0..127).map(|at| 2 * at + 1).collect::<Vec<_>>());
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            let address = HostName::parse(address.as_bytes()).expect("an address");
            assert_eq!(lengths(&address), [address.as_bytes().len()]);
        }
    }

    proptest! {
        #[test]
        fn starts_are_those_of_the_suffixes(name in "([a-z0-9_-]{1,30}\\.){0,12}[a-z0-9-]{1,9}") {
            if let Ok(host) = HostName::parse(name.as_bytes()) {
                prop_assert_eq!(lengths(&host), lengths_of_suffixes(&host));
            }
        }
    }

    #[test]
    fn a_name_ends_where_its_room_ends() {
        let host = HostName::parse(b"a.bcdefghijklmnopqrs.example").expect("a host");
        assert_eq!(host.room()[14..], [*b"\0\0\0\0a.bcdefghijk", *b"lmnopqrs.example"]);
        assert_eq!(host.room()[..14], [[0; 16]; 14]);
    }
}
