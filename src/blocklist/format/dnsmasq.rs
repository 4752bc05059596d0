//! The `dnsmasq` format: the settings by which a dnsmasq answers for a name itself, with nothing to find there.
//!
//! Inside: `address=/name/`, `server=/name/` and `local=/name/`, which mean the name and all below it. Kept out: what all
//! feeds share, which is in `lines.rs`, and every other setting, which is skipped and counted.

use std::net::IpAddr;
use std::sync::Arc;

use super::lines::{FeedInput, FeedLine, FeedReader};
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternError, Reach};

/// Reads settings. `input` is the file's name in findings, or all that there is to know beside its bytes.
pub fn parse<'p>(input: impl Into<FeedInput<'p>>, bytes: &[u8], decision: Arc<Decision>) -> ParsedSource {
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(input, source).read(bytes, read_line)
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
                feed.add(line.part(name.trim()), pattern.view(), Effect::Block);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::testing::{each_says, feed_decision, names};
    use super::*;

    fn read(bytes: &[u8]) -> ParsedSource {
        parse(Path::new("dnsmasq.conf"), bytes, feed_decision())
    }

    #[test]
    fn name_that_leads_nowhere_is_blocked_with_all_below_it() {
        each_says(
            &[
                ("address=/a.example/#", &["block .a.example 1"]),
                ("address=/a.example/", &["block .a.example 1"]),
                ("address=/a.example/0.0.0.0", &["block .a.example 1"]),
                ("address=/a.example/127.0.0.1", &["block .a.example 1"]),
                ("address=/a.example/::", &["block .a.example 1"]),
                ("address=/a.example/::1", &["block .a.example 1"]),
                ("address=/a.example/::ffff:127.0.0.1", &["block .a.example 1"]),
                ("server=/a.example/", &["block .a.example 1"]),
                ("local=/a.example/", &["block .a.example 1"]),
                ("  address = /A.Example./ # why\r\n", &["block .a.example 1"]),
                (
                    "address=/a.example/b.example/c.example/#",
                    &["block .a.example 1", "block .b.example 1", "block .c.example 1"],
                ),
                ("server=/a.example//b.example/", &["block .a.example 1", "block .b.example 1"]),
                ("local=/.a.example/", &["block .a.example 1"]),
                ("local=/*.a.example/", &["block *.a.example 1"]),
                ("local=/*a.example/b.example/", &["block .b.example 1"]),
                ("local=/bücher.example/", &["block .xn--bcher-kva.example 1"]),
                ("local=/192.0.2.1/", &["block 192.0.2.1 1"]),
                ("\u{feff}# Title: x\n\nlocal=/a.example/", &["block .a.example 3"]),
            ],
            read,
        );
    }

    #[test]
    fn other_settings_are_skipped() {
        let cases = [
            "server=192.0.2.53",
            "server=/a.example/192.0.2.53",
            "server=/a.example/#",
            "server=/a.example/127.0.0.1#5353",
            "local=/a.example/192.0.2.53",
            "address=/a.example/192.0.2.1",
            "address=/a.example/2001:db8::1",
            "server=//",
            "local=//192.0.2.53",
            "address=//0.0.0.0",
            "address=/*a.example/#",
            "server=/bad name!/192.0.2.53",
            "no-resolv",
            "bogus-nxdomain=192.0.2.1",
            "conf-file=/etc/other.conf",
            "cname=a.example,b.example",
            "ipset=/a.example/set",
            "host-record=a.example,127.0.0.1",
            "log-queries=extra",
        ];
        each_says(&cases.map(|text| (text, ["skipped"].as_slice())), read);
    }

    #[test]
    fn what_is_no_setting_or_no_name_is_found_at_its_column() {
        each_says(
            &[
                ("a.example", &["1:1 `a.example` is no setting"]),
                ("||a.example^", &["1:1 `||a.example^` is no setting"]),
                ("0.0.0.0 a.example", &["1:1 `0.0.0.0 a.example` is no setting"]),
                ("<html>", &["1:1 `<html>` is no setting"]),
                ("Address=/a.example/", &["1:1 `Address=/a.example/` is no setting"]),
                ("=/a.example/", &["1:1 `=/a.example/` is no setting"]),
                ("--local=/a.example/", &["1:1 `--local=/a.example/` is no setting"]),
                ("address", &["1:1 `address` has no names between slashes"]),
                ("local=", &["1:1 `local=` has no names between slashes"]),
                ("address=a.example", &["1:1 `address=a.example` has no names between slashes"]),
                ("  address=/a.example", &["1:3 `address=/a.example` has no slash after the name"]),
                ("address=/", &["1:1 `address=/` has no slash after the name"]),
                ("address=/#/", &["1:10 `#` is not a name: this would cover every host"]),
                ("address=/a.example/0.0.0.300", &["1:20 `0.0.0.300` is not an address"]),
                ("address=/a.example/b.example", &["1:20 `b.example` is not an address"]),
                ("address=/a..example/#", &["1:10 `a..example` is not a name: the host has an empty label"]),
                ("local=/a.example/ b/c!d/e!/", &["block .a.example 1", "block .b 1", "1:21 `c!d` is not a name"]),
                ("local=/*.*.a.example/", &["1:8 `*.*.a.example` is not a name: `*` only stands at the beginning"]),
                ("local=/*/", &["1:8 `*` is not a name: this would cover every host"]),
                ("local=/http://a.example/", &["block .a.example 1", "1:8 `http:` is not a name"]),
            ],
            read,
        );
        let parsed = read(b"local=/a!/b!/\nlocal=/c.example/\nno-hosts\nx y\n");
        assert_eq!((parsed.lines.content, parsed.lines.wrong, parsed.lines.skipped), (4, 2, 1));
    }

    #[test]
    fn count_in_the_head_is_held_against_the_names() {
        let contradicted = |text: &str| read(text.as_bytes()).stated_count_contradicted();
        assert_eq!(contradicted("# Domains: 2\nlocal=/a.example/b.example/\n"), None);
        assert_eq!(contradicted("# Domains: 3\nlocal=/a.example/b.example/\n"), Some((3, 2)));
    }

    proptest! {
        #[test]
        fn parts_of_a_setting_decide(key in "(address|server|local|port)", hosts in proptest::collection::vec("[ab]\\.[ab]|\\*\\.a|", 1..4), target in "(#|::|127\\.0\\.0\\.1|192\\.0\\.2\\.1|)") {
            let parsed = read(format!("{key}=/{}/{target}", hosts.join("/")).as_bytes());
            let blocks = match key.as_str() {
                "address" => target != "192.0.2.1",
                "server" | "local" => target.is_empty(),
                _ => false,
            };
            let named = hosts.iter().filter(|name| blocks && !name.is_empty());
            let expected: Vec<_> = named.map(|name| format!("block {}{name} 1", if name.starts_with('*') { "" } else { "." })).collect();
            prop_assert_eq!(parsed.lines.skipped, u32::from(expected.is_empty()));
            prop_assert_eq!(names(&parsed), expected);
            prop_assert_eq!(parsed.lines.wrong, 0);
        }
    }
}
