//! The exceptions that cover a host, and what each of them does there.
//!
//! Inside: what `lookup` shows of exceptions, also where they lift nothing. Kept out: which exception lifts an entry, which
//! the verdict itself asks. This may allocate.

use jiff::Timestamp;

use super::explain::LiftedBy;
use super::search::is_itself;
use super::walk::HashedName;
use super::{Candidate, Index, Moment, Role};
use crate::host::HostName;

/// An exception that covers a host.
#[derive(Debug, Clone)]
pub struct CoveringException<'a> {
    /// The exception.
    pub exception: LiftedBy<'a>,
    /// What it does.
    pub effect: ExceptionEffect,
}

/// What an exception does for a host that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceptionEffect {
    /// It lifts what would block the host.
    Lifts,
    /// Another exception comes first.
    Outranked,
    /// It is not yet in force.
    Begins(Timestamp),
    /// It is no longer in force.
    Ended(Timestamp),
    /// Its feed blocks the host by an entry that the feed's own exceptions do not lift (`$important`).
    Important,
    /// Its feed blocks the host by a name that is closer (`rpz`).
    Farther,
    /// No feed that it is for blocks the host.
    NothingToLift,
}

impl Index {
    /// Every exception that covers a host, the most specific first.
    pub fn exceptions_over(&self, host: &HostName, moment: &Moment) -> Vec<CoveringException<'_>> {
        let (mut lifting, mut blocking): (Vec<Candidate>, Vec<Candidate>) = (Vec::new(), Vec::new());
        let mut names: Vec<HashedName<'_>> = self.names_of(host).collect();
        names.reverse();
        for name in &names {
            let itself = is_itself(host, name);
            for candidate in self.candidates(name).filter(|candidate| candidate.covers(itself)) {
                if candidate.role().lifts() { &mut lifting } else { &mut blocking }.push(candidate);
            }
        }
        blocking.retain(|candidate| {
            let is_feed = self.sources.get(usize::from(candidate.source)).is_some_and(|source| source.source.is_feed);
            is_feed && self.competing(candidate, moment).is_some()
        });
        let covering = lifting.iter().filter_map(|lift| {
            let effect = self.effect_of(lift, &blocking, host, moment.now)?;
            Some(CoveringException { exception: self.lifted_by(lift)?, effect })
        });
        covering.collect()
    }

    fn effect_of(
        &self,
        lift: &Candidate,
        blocking: &[Candidate],
        host: &HostName,
        now: Timestamp,
    ) -> Option<ExceptionEffect> {
        let is_record = lift.role() == Role::LiftFeeds;
        if is_record {
            let exception = self.exception(lift)?;
            if now < exception.starts {
                return Some(ExceptionEffect::Begins(exception.starts));
            }
            if !exception.in_force(now) {
                return Some(ExceptionEffect::Ended(exception.ends));
            }
        }
        let mut effect = ExceptionEffect::NothingToLift;
        for entry in blocking.iter().filter(|entry| is_record || entry.source == lift.source) {
            if !is_record && entry.role() == Role::BlockImportant {
                if effect == ExceptionEffect::NothingToLift {
                    effect = ExceptionEffect::Important;
                }
            } else {
                match self.lift_of(host, entry, now) {
                    Some(first) if first == *lift => return Some(ExceptionEffect::Lifts),
                    Some(_) => effect = ExceptionEffect::Outranked,
                    None => effect = ExceptionEffect::Farther,
                }
            }
        }
        Some(effect)
    }

    pub(super) fn lifted_by(&self, lift: &Candidate) -> Option<LiftedBy<'_>> {
        let (_, record) = self.record(lift.position())?;
        let exception = self.exception(lift).filter(|_| lift.role() == Role::LiftFeeds).map(|entry| &entry.exception);
        Some(LiftedBy { exception, source_index: lift.source, line: record.line, pattern: record.view() })
    }
}
