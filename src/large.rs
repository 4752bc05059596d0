//! Room for what is large: a file, the keys of a build, a table, the names of a list.
//!
//! Inside: arrays in memory of their own, with large pages where the system has them, and how much else to ask the allocator for.
//! Kept out: who needs it.
//!
//! Where a table of tens of megabytes is read here and there, most of the time goes into finding the page, since no processor
//! remembers so many places of pages of 4 KiB. Of pages of 2 MiB it takes a few. And memory of its own goes back to the system
//! as soon as it is dropped, whatever an allocator thinks of it.

use std::fmt;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The size of a large page, on every processor where they are of use here.
const PAGE_BYTES: usize = 2 << 20;

/// Above the largest size that the allocator takes for usual.
const UNUSUAL_BYTES: usize = 33 << 20;

/// The smallest request that has memory of its own.
const LARGE_BYTES: usize = 128 << 10;

/// What may lie in memory as it is: it has no padding, and any bytes are one.
pub trait Plain: FromBytes + IntoBytes + Immutable + Copy + Send + 'static {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + Send + 'static> Plain for T {}

/// An array that is filled once. A large one has memory of its own.
pub struct Array<T> {
    place: Place<T>,
}

enum Place<T> {
    Heap(Vec<T>),
    /// The elements are at the beginning; what comes after them is not touched yet, or zero.
    Own {
        map: MmapMut,
        len: usize,
    },
}

impl<T: Plain> Array<T> {
    /// Room for so many elements. More can be added, at the price of a copy.
    pub fn with_room_for(count: usize) -> Self {
        Self::with_room_for_perhaps(count, count)
    }

    /// Room for so many elements, though only `expected` are likely to come: what is beyond takes no large pages.
    pub fn with_room_for_perhaps(count: usize, expected: usize) -> Self {
        let bytes = |count: usize| count.saturating_mul(size_of::<T>());
        let own = (bytes(count) >= LARGE_BYTES).then(|| own_memory(bytes(count), bytes(expected))).flatten();
        let place = own.map_or_else(|| Place::Heap(Vec::with_capacity(count)), |map| Place::Own { map, len: 0 });
        Self { place }
    }

    /// So many elements whose bytes are all zero.
    pub fn zeroed(count: usize) -> Self {
        let mut array = Self::with_room_for(count);
        match &mut array.place {
            Place::Heap(elements) => elements.resize_with(count, T::new_zeroed),
            // New memory of the system is zero.
            Place::Own { len, .. } => *len = count,
        }
        array
    }

    /// Adds an element.
    pub fn push(&mut self, element: T) {
        self.extend_from_slice(&[element]);
    }

    /// Adds some elements.
    pub fn extend_from_slice(&mut self, elements: &[T]) {
        if let Place::Own { map, len } = &mut self.place {
            let (start, added) = (len.saturating_mul(size_of::<T>()), elements.as_bytes());
            if let Some(free) = map.get_mut(start..).and_then(|free| free.get_mut(..added.len())) {
                free.copy_from_slice(added);
                *len += elements.len();
                return;
            }
            self.place = Place::Heap(self.as_slice().to_vec());
        }
        if let Place::Heap(all) = &mut self.place {
            all.extend_from_slice(elements);
        }
    }

    /// Adds some elements, one after the other.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = T>) {
        let mut elements = elements.into_iter();
        if let Place::Own { map, len } = &mut self.place {
            let used = *len * size_of::<T>();
            let whole = map.len() - (map.len() - used) % size_of::<T>().max(1);
            let free = map.get_mut(used..whole).unwrap_or_default();
            for (free, element) in <[T]>::mut_from_bytes(free).unwrap_or_default().iter_mut().zip(&mut elements) {
                *free = element;
                *len += 1;
            }
        }
        elements.for_each(|element| self.push(element));
    }

    /// Drops what comes after the first so many elements.
    pub fn truncate(&mut self, count: usize) {
        match &mut self.place {
            Place::Heap(elements) => elements.truncate(count),
            Place::Own { len, .. } => *len = count.min(*len),
        }
    }

    /// How many more fit without a copy.
    pub fn room(&self) -> usize {
        match &self.place {
            Place::Heap(elements) => elements.capacity() - elements.len(),
            Place::Own { map, len } => (map.len() / size_of::<T>().max(1)).saturating_sub(*len),
        }
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        match &self.place {
            Place::Heap(elements) => elements,
            Place::Own { map, len } => elements_of(map.get(..*len * size_of::<T>()).unwrap_or_default()),
        }
    }

    /// The elements, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match &mut self.place {
            Place::Heap(elements) => elements,
            Place::Own { map, len } => {
                let bytes = map.get_mut(..*len * size_of::<T>()).unwrap_or_default();
                <[T]>::mut_from_bytes(bytes).unwrap_or_default()
            }
        }
    }

    /// The bytes of the elements, to be shared and never changed; [`elements_of`] gives the elements back.
    pub fn freeze(self) -> Bytes {
        match self.place {
            Place::Heap(mut elements) => {
                elements.shrink_to_fit();
                Bytes::from_owner(Heap(elements))
            }
            Place::Own { map, len } => {
                let bytes = len * size_of::<T>();
                Bytes::from_owner(map).split_to(bytes)
            }
        }
    }
}

impl<T: Plain> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.as_slice().len()).finish_non_exhaustive()
    }
}

struct Heap<T>(Vec<T>);

impl<T: Plain> AsRef<[u8]> for Heap<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice().as_bytes()
    }
}

/// The elements of an array whose bytes these are; none where they cannot be.
#[inline(always)]
pub fn elements_of<T: FromBytes + Immutable>(bytes: &[u8]) -> &[T] {
    <[T]>::ref_from_bytes(bytes).unwrap_or_default()
}

/// Memory that is zero and not there before it is written to; none where the system has none.
fn own_memory(bytes: usize, expected: usize) -> Option<MmapMut> {
    let whole = bytes.checked_next_multiple_of(PAGE_BYTES)?;
    // Memory of whole large pages begins at one, where the system knows how.
    let map = MmapMut::map_anon(if bytes < PAGE_BYTES { bytes } else { whole }).ok()?;
    // A large page takes memory as a whole, so the last one must be needed as a whole.
    let paged = expected / PAGE_BYTES * PAGE_BYTES;
    if paged > 0 {
        // Without them it is the same, and slower.
        let _ = map.advise_range(Advice::HugePage, 0, paged.min(map.len()));
    }
    Some(map)
}

/// How many elements to ask the allocator for, where so many are needed for a short time.
///
/// The allocator of glibc serves large requests with memory of their own, which the system has back once it is freed. But from the
/// first such request that is freed it takes its size, up to 32 MiB, for the size of what is usual, and serves all smaller ones
/// from a heap, where what stays keeps what was freed below it (mallopt(3), M_MMAP_THRESHOLD). Requests above 32 MiB teach it
/// nothing, and what is asked for and not written to is not there: it costs addresses, and no memory.
pub fn room_for<T>(count: usize) -> usize {
    let bytes = count.saturating_mul(size_of::<T>());
    if bytes < LARGE_BYTES { count } else { count.max(UNUSUAL_BYTES / size_of::<T>().max(1)) }
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

    #[test]
    fn array_holds_what_it_was_given_wherever_it_lies() {
        for count in [0_usize, 1, 1_000, LARGE_BYTES / 8, PAGE_BYTES / 8, 3 * PAGE_BYTES / 8 + 5] {
            let all: Vec<u64> = (0..count as u64 + 7).collect();
            let (most, rest) = all.split_at(count);
            let mut array = Array::with_room_for(count);
            array.extend_from_slice(most);
            assert_eq!(array.as_slice(), most, "{count}");
            // Beyond its room it still grows.
            rest.iter().for_each(|element| array.push(*element));
            array.extend_from_slice(&all[..count.min(3 << 18)]);
            array.truncate(all.len());
            array.as_mut_slice().reverse();
            let frozen = array.freeze();
            assert!(elements_of::<u64>(&frozen).iter().eq(all.iter().rev()), "{count}");
        }
    }

    #[test]
    fn zeroed_array_is_zero_and_can_be_written_to() {
        for count in [0_usize, 5, LARGE_BYTES, 5 * PAGE_BYTES] {
            let mut array = Array::<u8>::zeroed(count);
            assert_eq!((array.as_slice().len(), array.as_slice().iter().any(|byte| *byte != 0)), (count, false));
            array.as_mut_slice().fill(1);
            assert_eq!(array.freeze().len(), count);
        }
    }

    #[test]
    fn bytes_that_are_no_elements_are_none() {
        assert!(elements_of::<u64>(&[0; 7]).is_empty());
        assert!(elements_of::<u16>(&[]).is_empty());
    }
}
