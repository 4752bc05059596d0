//! What the tests of the formats share: what a parsed feed says, as text.

use std::sync::Arc;

use crate::blocklist::decision::{Basis, Decision, tests::decision};
use crate::blocklist::parsed::{Effect, ParsedSource};

/// The decision of a feed.
pub(super) fn feed_decision() -> Arc<Decision> {
    Arc::new(decision("feed", Basis::Security))
}

/// The names, each with what it does and its line: `block .a.example 1`, `lift`, `important`.
pub(super) fn names(parsed: &ParsedSource) -> Vec<String> {
    let shown = parsed.names.iter().map(|record| {
        let effect = match record.effect {
            Effect::Block => "block",
            Effect::BlockImportant => "important",
            Effect::Lift => "lift",
        };
        format!("{effect} {} {}", record.view(), record.line)
    });
    shown.collect()
}

/// The findings, each as `line:column message`.
pub(super) fn findings(parsed: &ParsedSource) -> Vec<String> {
    let shown = parsed.findings.iter().map(|finding| {
        let position = finding.place.as_ref().and_then(|place| place.position.as_ref());
        let place = position.map(|position| format!("{}:{} ", position.line, position.column)).unwrap_or_default();
        format!("{place}{}", finding.message)
    });
    shown.collect()
}

/// A line, or several, and what a format makes of it: names, then findings, each by how it begins; `skipped` where it counts
/// as a rule for something else.
pub(super) type Case = (&'static str, &'static [&'static str]);

/// Reads each case by itself, with a line before it, so that lines are counted.
pub(super) fn each_says(cases: &[Case], read: impl Fn(&[u8]) -> ParsedSource) {
    for (text, expected) in cases {
        let parsed = read(text.as_bytes());
        let mut said = names(&parsed);
        said.extend(findings(&parsed));
        said.extend(std::iter::repeat_n("skipped".to_owned(), parsed.lines.skipped as usize));
        let is_as_expected = said.len() == expected.len()
            && said.iter().zip(*expected).all(|(said, expected)| said.starts_with(expected));
        assert!(is_as_expected, "{text:?}\nsays     {said:?}\nexpected {expected:?}");
    }
}
