//! How the names of a host are found, and what their entries come to.
//!
//! Inside: the way from a hash to a record, delta before base, and which entry competes for a host. Kept out: the question as
//! a request asks it (`mod.rs`), and the layout of the table (`table.rs`).

use jiff::Timestamp;

use super::near::Near;
use super::table::Pointer;
use super::walk::HashedName;
use super::{Candidate, Index, IndexDecision, IndexException, Layer, Match, Moment, PlacedBlock, Role, Verdict};
use crate::blocklist::names::BLOCK_BITS;
use crate::blocklist::parsed::NameRecord;
use crate::blocklist::pattern::Reach;
use crate::host::HostName;

impl Index {
    /// Takes in what the entries of one name of the host say. It counts before what shorter names said.
    #[inline(never)]
    pub(super) fn judge<'a>(
        &'a self,
        host: &HostName,
        name: &HashedName<'_>,
        moment: &Moment,
        verdict: &mut Verdict<'a>,
    ) {
        let Some(found) = self.found(name) else { return };
        let mut seen =
            Seen { host, itself: name.bytes.len() == host.as_bytes().len(), has_block: false, has_shadow: false };
        if found.list.is_empty() {
            self.consider(&found.candidate(), found.near, &found.record, moment, &mut seen, verdict);
            return;
        }
        for candidate in found.candidates() {
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
        if !near.is_live || !candidate.covers(seen.itself) {
            return;
        }
        let Some((index, decision)) = self.competing_at(candidate, moment) else { return };
        let (place, has_place) = if decision.is_shadow {
            (&mut verdict.shadow, &mut seen.has_shadow)
        } else {
            (&mut verdict.block, &mut seen.has_block)
        };
        if !*has_place && (!self.has_lifts || self.lift_of(seen.host, candidate, moment.now).is_none()) {
            *place = Some(match_of(candidate, index, decision, record));
            *has_place = true;
        }
    }

    /// The host's names that could be in a table, the shortest first.
    #[inline(always)]
    pub(super) fn names_of<'h>(&self, host: &'h HostName) -> impl Iterator<Item = HashedName<'h>> {
        self.base.hasher.names(host, &self.masks)
    }

    /// Whether the hash of a name leaves it open that it is there.
    #[inline(always)]
    pub(super) fn hints_at(&self, name: &HashedName<'_>) -> bool {
        let hints = |layer: &Layer| layer.table.hints_at(name.hash);
        hints(&self.base.layer) || self.delta.as_ref().is_some_and(hints)
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
        self.found(name).map(Found::candidates)
    }

    /// What a layer has for a name.
    pub(super) fn find_in<'i>(&'i self, layer: &'i Layer, name: &HashedName<'_>) -> Option<Candidates<'i>> {
        self.found_in(layer, name).map(Found::candidates)
    }

    #[inline(always)]
    fn found(&self, name: &HashedName<'_>) -> Option<Found<'_>> {
        let found = self.delta.as_ref().and_then(|delta| self.found_in(delta, name));
        found.or_else(|| self.found_in(&self.base.layer, name))
    }

    #[inline(always)]
    fn found_in<'i>(&'i self, layer: &'i Layer, name: &HashedName<'_>) -> Option<Found<'i>> {
        layer.table.find(name.hash, |pointer| {
            let (position, list) = match pointer {
                Pointer::Record(position) => (position, Default::default()),
                Pointer::List(start) => {
                    let list = layer.lists.get(start as usize..)?;
                    (list.first()?.position(), list)
                }
            };
            let (near, record) = self.record(position)?;
            (record.name == name.bytes).then_some(Found { near, position, record, list })
        })
    }

    /// The block of a position.
    pub(super) fn placed(&self, position: u64) -> Option<&PlacedBlock> {
        self.blocks.get((position >> BLOCK_BITS) as usize)
    }

    /// The record at a position, with what is near of its block.
    #[inline(always)]
    pub(super) fn record(&self, position: u64) -> Option<(&Near, NameRecord<'_>)> {
        let near = self.near.of(position)?;
        let record = self.near.record(near, position).or_else(|| self.record_of_block(position))?;
        Some((near, record))
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
        self.competing_at(candidate, moment).map(|(_, decision)| decision)
    }

    /// The same, with the decision's place among all of the index.
    #[inline(always)]
    fn competing_at(&self, candidate: &Candidate, moment: &Moment) -> Option<(u32, &IndexDecision)> {
        if candidate.role().lifts() {
            return None;
        }
        let index = self.decision_index(candidate)?;
        let decision = self.decisions.get(index as usize)?;
        (decision.in_force(moment.now) && decision.covers(moment.country)).then_some((index, decision))
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
            let itself = name.bytes.len() == host.as_bytes().len();
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

/// What is known of a name of the host while its entries are taken in.
struct Seen<'h> {
    host: &'h HostName,
    /// Whether the name is the host itself.
    itself: bool,
    has_block: bool,
    has_shadow: bool,
}

/// A name that was found.
struct Found<'i> {
    /// Its first record, with what is near of the block.
    near: &'i Near,
    position: u64,
    record: NameRecord<'i>,
    /// Where it has more: all of them, and what comes after them.
    list: &'i [Candidate],
}

impl<'i> Found<'i> {
    #[inline(always)]
    fn candidate(&self) -> Candidate {
        self.near.candidate(self.position, &self.record)
    }

    fn candidates(self) -> Candidates<'i> {
        Candidates { one: self.list.is_empty().then(|| self.candidate()), list: self.list }
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
