//! `sluis serve`: run.
//!
//! Inside: from the configuration file to the exit status. Kept out: running (`app`).

use std::path::{Path, PathBuf};

use super::output::{complain, paragraphs};
use super::{Exit, load};
use crate::app::{self, Bound, Ending, StartError};
use crate::config::{self, Config};

/// Runs with a configuration file until the program is stopped.
pub(super) fn run(file: &Path) -> Exit {
    match load(file) {
        Ok(config) => start(config, file, |_| {}),
        Err(exit) => exit,
    }
}

/// Runs with a configuration; `file` is read again at SIGHUP; `announce` is called once everything accepts.
pub(super) fn start(config: Config, file: &Path, announce: impl FnOnce(&Bound)) -> Exit {
    let file: PathBuf = file.to_owned();
    // The pseudonym that was made at the start stays for the life of the process.
    let random = fastrand::u64(..);
    let reread = Box::new(move || config::load(&file, random));
    match app::run(config, reread, announce) {
        Ok(Ending::Finished) => Exit::Done,
        Ok(Ending::Cut) => Exit::Unfinished,
        Err(StartError::BadInput(findings)) => {
            complain(&paragraphs(&findings));
            Exit::BadInput
        }
        Err(StartError::Failed(findings)) => {
            complain(&paragraphs(&findings));
            Exit::Failed
        }
    }
}
