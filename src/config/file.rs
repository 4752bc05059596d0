//! Reading the configuration file as text.
//!
//! Inside: the bounded read and what can go wrong with it, as a finding. Kept out: what the text means.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::finding::{Finding, Place, SourceText};

/// A configuration is written by people; more than this is another file.
const BYTES_MOST: u64 = 16 * 1_024 * 1_024;

/// Reads a file whole; boxed, since a finding is large beside a text.
pub(super) fn read(path: &Path) -> Result<SourceText, Box<Finding>> {
    let refuse = |message: String| Box::new(Finding::error(Place::file(path), message));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MOST + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(refuse("there is no such file; name the configuration with --config FILE".to_owned()));
        }
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            return Err(refuse("is a directory; name the file in it with --config FILE".to_owned()));
        }
        Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        Ok(_) if bytes.len() as u64 > BYTES_MOST => {
            return Err(refuse(format!("is larger than {BYTES_MOST} bytes, so it is no configuration")));
        }
        Ok(_) => {}
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceText::new(path, text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = SourceText::new(path, String::from_utf8_lossy(error.as_bytes()).into_owned());
            let message = "is not UTF-8 here; TOML is UTF-8 only: save the file in that encoding";
            Err(Box::new(Finding::error(text.place(valid), message)))
        }
    }
}
