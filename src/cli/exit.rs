//! How the program ends.

use std::process::ExitCode;

/// The exit statuses of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed at run time.
    Failed,
    /// 2: wrong usage.
    Usage,
    /// 3: stopped before all requests were finished.
    Unfinished,
    /// 78: bad configuration, list, certificate or template (`EX_CONFIG` of sysexits).
    BadInput,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unfinished => 3,
            Self::BadInput => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
