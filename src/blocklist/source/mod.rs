//! Where decisions come from: files, of the operator's or fetched.
//!
//! Inside: reading a source's bytes, and parsing them by its format. Kept out: what is done with the result, and when.

pub(super) mod difference;
pub(super) mod file;
pub(super) mod remote;

use std::path::Path;
use std::sync::Arc;

use super::config::{FeedFormat, SourceConfig, SourceContent};
use super::format::{decisions, domains};
use super::parsed::ParsedSource;

/// Parses a source's bytes by its format; `file` is the name that findings give them.
pub(super) fn parse(source: &SourceConfig, file: &Path, bytes: &[u8]) -> ParsedSource {
    match &source.content {
        SourceContent::Decisions => decisions::parse(file, bytes),
        SourceContent::Feed { format: FeedFormat::Domains, scope, decision } => {
            domains::parse(file, bytes, *scope, Arc::new((**decision).clone()))
        }
    }
}

/// The name of a source's format, as it is written in the configuration.
pub(super) fn format_name(content: &SourceContent) -> &'static str {
    match content {
        SourceContent::Decisions => "decisions",
        SourceContent::Feed { format: FeedFormat::Domains, .. } => "domains",
    }
}
