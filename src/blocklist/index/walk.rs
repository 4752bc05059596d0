//! The names that a host is, and is below, each with its hash.
//!
//! Inside: the seeded hash of names, the masks that spare probes, and one pass over a host that yields what is to be looked up.
//! Kept out: the tables that are asked.
//!
//! A name is hashed label by label from the right. So all names of a host cost one pass over its bytes, and a longer name
//! costs its own label more than the shorter one.

use std::hash::Hasher as _;

use foldhash::{SharedSeed, fast, quality};

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

/// Which numbers of labels (the last bit: 63 and more) and which lengths some names have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Masks {
    labels: u64,
    lengths: [u64; 4],
}

/// The names of a host that some masks have, the shortest first; see [`NameHasher::names`].
#[derive(Debug, Clone)]
pub(super) struct HashedNames<'t, 'h> {
    hasher: &'t NameHasher,
    masks: &'t Masks,
    rest: Labels<'h>,
    /// What the labels so far come to.
    state: u64,
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
        let (mut state, mut labels) = (self.start, 0);
        for label in name.rsplit(|byte| *byte == b'.') {
            state = self.take_in(state, label);
            labels += 1;
        }
        HashedName { hash: self.finish(state), labels, bytes: name }
    }

    /// The host and every name above it, the shortest first, as far as the masks have them; of an address it alone.
    #[inline(always)]
    pub(super) fn names<'t, 'h>(&'t self, host: &'h HostName, masks: &'t Masks) -> HashedNames<'t, 'h> {
        let shortest = if host.address().is_some() { host.as_bytes().len() } else { 0 };
        HashedNames { hasher: self, masks, rest: host.labels(), state: self.start, labels: 0, shortest }
    }

    #[inline(always)]
    fn take_in(&self, state: u64, label: &[u8]) -> u64 {
        let mut hasher = fast::FoldHasher::with_seed(state, &self.shared);
        hasher.write(label);
        hasher.finish()
    }

    /// Without this step, names that differ in a few digits would crowd in some lines of the table.
    #[inline(always)]
    fn finish(&self, state: u64) -> u64 {
        quality::FoldHasher::with_seed(state, &self.shared).finish()
    }
}

impl Masks {
    /// Takes in a name.
    pub(super) fn add(&mut self, name: &HashedName<'_>) {
        self.labels |= 1 << name.labels.min(63);
        self.lengths[name.bytes.len() / 64 % 4] |= 1 << (name.bytes.len() % 64);
    }

    /// What either has.
    pub(super) fn union(mut self, other: &Self) -> Self {
        self.labels |= other.labels;
        self.lengths.iter_mut().zip(other.lengths).for_each(|(one, other)| *one |= other);
        self
    }

    /// Whether any name has as many labels and bytes.
    #[inline(always)]
    pub(super) fn may_have(&self, name: &HashedName<'_>) -> bool {
        let bytes = name.bytes.len();
        self.labels >> name.labels.min(63) & 1 != 0 && self.lengths[bytes / 64 % 4] >> (bytes % 64) & 1 != 0
    }
}

impl<'h> Iterator for HashedNames<'_, 'h> {
    type Item = HashedName<'h>;

    #[inline(always)]
    fn next(&mut self) -> Option<HashedName<'h>> {
        loop {
            let label = self.rest.next()?;
            self.labels += 1;
            self.state = self.hasher.take_in(self.state, label.bytes);
            let name = HashedName { hash: self.state, labels: self.labels, bytes: label.name };
            if self.masks.may_have(&name) && label.name.len() >= self.shortest {
                return Some(HashedName { hash: self.hasher.finish(self.state), ..name });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Masks = Masks { labels: u64::MAX, lengths: [u64::MAX; 4] };

    proptest! {
        #[test]
        fn one_pass_yields_what_hashing_each_name_alone_does(host in "([a-z0-9_-]{1,20}\\.){0,12}[a-z]{1,9}", seed: u64) {
            let Ok(host) = HostName::parse(host.as_bytes()) else { return Ok(()) };
            let hasher = NameHasher::new(seed);
            let mut alone: Vec<_> = host.suffixes().map(|name| hasher.name(name)).collect();
            alone.reverse();
            let names: Vec<_> = hasher.names(&host, &ALL).collect();
            prop_assert_eq!(&names, &alone);
            let labels = |name: &[u8]| name.split(|byte| *byte == b'.').count();
            prop_assert!(names.iter().all(|name| name.labels as usize == labels(name.bytes)));
        }
    }

    #[test]
    fn an_address_is_one_name() {
        let hasher = NameHasher::new(7);
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            let host = HostName::parse(address.as_bytes()).expect("an address");
            assert_eq!(hasher.names(&host, &ALL).collect::<Vec<_>>(), [hasher.name(address.as_bytes())]);
        }
    }

    #[test]
    fn masks_let_pass_what_they_took_in_and_spare_the_rest() {
        let hasher = NameHasher::new(7);
        let mut masks = Masks::default();
        let deep = "a.".repeat(126) + "b";
        for name in ["a.example", "a.b.example.org", &deep] {
            assert!(!masks.may_have(&hasher.name(name.as_bytes())), "{name}");
            masks.add(&hasher.name(name.as_bytes()));
            assert!(masks.may_have(&hasher.name(name.as_bytes())), "{name}");
        }
        let spared = ["example", "b.example", "x.a.example", "aa.b.example.org"];
        let is_spared = |name: &&str| !masks.may_have(&hasher.name(name.as_bytes()));
        assert_eq!(spared.iter().filter(|name| is_spared(name)).count(), 3, "`b.example` is as long as `a.example`");
        let host = HostName::parse(b"www.b.example").expect("a host");
        let names: Vec<_> = hasher.names(&host, &masks).map(|name| name.bytes).collect();
        assert_eq!(names, [b"b.example"]);
        assert!(Masks::default().union(&masks).may_have(&hasher.name(b"a.example")));
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
