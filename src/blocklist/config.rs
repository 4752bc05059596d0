//! What the blocklist is made of and how it is reloaded. All values are checked.

use std::path::PathBuf;
use std::time::Duration;

use url::{Position, Url};

use super::decision::Decision;
use super::pattern::Pattern;

/// The `[blocklist]` part of the configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Quiet time after a change before a file is read.
    pub settle: Duration,
    /// The backstop where no file event arrives.
    pub poll: Duration,
    /// A pattern that would cover one of these is refused.
    pub never_block: Vec<Pattern>,
    /// A feed of 1,000 names or more that loses more than this at once is refused.
    pub max_shrink_percent: u8,
    /// A feed with more lines than this that are not names is refused.
    pub max_error_percent: u8,
    /// The sources, in the order of the configuration.
    pub sources: Vec<SourceConfig>,
    /// Where the last good bytes of every source are kept.
    pub state_directory: Option<PathBuf>,
    /// Whether the operator has a page about its blocking. The notice of a legal demand links to it (RFC 7725
    /// section 3), so without one such a decision is refused.
    pub has_operator_url: bool,
}

/// One file that decisions come from.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// The name in configuration and metrics.
    pub name: String,
    /// The file; where the list is fetched, the one that is kept of it.
    pub path: PathBuf,
    /// How to read it.
    pub content: SourceContent,
    /// Where the list is fetched from, if it is.
    pub remote: Option<RemoteConfig>,
}

/// A list that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// `http` or `https`, with a host, without user name, password and fragment.
    pub url: Url,
    /// How often it is asked for.
    pub refresh: Duration,
    /// The longest that one fetch may take, redirects included.
    pub timeout: Duration,
    /// A list with more bytes is refused.
    pub max_bytes: u64,
    /// PEM file of the roots that the server is checked against, instead of the platform's.
    pub ca: Option<PathBuf>,
}

impl RemoteConfig {
    /// The URL as it may be shown: a query often has a key in it.
    pub fn shown_url(&self) -> String {
        let shown = &self.url[..Position::AfterPath];
        if self.url.query().is_some() { format!("{shown}?...") } else { shown.to_owned() }
    }
}

/// How a source's file is read.
#[derive(Debug, Clone)]
pub enum SourceContent {
    /// Decision records, each with its own hosts (`blocklist.toml`).
    Decisions,
    /// A feed: names only, all under one decision.
    Feed {
        /// The format of its lines.
        format: FeedFormat,
        /// What a bare name means.
        scope: Scope,
        /// The decision of every name in it.
        decision: Box<Decision>,
    },
}

/// The format of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFormat {
    /// One name a line.
    Domains,
}

/// What a bare name in a feed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// That host alone.
    Exact,
    /// That host and every host below it.
    Subtree,
}
