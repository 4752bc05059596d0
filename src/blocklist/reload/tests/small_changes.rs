//! Small changes of large lists: what is shared with the version before, and the base that they are merged into.
//!
//! Inside: edits of one feed of some thousand names, by hand and at random. Kept out: that an updated index says the same as a
//! new one, which `index/oracle/updates.rs` shows for all sources.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::blocklist::names::Block;

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("number-{number}.feed.example")).collect()
}

fn blocks(running: &Running) -> Vec<*const Block> {
    let snapshot = running.blocklist.load_full();
    let source = snapshot.value.index().source(0).expect("the feed");
    source.parsed.names.parts().iter().map(|part| Arc::as_ptr(&part.block)).collect()
}

fn delta_names(running: &Running) -> usize {
    running.blocklist.load_full().value.index().delta_names()
}

fn line_of(running: &Running, host: &str) -> Option<u32> {
    let snapshot = running.blocklist.load_full();
    let host = HostName::parse(host.as_bytes()).expect("a host");
    snapshot.value.index().verdict(&host, &moment()).block.map(|found| found.line)
}

#[test]
fn line_that_is_inserted_costs_one_block_and_moves_the_others() {
    let mut list = lines(20_000);
    let running = Lists::new().with_feed("feed", &list.join("\n"));
    let lists = running;
    let running = lists.start();
    let before = blocks(&running);
    list.insert(10_000, "inserted.example".to_owned());
    lists.replace("feed", list.join("\n"));
    let report = running.reload();
    assert_eq!((report.added, report.removed, report.failed.len()), (1, 0, 0));
    assert_eq!(running.source("feed").names, 20_001);
    let after = blocks(&running);
    let new = after.iter().filter(|block| !before.contains(block)).count();
    assert!(before.len() > 5 && (1..=3).contains(&new), "{new} new blocks, {} before", before.len());
    assert!((1..16_000).contains(&delta_names(&running)), "{}", delta_names(&running));
    for (host, line) in
        [("inserted.example", 10_001), ("number-0.feed.example", 1), ("number-19999.feed.example", 20_001)]
    {
        assert_eq!(line_of(&running, host), Some(line), "{host}");
    }
}

#[test]
fn changes_are_merged_into_the_base_once_all_is_quiet() {
    let mut list = lines(5_000);
    let mut lists = Lists::new().with_feed("feed", &list.join("\n"));
    lists.config.settle = Duration::from_millis(4);
    let running = lists.start();
    list.push("one-more.example".to_owned());
    lists.replace("feed", list.join("\n"));
    running.until("the line is in force", |running| line_of(running, "one-more.example") == Some(5_001));
    let generation = running.generation();
    running.until("the change is in the base", |running| delta_names(running) == 0);
    assert_eq!((running.generation(), line_of(&running, "one-more.example")), (generation, Some(5_001)));
    assert_eq!(running.source("feed").names, 5_001);
}

#[test]
fn settings_of_the_feed_are_not_shared() {
    let mut lists = Lists::new().with_feed("feed", &lines(100).join("\n"));
    let running = lists.start();
    let before = blocks(&running);
    lists.config.never_block.push(Pattern::parse("number-7.feed.example").expect("a pattern"));
    running.apply(lists.config.clone()).expect("a good configuration");
    assert_eq!(
        (line_of(&running, "number-7.feed.example"), line_of(&running, "number-8.feed.example")),
        (None, Some(9))
    );
    assert_ne!(blocks(&running), before);
}

/// What somebody does to a list.
#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, u32),
    Remove(usize),
    Replace(usize, u32),
    Move(usize, usize, usize),
    Comment(usize),
    Repeat(usize, usize),
}

fn edits() -> impl Strategy<Value = Edit> {
    let at = || any::<u16>().prop_map(usize::from);
    prop_oneof![
        (at(), 0..50_u32).prop_map(|(at, name)| Edit::Insert(at, name)),
        at().prop_map(Edit::Remove),
        (at(), 0..50_u32).prop_map(|(at, name)| Edit::Replace(at, name)),
        (at(), 1..900_usize, at()).prop_map(|(from, count, to)| Edit::Move(from, count, to)),
        at().prop_map(Edit::Comment),
        (at(), 1..900_usize).prop_map(|(from, count)| Edit::Repeat(from, count)),
    ]
}

fn apply(list: &mut Vec<String>, edit: &Edit) {
    let length = list.len();
    match *edit {
        Edit::Insert(at, name) => list.insert(at % (length + 1), format!("new-{name}.example")),
        Edit::Remove(at) => _ = list.remove(at % length),
        Edit::Replace(at, name) => list[at % length] = format!("new-{name}.example"),
        Edit::Move(from, count, to) => {
            let from = from % length;
            let moved: Vec<String> = list.drain(from..(from + count).min(length)).collect();
            let to = to % (list.len() + 1);
            list.splice(to..to, moved);
        }
        Edit::Comment(at) => list.insert(at % (length + 1), "# a comment".to_owned()),
        Edit::Repeat(from, count) => {
            let from = from % length;
            list.extend_from_within(from..(from + count).min(length));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn edits_one_after_the_other_leave_what_the_file_says(steps in proptest::collection::vec(proptest::collection::vec(edits(), 1..4), 1..5)) {
        let mut list = lines(4_000);
        let lists = Lists::new().with_feed("feed", &list.join("\n"));
        let running = lists.start();
        for edits in &steps {
            let before: BTreeSet<String> = list.iter().filter(|line| !line.starts_with('#')).cloned().collect();
            edits.iter().for_each(|edit| apply(&mut list, edit));
            let names: BTreeSet<String> = list.iter().filter(|line| !line.starts_with('#')).cloned().collect();
            lists.replace("feed", list.join("\n"));
            let report = running.reload();
            prop_assert_eq!(&report.failed, &vec![]);
            prop_assert_eq!((report.added, report.removed), (names.difference(&before).count(), before.difference(&names).count()));
            prop_assert_eq!(running.source("feed").names, names.len());
            let first: HashMap<&str, u32> = (1..).zip(&list).map(|(line, name)| (name.as_str(), line)).collect::<Vec<_>>().into_iter().rev().collect();
            for host in names.iter().chain(&before) {
                prop_assert_eq!(line_of(&running, host), first.get(host.as_str()).copied(), "{}", host);
            }
        }
    }
}
