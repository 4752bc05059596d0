//! The `adblock` format: rules of content blockers, of which those count that are about a whole host.
//!
//! Inside: `||name^` and `@@||name^`, which mean the name and all below it, and `$important`. Kept out: what all feeds
//! share, which is in `lines.rs`.
//!
//! Rules about a part of a host (a path, a pattern, a kind of request, an element of a page) would block too much here:
//! they are skipped and counted. `||name` without `^` is one of them, since it means every address that begins so:
//! `||example.co` is `example.com` too.

use std::sync::Arc;

use super::lines::{FeedInput, FeedLine, FeedReader};
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, Reach};

/// Reads a list of rules. `input` is the file's name in findings, or all that there is to know beside its bytes.
pub fn parse<'p>(input: impl Into<FeedInput<'p>>, bytes: &[u8], decision: Arc<Decision>) -> ParsedSource {
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(input, source).with_comments(comment_of).read(bytes, read_line)
}

/// `! comment`, `# comment`, and the `[Adblock Plus 2.0]` at the head of a list. `##.banner` and `!#if` are no comments.
fn comment_of(line: &str) -> Option<&str> {
    match line.as_bytes().first()? {
        b'!' => line.strip_prefix('!').filter(|rest| !is_directive(rest)),
        b'#' => line.strip_prefix('#').filter(|rest| !is_element_rule(rest)),
        b'[' => line.strip_prefix('[').filter(|rest| rest.ends_with(']') && !rest.starts_with('$')),
        _ => None,
    }
}

/// Whether what follows a `!` makes it a word to the program that reads the list: `!#if`, `!#include`.
fn is_directive(after: &str) -> bool {
    after.strip_prefix('#').is_some_and(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()))
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
        Ok(pattern) => feed.add(line.part(rule.name), pattern.view(), rule.effect),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::testing::{each_says, feed_decision, findings, names};
    use super::*;

    fn read(bytes: &[u8]) -> ParsedSource {
        parse(Path::new("rules"), bytes, feed_decision())
    }

    #[test]
    fn rule_about_a_host_is_the_name_and_all_below_it() {
        each_says(
            &[
                ("||a.example^", &["block .a.example 1"]),
                ("  ||A.Example.^\t\r\n", &["block .a.example 1"]),
                ("||a.example^|", &["block .a.example 1"]),
                ("||bücher.example^", &["block .xn--bcher-kva.example 1"]),
                ("||*.a.example^", &["block *.a.example 1"]),
                ("||192.0.2.1^", &["block 192.0.2.1 1"]),
                ("||[2001:DB8::1]^", &["block [2001:db8::1] 1"]),
                ("||a.example^$important", &["important .a.example 1"]),
                ("||a.example^$all", &["block .a.example 1"]),
                ("||a.example^$_,IMPORTANT , ___,all", &["important .a.example 1"]),
                ("@@||a.example^", &["lift .a.example 1"]),
                ("@@||a.example^|", &["lift .a.example 1"]),
                ("@@||*.a.example^", &["lift *.a.example 1"]),
                ("@@||a.example^$important", &["lift .a.example 1"]),
                ("||a.example^ # why", &["block .a.example 1"]),
                (
                    "[Adblock Plus 2.0]\n! Title: x\n\n||a.example^\n||a.example^",
                    &["block .a.example 4", "block .a.example 5"],
                ),
                ("\u{feff}[Adblock Plus 2.0]\r\n||a.example^\r\n", &["block .a.example 2"]),
                ("||under_score.example^", &["block .under_score.example 1"]),
                ("||com^", &["block .com 1"]),
            ],
            read,
        );
    }

    #[test]
    fn comments_say_nothing() {
        let cases =
            ["! ||a.example^", "# ||a.example^", "#", "#||a.example^", "!", "!##.ad", "[uBlock Origin]", "# ## a"];
        each_says(&cases.map(|text| (text, [].as_slice())), read);
    }

    #[test]
    fn rules_about_parts_of_a_host_are_skipped() {
        let cases = [
            "||a.example",
            "@@||a.example",
            "a.example",
            "0.0.0.0 a.example",
            "|a.example^",
            "|https://a.example^",
            "://a.example^",
            ".a.example^",
            "||.a.example^",
            "||a.example/",
            "||a.example/path^",
            "||a.example:8080^",
            "||a.example^path",
            "||a.example^*/path",
            "||a.example^^",
            "||a.*^",
            "||*a.example^",
            "||a*.example^",
            "||*.*.example^",
            "||*./path^",
            "/^a\\.example$/",
            "@@/regex/",
            "/banner/*/img^",
            "||a.example^$third-party",
            "||a.example^$important,third-party",
            "||a.example^$badfilter",
            "||a.example^$document",
            "||a.example^$~important",
            "||a.example^$domain=b.example",
            "||a.example^$dnsrewrite=192.0.2.1",
            "||a.example^$client=127.0.0.1",
            "||a.example^$denyallow=b.example",
            "||a.example^$",
            "||a.example^$,important",
            "||a.example^$important,",
            "@@||a.example^$all",
            "@@||a.example^$document",
            "@@||a.example^$generichide",
            "@@a.example",
            "@@",
            "||",
            "##.banner",
            "###banner",
            "#@#.banner",
            "#?#.banner:has(a)",
            "#$#body { margin: 0 }",
            "#%#//scriptlet('x')",
            "#@$?#.banner",
            "a.example##.banner",
            "||a.example^##.banner",
            "a.example#@#.banner",
            "[$path=/x]a.example##.banner",
            "!#if cap_html_filtering",
            "!#include other.txt",
            "<html>",
        ];
        each_says(&cases.map(|text| (text, ["skipped"].as_slice())), read);
    }

    #[test]
    fn what_should_be_a_name_and_is_none_is_found_at_its_column() {
        each_says(
            &[
                ("||a..example^", &["1:3 `a..example` is not a name: the host has an empty label"]),
                ("@@||a_é!.example^", &["1:5 `a_é!.example` is not a name"]),
                ("  ||a b.example^$important", &["1:5 `a b.example` is not a name: the host has a space"]),
                ("||^", &["1:3 `` is not a name: the host is empty"]),
                ("||*^", &["skipped"]),
                ("||*.^", &["1:3 `*.` is not a name: this would cover every host"]),
                ("||127.1^", &["1:3 `127.1` is not a name: the host ends in a number"]),
                ("||*.192.0.2.1^", &["1:3 `*.192.0.2.1` is not a name: nothing is below an IP address"]),
                ("||xn--a.example^", &["1:3 `xn--a.example` is not a name"]),
                ("||[::g]^", &["1:3 `[::g]` is not a name"]),
                ("||a<b.example^", &["1:3 `a<b.example` is not a name: the host has `<`"]),
            ],
            read,
        );
        let parsed = read(b"||a!^\n||b.example^\n@@||c.example^\n||d/e^\n");
        assert_eq!((parsed.lines.content, parsed.lines.wrong, parsed.lines.skipped), (4, 1, 1));
        assert_eq!((parsed.names.len(), parsed.names.exceptions(), findings(&parsed).len()), (2, 1, 1));
    }

    #[test]
    fn count_in_the_head_is_held_against_the_rules() {
        let contradicted = |text: &str| read(text.as_bytes()).stated_count_contradicted();
        assert_eq!(contradicted("[Adblock Plus]\n! Domains: 2\n||a.example^\n||b.example^\n"), None);
        assert_eq!(contradicted("[Adblock Plus]\n! Number of entries: 3\n||a.example^\n##.b\n@@||c.example^\n"), None);
        assert_eq!(contradicted("! Domains: 3\n||a.example^\n||b.example^\n"), Some((3, 2)));
        assert_eq!(contradicted("[Domains: 3]\n||a.example^\n"), None, "the head of a list states no count");
    }

    /// What a rule says, by its parts: another way to the same answer.
    fn naive(rule: &str) -> &'static str {
        let (body, modifiers) = rule.find('$').map_or((rule, ""), |at| (&rule[..at], &rule[at..]));
        let lifts = body.starts_with("@@");
        let body = body.trim_start_matches("@@").trim_end_matches('|');
        let important = match modifiers {
            "" => false,
            "$important" => true,
            _ => return "skipped",
        };
        match body.strip_prefix("||").and_then(|body| body.strip_suffix('^')) {
            Some("a.b" | "*.a.b") if lifts => "lift",
            Some("a.b" | "*.a.b") if important => "important",
            Some("a.b" | "*.a.b") => "block",
            _ => "skipped",
        }
    }

    proptest! {
        #[test]
        fn parts_of_a_rule_decide(rule in "(@@)?\\|{0,2}(\\*\\.)?(a\\.b|a\\.b/|\\*a\\.b)\\^{0,2}\\|?(\\$important|\\$doc|\\$)?") {
            let parsed = read(rule.as_bytes());
            let said = names(&parsed);
            let said = said.first().map_or("skipped", |name| name.split(' ').next().unwrap_or_default());
            prop_assert_eq!(said, naive(&rule), "{}", rule);
            prop_assert_eq!(parsed.lines.wrong, 0);
        }
    }
}
