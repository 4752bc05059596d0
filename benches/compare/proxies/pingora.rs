//! Pingora: a library, so a small program of ours in benches/peers/pingora, with a lock file of its own.
//!
//! Inside: building it, and its arguments. Kept out: building it unasked, since that takes minutes: it is built where SLUIS_COMPARE_PEERS
//! names it, and used where it was built.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::nginx::NOTICE_FIELDS;
use super::{Addresses, Terms};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/pingora");

/// The program, built if it `is_named`; else why it is absent.
pub fn find(is_named: bool) -> Result<PathBuf, String> {
    let folder = Path::new(FOLDER);
    let program = folder.join("target/release/pingora-peer");
    if is_named {
        println!("building Pingora, which takes minutes the first time");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(folder.join("target"))
            .status()
            .map_err(|error| format!("absent: cargo: {error}"))?;
        if !status.success() {
            return Err(format!("absent: it was not built, {status}"));
        }
    }
    if program.is_file() {
        Ok(program)
    } else {
        Err("absent: not built; SLUIS_COMPARE_PEERS=pingora builds it".to_owned())
    }
}

pub fn configure(terms: Terms<'_>, at: Addresses) -> io::Result<Vec<String>> {
    let Terms { site, workers, .. } = terms;
    let mut arguments = vec![
        at.http.to_string(),
        at.https.to_string(),
        site.origin.to_string(),
        site.feed().display().to_string(),
        site.certificate().display().to_string(),
        site.key().display().to_string(),
        site.notice_bytes.to_string(),
        workers.to_string(),
    ];
    arguments.extend(NOTICE_FIELDS.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]));
    Ok(arguments)
}
