//! Host patterns: `x`, `*.x` and `.x`.
//! (Contract stub: signatures are fixed.)

use crate::host::{HostError, HostName};

/// Which hosts a pattern covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// `x`: that host alone.
    Exact,
    /// `*.x`: every host below it.
    Below,
    /// `.x`: both.
    Subtree,
}

/// A host and the reach around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The host.
    pub host: HostName,
    /// The reach.
    pub reach: Reach,
}

impl Pattern {
    /// Reads `x`, `*.x` or `.x`.
    pub fn parse(_text: &str) -> Result<Self, HostError> {
        Err(HostError::Empty)
    }

    /// Whether a host is covered.
    pub fn matches(&self, _host: &HostName) -> bool {
        false
    }
}
