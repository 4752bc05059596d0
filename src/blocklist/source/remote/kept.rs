//! A fetched list on disk: the file that the reload reads, and beside it a note of where it came from.
//!
//! Inside: writing both so that a crash at any moment leaves the old list or the new one, and what may be said to the
//! server about the one that is there. Kept out: fetching, and what the list means.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::kept_copy;
use crate::whole_file::Sha256;

/// A note that is larger was not written by this program.
const NOTE_BYTES: u64 = 64 << 10;

/// What to ask a server with, so that it need not send what is here already (RFC 9110 section 8.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    /// The URL that gave them, after redirects and without its query; they mean nothing to another one.
    pub(super) answered_by: String,
    /// Sent back as it came, weak or strong.
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// Where the list on disk came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The URL of the configuration at that time.
    pub(super) url: String,
    /// Of the bytes that all this is about, in hex.
    pub(super) sha256: String,
    pub(super) validators: Validators,
    #[serde(with = "moment")]
    pub(super) fetched_at: Timestamp,
    #[serde(with = "moment")]
    pub(super) checked_at: Timestamp,
}

/// Moments as text (RFC 3339).
mod moment {
    use jiff::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(moment)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The file of one source.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    /// What the file looked like when it was hashed last, so that it need not be read for each fetch.
    seen: Option<(Stamp, String)>,
}

type Stamp = (u64, u64, u64, [i64; 4]);

impl Kept {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), seen: None }
    }

    /// The file, which the reload reads.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file to start from, so that nobody need wait for the network: one of this URL, or one that
    /// somebody put there.
    pub(super) fn is_of(&mut self, url: &Url) -> bool {
        self.path.exists() && self.note().is_none_or(|note| note.url == url.as_str())
    }

    /// Whether there is a note, of whichever file, about another URL.
    pub(super) fn is_noted_for_another(&self, url: &Url) -> bool {
        self.path.exists() && self.read_note().is_some_and(|note| note.url != url.as_str())
    }

    /// The note, if there is one and it is about the file as it is now: one that was changed or lost has none.
    pub(super) fn note(&mut self) -> Option<Note> {
        let note = self.read_note()?;
        (self.sha256().as_deref() == Some(&*note.sha256)).then_some(note)
    }

    /// Begins to write another list; nothing is in its place before [`Self::keep`].
    pub(super) fn begin(&self) -> io::Result<Incoming> {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        kept_copy::make_directory(directory)?;
        Incoming::create(&self.path)
    }

    /// Puts a list in its place, with its note. Where its bytes are those that are there already, only the note is
    /// written. Whether the list is another one.
    pub(super) fn keep(&mut self, incoming: Incoming, note: &Note) -> io::Result<bool> {
        let is_new = self.sha256().as_deref() != Some(&*note.sha256);
        if is_new {
            // First, so that no moment has the new list with the old validators.
            let _ = fs::remove_file(self.note_path());
            incoming.put_at(&self.path)?;
        }
        self.write_note(note)?;
        Ok(is_new)
    }

    /// Replaces the note.
    pub(super) fn write_note(&self, note: &Note) -> io::Result<()> {
        let path = self.note_path();
        let mut incoming = Incoming::create(&path)?;
        incoming.write(&serde_json::to_vec_pretty(note).map_err(io::Error::other)?)?;
        incoming.put_at(&path)
    }

    fn read_note(&self) -> Option<Note> {
        let mut text = Vec::new();
        File::open(self.note_path()).ok()?.take(NOTE_BYTES).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn note_path(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".json");
        self.path.with_file_name(name)
    }

    /// The hash of the file, if it is there and can be read.
    fn sha256(&mut self) -> Option<String> {
        let stamp = stamp(&self.path)?;
        if let Some((seen, sha256)) = &self.seen
            && *seen == stamp
        {
            return Some(sha256.clone());
        }
        let sha256 = hash(&self.path)?;
        // Two changes within one tick of the clock have the same times: what is as young as that is hashed again.
        let is_old = stamp.3[2] < Timestamp::now().as_second() - 1;
        self.seen = is_old.then(|| (stamp, sha256.clone()));
        Some(sha256)
    }
}

/// A file that is being written beside its place; it is removed unless it is put there.
pub(super) struct Incoming {
    temporary: PathBuf,
    file: Option<File>,
    digest: digest::Context,
    bytes: u64,
}

impl Incoming {
    fn create(path: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // During an upgrade two processes write here.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        Ok(Self { temporary, file: Some(file), digest: digest::Context::new(&digest::SHA256), bytes: 0 })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(piece))
    }

    /// How much was written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of what was written, in hex.
    pub(super) fn sha256(&self) -> String {
        to_hex(self.digest.clone())
    }

    /// Puts what was written in its place.
    pub(super) fn put_at(mut self, path: &Path) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let put = kept_copy::put_in_place(file, &self.temporary, path);
        if put.is_err() {
            let _ = fs::remove_file(&self.temporary);
        }
        put
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("temporary", &self.temporary).finish_non_exhaustive()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes what processes that are gone have left half written.
pub(super) fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let writer = name.to_str().and_then(writer_of);
        if writer.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that writes a temporary file of that name.
fn writer_of(name: &str) -> Option<u32> {
    let (_, process) = name.strip_suffix(".tmp")?.rsplit_once('.')?;
    process.split_once('-')?.0.parse().ok()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    Some((metadata.dev(), metadata.ino(), metadata.size(), times))
}

fn hash(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(to_hex(digest)),
            count => digest.update(piece.get(..count)?),
        }
    }
}

fn to_hex(digest: digest::Context) -> String {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.finish().as_ref());
    Sha256(hash).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(sha256: &str, etag: &str) -> Note {
        let at = Timestamp::from_second(1_700_000_000).expect("a moment");
        let validators = Validators {
            answered_by: "https://lists.example/a".to_owned(),
            etag: Some(etag.to_owned()),
            last_modified: None,
        };
        let url = "https://lists.example/a?key".to_owned();
        Note { url, sha256: sha256.to_owned(), validators, fetched_at: at, checked_at: at }
    }

    fn keep(kept: &mut Kept, bytes: &[u8], etag: &str) -> bool {
        let mut incoming = kept.begin().expect("begun");
        bytes.chunks(3).for_each(|piece| incoming.write(piece).expect("written"));
        assert_eq!((incoming.bytes(), incoming.sha256()), (bytes.len() as u64, Sha256::of(bytes).to_string()));
        let note = note(&incoming.sha256(), etag);
        kept.keep(incoming, &note).expect("kept")
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn list_and_note_are_kept_together_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let feeds = directory.path().join("feeds");
        let mut kept = Kept::new(feeds.join("a.list"));
        assert_eq!(kept.note(), None);
        assert!(keep(&mut kept, b"a.example\n", "\"1\""));
        assert_eq!(fs::read(kept.path()).expect("there"), b"a.example\n");
        assert_eq!(kept.note().map(|note| note.validators.etag), Some(Some("\"1\"".to_owned())));
        assert!(!keep(&mut kept, b"a.example\n", "W/\"2\""), "the same bytes are no other list");
        assert_eq!(kept.note().map(|note| note.validators.etag), Some(Some("W/\"2\"".to_owned())));
        assert!(keep(&mut kept, b"b.example\n", "\"3\""));
        drop(kept.begin().expect("begun"));
        assert_eq!(names(&feeds), ["a.list", "a.list.json"]);
    }

    #[test]
    fn a_list_that_was_changed_or_lost_has_no_validators() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut kept = Kept::new(directory.path().join("a.list"));
        let spoils: [fn(&Path); 5] = [
            |path| fs::remove_file(path).expect("there"),
            |path| fs::write(path, "x.example\n").expect("written"),
            |path| fs::write(path, "").expect("written"),
            |path| fs::remove_file(path.with_file_name("a.list.json")).expect("there"),
            |path| fs::write(path.with_file_name("a.list.json"), "{\"url\": 1").expect("written"),
        ];
        for spoil in spoils {
            keep(&mut kept, b"a.example\n", "\"1\"");
            assert!(kept.note().is_some());
            spoil(kept.path());
            assert_eq!(kept.note(), None);
            assert_eq!(Kept::new(kept.path()).note(), None);
        }
    }

    #[test]
    fn leftovers_of_processes_that_are_gone_are_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = format!("a.list.{}-0.tmp", std::process::id());
        let others = ["a.list", "a.list.json", "a.list.x-0.tmp", "a.tmp", own.as_str()];
        for name in others.iter().copied().chain(["a.list.4194999-0.tmp", "a.list.json.4194998-7.tmp"]) {
            fs::write(directory.path().join(name), "").expect("written");
        }
        remove_leftovers(directory.path());
        let mut expected: Vec<&str> = others.to_vec();
        expected.sort_unstable();
        assert_eq!(names(directory.path()), expected);
    }
}
