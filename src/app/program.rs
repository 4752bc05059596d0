//! The program file, and what it was started with.
//!
//! Inside: which file to start when this process is to be replaced. Kept out: starting it (`handover.rs`).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How this process was started.
#[derive(Debug)]
pub(super) struct Program {
    file: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// To be asked for at the start: while the program runs, the file is replaced.
    ///
    /// The path is the one that was named, and not what it leads to: where a link is moved to the next version, that is
    /// the one to start.
    pub(super) fn of_this_process() -> Self {
        let mut arguments = env::args_os();
        let named = arguments.next().and_then(|name| path_of(&name)).filter(|path| is_running(path));
        // Whoever starts a program may give it any name.
        let file = named.or_else(|| env::current_exe().ok()).unwrap_or_else(|| PathBuf::from("sluis"));
        Self { file, arguments: arguments.collect() }
    }

    /// The file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The same program with the same arguments, in the same environment.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.arguments);
        command
    }
}

/// The file that a shell would have started by this name.
fn path_of(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    let directories = env::var_os("PATH")?;
    let found = env::split_paths(&directories).map(|directory| directory.join(name)).find(|path| path.is_file())?;
    std::path::absolute(found).ok()
}

/// Whether a path leads to the file that this process runs.
fn is_running(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(path).is_some_and(|file| Some(file) == identity(Path::new("/proc/self/exe")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_the_one_that_was_named_and_absolute() {
        assert_eq!(path_of(OsStr::new("/usr/../bin/sh")), Some(PathBuf::from("/usr/../bin/sh")));
        let here = env::current_dir().expect("a directory");
        assert_eq!(path_of(OsStr::new("./sluis")), Some(here.join("sluis")));
        assert!(path_of(OsStr::new("sh")).is_some_and(|path| path.is_absolute() && path.is_file()));
        assert_eq!(path_of(OsStr::new("no-such-program-anywhere")), None);
    }

    #[test]
    fn only_the_file_that_runs_is_the_program() {
        let program = Program::of_this_process();
        assert!(is_running(program.file()) && program.file().is_absolute());
        assert!(!is_running(Path::new("/bin/sh")) && !is_running(Path::new("/no/such/file")));
    }
}
