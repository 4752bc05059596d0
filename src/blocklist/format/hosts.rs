//! The `hosts` format: an address, then the names that it blocks, as in a hosts file.
//!
//! Inside: which addresses block, and which names are the machine's own. Kept out: what all feeds share, which is in
//! `lines.rs`.
//!
//! A name blocks where its address leads nowhere: unspecified or loopback. Another address is where a name is found, which
//! a resolver wants to know; such a line is skipped and counted, and so is one with no other names than those that every
//! machine has for itself.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::lines::{FeedLine, FeedReader, WHITE_SPACE};
use crate::blocklist::config::Scope;
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, Reach};
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
/// `file` is the name that findings give the file.
pub fn parse(file: &Path, bytes: &[u8], scope: Scope, decision: Arc<Decision>) -> ParsedSource {
    let reach = scope.reach();
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(file, source).read(bytes, |feed, line| read_line(feed, line, reach))
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
                feed.add(line, &Pattern { host, reach }, Effect::Block);
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
