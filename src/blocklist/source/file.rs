//! A source that is a file.
//!
//! Inside: its bytes, whole and unchanged while they were read, or why not. Kept out: what they mean.

use std::io::ErrorKind;
use std::path::Path;

use crate::finding::{Finding, Place};
use crate::whole_file::{self, ReadError, WholeFile};

/// Larger files are refused: ten million names are a fifth of it.
pub(in crate::blocklist) const FILE_BYTES: u64 = 1 << 30;

/// Why a source's bytes are not to be had.
#[derive(Debug)]
pub(in crate::blocklist) enum FileError {
    /// The file is being written: it must be looked at again.
    Changing,
    /// It is not there, not a file, not readable, or too large.
    Refused(Finding),
}

/// Reads a source's file.
pub(in crate::blocklist) fn read(path: &Path) -> Result<WholeFile, FileError> {
    whole_file::read(path, FILE_BYTES).map_err(|error| match error {
        ReadError::Changing => FileError::Changing,
        ReadError::Io(error) if error.kind() == ErrorKind::OutOfMemory => {
            let message = "there is not enough memory to read the file; shorten the list, or give sluis more memory";
            FileError::Refused(Finding::error(Place::file(path), message))
        }
        error => FileError::Refused(Finding::error(Place::file(path), error.to_string())),
    })
}
