//! Whether there is room for another index beside the one in force.
//!
//! Inside: an estimate, and what the machine and the control group have left. Kept out: what follows from it. Being
//! killed for want of memory stops everything; refusing one list does not.

use std::fs;
use std::path::Path;

/// Below this, nobody asks: the answer would say more about other programs than about the list.
const ALWAYS_ALLOWED: u64 = 256 << 20;

/// What an index costs per name beside the name itself, in bytes (lists.md).
const INDEX_BYTES_PER_NAME: u64 = 40;

/// Estimates what building an index of some names takes, in bytes.
pub(super) fn estimate(names: u64, packed_bytes: u64) -> u64 {
    packed_bytes + names * INDEX_BYTES_PER_NAME
}

/// Says what is missing, where there is no room.
pub(super) fn refuse(needed: u64, available: Option<u64>) -> Option<String> {
    let available = available?;
    let fits = needed <= ALWAYS_ALLOWED || needed <= available / 10 * 9;
    (!fits).then(|| {
        let mebibytes = |bytes: u64| bytes >> 20;
        format!(
            "an index of these names takes about {} MiB, and {} MiB are available; shorten the list or give sluis more memory",
            mebibytes(needed),
            mebibytes(available)
        )
    })
}

/// What can still be used: the least of what the machine and the control group have left.
pub(super) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| from_meminfo(&text));
    let group = Path::new("/sys/fs/cgroup");
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let group = read("memory.max").zip(read("memory.current")).and_then(|(max, current)| from_group(&max, &current));
    [machine, group].into_iter().flatten().min()
}

fn from_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn from_group(max: &str, current: &str) -> Option<u64> {
    // "max" is no limit, and no number.
    Some(max.trim().parse::<u64>().ok()?.saturating_sub(current.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_the_system_s_own_words() {
        let text = "MemTotal:       16315464 kB\nMemFree:         1000 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(from_meminfo(text), Some(2 << 20));
        assert_eq!(from_meminfo("MemTotal: 1 kB\n"), None);
        assert_eq!(from_group("1000\n", "400\n"), Some(600));
        assert_eq!(from_group("1000\n", "4000\n"), Some(0));
        assert_eq!(from_group("max\n", "400\n"), None);
    }

    #[test]
    fn only_large_lists_are_refused_for_want_of_memory() {
        let million = estimate(1_000_000, 25_000_000);
        assert_eq!(refuse(million, Some(1 << 20)), None, "65 MB are always allowed");
        let hundred_million = estimate(100_000_000, 2_500_000_000);
        let refused = refuse(hundred_million, Some(4 << 30)).expect("refused");
        assert!(refused.contains("about 6198 MiB, and 4096 MiB are available"), "{refused}");
        assert_eq!(refuse(hundred_million, Some(16 << 30)), None);
        assert_eq!(refuse(hundred_million, None), None, "nobody knows");
    }
}
