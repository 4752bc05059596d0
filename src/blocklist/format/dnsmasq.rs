//! The `dnsmasq` format: the settings by which a dnsmasq answers for a name itself, with nothing to find there.
//!
//! Inside: `address=/name/`, `server=/name/` and `local=/name/`, which mean the name and all below it. Kept out: what all
//! feeds share, which is in `lines.rs`, and every other setting, which is skipped and counted.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::lines::{FeedLine, FeedReader};
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternError, Reach};

/// Reads settings. `file` is the name that findings give the file.
pub fn parse(file: &Path, bytes: &[u8], decision: Arc<Decision>) -> ParsedSource {
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(file, source).read(bytes, read_line)
}

fn read_line(feed: &mut FeedReader<'_>, line: FeedLine<'_>) {
    let (key, value) = line.content.split_once('=').map_or((line.content, None), |(key, value)| (key, Some(value)));
    let key = key.trim_end();
    if !is_setting(key) {
        return feed.unreadable(line, &"is no setting, as `address=/example.com/#` is one");
    }
    let is_about_names = matches!(key, "address" | "server" | "local");
    match value.map(str::trim).unwrap_or_default() {
        value if is_about_names && value.starts_with('/') => read_names(feed, line, key, value),
        // Without names it is what the resolver asks for all others.
        value if is_about_names && (value.is_empty() || key == "address") => {
            feed.unreadable(line, &"has no names between slashes, as `address=/example.com/#` has one");
        }
        _ => feed.skip(),
    }
}

/// Whether it is written as the settings are: lower-case words with hyphens.
fn is_setting(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `/name/name/target`.
fn read_names(feed: &mut FeedReader<'_>, line: FeedLine<'_>, key: &str, value: &str) {
    let (names, target) = value.rsplit_once('/').unwrap_or_default();
    let Some(names) = names.strip_prefix('/') else {
        return feed.unreadable(line, &"has no slash after the name, as `address=/example.com/#` has one");
    };
    match (key, target.trim()) {
        (_, "") | ("address", "#") => {}
        ("address", target) => match target.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(address) if address.is_unspecified() || address.is_loopback() => {}
            Ok(_) => return feed.skip(),
            Err(_) => return feed.unreadable(line.part(target), &"is not an address, which `address` leads to"),
        },
        // Another resolver is asked for these names.
        _ => return feed.skip(),
    }
    let (mut says_nothing, mut is_right) = (true, true);
    for name in names.split('/') {
        match pattern_of(name.trim()) {
            Ok(Some(pattern)) => {
                feed.add(line, &pattern, Effect::Block);
                says_nothing = false;
            }
            // One finding a line is enough, and a line is wrong once.
            Err(error) if is_right => {
                feed.wrong(line.part(name.trim()), &error);
                is_right = false;
            }
            Ok(None) | Err(_) => {}
        }
    }
    if says_nothing && is_right {
        feed.skip();
    }
}

/// What a name between slashes covers: `x` and `.x` the name and all below it, `*.x` all below it. None for nothing at all,
/// which means names without a dot, and for `*x`, which means every name that ends so.
fn pattern_of(name: &str) -> Result<Option<Pattern>, PatternError> {
    match name {
        "" => Ok(None),
        "#" => Err(PatternError::Everything),
        _ if name.starts_with('*') && !name.starts_with("*.") && name.len() > 1 => Ok(None),
        _ => Pattern::parse_with(name, Reach::Subtree).map(Some),
    }
}
