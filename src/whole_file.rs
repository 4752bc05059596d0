//! Reading a file whole, or not at all: never one that changed meanwhile, never one that is no file.
//!
//! Inside: the read and the hash of what was read, with breaks where they are work in the background. Kept out: what the bytes
//! mean, and when to try again.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::digest;

use crate::background::breathe;
use crate::large::room_for;

/// What is read or hashed between two breaks.
const PIECE_BYTES: usize = 128 << 10;

/// The bytes of a file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeFile {
    /// Every byte.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub sha256: Sha256,
}

/// A SHA-256 (FIPS 180-4); shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It changed while it was read: try again when it has come to rest.
    #[error("the file changed while it was read; write to a temporary file and rename it")]
    Changing,
    /// It is something else than a file, which might never end.
    #[error("it is a {0}; expected a file")]
    NotAFile(&'static str),
    /// It is larger than anyone can mean.
    #[error("the file has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The system refused.
    #[error("cannot read the file: {0}")]
    Io(#[from] io::Error),
}

/// Reads a file of at most `limit` bytes. Fails where its device, inode, size or times differ before and after,
/// or its path has come to lead elsewhere: what was read may then be half of each.
pub fn read(path: &Path, limit: u64) -> Result<WholeFile, ReadError> {
    // Looked at before it is opened, because opening some devices is an act; and without waiting, because
    // opening a fifo waits for a writer.
    require_file(&std::fs::metadata(path)?)?;
    let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    let before = file.metadata()?;
    require_file(&before)?;
    if before.size() > limit {
        return Err(ReadError::TooLarge { size: before.size(), limit });
    }
    let bytes = read_exactly(&mut file, before.size())?;
    let same = |after: &Metadata| stamp(after) == stamp(&before);
    if bytes.len() as u64 != before.size() || !same(&file.metadata()?) || !same(&std::fs::metadata(path)?) {
        return Err(ReadError::Changing);
    }
    let sha256 = Sha256::of(&bytes);
    Ok(WholeFile { bytes, sha256 })
}

impl Sha256 {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for piece in bytes.chunks(PIECE_BYTES) {
            context.update(piece);
            breathe();
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn require_file(metadata: &Metadata) -> Result<(), ReadError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(ReadError::NotAFile(if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }))
}

/// Reads one byte more than there should be, so that a file that grew is noticed.
fn read_exactly(file: &mut File, size: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory).map_err(io::Error::from)?;
    let reserved = bytes.try_reserve_exact(room_for::<u8>(capacity + 1));
    // Addresses may be few where memory is enough.
    let reserved = reserved.or_else(|_| bytes.try_reserve_exact(capacity + 1));
    reserved.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut file = file.take(size + 1);
    while file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut bytes)? > 0 {
        breathe();
    }
    Ok(bytes)
}

fn stamp(metadata: &Metadata) -> (u64, u64, u64, [i64; 4]) {
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    (metadata.dev(), metadata.ino(), metadata.size(), times)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn file_is_read_whole_with_its_hash() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("abc");
        fs::write(&path, "abc").expect("written");
        let file = read(&path, 3).expect("read");
        assert_eq!(file.bytes, b"abc");
        // FIPS 180-4, the example of one block.
        assert_eq!(file.sha256.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn empty_file_is_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("empty");
        fs::write(&path, "").expect("written");
        assert_eq!(read(&path, 10).expect("read").bytes, b"");
    }

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("made");
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        let gone = directory.path().join("gone");
        let dangling = directory.path().join("dangling");
        std::os::unix::fs::symlink(&gone, &dangling).expect("linked");
        let cases = [
            (directory.path(), "it is a directory; expected a file"),
            (&fifo, "it is a fifo; expected a file"),
            (&socket, "it is a socket; expected a file"),
            (Path::new("/dev/zero"), "it is a device; expected a file"),
            (&gone, "cannot read the file: No such file or directory (os error 2)"),
            (&dangling, "cannot read the file: No such file or directory (os error 2)"),
        ];
        for (path, expected) in cases {
            let error = read(path, 1_000).expect_err("it is no file");
            assert_eq!(error.to_string(), expected, "{}", path.display());
        }
    }

    #[test]
    fn sparse_file_beyond_the_limit_is_not_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("huge");
        File::create(&path).expect("made").set_len(1 << 40).expect("sparse");
        assert!(
            matches!(read(&path, 1 << 30), Err(ReadError::TooLarge { size, limit }) if size == 1 << 40 && limit == 1 << 30)
        );
    }

    #[test]
    fn file_that_is_written_all_the_time_is_never_read_in_parts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("list");
        fs::write(&path, vec![b'0'; 200_000]).expect("written");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (path, stop) = (path.clone(), std::sync::Arc::clone(&stop));
            move || {
                for round in 0_usize.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let temporary = path.with_extension("new");
                    let digit = b'0' + u8::try_from(round % 10).unwrap_or_default();
                    fs::write(&temporary, vec![digit; 200_000 - round % 7]).expect("written");
                    fs::rename(&temporary, &path).expect("renamed");
                }
            }
        });
        let mut whole = 0;
        for _ in 0..2_000 {
            match read(&path, 1 << 20) {
                Ok(file) => {
                    whole += 1;
                    assert!(file.bytes.windows(2).all(|pair| pair[0] == pair[1]), "two versions in one read");
                }
                Err(error) => assert!(matches!(error, ReadError::Changing | ReadError::Io(_)), "{error}"),
            }
            if whole >= 50 {
                break;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().expect("the writer ends");
        assert!(whole > 0, "between two renames there is time to read");
    }
}
