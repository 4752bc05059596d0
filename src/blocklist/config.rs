//! What the blocklist is made of and how it is reloaded. All values are checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Position, Url};

use super::decision::Decision;
use super::pattern::{Pattern, Reach};

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
    /// The most that the index may take, the names of all sources included, in MiB; none: what the machine, the control
    /// group and the resource limits have left.
    pub max_memory_mib: Option<u64>,
    /// The sources, in the order of the configuration.
    pub sources: Vec<SourceConfig>,
    /// Where the last good bytes of every source are kept.
    pub state_directory: Option<PathBuf>,
    /// Whether the operator has a page about its blocking. The notice of a legal demand links to it (RFC 7725
    /// section 3), so without one such a decision is refused.
    pub has_operator_url: bool,
}

impl Default for Config {
    /// No sources, and every setting as it is where the configuration does not say.
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(200),
            poll: Duration::from_secs(5),
            never_block: Vec::new(),
            max_shrink_percent: 50,
            max_error_percent: 1,
            max_memory_mib: None,
            sources: Vec::new(),
            state_directory: None,
            has_operator_url: false,
        }
    }
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
        /// The decision of every name in it.
        decision: Box<Decision>,
    },
}

/// The format of a feed, and what a bare name means in it where the format itself does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFormat {
    /// One name a line.
    Domains(Scope),
    /// A hosts file: an address and the names that it blocks.
    Hosts(Scope),
    /// `||name^`: the name and all below it.
    Adblock,
    /// Settings of dnsmasq: the name and all below it.
    Dnsmasq,
    /// A response policy zone, in which every row says how far it reaches.
    Rpz,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`.
    Gzip,
    /// `.zst`.
    Zstd,
}

/// What a bare name in a feed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// That host alone.
    Exact,
    /// That host and every host below it.
    Subtree,
}

impl FeedFormat {
    /// The name in configuration and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Domains(_) => "domains",
            Self::Hosts(_) => "hosts",
            Self::Adblock => "adblock",
            Self::Dnsmasq => "dnsmasq",
            Self::Rpz => "rpz",
        }
    }
}

impl Compression {
    /// What the ending of a path says.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?;
        let is = |known: &str| ending.eq_ignore_ascii_case(known);
        if is("gz") { Some(Self::Gzip) } else { is("zst").then_some(Self::Zstd) }
    }
}

impl Scope {
    /// How far a bare name reaches.
    pub const fn reach(self) -> Reach {
        match self {
            Self::Exact => Reach::Exact,
            Self::Subtree => Reach::Subtree,
        }
    }
}
