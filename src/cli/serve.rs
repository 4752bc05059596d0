//! `sluis serve`: run.
//!
//! Inside: from the configuration file to the running program. Kept out: running it (`app`).

use std::net::SocketAddr;
use std::path::Path;

use super::output::complain;
use super::{Exit, load};
use crate::config::Config;

/// Where the program accepts, known once it does: an address with port 0 has its real one here.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// By name.
    pub(super) listeners: Vec<(String, SocketAddr)>,
    pub(super) admin: SocketAddr,
}

impl Bound {
    /// The address of a listener.
    pub(super) fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(found, _)| found == name).map(|(_, address)| *address)
    }
}

/// Runs with a configuration file until the program is stopped.
pub(super) fn run(file: &Path) -> Exit {
    match load(file) {
        Ok(config) => start(config, file, |_| {}),
        Err(exit) => exit,
    }
}

/// Runs with a configuration; `file` is read again at SIGHUP; `announce` is called once everything accepts.
///
/// The one place where the command line meets the composition root.
pub(super) fn start(config: Config, file: &Path, announce: impl FnOnce(&Bound)) -> Exit {
    let listeners = config.proxy.listeners.iter().map(|listener| (listener.name.clone(), listener.address)).collect();
    let bound = Bound { listeners, admin: config.admin.address };
    drop(announce);
    complain(&format!(
        "error: {}: this build has no composition root to serve {} listeners with\n",
        file.display(),
        bound.listeners.len()
    ));
    Exit::Failed
}
