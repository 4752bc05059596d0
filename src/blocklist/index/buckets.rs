//! Sorting by hash in pieces.
//!
//! Inside: elements with the hash that they are in the order of. Kept out: what they are.
//!
//! Buckets are sorted and let go one by one: less at once is in the cache, and what is done with is free.

/// The upper eight bits of a hash say which bucket.
const BUCKETS: usize = 256;

/// Elements in the order of their hashes; those of one hash in their own order.
#[derive(Debug)]
pub(super) struct Buckets<T>(Vec<Vec<T>>);

impl<T: Ord> Buckets<T> {
    /// Room for so many elements, if hashes are spread as they should be.
    pub(super) fn with_room_for(count: usize) -> Self {
        let even = count / BUCKETS;
        Self((0..BUCKETS).map(|_| Vec::with_capacity(even + even / 8 + 8)).collect())
    }

    /// Adds an element, whose own order must begin with its hash.
    #[inline]
    pub(super) fn push(&mut self, hash: u64, element: T) {
        self.0[(hash >> 56) as usize].push(element);
    }

    /// Sorts all of them.
    pub(super) fn sort(&mut self) {
        for bucket in &mut self.0 {
            bucket.sort_unstable();
        }
    }

    /// The buckets, in their order. Elements of one hash are in one.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Vec<T>> {
        self.0.iter_mut()
    }

    /// The buckets, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Vec<T>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn order_is_that_of_one_sort(hashes in proptest::collection::vec(any::<u64>(), 0..600), shift in 0..64_u32) {
            let mut buckets = Buckets::with_room_for(hashes.len());
            let mut all: Vec<(u64, usize)> = hashes.iter().map(|hash| hash >> shift << (shift / 2)).zip(0..).collect();
            for element in all.iter().rev() {
                buckets.push(element.0, *element);
            }
            buckets.sort();
            all.sort_unstable();
            prop_assert_eq!(buckets.iter().flatten().copied().collect::<Vec<_>>(), all);
        }
    }
}
