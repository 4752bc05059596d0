//! What a name of a list must not do: block what is protected, or a public suffix.
//!
//! Inside: what speaks against one name, and the lines of a feed that are left out, with why. Kept out: what follows from it,
//! which the reader of a feed and the guard of a decisions file decide.

use super::pattern::{Pattern, PatternView, PublicSuffix};
use crate::finding::Finding;

/// Findings on single lines of one source that are kept, for each reason; the others are only counted.
pub(super) const KEPT_FINDINGS: usize = 100;

/// Why a line of a feed does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// It is not a name.
    NotAName,
    /// It is a rule for something other than hosts.
    OtherRule,
    /// It would block a public suffix.
    PublicSuffix,
    /// It would block a protected host.
    NeverBlock,
}

/// Lines of a feed that do nothing, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedLines {
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
    /// The first of them, each with its place.
    pub findings: Vec<Finding>,
}

/// What speaks against a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// It must not be blocked.
    Refused(DropReason, String),
    /// Hardly anybody means it.
    Odd(String),
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotAName, Self::OtherRule, Self::PublicSuffix, Self::NeverBlock];

    /// The value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotAName => "not-a-name",
            Self::OtherRule => "other-rule",
            Self::PublicSuffix => "public-suffix",
            Self::NeverBlock => "never-block",
        }
    }
}

/// What speaks against blocking a pattern. One that lifts a block protects, and may be as wide as it likes: it is not asked about.
pub(super) fn objection(pattern: PatternView<'_>, never_block: &[Pattern]) -> Option<Objection> {
    if let Some(protected) = never_block.iter().find(|protected| pattern.covers(protected.view())) {
        let message = format!("`{pattern}` would block `{protected}`, which never_block protects");
        return Some(Objection::Refused(DropReason::NeverBlock, message));
    }
    match pattern.public_suffix()? {
        PublicSuffix::Icann => {
            let message =
                format!("`{pattern}` is a public suffix, under which anyone has names; name the hosts below it");
            Some(Objection::Refused(DropReason::PublicSuffix, message))
        }
        PublicSuffix::Private => Some(Objection::Odd(format!(
            "`{pattern}` is a public suffix of one company; this blocks all of its customers"
        ))),
    }
}

/// Counts lines that were dropped for a reason, with those that were dropped for it before; gives what was found in them, and how many
/// findings more are kept.
pub(super) fn drop_lines(
    dropped: &mut Vec<DroppedLines>,
    reason: DropReason,
    count: u64,
) -> (&mut Vec<Finding>, usize) {
    let index = dropped.iter().position(|lines| lines.reason == reason).unwrap_or_else(|| {
        dropped.push(DroppedLines { reason, count: 0, findings: Vec::new() });
        dropped.len() - 1
    });
    let lines = &mut dropped[index];
    lines.count += count;
    let room = KEPT_FINDINGS.saturating_sub(lines.findings.len());
    (&mut lines.findings, room)
}
