//! Where decisions come from: files, of the operator's or fetched.
//!
//! Inside: reading a source's bytes, and parsing them by its format. Kept out: what is done with the result, and when.

pub(super) mod file;
pub(super) mod compression;
pub(super) mod remote;

use std::sync::Arc;

use super::config::{FeedFormat, SourceConfig, SourceContent};
use super::format::{FeedInput, adblock, decisions, dnsmasq, domains, hosts, rpz};
use super::parsed::ParsedSource;

/// Parses a source's bytes by its format.
pub(super) fn parse(source: &SourceConfig, input: FeedInput<'_>, bytes: &[u8]) -> ParsedSource {
    let SourceContent::Feed { format, decision } = &source.content else { return decisions::parse(input.file, bytes) };
    let decision = Arc::new((**decision).clone());
    match *format {
        FeedFormat::Domains(scope) => domains::parse(input, bytes, scope, decision),
        FeedFormat::Hosts(scope) => hosts::parse(input, bytes, scope, decision),
        FeedFormat::Adblock => adblock::parse(input, bytes, decision),
        FeedFormat::Dnsmasq => dnsmasq::parse(input, bytes, decision),
        FeedFormat::Rpz => rpz::parse(input, bytes, decision),
    }
}

/// The name of a source's format, as it is written in the configuration.
pub(super) fn format_name(content: &SourceContent) -> &'static str {
    match content {
        SourceContent::Decisions => "decisions",
        SourceContent::Feed { format, .. } => format.name(),
    }
}
