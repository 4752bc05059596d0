//! `sluis serve`: run.
//!
//! Inside: from the configuration file to the exit status. Kept out: running (`app`).

use std::path::{Path, PathBuf};

use super::output::{complain, paragraphs};
use super::{Exit, load};
use crate::app::{self, Bound, Ending, StartError, Starting};
use crate::config::{self, Config};

/// Runs with a configuration file until the program is stopped.
pub(super) fn run(file: &Path) -> Exit {
    // First of all: a large configuration takes its time, and a signal meanwhile must not end the process.
    let starting = match app::begin() {
        Ok(starting) => starting,
        Err(error) => return refuse(error),
    };
    match load(file) {
        Ok(config) => start(starting, config, file, |_| {}),
        Err(exit) => exit,
    }
}

/// Runs with a configuration; `file` is read again at SIGHUP; `announce` is called once everything accepts.
pub(super) fn start(starting: Starting, config: Config, file: &Path, announce: impl FnOnce(&Bound)) -> Exit {
    let file: PathBuf = file.to_owned();
    // The pseudonym that was made at the start stays for the life of the process.
    let random = fastrand::u64(..);
    let reread = Box::new(move || config::load(&file, random));
    match starting.run(config, reread, announce) {
        Ok(Ending::Finished) => Exit::Done,
        Ok(Ending::Cut) => Exit::Unfinished,
        Err(error) => refuse(error),
    }
}

/// Says why the program does not run.
pub(super) fn refuse(error: StartError) -> Exit {
    let (findings, exit) = match error {
        StartError::BadInput(findings) => (findings, Exit::BadInput),
        StartError::Failed(findings) => (findings, Exit::Failed),
    };
    complain(&paragraphs(&findings));
    exit
}
