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
        let Some(candidates) = self.find(name) else { return };
        let itself = name.bytes.len() == host.as_bytes().len();
        let first = candidates.first;
        let (mut has_block, mut has_shadow) = (false, false);
        for candidate in self.live(candidates).filter(|candidate| candidate.covers(itself)) {
            let Some(decision) = self.competing(&candidate, moment) else { continue };
            let (place, has_place) = if decision.is_shadow {
                (&mut verdict.shadow, &mut has_shadow)
            } else {
                (&mut verdict.block, &mut has_block)
            };
            if !*has_place && self.lift_of(host, &candidate, moment.now).is_none() {
                let record = first.filter(|(position, _)| *position == candidate.position()).map(|(_, record)| record);
                let record = record.or_else(|| Some(self.record(candidate.position())?.1));
                *place = record.and_then(|record| self.match_of(&candidate, decision, &record));
                *has_place = true;
            }
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
        let found = self.delta.as_ref().and_then(|delta| self.find_in(delta, name));
        found.or_else(|| self.find_in(&self.base.layer, name))
    }

    /// What a layer has for a name.
    pub(super) fn find_in<'i>(&'i self, layer: &'i Layer, name: &HashedName<'_>) -> Option<Candidates<'i>> {
        layer.table.find(name.hash, |pointer| self.candidates_at(layer, pointer, name.bytes))
    }

    /// What a pointer of a layer points at, if it is that of this name.
    pub(super) fn candidates_at<'i>(
        &'i self,
        layer: &'i Layer,
        pointer: Pointer,
        name: &[u8],
    ) -> Option<Candidates<'i>> {
        match pointer {
            Pointer::Record(position) => {
                let (near, record) = self.record(position)?;
                (record.name == name).then(|| Candidates {
                    one: Some(near.candidate(position, &record)),
                    list: &[],
                    first: Some((position, record)),
                })
            }
            Pointer::List(start) => {
                let list = layer.lists.get(start as usize..)?;
                let position = list.first()?.position();
                let (_, record) = self.record(position)?;
                (record.name == name).then_some(Candidates { one: None, list, first: Some((position, record)) })
            }
        }
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
        if candidate.role().lifts() {
            return None;
        }
        let decision = self.decision(candidate)?;
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
        self.match_of(candidate, decision, &record)
    }

    #[inline(always)]
    fn match_of<'a>(
        &self,
        candidate: &Candidate,
        decision: &'a IndexDecision,
        record: &NameRecord<'a>,
    ) -> Option<Match<'a>> {
        Some(Match {
            decision: &decision.decision,
            decision_index: self.decision_index(candidate)?,
            source_index: candidate.source,
            line: record.line,
            name: record.name,
            reach: record.reach,
        })
    }
}

/// The entries of one name, in order of precedence.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates<'i> {
    pub(super) one: Option<Candidate>,
    pub(super) list: &'i [Candidate],
    /// The record of the first, with its position.
    pub(super) first: Option<(u64, NameRecord<'i>)>,
}

impl Candidates<'_> {
    /// The entries, and those that a request is spared: see [`Candidate::SPARES`].
    pub(super) fn with_spares(self) -> (Vec<Candidate>, Vec<Candidate>) {
        let list = self.list;
        let entries: Vec<Candidate> = self.collect();
        let has_spares = entries.last().is_some_and(|last| last.position & Candidate::SPARES != 0);
        let rest = list.get(entries.len()..).filter(|_| has_spares).unwrap_or_default();
        (entries, Candidates { one: None, list: rest, first: None }.collect())
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
