//! What every notice says besides its decision, as the configuration has it. All values are checked.
//!
//! Inside: the type that the configuration fills. Kept out: reading it, and everything that a notice does.

use std::path::PathBuf;

/// What every notice says besides its decision. All values are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Our pseudonym in Proxy-Status.
    pub server_name: String,
    /// Who runs this edge.
    pub operator: Operator,
    /// A directory of the operator's own templates.
    pub templates: Option<PathBuf>,
}

/// Who runs this edge; printed on every notice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operator {
    /// The name; not empty where there is a blocklist.
    pub name: String,
    /// A page about the operator's blocking; there where a decision is a legal demand.
    pub url: Option<String>,
    /// Where to object (`mailto:` or `https:`); not empty where there is a blocklist.
    pub contact: String,
}
