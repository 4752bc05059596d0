//! Other people's programs that prove what we say: nginx, curl, promtool, h2load, chromium.
//!
//! Inside: finding them, and saying clearly where a test was skipped for want of one. Kept out: what they are asked.

use std::env;
use std::path::PathBuf;

/// The program, from PATH or the system's own folders. Where it is missing, says so and gives none; with
/// `SLUIS_REQUIRE_PEERS=1` (as in CI) the test fails instead, so that nothing is skipped unseen.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/usr/bin"]);
    let found = folders.map(|folder| PathBuf::from(folder).join(program)).find(|file| file.is_file());
    if found.is_none() {
        assert!(env::var("SLUIS_REQUIRE_PEERS").is_err(), "{program} is not installed, and SLUIS_REQUIRE_PEERS is set");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("skipped: {test}: {program} is not installed");
    }
    found
}
