//! The names that a host is, and is below, each with its hash.
//!
//! Inside: the seeded hash of names, the masks that spare probes, and one pass over a host that yields what is to be looked up.
//! Kept out: the tables that are asked.
//!
//! A name is hashed from its end, sixteen bytes at a time, with zeros before its beginning. All names of a host end where the host ends:
//! they share the pieces that they have in common, and each has one of its own, the piece in which it begins. No step depends on how
//! long a label is, which no processor foresees.

use std::hash::Hasher as _;

use foldhash::{SharedSeed, fast, quality};

use crate::host::{CHUNK_BYTES, CHUNKS, CommonStarts, HostName, ROOM, Starts, start_of};

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
    pub(super) bytes: &'h [u8],
}

/// What spares probes: which lengths some names have, and whether any has nothing above it. Where none is so, the shortest name of a host,
/// its last label or all of an address, is not looked up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Masks {
    starts: Starts,
    has_single: bool,
}

/// The names of a host that some masks have, the shortest first; see [`NameHasher::names`].
#[derive(Debug, Clone)]
pub(super) struct HashedNames<'t, 'h> {
    hasher: &'t NameHasher,
    host: &'h HostName,
    starts: CommonStarts<'t>,
    /// What the chunks come to that all names from here on have in common: those from this place on.
    state: u64,
    common: usize,
}

impl NameHasher {
    pub(super) fn new(seed: u64) -> Self {
        // The first step multiplies with it: from zero, all short names would have the same hash.
        Self { start: seed.max(1), shared: SharedSeed::from_u64(seed) }
    }

    /// One name, as lists have it.
    pub(super) fn name<'n>(&self, name: &'n [u8]) -> HashedName<'n> {
        let begin_bytes = name.len().wrapping_sub(1) % CHUNK_BYTES + 1;
        let (begin, common) = name.split_at(begin_bytes.min(name.len()));
        let (chunks, _) = common.as_chunks();
        let state = chunks.iter().rev().fold(self.start, |state, chunk| self.take_in(state, halves(chunk)));
        let mut chunk = [0; CHUNK_BYTES];
        chunk[CHUNK_BYTES - begin.len()..].copy_from_slice(begin);
        let hash = self.finish(self.take_in(state, halves(&chunk)));
        HashedName { hash, bytes: name }
    }

    /// The host and every name above it, the shortest first, as far as the masks have them; of an address it alone.
    #[inline(always)]
    pub(super) fn names<'t, 'h: 't>(&'t self, host: &'h HostName, masks: &'t Masks) -> HashedNames<'t, 'h> {
        let starts = host.starts_among(&masks.starts, !masks.has_single);
        HashedNames { hasher: self, host, starts, state: self.start, common: CHUNKS }
    }

    #[inline(always)]
    fn take_in(&self, state: u64, [low, high]: [u64; 2]) -> u64 {
        let mut hasher = fast::FoldHasher::with_seed(state, &self.shared);
        hasher.write_u128(u128::from(high) << 64 | u128::from(low));
        hasher.finish()
    }

    /// Without this step, names that differ in a few digits would crowd in some lines of the table.
    #[inline(always)]
    fn finish(&self, state: u64) -> u64 {
        quality::FoldHasher::with_seed(state, &self.shared).finish()
    }
}

/// For each byte of a chunk: what to keep of the two halves of the chunk, if a name begins there.
const FROM_BYTE: [[u64; 2]; CHUNK_BYTES] = {
    let mut keep = [[0; 2]; CHUNK_BYTES];
    let mut byte = 0;
    while byte < CHUNK_BYTES {
        let mask = u128::MAX << (8 * byte);
        keep[byte] = [mask as u64, (mask >> 64) as u64];
        byte += 1;
    }
    keep
};

/// The halves of a chunk. A processor has them sooner one by one than as one of 16 bytes.
#[inline(always)]
fn halves(chunk: &[u8; CHUNK_BYTES]) -> [u64; 2] {
    let half = |at: usize| chunk[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
    [half(0), half(8)]
}

impl Masks {
    /// Takes in a name.
    pub(super) fn add(&mut self, name: &[u8]) {
        self.starts.add(start_of(name.len()));
        self.has_single |= is_single(name);
    }

    /// What either has.
    pub(super) fn union(self, other: &Self) -> Self {
        Self { starts: self.starts.union(&other.starts), has_single: self.has_single | other.has_single }
    }

    /// Whether they let a name pass.
    pub(super) fn may_have(&self, name: &[u8]) -> bool {
        self.starts.has(start_of(name.len())) && (self.has_single || !is_single(name))
    }
}

/// Whether no name is above this one: it has but one label, or it may be an address, whose dots divide nothing.
fn is_single(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    last.len() == name.len() || last.first().is_some_and(u8::is_ascii_digit)
}

impl<'h> Iterator for HashedNames<'_, 'h> {
    type Item = HashedName<'h>;

    #[inline(always)]
    fn next(&mut self) -> Option<HashedName<'h>> {
        let start = self.starts.next()?;
        let chunks = self.host.room();
        let at = start / CHUNK_BYTES % CHUNKS;
        while self.common > at + 1 {
            self.common -= 1;
            self.state = self.hasher.take_in(self.state, halves(&chunks[self.common % CHUNKS]));
        }
        let ([low, high], keep) = (halves(&chunks[at]), FROM_BYTE[start % CHUNK_BYTES]);
        let hash = self.hasher.finish(self.hasher.take_in(self.state, [low & keep[0], high & keep[1]]));
        Some(HashedName { hash, bytes: &chunks.as_flattened()[start % ROOM..] })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_pass_yields_what_hashing_each_name_alone_does(host in "([a-z0-9_-]{1,20}\\.){0,12}[a-z]{1,9}", seed: u64) {
            let Ok(host) = HostName::parse(host.as_bytes()) else { return Ok(()) };
            let hasher = NameHasher::new(seed);
            let mut masks = Masks { has_single: true, ..Masks::default() };
            host.suffixes().for_each(|name| masks.add(name));
            let mut alone: Vec<_> = host.suffixes().map(|name| hasher.name(name)).collect();
            alone.reverse();
            prop_assert_eq!(hasher.names(&host, &masks).collect::<Vec<_>>(), alone);
        }
    }

    #[test]
    fn an_address_is_one_name() {
        let hasher = NameHasher::new(7);
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            let host = HostName::parse(address.as_bytes()).expect("an address");
            let mut masks = Masks::default();
            masks.add(address.as_bytes());
            assert_eq!(hasher.names(&host, &masks).collect::<Vec<_>>(), [hasher.name(address.as_bytes())]);
        }
    }

    #[test]
    fn masks_let_pass_what_they_took_in_and_spare_the_rest() {
        let mut masks = Masks::default();
        let deep = "a.".repeat(126) + "b";
        for name in ["a.example", "a.b.example.org", &deep] {
            assert!(!masks.may_have(name.as_bytes()), "{name}");
            masks.add(name.as_bytes());
            assert!(masks.may_have(name.as_bytes()), "{name}");
        }
        let spared = ["example", "b.example", "x.a.example", "singlelab", "aa.b.example.org"];
        assert_eq!(
            spared.iter().filter(|name| !masks.may_have(name.as_bytes())).count(),
            4,
            "`b.example` is as long as `a.example`"
        );
        let host = |text: &str| HostName::parse(text.as_bytes()).expect("a host");
        let names = |host: &HostName, masks: &Masks| -> Vec<String> {
            let hasher = NameHasher::new(7);
            let names = hasher.names(host, masks);
            names.map(|name| String::from_utf8_lossy(name.bytes).into_owned()).collect()
        };
        assert_eq!(names(&host("www.b.example"), &masks), ["b.example"]);
        assert_eq!(names(&host("wwww.a.ninebytes"), &masks), [""; 0]);
        assert_eq!(names(&host("ninebytes"), &masks), [""; 0]);
        assert_eq!(names(&host("192.0.2.1"), &masks), [""; 0]);
        assert!(Masks::default().union(&masks).may_have(b"a.example"));
        for single in ["ninebytes", "192.0.2.1", "[2001::1]"] {
            let mut masks = masks;
            masks.add(single.as_bytes());
            assert_eq!(names(&host(single), &Masks::default().union(&masks)), [single]);
            assert_eq!(names(&host("wwww.a.ninebytes"), &masks), ["ninebytes"]);
        }
    }

    /// The line of a table is in the high bits of a hash, the tag in the low ones: both must be spread as by chance.
    #[test]
    fn names_that_are_alike_are_spread_evenly() {
        const BUCKETS: usize = 1_024;
        let forms: [fn(usize) -> String; 3] =
            [|n| format!("n{n}.example"), |n| format!("www.n{n}.example"), |n| format!("{n:b}.x").replace("10", "a.b")];
        for form in forms {
            for seed in [0, 1, u64::MAX] {
                let hasher = NameHasher::new(seed);
                let (mut high, mut low) = (vec![0; BUCKETS], vec![0; BUCKETS]);
                for number in 0..64 * BUCKETS {
                    let hash = hasher.name(form(number).as_bytes()).hash;
                    high[(hash >> 54) as usize] += 1;
                    low[hash as usize % BUCKETS] += 1;
                }
                // 64 in each on average, with a deviation of 8; six of those are as good as never.
                assert!(high.iter().chain(&low).all(|count| (16..=112).contains(count)), "{} with {seed}", form(1));
            }
        }
        assert_ne!(NameHasher::new(1).name(b"a.example").hash, NameHasher::new(2).name(b"a.example").hash);
    }
}
