//! Where decisions come from: files, for now.
//!
//! Inside: reading a source's bytes, and parsing them by its format. Kept out: what is done with the result, and when.

pub(super) mod file;

use std::sync::Arc;

use super::config::{FeedFormat, SourceConfig, SourceContent};
use super::format::{FeedInput, decisions, domains};
use super::parsed::ParsedSource;

/// Parses a source's bytes by its format.
pub(super) fn parse(source: &SourceConfig, input: FeedInput<'_>, bytes: &[u8]) -> ParsedSource {
    match &source.content {
        SourceContent::Decisions => decisions::parse(input.file, bytes),
        SourceContent::Feed { format: FeedFormat::Domains, scope, decision } => {
            domains::parse(input, bytes, *scope, Arc::new((**decision).clone()))
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
