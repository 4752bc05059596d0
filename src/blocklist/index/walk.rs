//! The names that a host is, and is below, each with its hash.
//!
//! Inside: the seeded hash of names, and one pass over a host that yields it for all of them. Kept out: the table that is asked
//! with it.
//!
//! A name's hash is that of its first label, seeded with the hash of the name above it. So all names of a host cost one pass
//! over its bytes, from the right, and a longer name costs its own label more than the shorter one.

use std::hash::Hasher as _;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

use crate::host::{HostName, Labels};

/// The hash of names. All of its state comes from the seed: who does not know it cannot make names that collide.
#[derive(Debug, Clone)]
pub(super) struct NameHasher {
    start: u64,
    shared: SharedSeed,
}

/// A name that a host is, or is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HashedName<'h> {
    pub(super) hash: u64,
    /// How many labels it has.
    pub(super) labels: u32,
    pub(super) bytes: &'h [u8],
}

/// The names of a host, the shortest first; of an address it alone.
#[derive(Debug, Clone)]
pub(super) struct HashedNames<'t, 'h> {
    hasher: &'t NameHasher,
    rest: Labels<'h>,
    hash: u64,
    labels: u32,
    /// The shortest name that counts, in bytes.
    shortest: usize,
}

impl NameHasher {
    pub(super) fn new(seed: u64) -> Self {
        Self { start: seed, shared: SharedSeed::from_u64(seed) }
    }

    /// One name, as lists have it.
    pub(super) fn name<'n>(&self, name: &'n [u8]) -> HashedName<'n> {
        let (mut hash, mut labels) = (self.start, 0);
        for label in name.rsplit(|byte| *byte == b'.') {
            hash = self.below(hash, label);
            labels += 1;
        }
        HashedName { hash, labels, bytes: name }
    }

    /// The host and every name above it, the shortest first.
    #[inline]
    pub(super) fn names<'t, 'h>(&'t self, host: &'h HostName) -> HashedNames<'t, 'h> {
        let shortest = if host.address().is_some() { host.as_bytes().len() } else { 0 };
        HashedNames { hasher: self, rest: host.labels(), hash: self.start, labels: 0, shortest }
    }

    /// The hash of the name that has this label before the name of this hash.
    #[inline(always)]
    fn below(&self, hash: u64, label: &[u8]) -> u64 {
        let mut state = FoldHasher::with_seed(hash, &self.shared);
        state.write(label);
        state.finish()
    }
}

impl<'h> Iterator for HashedNames<'_, 'h> {
    type Item = HashedName<'h>;

    #[inline(always)]
    fn next(&mut self) -> Option<HashedName<'h>> {
        loop {
            let label = self.rest.next()?;
            self.labels += 1;
            self.hash = self.hasher.below(self.hash, label.bytes);
            if label.name.len() >= self.shortest {
                return Some(HashedName { hash: self.hash, labels: self.labels, bytes: label.name });
            }
        }
    }
}
