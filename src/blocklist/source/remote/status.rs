//! What is known about the fetches of a list, for the admin endpoint and the metrics.
//!
//! Inside: the values. Kept out: how they are shown, and how they come about (`follow.rs`).

use jiff::Timestamp;

use crate::finding::Finding;

/// How the fetches of a source went.
#[derive(Debug, Clone, Default)]
pub struct RemoteStatus {
    /// The URL, without its query.
    pub url: String,
    /// When the list that is kept was fetched.
    pub fetched_at: Option<Timestamp>,
    /// When the server last gave a list or said that the one that is kept is still it.
    pub checked_at: Option<Timestamp>,
    /// Why the last fetch came to nothing; none where it did not.
    pub failure: Option<Finding>,
    /// `sluis_blocklist_fetches_total`, by [`FetchResult::index`].
    pub fetches: [u64; FetchResult::ALL.len()],
    /// The hashes of the last lists that the server gave, the newest last, and when it was last asked for each.
    pub(in crate::blocklist) confirmed: Vec<(String, Timestamp)>,
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchResult {
    /// Another list than the one that was kept.
    New,
    /// The list that is kept is still it.
    Unchanged,
    /// No address, or no connection.
    Unreachable,
    /// The certificate is not trusted, or the handshake failed.
    Tls,
    /// Too slow: to connect, to answer, in between, or in all.
    Timeout,
    /// Another status than 200 and 304.
    Status,
    /// Too many redirects, or one that leads where none may.
    Redirect,
    /// What came is no HTTP, or ended early.
    Broken,
    /// More bytes than `max_mib`.
    TooLarge,
    /// An error page, a binary, nothing at all: no list.
    NotAList,
    /// It could not be kept.
    NotKept,
}

impl FetchResult {
    /// Every result, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::New,
        Self::Unchanged,
        Self::Unreachable,
        Self::Tls,
        Self::Timeout,
        Self::Status,
        Self::Redirect,
        Self::Broken,
        Self::TooLarge,
        Self::NotAList,
        Self::NotKept,
    ];

    /// The label `result`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unchanged => "unchanged",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Broken => "broken",
            Self::TooLarge => "too-large",
            Self::NotAList => "not-a-list",
            Self::NotKept => "not-kept",
        }
    }

    /// The place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}
