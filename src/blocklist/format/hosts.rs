//! The `hosts` format: an address, then the names that it blocks, as in a hosts file.
//!
//! Inside: which addresses block, and which names are the machine's own. Kept out: what all feeds share, which is in
//! `lines.rs`.
//!
//! A name blocks where its address leads nowhere: unspecified or loopback. Another address is where a name is found, which
//! a resolver wants to know; such a line is skipped and counted, and so is one with no other names than those that every
//! machine has for itself.

use std::net::IpAddr;
use std::sync::Arc;

use super::lines::{FeedInput, FeedLine, FeedReader, WHITE_SPACE};
use crate::blocklist::config::Scope;
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{PatternView, Reach};
use crate::host::HostName;

/// What machines call themselves and their networks in their own hosts files.
const OWN_NAMES: [&str; 16] = [
    "broadcasthost",
    "ip6-allhosts",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-localhost",
    "ip6-localnet",
    "ip6-loopback",
    "ip6-mcastprefix",
    "local",
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "loopback",
];

/// Reads a hosts file. A name means what `scope` says; an address as a name is that address alone.
///
/// `input` is the file's name in findings, or all that there is to know beside its bytes.
pub fn parse<'p>(input: impl Into<FeedInput<'p>>, bytes: &[u8], scope: Scope, decision: Arc<Decision>) -> ParsedSource {
    let reach = scope.reach();
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(input, source).read(bytes, |feed, line| read_line(feed, line, reach))
}

fn read_line(feed: &mut FeedReader<'_>, line: FeedLine<'_>, reach: Reach) {
    // In a hosts file a comment needs no white space before it.
    let content = line.content.split_once('#').map_or(line.content, |(before, _)| before);
    let mut words = content.split(WHITE_SPACE).filter(|word| !word.is_empty());
    let address = words.next().unwrap_or_default();
    match address_of(address) {
        None => return feed.unreadable(line.part(address), &"is not an address, with which a line begins here"),
        Some(address) if !leads_nowhere(address) => return feed.skip(),
        Some(_) => {}
    }
    let (mut is_empty, mut says_nothing, mut is_right) = (true, true, true);
    for word in words {
        is_empty = false;
        match HostName::from_list_entry(word) {
            Ok(host) if is_own_name(&host) => {}
            Ok(host) => {
                let reach = if host.address().is_some() { Reach::Exact } else { reach };
                feed.add(line.part(word), PatternView { name: host.as_str(), reach }, Effect::Block);
                says_nothing = false;
            }
            // One finding a line is enough, and a line is wrong once.
            Err(error) if is_right => {
                feed.wrong(line.part(word), &error);
                is_right = false;
            }
            Err(_) => {}
        }
    }
    if is_empty {
        feed.unreadable(line, &"has no name after the address");
    } else if says_nothing && is_right {
        feed.skip();
    }
}

/// The address that a line begins with; that of a link has a zone (`fe80::1%lo0`).
fn address_of(word: &str) -> Option<IpAddr> {
    let address = word.split_once('%').map_or(word, |(address, _)| address);
    address.parse().ok()
}

fn leads_nowhere(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_unspecified() || address.is_loopback()
}

fn is_own_name(host: &HostName) -> bool {
    host.address().map_or_else(|| OWN_NAMES.binary_search(&host.as_str()).is_ok(), leads_nowhere)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::testing::{each_says, feed_decision, findings, names};
    use super::*;

    fn read(bytes: &[u8], scope: Scope) -> ParsedSource {
        parse(Path::new("hosts"), bytes, scope, feed_decision())
    }

    /// It would take minutes if each name were looked for from the beginning of the line.
    #[test]
    fn line_of_many_names_is_walked_once() {
        let line = format!("0.0.0.0 a.example{}", " co.uk".repeat(200_000));
        let input = FeedInput { never_block: Some(&[]), ..Path::new("hosts").into() };
        let parsed = parse(input, line.as_bytes(), Scope::Exact, feed_decision());
        assert_eq!((parsed.names.len(), parsed.dropped.len(), parsed.dropped[0].count), (1, 1, 200_000));
        assert_eq!(parsed.dropped[0].findings.len(), 100);
    }

    #[test]
    fn line_blocks_the_names_that_lead_nowhere() {
        each_says(
            &[
                ("0.0.0.0 a.example", &["block a.example 1"]),
                ("127.0.0.1\ta.example", &["block a.example 1"]),
                ("127.255.0.9 a.example", &["block a.example 1"]),
                ("::1 a.example", &["block a.example 1"]),
                (":: a.example", &["block a.example 1"]),
                ("0:0:0:0:0:0:0:0 a.example", &["block a.example 1"]),
                ("::ffff:0.0.0.0 a.example", &["block a.example 1"]),
                ("::ffff:127.0.0.1 a.example", &["block a.example 1"]),
                (
                    "  0.0.0.0 \t a.example  b.example\tC.Example. ",
                    &["block a.example 1", "block b.example 1", "block c.example 1"],
                ),
                ("0.0.0.0 a.example # b.example", &["block a.example 1"]),
                ("0.0.0.0 a.example#b.example", &["block a.example 1"]),
                ("0.0.0.0 bücher.example\r\n", &["block xn--bcher-kva.example 1"]),
                ("\u{feff}0.0.0.0 a.example\n\n# no\n0.0.0.0 b.example", &["block a.example 1", "block b.example 4"]),
                ("0.0.0.0 192.0.2.1 ", &["block 192.0.2.1 1"]),
                (
                    "0.0.0.0 under_score.example -hyphen.example",
                    &["block under_score.example 1", "block -hyphen.example 1"],
                ),
                ("127.0.0.1 localhost a.example", &["block a.example 1"]),
                ("0.0.0.0 localhost.example", &["block localhost.example 1"]),
            ],
            |bytes| read(bytes, Scope::Exact),
        );
    }

    #[test]
    fn what_is_for_a_resolver_or_for_the_machine_itself_is_skipped() {
        each_says(
            &[
                ("192.0.2.1 router.example", &["skipped"]),
                ("216.239.38.120 www.google.com #forcesafesearch", &["skipped"]),
                ("::ffff:192.0.2.1 router.example", &["skipped"]),
                ("2001:db8::1 router.example bad name!", &["skipped"]),
                ("127.0.0.1 localhost", &["skipped"]),
                ("127.0.0.1 LOCALHOST. localhost.localdomain local", &["skipped"]),
                ("255.255.255.255 broadcasthost", &["skipped"]),
                ("::1 ip6-localhost ip6-loopback localhost6 localhost6.localdomain6 localhost4", &["skipped"]),
                ("fe80::1%lo0 localhost", &["skipped"]),
                ("ff02::2 ip6-allrouters", &["skipped"]),
                ("fe00::0 ip6-localnet", &["skipped"]),
                ("0.0.0.0 0.0.0.0", &["skipped"]),
                ("0.0.0.0 127.0.0.1 [::] [::1]", &["skipped"]),
            ],
            |bytes| read(bytes, Scope::Exact),
        );
        assert!(OWN_NAMES.is_sorted());
    }

    #[test]
    fn what_is_no_line_of_a_hosts_file_is_found_at_its_column() {
        each_says(
            &[
                ("a.example", &["1:1 `a.example` is not an address"]),
                ("  ||a.example^", &["1:3 `||a.example^` is not an address"]),
                ("0.0.0.0", &["1:1 `0.0.0.0` has no name after the address"]),
                ("0.0.0.0 # a.example", &["1:1 `0.0.0.0` has no name after the address"]),
                ("0 a.example", &["1:1 `0` is not an address"]),
                ("0.0.0.0.a.example b.example", &["1:1 `0.0.0.0.a.example` is not an address"]),
                ("127.000.000.001 a.example", &["1:1 `127.000.000.001` is not an address"]),
                ("0.0.0.0:80 a.example", &["1:1 `0.0.0.0:80` is not an address"]),
                ("[::1] a.example", &["1:1 `[::1]` is not an address"]),
                ("0.0.0.0 bad!name", &["1:9 `bad!name` is not a name: the host has `!`"]),
                ("0.0.0.0 *.a.example", &["1:9 `*.a.example` is not a name: the host has `*`"]),
                ("0.0.0.0 .a.example", &["1:9 `.a.example` is not a name: the host has an empty label"]),
                ("0.0.0.0 http://a.example/", &["1:9 `http://a.example/` is not a name"]),
                ("0.0.0.0 bücher.example é/", &["block xn--bcher-kva.example 1", "1:24 `é/` is not a name"]),
                (
                    "0.0.0.0 a.example b..example c.example d/",
                    &["block a.example 1", "block c.example 1", "1:19 `b..example`"],
                ),
                ("\n0.0.0.0 127.1", &["2:9 `127.1` is not a name: the host ends in a number"]),
            ],
            |bytes| read(bytes, Scope::Exact),
        );
        let parsed = read(b"0.0.0.0 a!b c!d e!f\n0.0.0.0 a.example\n", Scope::Exact);
        assert_eq!(
            (parsed.lines.content, parsed.lines.wrong, findings(&parsed).len()),
            (2, 1, 1),
            "a line is wrong once"
        );
    }

    #[test]
    fn scope_is_for_all_names_but_addresses() {
        let parsed = read(b"0.0.0.0 a.example 192.0.2.1\n", Scope::Subtree);
        assert_eq!(names(&parsed), ["block .a.example 1", "block 192.0.2.1 1"]);
    }

    #[test]
    fn stated_count_is_that_of_the_names() {
        let contradicted = |text: &str| read(text.as_bytes(), Scope::Exact).stated_count_contradicted();
        let boilerplate =
            "# Number of unique domains: 2\n127.0.0.1 localhost\n::1 localhost\n255.255.255.255 broadcasthost\n";
        assert_eq!(contradicted(&format!("{boilerplate}0.0.0.0 a.example\n0.0.0.0 b.example\n")), None);
        assert_eq!(
            contradicted(&format!("{boilerplate}0.0.0.0 a.example\n0.0.0.0 a.example\n0.0.0.0 b.example\n")),
            None
        );
        assert_eq!(contradicted(&format!("{boilerplate}0.0.0.0 a.example\n")), Some((2, 1)));
        assert_eq!(contradicted(&format!("{boilerplate}0.0.0.0 a.example\n0.0.0.0 b!d\n")), None);
        assert_eq!(contradicted("# Domains: 3\n0.0.0.0 a.example b.example\n0.0.0.0 c.example\n"), None);
    }

    proptest! {
        #[test]
        fn words_are_read_one_by_one(lines in proptest::collection::vec("(0\\.0\\.0\\.0|::1|192\\.0\\.2\\.1|x)( {1,2}[ab.?]{1,4}){0,3}( ?#[a b]{0,3})?", 0..12)) {
            let parsed = read(lines.join("\n").as_bytes(), Scope::Exact);
            let (mut expected, mut skipped, mut wrong) = (Vec::new(), 0, 0);
            for (index, line) in lines.iter().enumerate() {
                let mut words = line.split('#').next().unwrap_or_default().split(' ').filter(|word| !word.is_empty());
                let address = words.next().unwrap_or_default();
                let hosts: Vec<_> = words.map(|word| HostName::parse(word.as_bytes())).collect();
                match address {
                    "192.0.2.1" => skipped += 1,
                    "x" => wrong += 1,
                    _ => {
                        wrong += u32::from(hosts.is_empty() || hosts.iter().any(Result::is_err));
                        expected.extend(hosts.into_iter().flatten().map(|host| format!("block {host} {}", index + 1)));
                    }
                }
            }
            prop_assert_eq!(names(&parsed), expected);
            prop_assert_eq!((parsed.lines.skipped, parsed.lines.wrong), (skipped, wrong));
        }
    }
}
