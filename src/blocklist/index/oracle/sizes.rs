//! Lists of every size, from the bytes of the list and of the host to the verdict, against a walk over labels.
//!
//! Inside: names of all kinds that a feed may have, and their spellings in a request. Kept out: several sources and
//! decisions, which meet in random ones (`mod.rs`).

use std::net::Ipv6Addr;
use std::path::Path;

use super::*;
use crate::blocklist::config::Scope;
use crate::blocklist::format::domains;
use crate::host::Authority;

/// Names that are looked up of one list, each in all its spellings.
const LOOKED_UP: usize = 200;

/// The largest list; `SLUIS_LIST_NAMES` makes it larger.
fn largest() -> usize {
    std::env::var("SLUIS_LIST_NAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// An entry of a list: how it stands there, what it covers and the canonical host.
struct Entry {
    line: String,
    prefix: &'static str,
    host: String,
}

fn entry(number: usize) -> Entry {
    let prefix = ["", ".", "*."][number % 3];
    let below = number as u32;
    let (prefix, written, host) = match number % 11 {
        8 => {
            let address = Ipv4Addr::from(0x0a00_0000 + below).to_string();
            ("", address.clone(), address)
        }
        9 => {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 1, (below >> 16) as u16, below as u16);
            ("", format!("[{address}]"), format!("[{address}]"))
        }
        10 => {
            let label = format!("b\u{fc}cher{number}");
            let encoded = idna::punycode::encode_str(&label).expect("encoded");
            (prefix, format!("{label}.example"), format!("xn--{encoded}.example"))
        }
        _ => {
            // A third stands below another name of the list.
            let name = format!("n{number}.{}l{}.example", ["n1.", ""][number % 2], number % 7);
            (prefix, name.to_uppercase(), name)
        }
    };
    Entry { line: format!("{prefix}{written}\n"), prefix, host }
}

/// The most specific pattern that covers a host: itself, then each name above it.
fn walk(patterns: &HashSet<String>, host: &str) -> Option<String> {
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    let mut name = host;
    loop {
        let prefixes: &[&str] = if name == host { &["", "."] } else { &["*.", "."] };
        let found = prefixes.iter().map(|prefix| format!("{prefix}{name}")).find(|pattern| patterns.contains(pattern));
        if found.is_some() || is_address {
            return found;
        }
        name = name.split_once('.')?.1;
    }
}

/// Spellings of hosts near an entry, each with the canonical host that it must mean.
fn spellings(host: &str) -> Vec<(String, String)> {
    let same = |spelling: String| (spelling, host.to_owned());
    let flipped = host.char_indices().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c });
    let mut all =
        vec![same(host.to_owned()), same(host.to_uppercase()), same(flipped.collect()), same(format!("{host}:8080"))];
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        let next = Ipv4Addr::from(u32::from(address) ^ 1).to_string();
        let mapped = address.to_ipv6_mapped().segments().map(|segment| format!("{segment:04X}")).join(":");
        all.extend([same(format!("[::ffff:{host}]:80")), same(format!("[{mapped}]")), same(format!("{host}."))]);
        all.push((next.clone(), next));
    } else if let Some(literal) = host.strip_prefix('[') {
        let address: Ipv6Addr = literal.trim_end_matches(']').parse().expect("an address");
        let next = format!("[{}]", Ipv6Addr::from(u128::from(address) ^ 1));
        all.push(same(format!("[{}]", address.segments().map(|segment| format!("{segment:04X}")).join(":"))));
        all.push((next.clone(), next));
    } else {
        let parent = host.split_once('.').expect("it has two labels").1;
        all.extend([same(format!("{host}.")), same(format!("{}.:80", host.to_uppercase()))]);
        let others =
            [format!("www.{host}"), format!("a.b.{host}"), format!("x{host}"), format!("{host}x"), parent.to_owned()];
        // An `xn--` label with a letter before it is another name, and not an encoded one.
        all.extend(others.into_iter().map(|other| (format!("{other}."), other)));
    }
    all
}

fn check(size: usize) {
    let (mut list, mut patterns) = (String::new(), HashSet::new());
    for number in 0..size {
        let entry = entry(number);
        list.push_str(&entry.line);
        patterns.insert(format!("{}{}", entry.prefix, entry.host));
    }
    let parsed =
        domains::parse(Path::new("list"), list.as_bytes(), Scope::Exact, Arc::new(decision("feed", Basis::Security)));
    assert!(!parsed.has_errors() && parsed.names.len() == size, "{:?}", parsed.findings);
    let source = IndexSource { name: "feed".to_owned(), is_feed: true, parsed: Arc::new(parsed) };
    let index = Index::build(&[Arc::new(source)], size as u64);
    let mut blocked = 0;
    // Beyond its end too: names that the list has not.
    for number in (0..size + 40).step_by(1 + size / LOOKED_UP) {
        for (spelling, canonical) in spellings(&entry(number).host) {
            let host = Authority::parse(spelling.as_bytes()).expect("a host").host;
            assert_eq!(host.as_str(), canonical, "{spelling}");
            let found = index.verdict(&host, &at(0)).block.map(|found| found.pattern().to_string());
            assert_eq!(found, walk(&patterns, &canonical), "{spelling} in a list of {size}");
            blocked += usize::from(found.is_some());
        }
    }
    assert!(blocked >= size.min(LOOKED_UP), "{blocked} of {size}");
}

#[test]
fn every_size_of_list_gives_the_verdicts_of_a_walk_over_labels() {
    let sizes = [0, 1, 2, 3, 7, 8, 9, 10, 99, 100, 101, 1_000, 10_000, 100_000, 1_000_000];
    sizes.into_iter().filter(|size| *size <= largest()).for_each(check);
}
