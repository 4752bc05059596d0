//! Why a verdict is what it is: every entry that covers a host, and how it stands.
//!
//! Inside: what `lookup` shows beside the verdict. Kept out: the verdict itself, which the request path gets from
//! [`Index::verdict`]. This may allocate.

use std::sync::Arc;

use jiff::Timestamp;

use super::build::precedence;
use super::search::is_itself;
use super::{Candidate, Index, IndexDecision, Match, Moment};
use crate::blocklist::decision::Exception;
use crate::blocklist::pattern::{PatternView, Reach};
use crate::host::HostName;

/// An entry that covers the host, and how it stands.
#[derive(Debug, Clone)]
pub struct Explanation<'a> {
    /// The entry.
    pub entry: Match<'a>,
    /// How it stands.
    pub standing: Standing<'a>,
}

/// How an entry that covers a host stands.
#[derive(Debug, Clone)]
pub enum Standing<'a> {
    /// It blocks the host.
    Blocks,
    /// It would, if it were not in shadow mode.
    Shadows,
    /// Another entry comes first, for this reason.
    Outranked(Outranked),
    /// It is not yet in force.
    Begins(Timestamp),
    /// It is no longer in force.
    Ended(Timestamp),
    /// It does not cover the visitor's country.
    Elsewhere,
    /// An exception lifts it.
    Lifted(LiftedBy<'a>),
}

/// Why another entry comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outranked {
    /// It names the host more closely.
    Specific,
    /// It has the stronger basis.
    Basis,
    /// It was decided earlier.
    Date,
    /// It has the smaller id.
    Id,
    /// It is the same decision once more.
    Repeated,
}

/// The exception that lifts an entry.
#[derive(Debug, Clone)]
pub struct LiftedBy<'a> {
    /// The record; none for an exception inside a feed.
    pub exception: Option<&'a Arc<Exception>>,
    /// The source's place among all of the index.
    pub source_index: u16,
    /// The line of the source.
    pub line: u32,
    /// The pattern of the exception.
    pub pattern: PatternView<'a>,
}

impl Index {
    /// Every entry that covers a host, in order of precedence, and how each stands.
    pub fn explain(&self, host: &HostName, moment: &Moment) -> Vec<Explanation<'_>> {
        let mut explanations = Vec::new();
        let mut winners: [Option<Winner<'_>>; 2] = [None, None];
        let mut names: Vec<_> = self.names_of(host).collect();
        names.reverse();
        for name in &names {
            let itself = is_itself(host, name);
            for candidate in self.candidates(name).filter(|candidate| candidate.covers(itself)) {
                if candidate.role().lifts() {
                    continue;
                }
                let Some(decision) = self.decision(&candidate) else { continue };
                let Some(entry) = self.as_match(&candidate, decision) else { continue };
                let winner = &mut winners[usize::from(decision.is_shadow)];
                let standing = self.standing(host, moment, &candidate, decision).unwrap_or_else(|| match winner {
                    Some(winner) => Standing::Outranked(winner.outranks(&entry, decision)),
                    None => {
                        *winner = Some(Winner { entry, decision });
                        if decision.is_shadow { Standing::Shadows } else { Standing::Blocks }
                    }
                });
                explanations.push(Explanation { entry, standing });
            }
        }
        explanations
    }

    /// Why a candidate does not compete; none: it does.
    fn standing(
        &self,
        host: &HostName,
        moment: &Moment,
        candidate: &Candidate,
        decision: &IndexDecision,
    ) -> Option<Standing<'_>> {
        if moment.now < decision.starts {
            return Some(Standing::Begins(decision.starts));
        }
        if !decision.in_force(moment.now) {
            return Some(Standing::Ended(decision.ends));
        }
        if !decision.covers(moment.country) {
            return Some(Standing::Elsewhere);
        }
        let lift = self.lift_of(host, candidate, moment.now)?;
        self.lifted_by(&lift).map(Standing::Lifted)
    }
}

struct Winner<'a> {
    entry: Match<'a>,
    decision: &'a IndexDecision,
}

impl Winner<'_> {
    /// Why the winner comes before an entry that comes after it.
    fn outranks(&self, entry: &Match<'_>, decision: &IndexDecision) -> Outranked {
        let closeness = |entry: &Match<'_>| (entry.pattern().name.len(), entry.pattern().reach == Reach::Exact);
        let (winner, other) = (precedence(&self.decision.decision), precedence(&decision.decision));
        if closeness(&self.entry) != closeness(entry) {
            Outranked::Specific
        } else if winner.0 != other.0 {
            Outranked::Basis
        } else if winner.1 != other.1 {
            Outranked::Date
        } else if winner.2 != other.2 {
            Outranked::Id
        } else {
            Outranked::Repeated
        }
    }
}
