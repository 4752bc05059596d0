//! What is in force after any number of reloads, held against what a start of now would have.
//!
//! Inside: the comparison, of everything that an index and its status say. Kept out: edits (`updates.rs`, `lines.rs`).

use super::*;
use crate::blocklist::index::{Changes, Match};

/// Compares what is in force with what `check` builds from nothing out of the files of now.
pub(super) fn assert_as_from_nothing<H: AsRef<str>>(running: &Running, config: &Config, hosts: &[H], what: &str) {
    let snapshot = running.blocklist.load_full();
    let (ours, fresh) = (snapshot.value.index(), check(config, Timestamp::now()));
    assert_same_sources(ours, &fresh.index, what);
    assert_same_status(running, &fresh, what);
    for host in hosts {
        let host = HostName::parse(host.as_ref().as_bytes()).expect("a host");
        assert_eq!(answer(ours, &host), answer(&fresh.index, &host), "{what}: {host}");
    }
    let all: usize = ours.names().sum();
    assert!(ours.self_check(all.max(1)).is_ok_and(|checked| checked >= all), "{what}: every name is found");
}

fn assert_same_sources(ours: &Index, fresh: &Index, what: &str) {
    let named = |index: &Index| -> Vec<(String, bool, usize)> {
        let sources = index.sources().zip(index.names());
        sources.map(|(source, names)| (source.name.clone(), source.is_feed, names)).collect()
    };
    assert_eq!(named(ours), named(fresh), "{what}: sources and their names");
    let decided = |index: &Index| -> Vec<(String, u16, Vec<String>)> {
        let decisions = index.decisions();
        decisions
            .map(|entry| {
                let patterns = index.patterns(entry.decision_index).map(|pattern| pattern.to_string()).collect();
                (entry.decision.id.clone(), entry.source_index, patterns)
            })
            .collect()
    };
    assert!(decided(ours) == decided(fresh), "{what}: decisions and their patterns, in the order of the files");
    let now = Timestamp::now();
    assert_eq!(ours.next_change_after(now), fresh.next_change_after(now), "{what}");
    let changes = [ours.changes_since(fresh), fresh.changes_since(ours)].concat();
    assert!(changes.iter().all(|changes| *changes == Changes::default()), "{what}: {changes:?}");
}

fn assert_same_status(running: &Running, fresh: &Checked, what: &str) {
    for fresh in &fresh.sources {
        let ours = running.source(&fresh.name);
        assert_eq!((ours.names, ours.decisions, ours.sha256), (fresh.names, fresh.decisions, fresh.sha256), "{what}");
        assert_eq!(
            (&ours.errors, &ours.warnings, &ours.dropped),
            (&fresh.errors, &fresh.warnings, &fresh.dropped),
            "{what}"
        );
    }
}

/// Verdict and explanation of one host, for everyone and for visitors from one country.
fn answer(index: &Index, host: &HostName) -> Vec<String> {
    let entry = |found: &Match<'_>| {
        let (id, pattern) = (&found.decision.id, found.pattern());
        format!("{id} {pattern} {} {} {}", found.decision_index, found.source_index, found.line)
    };
    let now = Timestamp::now();
    let moments = [None, Some(*b"NL")].map(|country| Moment { now, country });
    let for_one = |moment: &Moment| {
        let verdict = index.verdict(host, moment);
        let found = [verdict.block, verdict.shadow].map(|found| found.map_or_else(String::new, |found| entry(&found)));
        let explained = index.explain(host, moment);
        let explained =
            explained.iter().map(|explained| format!("{} {:?}", entry(&explained.entry), explained.standing));
        found.into_iter().chain(explained).collect::<Vec<_>>()
    };
    moments.iter().flat_map(for_one).collect()
}
