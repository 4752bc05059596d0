//! Why a fetch came to nothing.
//!
//! Inside: the causes, each with its sentence and its label. Kept out: what follows from them (`follow.rs`).

use std::time::Duration;

use super::status::FetchResult;

/// Why a fetch came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the name `{name}` cannot be looked up: {error}")]
    Name { name: String, error: String },
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error(
        "the TLS handshake failed: {0}; where the server has a root of its own, name it as the source's `ca` (PEM)"
    )]
    Tls(String),
    #[error("the roots to check the server against are no good: {0}")]
    Roots(String),
    #[error("{what} took longer than {}", seconds(.limit))]
    Timeout { what: &'static str, limit: Duration },
    #[error("the server answered with status {0}; expected 200 with the list, or 304")]
    Status(u16),
    #[error("the server answered 304 (not modified) although it was asked for the whole list")]
    UnaskedNotModified,
    #[error("redirected {0} times; the list is further away than anyone can mean")]
    TooManyRedirects(usize),
    #[error("redirected to \"{to}\", {why}")]
    Redirect { to: String, why: &'static str },
    #[error("the answer is malformed or ended early: {0}")]
    Broken(String),
    #[error("the answer says neither its length nor is it chunked, so that its end cannot be told from a cut")]
    Endless,
    #[error("the list has more than {} MiB; raise the source's `max_mib` if it is meant to", .0 >> 20)]
    TooLarge(u64),
    #[error("what came is no list: {0}")]
    NotAList(&'static str),
    #[error("the list cannot be kept in the state directory: {0}")]
    NotKept(String),
}

impl Failure {
    /// The label in `sluis_blocklist_fetches_total`.
    pub(super) const fn result(&self) -> FetchResult {
        match self {
            Self::Name { .. } | Self::Connect(_) => FetchResult::Unreachable,
            Self::Tls(_) | Self::Roots(_) => FetchResult::Tls,
            Self::Timeout { .. } => FetchResult::Timeout,
            Self::Status(_) | Self::UnaskedNotModified => FetchResult::Status,
            Self::TooManyRedirects(_) | Self::Redirect { .. } => FetchResult::Redirect,
            Self::Broken(_) | Self::Endless => FetchResult::Broken,
            Self::TooLarge(_) => FetchResult::TooLarge,
            Self::NotAList(_) => FetchResult::NotAList,
            Self::NotKept(_) => FetchResult::NotKept,
        }
    }

    /// Whether it is what was told before, as far as an operator is concerned: the words of the system and the number of
    /// bytes may differ each time.
    pub(super) fn same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Status(one), Self::Status(other)) => one == other,
            (Self::NotAList(one), Self::NotAList(other)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

fn seconds(limit: &Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
