//! Which of a set of files changed, told once they have been quiet for a while.
//!
//! Inside: file events of the directories around them, a poll as the backstop, and the settling of both into
//! "these changed". Kept out: reading the files, and every format. One that keeps changing is never reported
//! while it does: the others are, and it is when it has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Longest wait for a set to come to rest together; after it, those that are quiet are reported alone.
const SETTLE_CAP: Duration = Duration::from_secs(2);

/// Shortest time between two looks at the files, so that a directory full of other people's events costs little.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One file, whatever symbolic links lead to it.
    File(PathBuf),
    /// Every file in a directory whose name does not begin with a dot; not those in directories below it.
    Directory(PathBuf),
}

/// Files and directories that are watched as one set.
#[derive(Debug)]
pub struct FileWatch {
    set: WatchedSet,
    directories: Directories,
    poll: Duration,
    next_poll: Instant,
    last_look: Option<Instant>,
    look_at: Option<Instant>,
}

impl FileWatch {
    /// Watches `targets` from now on; what they are now counts as seen. `settle` is the quiet time after a
    /// change; `poll` is how often everything is looked at where no event arrives.
    pub fn new(targets: Vec<Target>, settle: Duration, poll: Duration) -> Self {
        let mut directories = Directories::new();
        // Watched before it is looked at: a change in between is seen.
        directories.follow(targets.iter());
        let set = WatchedSet::new(targets, settle);
        Self { set, directories, poll, next_poll: Instant::now() + poll, last_look: None, look_at: None }
    }

    /// Waits until some targets have changed and come to rest; their indices in ascending order. Dropping the
    /// future loses nothing.
    pub async fn changed(&mut self) -> Vec<usize> {
        loop {
            let wake = [Some(self.next_poll), self.look_at, self.set.due()].into_iter().flatten().min();
            let wake = wake.unwrap_or(self.next_poll);
            tokio::select! {
                () = self.directories.signals.wake.notified() => self.schedule_look(),
                () = tokio::time::sleep_until(wake) => {
                    let settled = self.look(Instant::now());
                    if !settled.is_empty() {
                        return settled;
                    }
                }
            }
        }
    }

    /// Reports a target again after the quiet time, changed or not: for one that could not be read just now.
    pub fn recheck(&mut self, index: usize) {
        self.set.mark(index, Instant::now());
    }

    /// Whether file events arrive at all; if not, the poll alone finds changes.
    pub fn has_events(&self) -> bool {
        self.directories.watcher.is_some()
    }

    fn schedule_look(&mut self) {
        let now = Instant::now();
        let earliest = self.last_look.map_or(now, |last| last + LOOK_INTERVAL);
        self.look_at = Some(self.look_at.unwrap_or(now).max(earliest));
    }

    fn look(&mut self, now: Instant) -> Vec<usize> {
        self.look_at = None;
        self.last_look = Some(now);
        if now >= self.next_poll {
            self.next_poll = now + self.poll;
        }
        if self.directories.signals.lost.swap(false, Ordering::AcqRel) {
            self.directories.forget_all();
            self.set.mark_all(now);
        }
        if self.directories.signals.moved.swap(false, Ordering::AcqRel) {
            self.directories.forget_all();
        }
        self.directories.follow(self.set.watched.iter().map(|watched| &watched.target));
        self.set.look(now);
        self.set.take_settled(now)
    }
}

/// What the targets looked like, and which of them are yet to come to rest. Knows no events.
#[derive(Debug)]
struct WatchedSet {
    watched: Vec<Watched>,
    settle: Duration,
}

#[derive(Debug)]
struct Watched {
    target: Target,
    seen: Signature,
    dirty: Option<Dirty>,
}

#[derive(Debug, Clone, Copy)]
struct Dirty {
    first: Instant,
    last: Instant,
}

impl WatchedSet {
    fn new(targets: Vec<Target>, settle: Duration) -> Self {
        let watched = targets.into_iter().map(|target| Watched { seen: signature(&target), target, dirty: None });
        Self { watched: watched.collect(), settle }
    }

    fn look(&mut self, now: Instant) {
        for watched in &mut self.watched {
            let seen = signature(&watched.target);
            if seen != watched.seen {
                watched.seen = seen;
                watched.mark(now);
            }
        }
    }

    fn mark(&mut self, index: usize, now: Instant) {
        if let Some(watched) = self.watched.get_mut(index) {
            watched.mark(now);
        }
    }

    fn mark_all(&mut self, now: Instant) {
        self.watched.iter_mut().for_each(|watched| watched.mark(now));
    }

    /// When there may be something to report.
    fn due(&self) -> Option<Instant> {
        let dirty = || self.watched.iter().filter_map(|watched| watched.dirty);
        let all_quiet = dirty().map(|dirty| dirty.last + self.settle).max()?;
        let one_quiet = dirty().map(|dirty| dirty.last + self.settle).min()?;
        let cap = dirty().map(|dirty| dirty.first + SETTLE_CAP).min()?;
        Some(all_quiet.min(one_quiet.max(cap)))
    }

    fn take_settled(&mut self, now: Instant) -> Vec<usize> {
        if self.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut settled = Vec::new();
        for (index, watched) in self.watched.iter_mut().enumerate() {
            if watched.dirty.is_some_and(|dirty| dirty.last + self.settle <= now) {
                watched.dirty = None;
                settled.push(index);
            }
        }
        settled
    }
}

impl Watched {
    fn mark(&mut self, now: Instant) {
        let first = self.dirty.map_or(now, |dirty| dirty.first);
        self.dirty = Some(Dirty { first, last: now });
    }
}

/// What tells a changed file from an unchanged one without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Signature {
    Absent(io::ErrorKind),
    File(Box<Stamp>),
    Directory(BTreeMap<OsString, Self>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    /// Where the symbolic links lead.
    resolved: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// The inode's own change: permissions, and writers that set `modified` back.
    changed: (i64, i64),
}

fn signature(target: &Target) -> Signature {
    let found = match target {
        Target::File(path) => file_signature(path),
        Target::Directory(path) => directory_signature(path),
    };
    found.unwrap_or_else(|error| Signature::Absent(error.kind()))
}

fn file_signature(path: &Path) -> io::Result<Signature> {
    let metadata = std::fs::metadata(path)?;
    Ok(Signature::File(Box::new(Stamp {
        resolved: std::fs::canonicalize(path)?,
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })))
}

fn directory_signature(path: &Path) -> io::Result<Signature> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            let file = path.join(&name);
            files.insert(name, file_signature(&file).unwrap_or_else(|error| Signature::Absent(error.kind())));
        }
    }
    Ok(Signature::Directory(files))
}

/// The directories whose events are listened to. A file itself is never watched: replacing it by a rename
/// would leave the watch with the file that is gone.
#[derive(Debug)]
struct Directories {
    watcher: Option<RecommendedWatcher>,
    signals: Arc<Signals>,
    watched: BTreeSet<PathBuf>,
    failed: BTreeSet<PathBuf>,
}

/// What the event thread tells the task. Flags, not a queue: their size does not grow with the events.
#[derive(Debug, Default)]
struct Signals {
    /// Events were dropped: anything may have changed.
    lost: AtomicBool,
    /// Something was renamed or removed, perhaps a directory that is watched.
    moved: AtomicBool,
    wake: Notify,
}

impl Signals {
    fn on_event(&self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            self.lost.store(true, Ordering::Release);
            self.wake.notify_one();
            return;
        };
        // Before anything else: such an event has no paths (notify, `Flag::Rescan`).
        if event.need_rescan() {
            self.lost.store(true, Ordering::Release);
        }
        match event.kind {
            // Looking at a directory opens it, which is an event again: without this, one look leads to the next.
            EventKind::Access(AccessKind::Open(_) | AccessKind::Read) => return,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => self.moved.store(true, Ordering::Release),
            _ => {}
        }
        self.wake.notify_one();
    }
}

impl Directories {
    fn new() -> Self {
        let signals = Arc::new(Signals::default());
        let for_events = Arc::clone(&signals);
        let watcher = match notify::recommended_watcher(move |event| for_events.on_event(event)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "file events are not available; changes are found by polling only");
                None
            }
        };
        Self { watcher, signals, watched: BTreeSet::new(), failed: BTreeSet::new() }
    }

    /// Lets every watch go: the next [`Self::follow`] makes them anew, on the directories that are there now.
    fn forget_all(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in std::mem::take(&mut self.watched) {
            // One whose directory is gone has ended by itself.
            let _ = watcher.unwatch(&directory);
        }
    }

    /// Watches the directories around the targets as they are now, and no others.
    fn follow<'t>(&mut self, targets: impl Iterator<Item = &'t Target>) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = targets.flat_map(directories_around).collect();
        for directory in self.watched.difference(&wanted) {
            // One whose directory is gone has ended by itself.
            let _ = watcher.unwatch(directory);
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            let added = self.watched.contains(&directory)
                || match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                    Ok(()) => true,
                    Err(error) => {
                        if self.failed.insert(directory.clone()) {
                            let path = directory.display();
                            tracing::warn!(%error, %path, "no file events from this directory; it is polled only");
                        }
                        false
                    }
                };
            if added {
                self.failed.remove(&directory);
                watched.insert(directory);
            }
        }
        self.watched = watched;
    }
}

/// The directories in which a change can change the target: where its name is, where it leads to, where the
/// symbolic links on the way are; and the nearest one that exists, where some do not.
fn directories_around(target: &Target) -> Vec<PathBuf> {
    let mut found = Vec::new();
    match target {
        Target::File(path) => around_path(path, &mut found),
        Target::Directory(path) => {
            around_path(path, &mut found);
            if let Ok(entries) = std::fs::read_dir(path) {
                found.push(path.clone());
                entries.flatten().for_each(|entry| around_path(&entry.path(), &mut found));
            }
        }
    }
    let resolved = found.into_iter().filter_map(|directory| std::fs::canonicalize(directory).ok());
    resolved.collect()
}

fn around_path(path: &Path, found: &mut Vec<PathBuf>) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut ancestors = path.ancestors().skip(1);
    found.extend(ancestors.find(|ancestor| ancestor.is_dir()).map(Path::to_path_buf));
    if let Ok(resolved) = std::fs::canonicalize(&path) {
        found.extend(resolved.parent().map(Path::to_path_buf));
    }
    let links = path.ancestors().filter(|ancestor| ancestor.is_symlink());
    found.extend(links.filter_map(Path::parent).map(Path::to_path_buf));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use notify::event::Flag;

    use super::*;

    const SETTLE: Duration = Duration::from_millis(50);
    /// Long enough that a test that passes was woken by an event.
    const NO_POLL: Duration = Duration::from_secs(3_600);
    const BOUND: Duration = Duration::from_secs(10);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    /// Changes files and expects exactly these targets to be reported.
    fn expect_change(watch: &mut FileWatch, indices: &[usize], change: impl FnOnce()) {
        runtime().block_on(async {
            change();
            let changed = tokio::time::timeout(BOUND, watch.changed()).await.expect("a change is reported");
            assert_eq!(changed, indices);
        });
    }

    fn watch_file(path: &Path) -> FileWatch {
        FileWatch::new(vec![Target::File(path.to_path_buf())], SETTLE, NO_POLL)
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).expect("written");
    }

    /// One change, however slow the machine is.
    fn replace(path: &Path, text: &str) {
        let temporary = path.with_file_name(".new");
        write(&temporary, text);
        fs::rename(&temporary, path).expect("renamed");
    }

    #[test]
    fn every_way_to_replace_a_file_is_seen_again_and_again() {
        let directory = directory();
        let path = directory.path().join("list");
        write(&path, "0");
        let mut watch = watch_file(&path);
        for round in 1..=3 {
            let text = "x".repeat(round);
            expect_change(&mut watch, &[0], || write(&path, &format!("{text} in place")));
            expect_change(&mut watch, &[0], || replace(&path, &format!("{text} renamed over")));
            expect_change(&mut watch, &[0], || fs::remove_file(&path).expect("removed"));
            expect_change(&mut watch, &[0], || write(&path, &format!("{text} made again")));
        }
    }

    #[test]
    fn swap_of_a_directory_link_is_seen_as_a_config_map_makes_it() {
        let directory = directory();
        let root = directory.path();
        for version in ["..1", "..2", "..3"] {
            fs::create_dir(root.join(version)).expect("made");
            write(&root.join(version).join("list"), "the same size");
        }
        symlink("..1", root.join("..data")).expect("linked");
        symlink("..data/list", root.join("list")).expect("linked");
        let mut watch = watch_file(&root.join("list"));
        for version in ["..2", "..3"] {
            expect_change(&mut watch, &[0], || {
                symlink(version, root.join("..data_tmp")).expect("linked");
                fs::rename(root.join("..data_tmp"), root.join("..data")).expect("renamed");
            });
        }
    }

    #[test]
    fn file_behind_a_link_to_another_directory_is_seen() {
        let (here, there) = (directory(), directory());
        write(&there.path().join("list"), "1");
        symlink(there.path().join("list"), here.path().join("list")).expect("linked");
        let mut watch = watch_file(&here.path().join("list"));
        expect_change(&mut watch, &[0], || write(&there.path().join("list"), "two"));
        expect_change(&mut watch, &[0], || replace(&there.path().join("list"), "three"));
    }

    #[test]
    fn directory_that_is_moved_away_and_made_again_is_followed() {
        let directory = directory();
        let inner = directory.path().join("a/b");
        let path = inner.join("list");
        fs::create_dir_all(&inner).expect("made");
        write(&path, "1");
        let mut watch = watch_file(&path);
        expect_change(&mut watch, &[0], || fs::rename(&inner, directory.path().join("away")).expect("renamed"));
        expect_change(&mut watch, &[0], || {
            fs::create_dir(&inner).expect("made");
            write(&path, "22");
        });
        expect_change(&mut watch, &[0], || write(&path, "333"));
        expect_change(&mut watch, &[0], || fs::remove_dir_all(directory.path().join("a")).expect("removed"));
        expect_change(&mut watch, &[0], || {
            fs::create_dir_all(&inner).expect("made");
            write(&path, "4444");
        });
        expect_change(&mut watch, &[0], || write(&path, "55555"));
    }

    #[test]
    fn every_file_of_a_directory_is_watched_and_dot_files_are_not() {
        let directory = directory();
        write(&directory.path().join("a.crt"), "1");
        let targets = vec![
            Target::Directory(directory.path().to_path_buf()),
            Target::File(directory.path().join("a.crt")),
            Target::File(directory.path().join(".hidden")),
        ];
        let mut watch = FileWatch::new(targets, SETTLE, NO_POLL);
        expect_change(&mut watch, &[0], || replace(&directory.path().join("a.key"), "new"));
        expect_change(&mut watch, &[2], || replace(&directory.path().join(".hidden"), "new"));
        expect_change(&mut watch, &[0, 1], || replace(&directory.path().join("a.crt"), "changed"));
        expect_change(&mut watch, &[0], || fs::remove_file(directory.path().join("a.key")).expect("removed"));
    }

    #[test]
    fn poll_finds_what_no_event_told() {
        let directory = directory();
        let path = directory.path().join("list");
        write(&path, "1");
        let mut watch = FileWatch::new(vec![Target::File(path.clone())], SETTLE, Duration::from_millis(30));
        watch.directories.forget_all();
        watch.directories.watcher = None;
        assert!(!watch.has_events());
        expect_change(&mut watch, &[0], || write(&path, "two"));
        expect_change(&mut watch, &[0], || replace(&path, "three"));
    }

    #[test]
    fn lost_events_mark_everything() {
        let directory = directory();
        let targets = ["a", "b"].map(|name| Target::File(directory.path().join(name)));
        let mut watch = FileWatch::new(targets.into(), SETTLE, NO_POLL);
        let signals = Arc::clone(&watch.directories.signals);
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        expect_change(&mut watch, &[0, 1], || signals.on_event(Ok(overflow)));
        expect_change(&mut watch, &[0, 1], || signals.on_event(Err(notify::Error::generic("queue"))));
    }

    #[test]
    fn recheck_reports_a_file_that_did_not_change() {
        let directory = directory();
        let path = directory.path().join("list");
        write(&path, "1");
        let mut watch = watch_file(&path);
        watch.recheck(0);
        expect_change(&mut watch, &[0], || ());
    }

    #[test]
    fn file_that_is_still_written_is_not_reported_before_it_rests() {
        let directory = directory();
        let path = directory.path().join("list");
        write(&path, "");
        let settle = Duration::from_secs(1);
        let mut watch = FileWatch::new(vec![Target::File(path.clone())], settle, NO_POLL);
        let writer = std::thread::spawn(move || {
            let mut file = fs::File::create(&path).expect("opened");
            for _ in 0..20 {
                file.write_all(b"one line\n").expect("written");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        expect_change(&mut watch, &[0], || ());
        let Some(Target::File(path)) = watch.set.watched.first().map(|watched| &watched.target) else {
            panic!("the target is there")
        };
        assert_eq!(fs::read(path).expect("read").len(), 180, "it was reported in mid-write");
        writer.join().expect("the writer ends");
    }

    #[test]
    fn quiet_files_are_reported_together_and_do_not_wait_for_one_that_never_rests() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut set = WatchedSet::new(vec![Target::File("a".into()), Target::File("b".into())], SETTLE);
        set.mark(0, at(0));
        assert_eq!(set.due(), Some(at(50)));
        set.mark(1, at(40));
        assert_eq!(set.take_settled(at(60)), Vec::<usize>::new(), "b is not quiet yet");
        assert_eq!(set.take_settled(at(90)), [0, 1]);
        assert_eq!(set.due(), None);

        set.mark(0, at(1_000));
        for milliseconds in (1_000..3_000).step_by(30) {
            set.mark(1, at(milliseconds));
            assert_eq!(set.take_settled(at(milliseconds)), Vec::<usize>::new(), "{milliseconds}");
        }
        set.mark(1, at(3_000));
        assert_eq!(set.take_settled(at(3_000)), [0], "the cap lets the quiet one through");
        assert_eq!(set.take_settled(at(3_040)), Vec::<usize>::new(), "b still changes");
        assert_eq!(set.take_settled(at(3_050)), [1]);
    }
}
