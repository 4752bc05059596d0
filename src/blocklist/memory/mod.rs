//! Whether there is room for another list, and for another index beside the one in force.
//!
//! Inside: what they take by estimate, the operator's own limit, and what the process may still use: of the machine, of
//! its control groups (`group.rs`), and of its resource limits. Kept out: what follows from it. Being killed for want of
//! memory, or ending because there is none, stops everything; refusing one list does not.

mod group;

use std::fmt;
use std::fs;

use rustix::process::{Resource, getrlimit};

/// Where the machine as a whole is asked, this is always allowed: the answer would say more about other programs than
/// about the list.
const ALWAYS_ALLOWED: u64 = 256 << 20;

/// What the index has for each name beside its packed record: a slot of eight bytes in a table that is filled to seven
/// tenths, and the lists of names that several entries share.
const INDEX_BYTES_PER_NAME: u64 = 12;

/// What a build has for each name until it is done: hash and position, 16 bytes.
const BUILD_BYTES_PER_NAME: u64 = 16;

/// What reading takes for each byte of a feed: packed records, up to a fifth longer than their lines, and eight bytes of
/// hashes a name for the guards. Lines have about twenty bytes.
const FEED_BYTES_PER_BYTE: f64 = 2.0;

/// What reading takes for each byte of decision records: the document as a tree, and each host with room for the longest
/// name. 31 was measured with short records of one host, 46 with one record of short hosts.
const RECORDS_BYTES_PER_BYTE: f64 = 48.0;

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Taking up a file of these bytes.
    Bytes(u64),
    /// Reading a list of these bytes.
    Feed(usize),
    /// Reading decision records of these bytes.
    Records(usize),
    /// Building an index of these names, which are there already.
    Index(usize),
}

/// What the process may still use of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    bytes: u64,
    of: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Machine,
    Group,
    AddressSpace,
    Data,
}

/// Says what is missing for a task, where there is no room.
pub(super) fn refuse(task: Task) -> Option<String> {
    refuse_in(task, rooms())
}

/// Says so where an index of some names, packed in so many bytes, would be larger than the operator allows.
pub(super) fn over_limit(names: usize, packed_bytes: usize, max_memory_mib: Option<u64>) -> Option<String> {
    let limit = max_memory_mib?;
    let bytes = index_bytes(names, packed_bytes);
    (bytes > limit << 20).then(|| {
        format!(
            "the index with these names would take about {} MiB, more than max_memory_mib = {limit}; shorten the list, \
             or raise max_memory_mib",
            mebibytes(bytes)
        )
    })
}

/// What an index takes, its names included.
fn index_bytes(names: usize, packed_bytes: usize) -> u64 {
    packed_bytes as u64 + names as u64 * INDEX_BYTES_PER_NAME
}

fn refuse_in(task: Task, rooms: impl IntoIterator<Item = Room>) -> Option<String> {
    let needed = task.needed_bytes();
    let is_short = |room: &Room| needed > room.bytes / 10 * 9;
    let is_asked = |room: &Room| room.of != Owner::Machine || needed > ALWAYS_ALLOWED;
    let room = rooms.into_iter().filter(|room| is_asked(room) && is_short(room)).min_by_key(|room| room.bytes)?;
    Some(format!(
        "{task} takes about {} MiB, and {} MiB are left {}; shorten the list, or give sluis more memory",
        mebibytes(needed),
        room.bytes >> 20,
        room.of
    ))
}

/// Everything that bounds what can still be used.
fn rooms() -> impl Iterator<Item = Room> {
    let read = |path: &std::path::Path| fs::read_to_string(path).ok();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = kibibytes(&text("/proc/meminfo"), "MemAvailable:");
    let group = group::left(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"), read);
    let status = text("/proc/self/status");
    let below = |resource, key| {
        let limit = getrlimit(resource).current?;
        Some(limit.saturating_sub(kibibytes(&status, key)?))
    };
    let rooms = [
        (machine, Owner::Machine),
        (group, Owner::Group),
        (below(Resource::As, "VmSize:"), Owner::AddressSpace),
        (below(Resource::Data, "VmData:"), Owner::Data),
    ];
    rooms.into_iter().filter_map(|(bytes, of)| Some(Room { bytes: bytes?, of }))
}

/// The bytes in a line such as `MemAvailable:    2048 kB`.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Rounded up, so that what is too much never looks like what is allowed.
const fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl Task {
    fn needed_bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Feed(bytes) => (bytes as f64 * FEED_BYTES_PER_BYTE) as u64,
            Self::Records(bytes) => (bytes as f64 * RECORDS_BYTES_PER_BYTE) as u64,
            Self::Index(names) => names as u64 * (INDEX_BYTES_PER_NAME + BUILD_BYTES_PER_NAME),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) | Self::Feed(_) | Self::Records(_) => "reading this list",
            Self::Index(_) => "building an index with these names",
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "on this machine",
            Self::Group => "in the control group (its memory limit)",
            Self::AddressSpace => "of the address space that the process may have (ulimit -v)",
            Self::Data => "of the data that the process may have (ulimit -d)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocklist::index::{Index, IndexSource};
    use crate::blocklist::parsed::{Effect, Names, Owner as NameOwner, ParsedSource};
    use crate::blocklist::pattern::{PatternView, Reach};

    fn room(mebibytes: u64, of: Owner) -> Room {
        Room { bytes: mebibytes << 20, of }
    }

    #[test]
    fn what_is_left_is_read_from_the_system_s_own_words() {
        let text = "MemTotal:       16315464 kB\nMemFree:         1000 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kibibytes("MemTotal: 1 kB\n", "MemAvailable:"), None);
        assert_eq!(kibibytes("VmSize:\t 7 MB\n", "VmSize:"), None);
        assert!(rooms().any(|room| room.of == Owner::Machine && room.bytes > 0), "this is Linux");
    }

    #[test]
    fn the_smallest_room_that_is_too_small_is_named() {
        let million = Task::Index(1_000_000);
        let hundred_million = Task::Index(100_000_000);
        let cases = [
            (million, vec![room(1, Owner::Machine)], None),
            (million, vec![room(20, Owner::Group)], Some("about 27 MiB, and 20 MiB are left in the control group")),
            (million, vec![room(40, Owner::Group)], None),
            (million, vec![room(20, Owner::AddressSpace), room(10, Owner::Data)], Some("10 MiB are left of the data")),
            (
                hundred_million,
                vec![room(2_000, Owner::Machine)],
                Some("2671 MiB, and 2000 MiB are left on this machine"),
            ),
            (hundred_million, vec![room(4_000, Owner::Machine)], None),
            (hundred_million, vec![], None),
            (Task::Feed(20 << 20), vec![room(40, Owner::AddressSpace)], Some("reading this list takes about 40 MiB")),
            (Task::Feed(20 << 20), vec![room(50, Owner::AddressSpace)], None),
            (Task::Records(20 << 20), vec![room(60, Owner::AddressSpace)], Some("(ulimit -v); shorten the list")),
        ];
        for (task, rooms, expected) in cases {
            let refused = refuse_in(task, rooms);
            let is_as_expected = match (&refused, expected) {
                (Some(refused), Some(expected)) => refused.contains(expected),
                (refused, expected) => refused.is_none() && expected.is_none(),
            };
            assert!(is_as_expected, "{task:?}: {refused:?} {expected:?}");
        }
    }

    #[test]
    fn the_operator_s_limit_counts_names_and_index() {
        assert_eq!(over_limit(1_000_000, 26_000_000, None), None);
        assert_eq!(over_limit(1_000_000, 26_000_000, Some(37)), None);
        let refused = over_limit(1_000_000, 26_000_000, Some(36)).expect("38,000,000 bytes are more than 36 MiB");
        assert!(refused.contains("about 37 MiB, more than max_memory_mib = 36"), "{refused}");
    }

    /// The estimate is for refusing lists: it must not be below what an index really takes, nor far above it.
    #[test]
    fn the_estimate_is_what_an_index_takes() {
        for count in [10_000, 100_000] {
            let mut names = Names::default();
            for number in 0..count {
                let name = format!("some-host-{number}.example");
                let pattern = PatternView { name: &name, reach: Reach::Subtree };
                names.push(pattern, Effect::Block, number, NameOwner::Decision(0));
            }
            names.shrink_to_fit();
            let (length, packed) = (names.len(), names.memory_bytes());
            let parsed = Arc::new(ParsedSource { names, ..ParsedSource::default() });
            let source = IndexSource { name: "feed".to_owned(), is_feed: true, parsed };
            let taken = Index::build(&[Arc::new(source)], 1).memory_bytes() as u64;
            let estimate = index_bytes(length, packed);
            assert!(taken <= estimate && estimate <= taken + taken / 10, "{count}: {estimate} for {taken}");
        }
    }
}
