//! Whether the process is alive, and whether it should get traffic.
//!
//! Inside: the checks of `/readyz`. Kept out: what a failed check is due to. A source that does not load is no reason to
//! take an edge out of service: its last good content is in force, so it is listed and fails nothing.

use http::StatusCode;

use super::reply::{self, Reply};
use super::state::Admin;
use crate::drain::Phase;

/// One condition of being ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    /// What is checked.
    pub(super) name: &'static str,
    /// Whether it holds.
    pub(super) passes: bool,
}

/// `/livez`: 200 while the process runs.
pub(super) fn live() -> Reply {
    reply::text(StatusCode::OK, "ok\n")
}

/// `/readyz`: 200 when every check passes, else 503.
pub(super) fn ready(admin: &Admin, verbose: bool) -> Reply {
    let checks = checks(admin);
    let is_ready = checks.iter().all(|check| check.passes);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let summary = if is_ready { "ready\n" } else { "not ready\n" };
    if !verbose {
        return reply::text(status, summary);
    }
    let mut lines: Vec<String> = checks.iter().map(Check::line).collect();
    lines.extend(notes(admin));
    reply::text(status, format!("{}\n{summary}", lines.join("\n")))
}

/// Every condition of being ready.
pub(super) fn checks(admin: &Admin) -> [Check; 3] {
    [
        Check { name: "an index is in force", passes: admin.parts.generation() > 0 },
        Check { name: "every listener accepts", passes: admin.is_listening() },
        Check { name: "not draining", passes: admin.stop.phase() == Phase::Running },
    ]
}

impl Check {
    fn line(&self) -> String {
        format!("[{}] {}", if self.passes { "+" } else { "-" }, self.name)
    }
}

/// What is worth a look and fails nothing.
fn notes(admin: &Admin) -> Vec<String> {
    let (blocklist, tls) = (admin.parts.blocklist().status, admin.parts.tls());
    let sources = blocklist.sources.iter().filter(|source| !source.errors.is_empty());
    let sources = sources.map(|source| format!("[!] source {}: the file is not what is in force", source.name));
    let certificates = tls.certificates.iter().filter(|pair| pair.error.is_some());
    let certificates = certificates.map(|pair| format!("[!] certificate {}: the files are not in force", pair.name));
    sources.chain(certificates).collect()
}
