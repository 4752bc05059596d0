//! An index that was updated again and again says what one says that was built of the same sources.
//!
//! Inside: sources whose versions share blocks of names. Kept out: how a file comes to share them with its next version.

use super::*;
use crate::blocklist::parsed::Names;

/// A block of names under one decision, or under an exception record.
fn blocks() -> impl Strategy<Value = Vec<(String, Effect, Owner)>> {
    let effect = prop_oneof![6 => Just(Effect::Block), 1 => Just(Effect::BlockImportant), 1 => Just(Effect::Lift)];
    let line = (patterns(), effect).prop_map(|(pattern, effect)| (pattern, effect, Owner::Decision(0)));
    proptest::collection::vec(line, 1..8)
}

/// Which blocks of a pool the versions of a source have, in which order.
fn versions() -> impl Strategy<Value = Vec<Vec<usize>>> {
    proptest::collection::vec(proptest::collection::vec(0..6_usize, 0..7), 4)
}

fn pack(lines: &[(String, Effect, Owner)]) -> Names {
    let mut names = Names::default();
    for (line, (pattern, effect, owner)) in (1..).zip(lines) {
        names.push(Pattern::parse(pattern).expect("a pattern").view(), *effect, line, *owner);
    }
    // As a source has them once it is read.
    names.shrink_to_fit();
    names
}

/// A version of a source: its blocks one below the other, so that the same block is at another line in another version.
fn version(number: usize, is_feed: bool, decision: &Decision, pool: &[Names], blocks: &[usize]) -> Arc<IndexSource> {
    let mut draft = Draft { is_feed, ..Draft::default() };
    draft.parsed.decisions.push(Arc::new(decision.clone()));
    let mut lines = 0;
    for block in blocks {
        draft.parsed.names.append(&pool[*block], lines);
        lines += 10;
    }
    draft.source(&format!("source-{number}"))
}

fn explained(index: &Index, host: &HostName, moment: &Moment) -> Vec<String> {
    let explanations = index.explain(host, moment);
    explanations
        .iter()
        .map(|explained| format!("{} {} {:?}", explained.entry.decision.id, explained.entry.line, explained.standing))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn updated_index_says_what_a_new_one_says(
        pools in proptest::collection::vec((any::<bool>(), decisions(), proptest::collection::vec(blocks(), 6), versions()), 1..4),
        hosts in proptest::collection::vec(names(), 1..25),
        moment in moments(),
    ) {
        let pools: Vec<_> = pools
            .into_iter()
            .map(|(is_feed, decision, pool, versions)| {
                (is_feed, decision, pool.iter().map(|lines| pack(lines)).collect::<Vec<_>>(), versions)
            })
            .collect();
        let at_time = |time: usize| -> Vec<Arc<IndexSource>> {
            let sources = pools.iter().enumerate();
            sources
                .map(|(number, (is_feed, decision, pool, versions))| version(number, *is_feed, decision, pool, &versions[time]))
                .collect()
        };
        let mut index = Index::build(&at_time(0), 5);
        for time in 1..4 {
            let (sources, fresh) = (at_time(time), Index::build(&at_time(time), 6));
            let updated = index.update(&sources).expect("few names");
            for name in &hosts {
                let host = host(name);
                prop_assert_eq!(answer(&updated, &host, &moment), scan(&sources, &host, &moment), "{}", name);
                prop_assert_eq!(explained(&updated, &host, &moment), explained(&fresh, &host, &moment), "{}", name);
            }
            prop_assert_eq!(updated.names().collect::<Vec<_>>(), fresh.names().collect::<Vec<_>>());
            prop_assert_eq!(updated.changes_since(&index), fresh.changes_since(&Index::build(&at_time(time - 1), 7)));
            let all: usize = sources.iter().map(|source| source.parsed.names.len()).sum();
            prop_assert_eq!(updated.self_check(all.max(1)), Ok(all));
            index = updated;
        }
    }
}

#[test]
fn update_is_for_small_changes_of_the_same_sources() {
    let large = |name: &str, names: u32| {
        let feed = Draft::feed(decision("feed", Basis::Security));
        (0..names).fold(feed, |feed, number| feed.block(&format!("n{number}.example"))).source(name)
    };
    let (first, other) = (large("first", 9_000), large("other", 10));
    let index = Index::build(&[Arc::clone(&first), Arc::clone(&other)], 1);
    assert_eq!(index.delta_names(), 0);
    assert!(index.update(&[Arc::clone(&first)]).is_none(), "a source is gone");
    assert!(index.update(&[Arc::clone(&other), Arc::clone(&first)]).is_none(), "another order");
    assert!(index.update(&[large("first", 9_000), Arc::clone(&other)]).is_none(), "18,000 names came and went");
    let updated = index.update(&[first, large("other", 20)]).expect("30 names came and went");
    assert_eq!((updated.delta_names(), updated.names().collect::<Vec<_>>()), (30, vec![9_000, 20]));
    assert!(updated.table_bytes() < index.table_bytes() + 1_024);
}

#[test]
fn name_that_is_in_every_block_is_one_entry_and_the_next_one_takes_over() {
    let block = |own: usize| {
        let own = format!("n{own}.example");
        let lines = ["hot.example", own.as_str(), "hot.example"]
            .map(|name| (name.to_owned(), Effect::Block, Owner::Decision(0)));
        pack(&lines)
    };
    let lift = pack(&[("*.hot.example".to_owned(), Effect::Lift, Owner::Decision(0))]);
    let pool: Vec<Names> = (0..200).map(block).chain([lift]).collect();
    let feed = decision("feed", Basis::Security);
    let with = |blocks: &[usize]| vec![version(0, true, &feed, &pool, blocks)];
    let all: Vec<usize> = (0..=200).collect();
    let mut index = Index::build(&with(&all), 5);
    assert_eq!(index.names().collect::<Vec<_>>(), [201]);
    for first in [0_usize, 1, 150] {
        index = index.update(&with(&all[first..])).expect("few names");
        let name = index.base.hasher.name(b"hot.example");
        assert_eq!(index.candidates(&name).count(), 2, "one that blocks and one that lifts what is below");
        let found = index.verdict(&host("hot.example"), &at(0)).block.expect("it is listed");
        assert_eq!((found.line, index.names().collect::<Vec<_>>()), (1, vec![201 - first]));
        assert_eq!(blocked_by(&index, "a.hot.example", &at(0)), None);
    }
    let updated = index.update(&with(&[200])).expect("few names");
    assert_eq!((blocked_by(&updated, "hot.example", &at(0)), updated.names().sum::<usize>()), (None, 0));
}
