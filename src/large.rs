//! Room for what is large and does not last: a file, the keys of a build, a table that the next one replaces.
//!
//! Inside: how much to ask for. Kept out: who needs it.
//!
//! The allocator of glibc serves large requests with memory of their own, which the system has back once it is freed. But from the
//! first such request that is freed it takes its size, up to 32 MiB, for the size of what is usual, and serves all smaller ones
//! from a heap, where a table that stays keeps what was freed below it (mallopt(3), M_MMAP_THRESHOLD). A list of a million names
//! that is rewritten now and then so takes three times the memory that it needs. Requests above 32 MiB teach it nothing,
//! and what is asked for and not written to is not there: it costs addresses, and no memory.

/// Above the largest size that the allocator takes for usual.
const UNUSUAL_BYTES: usize = 33 << 20;

/// The smallest request that has memory of its own.
const LARGE_BYTES: usize = 128 << 10;

/// How many elements to ask room for, where so many are needed.
pub fn room_for<T>(count: usize) -> usize {
    let bytes = count.saturating_mul(size_of::<T>());
    if bytes < LARGE_BYTES { count } else { count.max(UNUSUAL_BYTES / size_of::<T>().max(1)) }
}

/// A vector with that room, or with no more than is needed where addresses are few.
pub fn with_room_for<T>(count: usize) -> Vec<T> {
    let mut room = Vec::new();
    if room.try_reserve_exact(room_for::<T>(count)).is_err() {
        room.reserve_exact(count);
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_is_asked_for_as_if_it_were_unusual() {
        assert_eq!((room_for::<u8>(0), room_for::<u64>(1_000)), (0, 1_000));
        assert_eq!((room_for::<u8>(1 << 20), room_for::<[u8; 64]>(10_000)), (33 << 20, 33 << 14));
        assert_eq!(room_for::<u64>(10_000_000), 10_000_000);
        assert_eq!((room_for::<()>(5), room_for::<u64>(usize::MAX)), (5, usize::MAX));
    }
}
