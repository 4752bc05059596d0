//! How the names of a host are found, and what their entries come to.
//!
//! Inside: the way from a hash to a record, delta before base, and which entry competes for a host. Kept out: the question as
//! a request asks it (`mod.rs`), and the layout of the table (`table.rs`).

use jiff::Timestamp;

use super::near::Near;
use super::table::{Lines, Pointer};
use super::walk::{HashedName, HashedNames};
use super::{Candidate, Index, IndexDecision, IndexException, Layer, Match, Moment, PlacedBlock, Role, Verdict};
use crate::blocklist::names::BLOCK_BITS;
use crate::blocklist::parsed::NameRecord;
use crate::blocklist::pattern::Reach;
use crate::host::HostName;

impl Index {
    /// The verdict of a name that may be there, and of all longer ones, each of which counts before what shorter ones say.
    #[inline(never)]
    pub(super) fn judge<'a>(
        &'a self,
        host: &HostName,
        name: &HashedName<'_>,
        longer: HashedNames<'_, '_>,
        moment: &Moment,
    ) -> Verdict<'a> {
        let mut verdict = Verdict::default();
        match self.plain(name) {
            Some((near, position, record)) => {
                let (candidate, mut seen) = (near.candidate(position, &record), Seen::new(host, name));
                self.consider(&candidate, near, &record, moment, &mut seen, &mut verdict);
            }
            None => self.take_in_entries(host, name, moment, &mut verdict),
        }
        let base = self.base.layer.table.lines();
        for name in longer {
            if self.hints_at(&base, &name) {
                self.take_in_entries(host, &name, moment, &mut verdict);
            }
        }
        verdict
    }

    /// Takes in what the entries of one name of the host say.
    #[inline(never)]
    fn take_in_entries<'a>(
        &'a self,
        host: &HostName,
        name: &HashedName<'_>,
        moment: &Moment,
        verdict: &mut Verdict<'a>,
    ) {
        let mut seen = Seen::new(host, name);
        for candidate in self.find(name).unwrap_or_default() {
            if let Some((near, record)) = self.record(candidate.position()) {
                self.consider(&candidate, near, &record, moment, &mut seen, verdict);
            }
        }
    }

    /// Takes in one entry of a name, after those that come before it.
    #[inline(always)]
    fn consider<'a>(
        &'a self,
        candidate: &Candidate,
        near: &Near,
        record: &NameRecord<'a>,
        moment: &Moment,
        seen: &mut Seen<'_>,
        verdict: &mut Verdict<'a>,
    ) {
        if !near.is_live || !candidate.covers(seen.itself) || candidate.role().lifts() {
            return;
        }
        let decision_index = near.first_decision + candidate.owner;
        let Some(decision) = self.competing_at(decision_index, moment) else { return };
        let has_one = if decision.is_shadow { &mut seen.has_shadow } else { &mut seen.has_block };
        if *has_one || (self.has_lifts && self.lift_of(seen.host, candidate, moment.now).is_some()) {
            return;
        }
        *has_one = true;
        let found = Some(match_of(candidate, decision_index, decision, record));
        if decision.is_shadow {
            verdict.shadow = found;
        } else {
            verdict.block = found;
        }
    }

    /// The host's names that could be in a table, the shortest first.
    #[inline(always)]
    pub(super) fn names_of<'i>(&'i self, host: &'i HostName) -> HashedNames<'i, 'i> {
        self.base.hasher.names(host, &self.masks)
    }

    /// Whether the hash of a name leaves it open that it is there. The lines of the base are given, since they are the same for all
    /// names of a host.
    #[inline(always)]
    pub(super) fn hints_at(&self, base: &Lines<'_>, name: &HashedName<'_>) -> bool {
        base.hints_at(name.hash) || self.delta_hints_at(name)
    }

    #[inline(always)]
    fn delta_hints_at(&self, name: &HashedName<'_>) -> bool {
        self.delta.as_ref().is_some_and(|delta| delta.table.lines().hints_at(name.hash))
    }

    /// The entries of a name that are in a source, in order of precedence.
    pub(super) fn candidates(&self, name: &HashedName<'_>) -> impl Iterator<Item = Candidate> {
        self.live(self.find(name).unwrap_or_default())
    }

    /// Those of the candidates that are in a source.
    pub(super) fn live<'i>(&'i self, candidates: Candidates<'i>) -> impl Iterator<Item = Candidate> + 'i {
        candidates.filter(|candidate| self.near.of(candidate.position()).is_some_and(|near| near.is_live))
    }

    /// What is there for a name.
    pub(super) fn find(&self, name: &HashedName<'_>) -> Option<Candidates<'_>> {
        let found = self.delta.as_ref().and_then(|delta| self.find_in(delta, name));
        found.or_else(|| self.find_in(&self.base.layer, name))
    }

    /// What a layer has for a name.
    pub(super) fn find_in<'i>(&'i self, layer: &'i Layer, name: &HashedName<'_>) -> Option<Candidates<'i>> {
        layer.table.lines().find(name.hash, |pointer| {
            let (position, list) = match pointer {
                Pointer::Record(position) => (position, Default::default()),
                Pointer::List(start) => {
                    let list = layer.lists.get(start as usize..)?;
                    (list.first()?.position(), list)
                }
            };
            let (near, record) = self.record(position)?;
            let one = || near.candidate(position, &record);
            (record.name == name.bytes).then(|| Candidates { one: list.is_empty().then(one), list })
        })
    }

    /// The record of a name that is in the base alone, with one entry, in a plain block: what nearly all names have.
    #[inline(always)]
    fn plain(&self, name: &HashedName<'_>) -> Option<(&Near, u64, NameRecord<'_>)> {
        if self.delta_hints_at(name) {
            return None;
        }
        let Pointer::Record(position) = self.base.layer.table.lines().first(name.hash)? else { return None };
        let (near, record) = self.near.record(position)?;
        (record.name == name.bytes).then_some((near, position, record))
    }

    /// The block of a position.
    pub(super) fn placed(&self, position: u64) -> Option<&PlacedBlock> {
        self.blocks.get((position >> BLOCK_BITS) as usize)
    }

    /// The record at a position, with what is near of its block.
    pub(super) fn record(&self, position: u64) -> Option<(&Near, NameRecord<'_>)> {
        self.near.record(position).or_else(|| Some((self.near.of(position)?, self.record_of_block(position)?)))
    }

    #[cold]
    fn record_of_block(&self, position: u64) -> Option<NameRecord<'_>> {
        let placed = self.placed(position)?;
        placed.block.at(position as u32 & ((1 << BLOCK_BITS) - 1), placed.first_line)
    }

    /// The place of a candidate's decision among all of the index.
    pub(super) fn decision_index(&self, candidate: &Candidate) -> Option<u32> {
        Some(self.sources.get(usize::from(candidate.source))?.first_decision + candidate.owner)
    }

    pub(super) fn decision(&self, candidate: &Candidate) -> Option<&IndexDecision> {
        self.decisions.get(self.decision_index(candidate)? as usize)
    }

    /// The exception record of a candidate that is under one.
    pub(super) fn exception(&self, candidate: &Candidate) -> Option<&IndexException> {
        let source = self.sources.get(usize::from(candidate.source))?;
        self.exceptions.get((source.first_exception + candidate.owner) as usize)
    }

    /// The candidate's decision, if it blocks, is in force and covers the visitor.
    pub(super) fn competing(&self, candidate: &Candidate, moment: &Moment) -> Option<&IndexDecision> {
        if candidate.role().lifts() {
            return None;
        }
        self.competing_at(self.decision_index(candidate)?, moment)
    }

    /// The decision at a place among all of the index, if it is in force and covers the visitor.
    #[inline(always)]
    fn competing_at(&self, decision_index: u32, moment: &Moment) -> Option<&IndexDecision> {
        let decision = self.decisions.get(decision_index as usize)?;
        (decision.in_force(moment.now) && decision.covers(moment.country)).then_some(decision)
    }

    /// The exception that lifts a candidate from a host, if one does.
    pub(super) fn lift_of(&self, host: &HostName, blocking: &Candidate, now: Timestamp) -> Option<Candidate> {
        if !self.has_lifts {
            return None;
        }
        let source = &self.sources.get(usize::from(blocking.source))?.source;
        if !source.is_feed {
            return None;
        }
        self.names_of(host).find_map(|name| {
            let itself = is_itself(host, &name);
            self.candidates(&name).filter(|candidate| candidate.covers(itself)).find(|candidate| {
                match candidate.role() {
                    Role::Block | Role::BlockImportant => false,
                    Role::LiftOwn => {
                        candidate.source == blocking.source
                            && blocking.role() != Role::BlockImportant
                            && (!source.parsed.closest_wins || self.closeness(candidate) >= self.closeness(blocking))
                    }
                    Role::LiftFeeds => self.exception(candidate).is_some_and(|entry| entry.in_force(now)),
                }
            })
        })
    }

    /// How closely an entry names the hosts that it covers: the larger, the closer.
    fn closeness(&self, candidate: &Candidate) -> (usize, bool) {
        let length = self.record(candidate.position()).map_or(0, |(_, record)| record.name.len());
        (length, candidate.reach() == Reach::Exact)
    }

    pub(super) fn as_match<'a>(&'a self, candidate: &Candidate, decision: &'a IndexDecision) -> Option<Match<'a>> {
        let (_, record) = self.record(candidate.position())?;
        Some(match_of(candidate, self.decision_index(candidate)?, decision, &record))
    }
}

#[inline(always)]
fn match_of<'a>(
    candidate: &Candidate,
    decision_index: u32,
    decision: &'a IndexDecision,
    record: &NameRecord<'a>,
) -> Match<'a> {
    Match {
        decision: &decision.decision,
        decision_index,
        source_index: candidate.source,
        line: record.line,
        name: record.name,
        reach: record.reach,
    }
}

/// Whether a name of the host is the host.
#[inline(always)]
pub(super) fn is_itself(host: &HostName, name: &HashedName<'_>) -> bool {
    name.bytes.len() == host.as_bytes().len()
}

/// What is known of a name of the host while its entries are taken in.
struct Seen<'h> {
    host: &'h HostName,
    /// Whether the name is the host itself.
    itself: bool,
    has_block: bool,
    has_shadow: bool,
}

impl<'h> Seen<'h> {
    #[inline(always)]
    fn new(host: &'h HostName, name: &HashedName<'_>) -> Self {
        Self { host, itself: is_itself(host, name), has_block: false, has_shadow: false }
    }
}

/// The entries of one name, in order of precedence.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates<'i> {
    pub(super) one: Option<Candidate>,
    pub(super) list: &'i [Candidate],
}

impl Candidates<'_> {
    /// The entries, and those that a request is spared: see [`Candidate::SPARES`].
    pub(super) fn with_spares(self) -> (Vec<Candidate>, Vec<Candidate>) {
        let list = self.list;
        let entries: Vec<Candidate> = self.collect();
        let has_spares = entries.last().is_some_and(|last| last.position & Candidate::SPARES != 0);
        let rest = list.get(entries.len()..).filter(|_| has_spares).unwrap_or_default();
        (entries, Candidates { one: None, list: rest }.collect())
    }
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
