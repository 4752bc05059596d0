//! The `adblock` format: rules of content blockers, of which those count that are about a whole host.
//!
//! Inside: `||name^` and `@@||name^`, which mean the name and all below it, and `$important`. Kept out: what all feeds
//! share, which is in `lines.rs`.
//!
//! Rules about a part of a host (a path, a pattern, a kind of request, an element of a page) would block too much here:
//! they are skipped and counted. `||name` without `^` is one of them, since it means every address that begins so:
//! `||example.co` is `example.com` too.

use std::path::Path;
use std::sync::Arc;

use super::lines::{FeedLine, FeedReader};
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, Reach};

/// Reads a list of rules. `file` is the name that findings give the file.
pub fn parse(file: &Path, bytes: &[u8], decision: Arc<Decision>) -> ParsedSource {
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(file, source).with_comments(comment_of).read(bytes, read_line)
}

/// `! comment`, `# comment`, and the `[Adblock Plus 2.0]` at the head of a list. `##.banner` and `!#if` are no comments.
fn comment_of(line: &str) -> Option<&str> {
    match line.as_bytes().first()? {
        b'!' => line.strip_prefix('!').filter(|rest| !rest.starts_with('#')),
        b'#' => line.strip_prefix('#').filter(|rest| !is_element_rule(rest)),
        b'[' => line.strip_prefix('[').filter(|rest| rest.ends_with(']') && !rest.starts_with('$')),
        _ => None,
    }
}

/// Whether what follows a `#` makes it the mark of a rule about elements: `##`, `#@#`, `#?#`, `#$#`, `#%#`, `#@$?#`.
fn is_element_rule(after: &str) -> bool {
    let marks = after.find(|mark: char| !"@?$%".contains(mark)).unwrap_or(after.len());
    after[marks..].starts_with('#')
}

/// A rule that is about a whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostRule<'r> {
    name: &'r str,
    effect: Effect,
}

fn read_line(feed: &mut FeedReader<'_>, line: FeedLine<'_>) {
    let Some(rule) = host_rule(line.content) else { return feed.skip() };
    match Pattern::parse_with(rule.name, Reach::Subtree) {
        Ok(pattern) => feed.add(line, &pattern, rule.effect),
        Err(error) => feed.wrong(line.part(rule.name), &error),
    }
}

/// `||name^`, `||*.name^`, either with `@@` before it and `|` or modifiers after it; none for every other rule.
fn host_rule(content: &str) -> Option<HostRule<'_>> {
    let (lifts, rule) = content.strip_prefix("@@").map_or((false, content), |rule| (true, rule));
    let (pattern, modifiers) = rule.split_once('$').map_or((rule, None), |(pattern, after)| (pattern, Some(after)));
    let (name, end) = pattern.strip_prefix("||")?.split_once('^')?;
    let is_important = modifiers.map_or(Some(false), |modifiers| is_important(modifiers, lifts))?;
    if !matches!(end, "" | "|") || is_more_than_a_host(name) {
        return None;
    }
    // `$important` makes an exception no stronger here: it lifts what has no `$important` itself, and nothing else.
    let effect = match (lifts, is_important) {
        (true, _) => Effect::Lift,
        (false, true) => Effect::BlockImportant,
        (false, false) => Effect::Block,
    };
    Some(HostRule { name, effect })
}

/// Whether `important` is among the modifiers; none where another one changes what the rule is about.
fn is_important(modifiers: &str, lifts: bool) -> Option<bool> {
    let mut is_important = false;
    for modifier in modifiers.split(',').map(str::trim) {
        if modifier.eq_ignore_ascii_case("important") {
            is_important = true;
        } else {
            // `all` names every kind of request, of which a whole host has no fewer; `_` fills a gap.
            let changes_nothing = !modifier.is_empty() && modifier.bytes().all(|byte| byte == b'_');
            if !changes_nothing && (lifts || !modifier.eq_ignore_ascii_case("all")) {
                return None;
            }
        }
    }
    Some(is_important)
}

/// Whether a path, a port, a query or a pattern stands where a name should: what has these is a rule, and no mistake.
fn is_more_than_a_host(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let is_address = name.starts_with('[') && name.ends_with(']');
    !is_address && (rest.starts_with('.') || rest.contains(['/', ':', '?', '=', '&', '%', '~', ',', ';', '*', '|']))
}
