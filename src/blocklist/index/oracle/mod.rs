//! The tests of the index: what it says against a scan of all entries, and its answers one by one.
//!
//! Inside: making lists, random and large, and the scan. Kept out: answers one by one (`examples.rs`), lists of every
//! size (`sizes.rs`), changes (`updates.rs`), and files of all formats (`mixed.rs`).

mod examples;
mod feed_lines;
mod mixed;
mod sizes;
mod updates;
mod world;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::blocklist::decision::{Basis, When, tests::decision};
use crate::blocklist::parsed::Names;
use crate::blocklist::pattern::Pattern;

/// Days are counted from here.
const ORIGIN: Timestamp = Timestamp::constant(1_790_000_000, 0);

fn day(number: i64) -> Timestamp {
    ORIGIN + SignedDuration::from_hours(24 * number)
}

fn at(number: i64) -> Moment {
    Moment { now: day(number), country: None }
}

fn host(text: &str) -> HostName {
    HostName::parse(text.as_bytes()).expect("a host")
}

/// A source under construction.
#[derive(Debug, Clone, Default)]
struct Draft {
    is_feed: bool,
    parsed: ParsedSource,
    line: u32,
}

impl Draft {
    fn records() -> Self {
        Self::default()
    }

    fn feed(decision: Decision) -> Self {
        let mut draft = Self { is_feed: true, ..Self::default() };
        draft.parsed.decisions.push(Arc::new(decision));
        draft
    }

    fn name(mut self, pattern: &str, effect: Effect, owner: Owner) -> Self {
        self.line += 1;
        let pattern = Pattern::parse(pattern).expect("a pattern");
        self.parsed.names.push(pattern.view(), effect, self.line, owner);
        self
    }

    fn block(self, pattern: &str) -> Self {
        self.name(pattern, Effect::Block, Owner::Decision(0))
    }

    fn decide(mut self, decision: Decision, patterns: &[&str]) -> Self {
        let owner = Owner::Decision(self.parsed.decisions.len() as u32);
        self.parsed.decisions.push(Arc::new(decision));
        patterns.iter().fold(self, |draft, pattern| draft.name(pattern, Effect::Block, owner))
    }

    fn except(mut self, exception: Exception, patterns: &[&str]) -> Self {
        let owner = Owner::Exception(self.parsed.exceptions.len() as u32);
        self.parsed.exceptions.push(Arc::new(exception));
        patterns.iter().fold(self, |draft, pattern| draft.name(pattern, Effect::Lift, owner))
    }

    fn source(mut self, name: &str) -> Arc<IndexSource> {
        // As it is once the source is read.
        self.parsed.names.shrink_to_fit();
        Arc::new(IndexSource { name: name.to_owned(), is_feed: self.is_feed, parsed: Arc::new(self.parsed) })
    }
}

fn index(drafts: impl IntoIterator<Item = Draft>) -> Index {
    let sources: Vec<_> =
        drafts.into_iter().enumerate().map(|(number, draft)| draft.source(&format!("source-{number}"))).collect();
    Index::build(&sources, 42)
}

fn exception(id: &str, from: i64, until: Option<i64>) -> Exception {
    Exception {
        id: id.to_owned(),
        decided_by: "abuse desk".to_owned(),
        decided_at: When::Moment(day(from)),
        reason: "wrongly listed".to_owned(),
        effective_until: until.map(|until| When::Moment(day(until))),
    }
}

fn dated(id: &str, basis: Basis, from: i64, until: Option<i64>) -> Decision {
    Decision {
        decided_at: When::Moment(day(from)),
        effective_until: until.map(|until| When::Moment(day(until))),
        ..decision(id, basis)
    }
}

fn shadow(decision: Decision) -> Decision {
    Decision { mode: Mode::Shadow, ..decision }
}

fn ids(index: &Index, text: &str, moment: &Moment) -> (Option<String>, Option<String>) {
    let verdict = index.verdict(&host(text), moment);
    let id = |found: Option<Match<'_>>| found.map(|found| found.decision.id.clone());
    (id(verdict.block), id(verdict.shadow))
}

fn blocked_by(index: &Index, text: &str, moment: &Moment) -> Option<String> {
    ids(index, text, moment).0
}

/// The verdict by a scan of every entry of every source, by the words of the contract alone.
fn scan(sources: &[Arc<IndexSource>], host: &HostName, moment: &Moment) -> [Option<(String, u32)>; 2] {
    let covering = |names: &Names| -> Vec<(Pattern, Effect, Owner, u32)> {
        let patterns = names.iter().map(|record| {
            let pattern = Pattern::parse(&record.view().to_string()).expect("a pattern");
            (pattern, record.effect, record.owner, record.line)
        });
        patterns.filter(|(pattern, ..)| pattern.matches(host)).collect()
    };
    let in_force =
        |from: Timestamp, until: Option<Timestamp>| from <= moment.now && until.is_none_or(|until| moment.now < until);
    let every_feed_lifted = sources.iter().any(|source| {
        covering(&source.parsed.names).iter().any(|(_, _, owner, _)| match owner {
            Owner::Exception(place) => {
                let exception = &source.parsed.exceptions[*place as usize];
                in_force(exception.starts(), exception.ends())
            }
            Owner::Decision(_) => false,
        })
    });
    let mut competing = [Vec::new(), Vec::new()];
    for (place, source) in sources.iter().enumerate() {
        let entries = covering(&source.parsed.names);
        let own_lifted = entries.iter().any(|entry| entry.1 == Effect::Lift && matches!(entry.2, Owner::Decision(_)));
        for (pattern, effect, owner, line) in entries {
            let Owner::Decision(owner) = owner else { continue };
            let decision = &source.parsed.decisions[owner as usize];
            let lifted = source.is_feed && (every_feed_lifted || (own_lifted && effect == Effect::Block));
            let here = decision.countries.is_empty()
                || moment
                    .country
                    .is_some_and(|country| decision.countries.iter().any(|other| other.as_bytes() == country));
            if effect == Effect::Lift || lifted || !here || !in_force(decision.starts(), decision.ends()) {
                continue;
            }
            let specific = std::cmp::Reverse((pattern.host.as_str().len(), pattern.reach == Reach::Exact));
            let basis = Basis::ALL.iter().position(|basis| *basis == decision.basis);
            let order = (
                specific,
                basis,
                decision.decided_at.begins(),
                decision.id.clone(),
                place,
                pattern.reach,
                effect,
                line,
            );
            competing[usize::from(decision.mode == Mode::Shadow)].push(order);
        }
    }
    competing.map(|orders| orders.into_iter().min().map(|order| (order.3, order.7)))
}

fn answer(index: &Index, host: &HostName, moment: &Moment) -> [Option<(String, u32)>; 2] {
    let verdict = index.verdict(host, moment);
    [verdict.block, verdict.shadow].map(|found| found.map(|found| (found.decision.id.clone(), found.line)))
}

/// Names that are often each other's parents, so that entries meet.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "([ab]{1,2}\\.){0,3}[ab]",
        1 => "(192\\.0\\.2\\.[1-3]|\\[2001:db8::[1-3]\\])",
    ]
}

fn patterns() -> impl Strategy<Value = String> {
    (0..3_usize, names()).prop_map(|(reach, name)| {
        let is_address = HostName::parse(name.as_bytes()).is_ok_and(|host| host.address().is_some());
        let prefix = if is_address { "" } else { ["", ".", "*."][reach] };
        format!("{prefix}{name}")
    })
}

fn decisions() -> impl Strategy<Value = Decision> {
    let basis = proptest::sample::select(Basis::ALL.as_slice());
    let countries = prop_oneof![3 => Just(vec![]), 1 => Just(vec!["NL".to_owned()])];
    ("[a-z]{6}", basis, 0..4_i64, proptest::option::of(2..8_i64), any::<bool>(), countries).prop_map(
        |(id, basis, from, until, is_shadow, countries)| {
            let decided = dated(&id, basis, from, until);
            Decision { mode: if is_shadow { Mode::Shadow } else { Mode::Enforce }, countries, ..decided }
        },
    )
}

fn record_sources(most: usize) -> impl Strategy<Value = Draft> {
    let hosts = || proptest::collection::vec(patterns(), 1..6);
    let decided = proptest::collection::vec((decisions(), hosts()), 0..most);
    let excepted = proptest::collection::vec((0..3_i64, proptest::option::of(2..8_i64), hosts()), 0..3);
    (decided, excepted).prop_map(|(decided, excepted)| {
        let refs = |hosts: &[String]| -> Vec<String> { hosts.to_vec() };
        let mut draft = Draft::records();
        for (decision, hosts) in &decided {
            let hosts = refs(hosts);
            draft = draft.decide(decision.clone(), &hosts.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for (from, until, hosts) in &excepted {
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            draft = draft.except(exception("exception", *from, *until), &hosts);
        }
        draft
    })
}

fn feeds(most: usize) -> impl Strategy<Value = Draft> {
    let effect = prop_oneof![6 => Just(Effect::Block), 1 => Just(Effect::BlockImportant), 1 => Just(Effect::Lift)];
    (decisions(), proptest::collection::vec((patterns(), effect), 0..most)).prop_map(|(decision, lines)| {
        let feed = Draft::feed(decision);
        lines.iter().fold(feed, |feed, (pattern, effect)| feed.name(pattern, *effect, Owner::Decision(0)))
    })
}

fn source_lists(most: usize) -> impl Strategy<Value = Vec<Arc<IndexSource>>> {
    let one = prop_oneof![record_sources(most), feeds(most * 3)];
    proptest::collection::vec(one, 0..4).prop_map(|drafts| {
        drafts.into_iter().enumerate().map(|(number, draft)| draft.source(&format!("source-{number}"))).collect()
    })
}

fn moments() -> impl Strategy<Value = Moment> {
    let country = prop_oneof![Just(None), Just(Some(*b"NL")), Just(Some(*b"BE"))];
    (0..9_i64, country).prop_map(|(number, country)| Moment { now: day(number), country })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn verdict_is_that_of_a_scan(
        sources in source_lists(12),
        seed in any::<u64>(),
        hosts in proptest::collection::vec(names(), 1..40),
        moment in moments(),
    ) {
        let index = Index::build(&sources, seed);
        for name in &hosts {
            let host = host(name);
            prop_assert_eq!(answer(&index, &host, &moment), scan(&sources, &host, &moment), "{}", name);
        }
        let all: usize = sources.iter().map(|source| source.parsed.names.len()).sum();
        prop_assert_eq!(index.self_check(all.max(1)), Ok(all));
    }

    #[test]
    fn explanation_agrees_with_the_verdict(
        sources in source_lists(8),
        hosts in proptest::collection::vec(names(), 1..20),
        moment in moments(),
    ) {
        let index = Index::build(&sources, 1);
        for name in &hosts {
            let host = host(name);
            let explained = index.explain(&host, &moment);
            let winner = |shadows: bool| {
                let mut winners = explained.iter().filter(|explained| match explained.standing {
                    Standing::Blocks => !shadows,
                    Standing::Shadows => shadows,
                    _ => false,
                });
                let winner = winners.next().map(|explained| (explained.entry.decision.id.clone(), explained.entry.line));
                assert!(winners.next().is_none(), "one wins");
                winner
            };
            prop_assert_eq!([winner(false), winner(true)], answer(&index, &host, &moment), "{}", name);
            let all_cover = explained.iter().all(|explained| explained.entry.pattern().matches_name(host.as_bytes()));
            prop_assert!(all_cover);
        }
    }

    #[test]
    fn names_are_counted_once_a_pattern_and_changes_are_differences(old in source_lists(8), new in source_lists(8)) {
        let patterns = |sources: &[Arc<IndexSource>]| -> std::collections::BTreeSet<(String, String)> {
            let of_source = |source: &Arc<IndexSource>| -> Vec<(String, String)> {
                let blocking = source.parsed.names.iter().filter(|record| record.effect != Effect::Lift);
                blocking.map(|record| (source.name.clone(), record.view().to_string())).collect()
            };
            sources.iter().flat_map(of_source).collect()
        };
        let (old_patterns, new_patterns) = (patterns(&old), patterns(&new));
        let (old_index, new_index) = (Index::build(&old, 1), Index::build(&new, 2));
        prop_assert_eq!(new_index.names().sum::<usize>(), new_patterns.len());
        let distinct: Vec<usize> = new.iter().map(|source| source.parsed.names.distinct()).collect();
        prop_assert_eq!(new_index.names().collect::<Vec<_>>(), distinct);
        let still_there = |pattern: &&(String, String)| new.iter().any(|source| source.name == pattern.0);
        let changes = new_index.changes_since(&old_index);
        let added: usize = changes.iter().map(|changes| changes.added).sum();
        let removed: usize = changes.iter().map(|changes| changes.removed).sum();
        prop_assert_eq!(added, new_patterns.difference(&old_patterns).count());
        prop_assert_eq!(removed, old_patterns.difference(&new_patterns).filter(still_there).count());
        let unchanged = new_index.changes_since(&Index::build(&new, 3));
        prop_assert_eq!(unchanged, vec![Changes::default(); new.len()]);
    }

    #[test]
    fn nothing_changes_between_one_change_and_the_next(sources in source_lists(6), hosts in proptest::collection::vec(names(), 1..20)) {
        let index = Index::build(&sources, 1);
        let mut now = day(0);
        while let Some(next) = index.next_change_after(now) {
            prop_assert!(next > now);
            let just_before = Moment { now: next - SignedDuration::from_nanos(1), country: Some(*b"NL") };
            for name in &hosts {
                let moment = Moment { now, country: Some(*b"NL") };
                prop_assert_eq!(answer(&index, &host(name), &moment), answer(&index, &host(name), &just_before));
            }
            now = next;
        }
    }
}

#[test]
fn a_hundred_thousand_names_are_found_and_their_neighbours_are_not() {
    let mut feed = Draft::feed(decision("feed", Basis::Security));
    for number in 0..100_000_u32 {
        feed = feed.block(&format!(".n{number}.example"));
    }
    let index = index([feed]);
    for number in 0..100_000_u32 {
        let name = format!("a.n{number}.example");
        let found = index.verdict(&host(&name), &at(0)).block.expect("it is listed");
        assert_eq!(found.line, number + 1);
        assert_eq!(blocked_by(&index, &format!("n{}.example", number + 100_000), &at(0)), None);
    }
    assert!(index.self_check(1_000).is_ok_and(|checked| checked >= 1_000));
    assert!(index.table_bytes() < 12 * 100_000, "{}", index.table_bytes());
    assert!(index.longest_chain() < 10, "{}", index.longest_chain());
}
