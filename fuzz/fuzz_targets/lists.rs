//! Any bytes as a feed of each format, which the first byte picks, as they are or decompressed: never a panic, every line
//! counted once, findings with places, and every name found again.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use jiff::civil::Date;
use libfuzzer_sys::fuzz_target;
use sluis::blocklist::config::{FeedFormat, Scope};
use sluis::blocklist::decision::{Basis, Decision, When};
use sluis::blocklist::decompressed_within;
use sluis::blocklist::format::{adblock, dnsmasq, domains, hosts, rpz};
use sluis::blocklist::index::{Index, IndexSource};
use sluis::blocklist::parsed::ParsedSource;

static DECISION: LazyLock<Arc<Decision>> = LazyLock::new(|| {
    let decided_at = When::Day(Date::constant(2026, 1, 1));
    Arc::new(Decision::new("feed", Basis::Security, "abuse desk", decided_at))
});

fn parse(format: FeedFormat, bytes: &[u8]) -> ParsedSource {
    let (file, decision) = (Path::new("list"), Arc::clone(&DECISION));
    match format {
        FeedFormat::Domains(scope) => domains::parse(file, bytes, scope, decision),
        FeedFormat::Hosts(scope) => hosts::parse(file, bytes, scope, decision),
        FeedFormat::Adblock => adblock::parse(file, bytes, decision),
        FeedFormat::Dnsmasq => dnsmasq::parse(file, bytes, decision),
        FeedFormat::Rpz => rpz::parse(file, bytes, decision),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let formats = [
        FeedFormat::Domains(Scope::Subtree),
        FeedFormat::Hosts(Scope::Exact),
        FeedFormat::Adblock,
        FeedFormat::Dnsmasq,
        FeedFormat::Rpz,
    ];
    let format = formats[usize::from(first % 5)];
    // Twice as many are read as they are, which is where most of the program is.
    let path = ["list", "list", "list.gz", "list.zst"][usize::from(first / 5 % 4)];
    let Ok(bytes) = decompressed_within(Path::new(path), bytes, 1 << 24) else { return };
    let parsed = parse(format, &bytes);
    let lines = parsed.lines;
    assert!(lines.wrong + lines.skipped <= lines.content && lines.content <= lines.total);
    for finding in &parsed.findings {
        assert!(finding.place.as_ref().is_some_and(|place| place.position.is_some()));
        assert!(finding.to_string().len() < 4_096);
    }
    if parsed.has_errors() {
        return;
    }
    let names = parsed.names.len();
    let right = (lines.content - lines.wrong - lines.skipped) as usize;
    match format {
        FeedFormat::Hosts(_) | FeedFormat::Dnsmasq => assert!(names >= right),
        _ => assert_eq!(names, right),
    }
    let source = IndexSource { name: "feed".to_owned(), is_feed: true, parsed: Arc::new(parsed) };
    let index = Index::build(&[Arc::new(source)], 7);
    assert_eq!(index.self_check(names.max(1)), Ok(names));
});
