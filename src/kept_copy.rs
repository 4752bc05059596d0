//! The state directory: the last good bytes of an input, kept so that a restart is not at the mercy of what
//! is on disk by then.
//!
//! Inside: writing a copy so that a crash at any moment leaves the old one or the new one, and reading it back
//! with its checksum. Kept out: what is good, which whoever keeps it has decided.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::whole_file::{self, ReadError, Sha256};

/// First word of a copy's header, with the version of this layout.
const MAGIC: &str = "sluis-kept-1";

/// Longest encoded name; the file name has a kind and an ending besides, and 255 bytes are allowed.
const NAME_BYTES: usize = 180;

/// A directory of copies, each under a kind (`source`, `certificate`) and a name that an operator chose.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
}

/// Why there is no copy to be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// None was kept.
    #[error("no copy was kept in the state directory")]
    None,
    /// There is one, but it is not what was written.
    #[error("the kept copy {0} is damaged")]
    Damaged(PathBuf),
    /// There is one, but it cannot be read.
    #[error("the kept copy cannot be read: {0}")]
    Unreadable(ReadError),
}

/// How long a copy waits for one that another process writes, in steps of [`LOCK_STEP`]: whoever holds the lock for longer
/// must not hold up the lists.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_STEP: Duration = Duration::from_millis(20);

/// Takes the lock, which closing the directory gives back, or goes on without it.
fn wait_for_lock(directory: &File) {
    for _ in 0..LOCK_WAIT.as_millis() / LOCK_STEP.as_millis() {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_STEP),
            Ok(()) | Err(_) => return,
        }
    }
}

/// Makes a directory that nobody else may read, since private keys are kept there too; one that is there stays as it is.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Puts a temporary file, written to its end, in the place of `path` in the same directory: a crash at any moment leaves
/// the old one or the new one. When it returns, the new one is on disk.
pub fn put_in_place(file: File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    drop(file);
    std::fs::rename(temporary, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

impl StateDirectory {
    /// The directory at `path`, which is made when the first copy is kept.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Keeps `bytes` in place of what was kept under this name. When it returns, they are on disk.
    pub fn keep(&self, kind: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        make_directory(&self.path)?;
        // During an upgrade two processes keep copies here: one must not write what the other is about to rename. Where the
        // file system has no locks, what both wrote at once does not match its checksum.
        let directory = File::open(&self.path)?;
        wait_for_lock(&directory);
        let path = self.file(kind, name);
        let temporary = path.with_extension("tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let header = format!("{MAGIC} {} {}\n", Sha256::of(bytes), bytes.len());
        file.write_all(header.as_bytes())?;
        file.write_all(bytes)?;
        put_in_place(file, &temporary, &path)
    }

    /// What was kept under this name, of at most `limit` bytes.
    pub fn load(&self, kind: &str, name: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
        let path = self.file(kind, name);
        let file = match whole_file::read(&path, limit.saturating_add(200)) {
            Ok(file) => file,
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Err(LoadError::None),
            Err(error) => return Err(LoadError::Unreadable(error)),
        };
        content(file.bytes).ok_or(LoadError::Damaged(path))
    }

    fn file(&self, kind: &str, name: &str) -> PathBuf {
        self.path.join(format!("{kind}-{}.kept", file_name(name)))
    }

    /// Where the copies are.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The bytes after the header, if they are those that the header was written for.
fn content(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut words = header.split(' ');
    let (magic, hash, size) = (words.next()?, words.next()?.to_owned(), words.next()?.parse::<usize>().ok()?);
    if magic != MAGIC || words.next().is_some() {
        return None;
    }
    bytes.drain(..=end);
    (bytes.len() == size && Sha256::of(&bytes).to_string() == hash).then_some(bytes)
}

/// A name as a file name: what is not a lower-case letter, a digit or `-` becomes `_` and two hex digits, so
/// that no two names meet, on file systems that ignore case too. Very long ones are named by their hash.
pub fn file_name(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "_{byte:02x}");
            }
        }
    }
    // An encoded name has no `_` that is not followed by a hex digit, so this meets none.
    if encoded.len() > NAME_BYTES { format!("_x{}", Sha256::of(name.as_bytes())) } else { encoded }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn state() -> (tempfile::TempDir, StateDirectory) {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDirectory::new(directory.path().join("state"));
        (directory, state)
    }

    #[test]
    fn what_was_kept_last_is_loaded() {
        let (_directory, state) = state();
        for bytes in [&b"first"[..], b"", b"with\nlines\n\xff", &[0; 10_000]] {
            state.keep("source", "a", bytes).expect("kept");
            assert_eq!(state.load("source", "a", LIMIT).expect("loaded"), bytes);
        }
        assert!(matches!(state.load("certificate", "a", LIMIT), Err(LoadError::None)));
    }

    #[test]
    fn damaged_copy_is_never_loaded() {
        let (_directory, state) = state();
        state.keep("source", "a", b"the bytes of a list\n").expect("kept");
        let path = state.file("source", "a");
        let good = fs::read(&path).expect("read");
        let mut damaged: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
        for index in 0..good.len() {
            let mut flipped = good.clone();
            flipped[index] ^= 1;
            damaged.push(flipped);
        }
        damaged.push([&good[..], b"more"].concat());
        for bytes in damaged {
            fs::write(&path, &bytes).expect("written");
            assert!(matches!(state.load("source", "a", LIMIT), Err(LoadError::Damaged(_))), "{bytes:?}");
        }
    }

    #[test]
    fn copies_that_two_processes_keep_at_once_are_whole() {
        let (_directory, state) = state();
        let keep = |byte: u8| {
            // A lock is of whoever opened the directory: two threads are as good as two processes.
            let state = state.clone();
            move || (0..40).for_each(|length| state.keep("source", "a", &vec![byte; 50_000 + length]).expect("kept"))
        };
        std::thread::scope(|scope| {
            scope.spawn(keep(b'a'));
            scope.spawn(keep(b'b'));
        });
        let kept = state.load("source", "a", LIMIT).expect("a whole copy");
        assert!(kept.iter().all(|byte| *byte == kept[0]));
    }

    #[test]
    fn half_written_temporary_file_does_not_count() {
        let (_directory, state) = state();
        state.keep("source", "a", b"old").expect("kept");
        fs::write(state.file("source", "a").with_extension("tmp"), "sluis-kept-1 half").expect("written");
        assert_eq!(state.load("source", "a", LIMIT).expect("loaded"), b"old");
        state.keep("source", "a", b"new").expect("kept");
        assert_eq!(state.load("source", "a", LIMIT).expect("loaded"), b"new");
    }

    #[test]
    fn no_name_leaves_the_directory_or_meets_another() {
        let names =
            ["a", "A", "..", "../a", "a/b", "a_b", "_61", "", ".", "a.kept", "é", &"x".repeat(500), &"/".repeat(500)];
        let encoded: BTreeSet<String> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(encoded.len(), names.len());
        assert!(encoded.iter().all(|name| name.len() < 200 && !name.contains(['/', '.'])), "{encoded:?}");
    }

    #[test]
    fn copies_are_for_the_owner_only() {
        let (_directory, state) = state();
        state.keep("certificate", "edge", b"a private key").expect("kept");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(state.path()), mode(&state.file("certificate", "edge"))), (0o700, 0o600));
    }

    #[test]
    fn directory_that_cannot_be_made_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        let state = StateDirectory::new(file.join("state"));
        assert!(state.keep("source", "a", b"x").is_err());
        assert!(matches!(state.load("source", "a", LIMIT), Err(LoadError::Unreadable(_))));
    }
}
