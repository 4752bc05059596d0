//! The index: all sources together, compiled, immutable, and asked on every request.
//!
//! Inside: the verdict for one host, and what the control thread wants to know about an index. Kept out: reading sources
//! (`format/`), publishing an index (the reload), and anything that changes one.
//!
//! Each name above the host, at label boundaries, is hashed and looked up in a table of cache lines (`table.rs`); bytes are compared
//! before anything counts. A name that several entries share has them in order of precedence, so that the next takes over when
//! the first has expired, is shadow, or does not cover the visitor.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::decision::{Decision, Exception, Mode};
use super::parsed::{Effect, NameRecord, Owner, ParsedSource};
use super::pattern::{PatternView, Reach};
use crate::host::HostName;

mod walk;

mod table;

mod build;
mod compare;
mod explain;

#[cfg(test)]
mod oracle;

pub use compare::{Changes, SelfCheckError};
pub use explain::{Explanation, LiftedBy, Outranked, Standing};

use table::{Pointer, Table};
use walk::HashedName;

/// One source, as the index takes it in.
#[derive(Debug)]
pub struct IndexSource {
    /// The name in configuration and metrics.
    pub name: String,
    /// Whether it is a feed: exceptions lift what feeds block, and nothing else.
    pub is_feed: bool,
    /// What it says.
    pub parsed: Arc<ParsedSource>,
}

/// When and for whom a verdict is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// The visitor's country (ISO 3166-1 alpha-2, upper case), where it is known.
    pub country: Option<[u8; 2]>,
}

/// The answer for one host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict<'a> {
    /// What blocks it; none: it passes.
    pub block: Option<Match<'a>>,
    /// What would block it if it were not in shadow mode.
    pub shadow: Option<Match<'a>>,
}

/// The entry that a verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The decision.
    pub decision: &'a Arc<Decision>,
    /// The decision's place among all of the index, from 0 without gaps.
    pub decision_index: u32,
    /// The source's place among all of the index.
    pub source_index: u16,
    /// The line of the source that has the entry.
    pub line: u32,
    pattern: PatternView<'a>,
}

/// A decision of the index, with its source.
#[derive(Debug, Clone, Copy)]
pub struct IndexedDecision<'a> {
    /// The decision.
    pub decision: &'a Arc<Decision>,
    /// Its place among all of the index, from 0 without gaps.
    pub decision_index: u32,
    /// The source's place among all of the index.
    pub source_index: u16,
    /// The source.
    pub source: &'a IndexSource,
}

/// All sources together. Built by [`Index::build`], never changed.
pub struct Index {
    table: Table,
    lists: Box<[Candidate]>,
    sources: Box<[Source]>,
    decisions: Box<[IndexDecision]>,
    exceptions: Box<[IndexException]>,
    has_shadow: bool,
    has_lifts: bool,
}

struct Source {
    source: Arc<IndexSource>,
    /// The position of its first record among the records of all sources.
    start: u64,
    first_decision: u32,
    first_exception: u32,
    /// Distinct patterns that block.
    names: usize,
}

struct IndexDecision {
    starts: Timestamp,
    ends: Timestamp,
    /// The place in the order of basis, date and id: the smallest wins.
    rank: u32,
    source: u16,
    is_shadow: bool,
    countries: Box<[[u8; 2]]>,
    decision: Arc<Decision>,
}

struct IndexException {
    starts: Timestamp,
    ends: Timestamp,
    exception: Arc<Exception>,
}

/// One entry of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    /// The position of its record, with [`Candidate::LAST`] in a list.
    position: u64,
    /// The decision, or the exception of [`Role::LiftFeeds`], by its place in the index.
    owner: u32,
    source: u16,
    reach: Reach,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Block,
    BlockImportant,
    /// An exception in a feed, for that feed.
    LiftOwn,
    /// An exception record, for every feed.
    LiftFeeds,
}

impl Index {
    /// What blocks a host at a moment. Allocates nothing.
    pub fn verdict(&self, host: &HostName, moment: &Moment) -> Verdict<'_> {
        let mut verdict = Verdict::default();
        for name in self.names_of(host) {
            if let Some(candidates) = self.candidates(&name) {
                // The longer name comes later, and its entries count before those of the shorter one.
                let longer = self.verdict_of(host, &name, candidates, moment);
                verdict = Verdict { block: longer.block.or(verdict.block), shadow: longer.shadow.or(verdict.shadow) };
            }
        }
        verdict
    }

    /// What the entries of one name of the host say.
    fn verdict_of(
        &self,
        host: &HostName,
        name: &HashedName<'_>,
        candidates: Candidates<'_>,
        moment: &Moment,
    ) -> Verdict<'_> {
        let mut verdict = Verdict::default();
        let itself = name.bytes.len() == host.as_bytes().len();
        for candidate in candidates.filter(|candidate| candidate.covers(itself)) {
            let Some(decision) = self.competing(&candidate, moment) else { continue };
            let place = if decision.is_shadow { &mut verdict.shadow } else { &mut verdict.block };
            if place.is_none() && self.lift_of(host, &candidate, moment.now).is_none() {
                *place = self.as_match(&candidate, decision);
            }
        }
        verdict
    }

    /// The sources, in the order in which they were given.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &Arc<IndexSource>> {
        self.sources.iter().map(|source| &source.source)
    }

    /// The source of a [`Match::source_index`].
    pub fn source(&self, source_index: u16) -> Option<&Arc<IndexSource>> {
        self.sources.get(usize::from(source_index)).map(|source| &source.source)
    }

    /// The distinct patterns that each source blocks, in the order of the sources.
    pub fn names(&self) -> impl ExactSizeIterator<Item = usize> {
        self.sources.iter().map(|source| source.names)
    }

    /// Every decision, of feeds too, in the order of [`Match::decision_index`].
    pub fn decisions(&self) -> impl ExactSizeIterator<Item = IndexedDecision<'_>> {
        self.decisions.iter().enumerate().map(|(place, entry)| IndexedDecision {
            decision: &entry.decision,
            decision_index: place as u32,
            source_index: entry.source,
            source: &self.sources[usize::from(entry.source)].source,
        })
    }

    /// The patterns of a decision, as its source has them. For a feed these are all its lines.
    pub fn patterns(&self, decision_index: u32) -> impl Iterator<Item = PatternView<'_>> {
        let entry = self.decisions.get(decision_index as usize);
        let source = entry.and_then(|entry| self.sources.get(usize::from(entry.source)));
        source.into_iter().flat_map(move |source| {
            let owner = Owner::Decision(decision_index.wrapping_sub(source.first_decision));
            let records = source.source.parsed.names.of(owner).filter(|record| record.effect != Effect::Lift);
            records.map(|record| record.view())
        })
    }

    /// The next moment at which a decision or an exception begins or ends.
    pub fn next_change_after(&self, now: Timestamp) -> Option<Timestamp> {
        let decisions = self.decisions.iter().flat_map(|entry| [entry.starts, entry.ends]);
        let exceptions = self.exceptions.iter().flat_map(|entry| [entry.starts, entry.ends]);
        decisions.chain(exceptions).filter(|moment| *moment > now && *moment < Timestamp::MAX).min()
    }

    /// Memory of the table, in bytes.
    pub fn table_bytes(&self) -> usize {
        self.table.memory_bytes() + size_of_val(&*self.lists)
    }

    /// Memory of everything, the names of the sources included, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let names: usize = self.sources.iter().map(|source| source.source.parsed.names.memory_bytes()).sum();
        self.table_bytes() + names + size_of_val(&*self.decisions) + size_of_val(&*self.sources)
    }

    /// The cache lines that the worst name costs.
    pub fn longest_chain(&self) -> u32 {
        self.table.longest_chain()
    }

    /// The host's names that could be in the table, the shortest first.
    #[inline]
    fn names_of<'h>(&self, host: &'h HostName) -> impl Iterator<Item = HashedName<'h>> {
        self.table.hasher().names(host).filter(|name| self.table.may_have(name.labels, name.bytes.len()))
    }

    /// The entries of a name, in order of precedence.
    #[inline(always)]
    fn candidates(&self, name: &HashedName<'_>) -> Option<Candidates<'_>> {
        self.table.find(name.hash, |pointer| self.candidates_at(pointer, name.bytes))
    }

    /// The entries that a pointer points at, if they are those of that name.
    fn candidates_at(&self, pointer: Pointer, name: &[u8]) -> Option<Candidates<'_>> {
        match pointer {
            Pointer::Record(position) => {
                let (source, record) = self.record(position)?;
                (record.name == name).then(|| Candidates { one: self.candidate(source, &record), list: &[] })
            }
            Pointer::List(start) => {
                let list = self.lists.get(start as usize..)?;
                let (_, record) = self.record(list.first()?.position())?;
                (record.name == name).then_some(Candidates { one: None, list })
            }
        }
    }

    /// The record at a position among those of all sources, with the place of its source.
    fn record(&self, position: u64) -> Option<(u16, NameRecord<'_>)> {
        let at = self.sources.partition_point(|source| source.start <= position).checked_sub(1)?;
        let source = self.sources.get(at)?;
        let record = source.source.parsed.names.at(u32::try_from(position - source.start).ok()?)?;
        Some((at as u16, record))
    }

    fn candidate(&self, source_index: u16, record: &NameRecord<'_>) -> Option<Candidate> {
        let source = self.sources.get(usize::from(source_index))?;
        let (owner, role) = match (record.owner, record.effect) {
            (Owner::Exception(exception), _) => (source.first_exception + exception, Role::LiftFeeds),
            (Owner::Decision(decision), Effect::Block) => (source.first_decision + decision, Role::Block),
            (Owner::Decision(decision), Effect::BlockImportant) => {
                (source.first_decision + decision, Role::BlockImportant)
            }
            (Owner::Decision(decision), Effect::Lift) => (source.first_decision + decision, Role::LiftOwn),
        };
        let position = source.start + u64::from(record.offset);
        Some(Candidate { position, owner, source: source_index, reach: record.reach, role })
    }

    /// The candidate's decision, if it blocks, is in force and covers the visitor.
    fn competing(&self, candidate: &Candidate, moment: &Moment) -> Option<&IndexDecision> {
        if candidate.role.lifts() {
            return None;
        }
        let decision = self.decisions.get(candidate.owner as usize)?;
        (decision.in_force(moment.now) && decision.covers(moment.country)).then_some(decision)
    }

    /// The exception that lifts a candidate from a host, if one does.
    fn lift_of(&self, host: &HostName, blocking: &Candidate, now: Timestamp) -> Option<Candidate> {
        if !self.has_lifts || !self.sources.get(usize::from(blocking.source))?.source.is_feed {
            return None;
        }
        self.names_of(host).find_map(|name| {
            let itself = name.bytes.len() == host.as_bytes().len();
            self.candidates(&name)?.filter(|candidate| candidate.covers(itself)).find(|candidate| {
                match candidate.role {
                    Role::Block | Role::BlockImportant => false,
                    Role::LiftOwn => candidate.source == blocking.source && blocking.role != Role::BlockImportant,
                    Role::LiftFeeds => {
                        self.exceptions.get(candidate.owner as usize).is_some_and(|entry| entry.in_force(now))
                    }
                }
            })
        })
    }

    fn as_match<'a>(&'a self, candidate: &Candidate, decision: &'a IndexDecision) -> Option<Match<'a>> {
        let (_, record) = self.record(candidate.position())?;
        Some(Match {
            decision: &decision.decision,
            decision_index: candidate.owner,
            source_index: candidate.source,
            line: record.line,
            pattern: record.view(),
        })
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: usize = self.names().sum();
        f.debug_struct("Index")
            .field("sources", &self.sources.len())
            .field("decisions", &self.decisions.len())
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

impl<'a> Match<'a> {
    /// The pattern that covers the host.
    pub fn pattern(&self) -> PatternView<'a> {
        self.pattern
    }
}

impl IndexDecision {
    fn in_force(&self, now: Timestamp) -> bool {
        self.starts <= now && now < self.ends
    }

    fn covers(&self, country: Option<[u8; 2]>) -> bool {
        self.countries.is_empty() || country.is_some_and(|country| self.countries.contains(&country))
    }
}

impl IndexException {
    fn in_force(&self, now: Timestamp) -> bool {
        self.starts <= now && now < self.ends
    }
}

impl Role {
    const fn lifts(self) -> bool {
        matches!(self, Self::LiftOwn | Self::LiftFeeds)
    }
}

impl Candidate {
    /// Marks the end of a name's list.
    const LAST: u64 = 1 << 63;

    const fn position(&self) -> u64 {
        self.position & !Self::LAST
    }

    /// Whether both say the same, in two lines.
    fn is_same(&self, other: &Self) -> bool {
        (self.source, self.owner, self.reach, self.role) == (other.source, other.owner, other.reach, other.role)
    }

    /// Whether it covers the host, which is the name itself or below it.
    const fn covers(&self, itself: bool) -> bool {
        if itself { self.reach.covers_itself() } else { self.reach.covers_below() }
    }
}

/// The entries of one name, in order of precedence.
struct Candidates<'i> {
    one: Option<Candidate>,
    list: &'i [Candidate],
}

impl Iterator for Candidates<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        if let Some(one) = self.one.take() {
            return Some(one);
        }
        let (first, rest) = self.list.split_first()?;
        self.list = if first.position & Candidate::LAST == 0 { rest } else { &[] };
        Some(*first)
    }
}

fn is_shadow(decision: &Decision) -> bool {
    decision.mode == Mode::Shadow
}
