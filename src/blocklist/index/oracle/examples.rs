//! The rules of precedence by example, each as its sentence in the contract.
//!
//! Inside: small indexes and their verdicts. Kept out: the scan that random ones are compared with (`mod.rs`).

use super::*;

#[test]
fn most_specific_pattern_wins_over_the_strongest_basis() {
    let index = index([Draft::records()
        .decide(decision("court", Basis::CourtOrder), &[".a.example"])
        .decide(decision("policy", Basis::Policy), &["www.a.example"])
        .decide(decision("security", Basis::Security), &[".www.a.example"])]);
    assert_eq!(blocked_by(&index, "a.example", &at(0)).as_deref(), Some("court"));
    assert_eq!(blocked_by(&index, "www.a.example", &at(0)).as_deref(), Some("policy"));
    assert_eq!(blocked_by(&index, "x.www.a.example", &at(0)).as_deref(), Some("security"));
    assert_eq!(blocked_by(&index, "example", &at(0)), None);
}

#[test]
fn equals_are_ordered_by_basis_then_date_then_id() {
    let court = dated("z-court", Basis::CourtOrder, 3, None);
    let legal = dated("a-legal", Basis::LegalOrder, 0, None);
    let early = dated("z-early", Basis::Policy, 0, None);
    let late = dated("a-late", Basis::Policy, 1, None);
    let smaller = dated("a-late-", Basis::Policy, 1, None);
    let order = [&court, &legal, &early, &late, &smaller];
    for first in 0..order.len() {
        let remaining = order[first..]
            .iter()
            .rev()
            .fold(Draft::records(), |draft, decision| draft.decide((*decision).clone(), &[".a.example"]));
        assert_eq!(blocked_by(&index([remaining]), "a.example", &at(5)).as_deref(), Some(order[first].id.as_str()));
    }
}

#[test]
fn next_decision_takes_over_when_the_first_is_not_in_force() {
    let index = index([Draft::records()
        .decide(dated("court", Basis::CourtOrder, 2, Some(4)), &[".a.example"])
        .decide(dated("policy", Basis::Policy, 0, None), &[".a.example"])
        .decide(shadow(dated("shadow", Basis::CourtOrder, 0, None)), &["a.example"])]);
    let over_time: Vec<_> = (0..6).map(|number| blocked_by(&index, "a.example", &at(number))).collect();
    assert_eq!(
        over_time.iter().flatten().collect::<Vec<_>>(),
        ["policy", "policy", "court", "court", "policy", "policy"]
    );
    assert_eq!(ids(&index, "a.example", &at(0)).1.as_deref(), Some("shadow"));
    assert_eq!(index.next_change_after(day(1)), Some(day(2)));
    assert_eq!(index.next_change_after(day(2)), Some(day(4)));
    assert_eq!(index.next_change_after(day(4)), None);
}

#[test]
fn exceptions_lift_feeds_and_never_decision_records() {
    let own = |effect| Draft::feed(decision("own", Basis::Security)).name(".a.example", effect, Owner::Decision(0));
    let lifting = own(Effect::Block).name("www.a.example", Effect::Lift, Owner::Decision(0));
    let other = || Draft::feed(decision("zz-other", Basis::Security)).block(".a.example");
    // A feed's exception is for that feed, and `$important` is stronger.
    let one = index([lifting.clone()]);
    assert_eq!(blocked_by(&one, "a.example", &at(0)).as_deref(), Some("own"));
    assert_eq!(blocked_by(&one, "www.a.example", &at(0)), None);
    assert_eq!(blocked_by(&index([lifting, other()]), "www.a.example", &at(0)).as_deref(), Some("zz-other"));
    let important = own(Effect::BlockImportant).name("www.a.example", Effect::Lift, Owner::Decision(0));
    assert_eq!(blocked_by(&index([important.clone()]), "www.a.example", &at(0)).as_deref(), Some("own"));
    // A record's exception is for every feed, while it is in force, and for no record.
    let record = Draft::records()
        .decide(decision("record", Basis::Policy), &["b.example"])
        .except(exception("fine", 1, Some(3)), &[".a.example", "b.example"]);
    let all = index([important, other(), record]);
    let over_time: Vec<_> = (0..4).map(|number| blocked_by(&all, "www.a.example", &at(number))).collect();
    assert_eq!(over_time, [Some("own".to_owned()), None, None, Some("own".to_owned())]);
    assert_eq!(blocked_by(&all, "b.example", &at(2)).as_deref(), Some("record"));
    assert_eq!(all.next_change_after(day(1)), Some(day(3)));
}

#[test]
fn shadow_lifts_nothing_and_is_found_beside_a_block() {
    let index = index([Draft::records()
        .decide(shadow(decision("narrow", Basis::CourtOrder)), &["www.a.example"])
        .decide(shadow(decision("wide", Basis::CourtOrder)), &[".a.example"])
        .decide(decision("block", Basis::Policy), &[".example"])]);
    let both = |block: &str, shadow: Option<&str>| (Some(block.to_owned()), shadow.map(str::to_owned));
    assert_eq!(ids(&index, "www.a.example", &at(0)), both("block", Some("narrow")));
    assert_eq!(ids(&index, "a.example", &at(0)), both("block", Some("wide")));
    assert_eq!(ids(&index, "b.example", &at(0)), both("block", None));
}

#[test]
fn match_names_source_line_pattern_and_dense_decision() {
    let first = Draft::records()
        .decide(decision("one", Basis::Policy), &["x.example"])
        .decide(decision("two", Basis::Policy), &["y.example", "*.z.example"]);
    let feed = Draft::feed(decision("feed", Basis::Security)).block(".f.example").block(".f.example");
    let index = index([first, feed]);
    let found = index.verdict(&host("a.z.example"), &at(0)).block.expect("it is listed");
    assert_eq!((found.decision_index, found.source_index, found.line), (1, 0, 3));
    assert_eq!(found.pattern().to_string(), "*.z.example");
    let found = index.verdict(&host("f.example"), &at(0)).block.expect("it is listed");
    assert_eq!((found.decision_index, found.source_index, found.line), (2, 1, 1));
    assert_eq!(index.source(1).map(|source| source.name.as_str()), Some("source-1"));
    let decisions: Vec<_> = index.decisions().map(|entry| (entry.decision.id.as_str(), entry.source_index)).collect();
    assert_eq!(decisions, [("one", 0), ("two", 0), ("feed", 1)]);
    let patterns: Vec<_> = index.patterns(1).map(|pattern| pattern.to_string()).collect();
    assert_eq!(patterns, ["y.example", "*.z.example"]);
    assert_eq!((index.patterns(2).count(), index.patterns(9).count()), (2, 0));
    assert_eq!(index.names().collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn explanation_says_why_each_entry_does_not_block() {
    let countries = Decision { countries: vec!["NL".to_owned()], ..decision("dutch", Basis::CourtOrder) };
    let index = index([
        Draft::records()
            .decide(decision("winner", Basis::Emergency), &["www.a.example"])
            .decide(decision("weaker", Basis::Policy), &["www.a.example"])
            .decide(dated("later", Basis::Emergency, 1, None), &["www.a.example"])
            .decide(decision("wxyz", Basis::Emergency), &["www.a.example"])
            .decide(decision("wider", Basis::CourtOrder), &[".a.example"])
            .decide(dated("future", Basis::CourtOrder, 9, None), &["www.a.example"])
            .decide(dated("past", Basis::CourtOrder, 0, Some(2)), &["www.a.example"])
            .decide(countries, &["www.a.example"])
            .except(exception("fine", 0, None), &[".a.example"]),
        Draft::feed(decision("feed", Basis::Security)).block(".www.a.example"),
    ]);
    let mut explained: Vec<_> = index
        .explain(&host("www.a.example"), &at(5))
        .iter()
        .map(|explained| {
            let standing = match &explained.standing {
                Standing::Lifted(by) => {
                    format!("Lifted({:?}, {})", by.exception.map(|record| record.id.as_str()), by.pattern)
                }
                standing => format!("{standing:?}"),
            };
            format!("{}: {standing}", explained.entry.decision.id)
        })
        .collect();
    explained.sort();
    let expected = [
        "dutch: Elsewhere".to_owned(),
        "feed: Lifted(Some(\"fine\"), .a.example)".to_owned(),
        format!("future: Begins({:?})", day(9)),
        "later: Outranked(Date)".to_owned(),
        format!("past: Ended({:?})", day(2)),
        "weaker: Outranked(Basis)".to_owned(),
        "wider: Outranked(Specific)".to_owned(),
        "winner: Blocks".to_owned(),
        "wxyz: Outranked(Id)".to_owned(),
    ];
    assert_eq!(explained, expected);
}

#[test]
fn exceptions_say_what_they_do_and_what_they_do_not() {
    let feed = |id| Draft::feed(decision(id, Basis::Security));
    let index = index([
        Draft::records()
            .decide(decision("record", Basis::Policy), &["only-record.example"])
            .except(exception("wide", 0, None), &[".a.example", "only-record.example"])
            .except(exception("narrow", 0, None), &["www.a.example"])
            .except(exception("past", 0, Some(2)), &[".a.example"])
            .except(exception("future", 9, None), &["www.a.example"]),
        feed("one").block(".a.example").name("www.a.example", Effect::Lift, Owner::Decision(0)),
        feed("two")
            .name(".b.example", Effect::BlockImportant, Owner::Decision(0))
            .name(".b.example", Effect::Lift, Owner::Decision(0))
            .name(".b.example", Effect::Lift, Owner::Decision(0)),
        feed("three").name(".b.example", Effect::Lift, Owner::Decision(0)),
        feed("four").name(".d.example", Effect::Lift, Owner::Decision(0)).name(
            ".www.d.example",
            Effect::Lift,
            Owner::Decision(0),
        ),
    ]);
    let effects = |name: &str| -> Vec<String> {
        let over = index.exceptions_over(&host(name), &at(5));
        let shown = over.iter().map(|CoveringException { exception, effect }| {
            let id = exception.exception.map_or("own", |record| record.id.as_str());
            format!("{id} {} {}:{} {effect:?}", exception.pattern, exception.source_index, exception.line)
        });
        shown.collect()
    };
    let mut www = effects("www.a.example");
    www.sort();
    let (past, future) = (day(2), day(9));
    let expected = [
        format!("future www.a.example 0:6 Begins({future:?})"),
        "narrow www.a.example 0:4 Outranked".to_owned(),
        "own www.a.example 1:2 Outranked".to_owned(),
        format!("past .a.example 0:5 Ended({past:?})"),
        "wide .a.example 0:2 Lifts".to_owned(),
    ];
    assert_eq!(www, expected);
    assert!(effects("a.example").contains(&"wide .a.example 0:2 Lifts".to_owned()), "{:?}", effects("a.example"));
    assert_eq!(effects("only-record.example"), ["wide only-record.example 0:3 NothingToLift"]);
    assert_eq!(effects("b.example"), ["own .b.example 2:2 Important", "own .b.example 3:1 NothingToLift"]);
    // Of one feed, one above the other.
    let both = ["own .www.d.example 4:2 NothingToLift", "own .d.example 4:1 NothingToLift"];
    assert_eq!(effects("www.d.example"), both);
    assert!(effects("c.example").is_empty());
}

#[test]
fn source_that_is_shared_or_taken_out_is_counted_as_that() {
    let feed = Draft::feed(decision("feed", Basis::Security)).block(".a.example").block("b.example");
    let (shared, other) = (feed.clone().source("shared"), feed.source("other"));
    let both = Index::build(&[Arc::clone(&shared), other], 1);
    let one = Index::build(&[shared], 2);
    assert_eq!(one.changes_since(&both), [Changes::default()]);
    assert_eq!(both.changes_since(&one), [Changes::default(), Changes { added: 2, removed: 0 }]);
    assert!(both.memory_bytes() > one.memory_bytes());
}
