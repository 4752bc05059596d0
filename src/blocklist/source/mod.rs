//! Where decisions come from: files, for now.
//!
//! Inside: reading a source's bytes, and parsing them by its format. Kept out: what is done with the result, and when.

pub(super) mod difference;
pub(super) mod file;
pub(super) mod compression;

use std::path::Path;
use std::sync::Arc;

use super::config::{FeedFormat, SourceConfig, SourceContent};
use super::format::{adblock, decisions, dnsmasq, domains, hosts, rpz};
use super::parsed::ParsedSource;

/// Parses a source's bytes by its format; `file` is the name that findings give them.
pub(super) fn parse(source: &SourceConfig, file: &Path, bytes: &[u8]) -> ParsedSource {
    let SourceContent::Feed { format, decision } = &source.content else { return decisions::parse(file, bytes) };
    let decision = Arc::new((**decision).clone());
    match *format {
        FeedFormat::Domains(scope) => domains::parse(file, bytes, scope, decision),
        FeedFormat::Hosts(scope) => hosts::parse(file, bytes, scope, decision),
        FeedFormat::Adblock => adblock::parse(file, bytes, decision),
        FeedFormat::Dnsmasq => dnsmasq::parse(file, bytes, decision),
        FeedFormat::Rpz => rpz::parse(file, bytes, decision),
    }
}

/// The name of a source's format, as it is written in the configuration.
pub(super) fn format_name(content: &SourceContent) -> &'static str {
    match content {
        SourceContent::Decisions => "decisions",
        SourceContent::Feed { format, .. } => format.name(),
    }
}
