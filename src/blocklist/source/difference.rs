//! How many names came and went between two versions of a source.
//!
//! Inside: the distinct blocking patterns of a source as hashes, and their difference. Kept out: which ones they are.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};

use crate::blocklist::parsed::{Effect, Names};

/// The distinct patterns that block in a source. Hashes are enough to count by: nothing is blocked because of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::blocklist) struct PatternSet {
    hashes: Vec<u64>,
}

impl PatternSet {
    /// The patterns of some names.
    pub(in crate::blocklist) fn of(names: &Names) -> Self {
        let hasher = foldhash::quality::FixedState::default();
        let blocking = names.iter().filter(|record| record.effect != Effect::Lift);
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
        Self { hashes }
    }

    /// How many there are.
    pub(in crate::blocklist) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// How many `next` has besides these, and how many of these it has not.
    pub(in crate::blocklist) fn added_and_removed(&self, next: &Self) -> (usize, usize) {
        let (mut old, mut new) = (self.hashes.iter().peekable(), next.hashes.iter().peekable());
        let (mut added, mut removed) = (0, 0);
        loop {
            match (old.peek(), new.peek()) {
                (None, None) => return (added, removed),
                (None, Some(_)) => {
                    added += 1;
                    new.next();
                }
                (Some(_), None) => {
                    removed += 1;
                    old.next();
                }
                (Some(before), Some(after)) => match before.cmp(after) {
                    Ordering::Less => {
                        removed += 1;
                        old.next();
                    }
                    Ordering::Greater => {
                        added += 1;
                        new.next();
                    }
                    Ordering::Equal => {
                        old.next();
                        new.next();
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::blocklist::parsed::Owner;
    use crate::blocklist::pattern::{PatternView, Reach};

    fn names(words: &BTreeSet<String>) -> Names {
        let mut names = Names::default();
        for word in words {
            let pattern = PatternView { name: word, reach: Reach::Exact };
            // Twice, because a repeated name is one name.
            for _ in 0..2 {
                names.push(pattern, Effect::Block, 1, Owner::Decision(0)).expect("few names fit");
            }
            names.push(pattern, Effect::Lift, 1, Owner::Exception(0)).expect("few names fit");
        }
        names
    }

    proptest! {
        #[test]
        fn difference_is_that_of_the_sets(
            old in proptest::collection::btree_set("[a-d]{1,2}", 0..20),
            new in proptest::collection::btree_set("[a-d]{1,2}", 0..20),
        ) {
            let (before, after) = (PatternSet::of(&names(&old)), PatternSet::of(&names(&new)));
            prop_assert_eq!(before.len(), old.len());
            let expected = (new.difference(&old).count(), old.difference(&new).count());
            prop_assert_eq!(before.added_and_removed(&after), expected);
        }
    }
}
