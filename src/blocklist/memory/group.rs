//! What the process's control groups have left: version 2 and version 1, with every group above its own.
//!
//! Inside: where they are, by the system's own words, and the arithmetic. Kept out: what follows from it.

use std::path::{Path, PathBuf};

/// The files of one version that say how much a group may use and how much it does.
#[derive(Debug)]
struct Version {
    limits: &'static [&'static str],
    usage: &'static str,
    /// The key in `memory.stat` of what the kernel gives back when it is asked: cached files that nobody used lately.
    reclaimable: &'static str,
}

const ONE: Version =
    Version { limits: &["memory.limit_in_bytes"], usage: "memory.usage_in_bytes", reclaimable: "total_inactive_file" };

/// Above `memory.high` nothing is killed, but everything is slowed down until there is less.
const TWO: Version =
    Version { limits: &["memory.max", "memory.high"], usage: "memory.current", reclaimable: "inactive_file" };

/// The least of what the process's own group and those above it have left, in bytes.
///
/// `groups` is what `/proc/self/cgroup` says and `mounts` what `/proc/self/mountinfo` says.
pub(super) fn left(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let folders = mounts.lines().filter_map(mounted).filter_map(|(version, root, mount)| {
        let path = groups.lines().find_map(|line| path_of_group(line, version))?;
        Some((version, mount, Path::new(path).strip_prefix(root).unwrap_or_else(|_| Path::new("")).to_owned()))
    });
    let left = folders.flat_map(|(version, mount, below)| {
        let own: Vec<PathBuf> = below.ancestors().map(|above| mount.join(above)).collect();
        own.into_iter().filter_map(|folder| left_in(&folder, version, &read)).min()
    });
    left.min()
}

/// A mount that has the memory controller: its version, the group at its root, and where it is (proc(5)).
fn mounted(line: &str) -> Option<(&'static Version, &str, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    let mut kind = kind.split(' ');
    let version = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => &TWO,
        ("cgroup", options) if options.split(',').any(|option| option == "memory") => &ONE,
        _ => return None,
    };
    Some((version, root, PathBuf::from(at)))
}

/// The path in a line such as `0::/system.slice/sluis.service` or `4:memory:/docker/ab12` (cgroups(7)).
fn path_of_group<'t>(line: &'t str, version: &Version) -> Option<&'t str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_two = number == "0" && controllers.is_empty();
    let is_one = controllers.split(',').any(|controller| controller == "memory");
    let wanted = if version.usage == TWO.usage { is_two } else { is_one };
    // A group outside the namespace has a path that leads out of the mount.
    (wanted && !path.contains("..")).then_some(path)
}

fn left_in(folder: &Path, version: &Version, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    // "max" is no limit, and no number.
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
    let limit = version.limits.iter().filter_map(|name| number(name)).min()?;
    let statistics = read(&folder.join("memory.stat")).unwrap_or_default();
    let reclaimable = statistics.lines().filter_map(|line| line.split_once(' '));
    let reclaimable = reclaimable.filter(|(key, _)| *key == version.reclaimable);
    let reclaimable = reclaimable.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum();
    Some(limit.saturating_sub(number(version.usage)?.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MOUNT_TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    const MOUNT_ONE: &str = "35 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                             36 30 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";

    fn left_with(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let files: BTreeMap<PathBuf, &str> = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
        left(groups, mounts, |path| files.get(path).map(|text| (*text).to_owned()))
    }

    #[test]
    fn group_of_version_2_and_all_above_it_count() {
        let own = [
            ("/sys/fs/cgroup/a.slice/memory.max", "1000\n"),
            ("/sys/fs/cgroup/a.slice/memory.current", "900\n"),
            ("/sys/fs/cgroup/a.slice/memory.stat", "anon 500\nfile 400\ninactive_file 300\nactive_file 100\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.high", "max\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.current", "100\n"),
        ];
        assert_eq!(left_with("0::/a.slice/b.service\n", MOUNT_TWO, &own), Some(400), "cached files are given back");
        assert_eq!(left_with("0::/a.slice\n", MOUNT_TWO, &own), Some(400));
        assert_eq!(left_with("0::/\n", MOUNT_TWO, &own), None, "the group at the root has no limit");
        let high = [&own[..], &[("/sys/fs/cgroup/a.slice/b.service/memory.high", "150")]].concat();
        assert_eq!(left_with("0::/a.slice/b.service\n", MOUNT_TWO, &high), Some(50));
        let over = [("/sys/fs/cgroup/memory.max", "1000"), ("/sys/fs/cgroup/memory.current", "4000")];
        assert_eq!(left_with("0::/\n", MOUNT_TWO, &over), Some(0), "a container sees its own group as the root");
    }

    #[test]
    fn group_of_version_1_is_found_with_and_without_a_namespace() {
        let files = [
            ("/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "2000\n"),
            ("/sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes", "700\n"),
            ("/sys/fs/cgroup/memory/docker/ab/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n"),
        ];
        let groups = "5:cpu,cpuacct:/docker/cd\n4:memory:/docker/ab\n0::/docker/ab\n";
        assert_eq!(left_with(groups, MOUNT_ONE, &files), Some(1_400));
        // In a container the mount shows the container's own group, and the path is that of the host.
        let inside = MOUNT_ONE.replace("0:31 / ", "0:31 /docker/ab ");
        let files = [
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "500"),
        ];
        assert_eq!(left_with(groups, &inside, &files), Some(1_500));
        let elsewhere = MOUNT_ONE.replace("0:31 / ", "0:31 /other ");
        assert_eq!(left_with(groups, &elsewhere, &files), Some(1_500));
    }

    #[test]
    fn words_that_say_nothing_are_no_limit() {
        let files = [("/sys/fs/cgroup/memory.max", "lots"), ("/sys/fs/cgroup/memory.current", "5")];
        for (groups, mounts) in [
            ("0::/\n", MOUNT_TWO),
            ("", MOUNT_TWO),
            ("0::/\n", ""),
            ("nonsense\n::\n", MOUNT_TWO),
            ("0::/../../x\n", MOUNT_TWO),
            ("0::/\n", "30 23 - \n- cgroup2\n1 2 3 / /x rw - tmpfs tmpfs rw"),
        ] {
            assert_eq!(left_with(groups, mounts, &files), None, "{groups:?} {mounts:?}");
        }
    }
}
