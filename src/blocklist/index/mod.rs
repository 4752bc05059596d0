//! The index: all sources together, compiled, immutable, and asked on every request.
//!
//! Inside: the verdict for one host, and what the control thread wants to know about an index. Kept out: reading sources
//! (`format/`), publishing an index (the reload), and anything that changes one.
//!
//! Each name above the host, at label boundaries, is hashed and looked up in a table of cache lines (`table.rs`); bytes are compared
//! before anything counts. A name that several entries share has them in order of precedence, so that the next takes over when
//! the first has expired, is shadow, or does not cover the visitor.
//!
//! A small change does not build the table anew (`update.rs`): the base stays, blocks of names that are gone are marked in a list
//! beside it, and a small layer has every name of a new block with all its entries. A name is looked for there first.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::decision::{Decision, Exception, Mode};
use super::names::{Block, RecordIter};
use super::parsed::{Effect, NameRecord, Owner, ParsedSource};
use super::pattern::{PatternView, Reach};
use crate::host::HostName;

mod table;
mod walk;
mod near;

mod search;

mod build;
mod compare;
mod explain;
mod lifts;
mod update;

#[cfg(test)]
mod oracle;

pub(super) use build::MAX_BLOCKS;
pub use compare::{Changes, SelfCheckError};
pub use explain::{Explanation, LiftedBy, Outranked, Standing};
pub use lifts::{CoveringException, ExceptionEffect};

use near::NearBlocks;
use table::Table;
use walk::{Masks, NameHasher};

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
    name: &'a [u8],
    reach: Reach,
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

/// All sources together. Built by [`Index::build`] or, from another one, by [`Index::update`]; never changed.
pub struct Index {
    base: Arc<Base>,
    /// The names of the blocks that the base does not have.
    delta: Option<Layer>,
    /// Those of base and delta.
    masks: Masks,
    /// Those of the base, in its order, and after them those of the delta.
    blocks: Box<[PlacedBlock]>,
    /// What a hit needs of them.
    near: NearBlocks,
    sources: Box<[Source]>,
    decisions: Box<[IndexDecision]>,
    exceptions: Box<[IndexException]>,
    has_lifts: bool,
}

/// What was built from whole sources, and what its positions mean.
struct Base {
    layer: Layer,
    /// As they were placed when the base was built.
    blocks: Box<[PlacedBlock]>,
    /// Distinct patterns that block, by source.
    names: Box<[usize]>,
    hasher: NameHasher,
}

/// Names, and the entries of each.
struct Layer {
    table: Table,
    masks: Masks,
    lists: Box<[Candidate]>,
}

/// A block of names in the index. Its place is in the upper bits of a position, the offset of a record in the lower ones.
#[derive(Debug, Clone)]
struct PlacedBlock {
    block: Arc<Block>,
    first_line: u32,
    source: u16,
    /// Whether its source still has it.
    is_live: bool,
}

struct Source {
    source: Arc<IndexSource>,
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
    /// The position of its record, with [`Candidate::LAST`] and [`Candidate::SPARES`] in a list.
    position: u64,
    /// The decision, or the exception of [`Role::LiftFeeds`], by its place in the source.
    owner: u32,
    source: u16,
    /// Reach and role as numbers: with a hole in it, each copy of an entry would be seven bytes and one, which processors do slowly.
    kind: u16,
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
        let base = self.base.layer.table.lines();
        let mut names = self.names_of(host);
        while let Some(name) = names.next() {
            // Nearly all names of nearly all hosts are not there.
            if self.hints_at(&base, &name) {
                return self.judge(host, &name, names, moment);
            }
        }
        Verdict::default()
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

    /// Memory of the tables, in bytes.
    pub fn table_bytes(&self) -> usize {
        self.layers().map(|layer| layer.table.memory_bytes() + size_of_val(&*layer.lists)).sum()
    }

    /// Memory of everything, the names of the sources included, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let names: usize = self.blocks.iter().map(|placed| placed.block.memory_bytes()).sum();
        let blocks = size_of_val(&*self.base.blocks) + size_of_val(&*self.blocks) + self.near.memory_bytes();
        self.table_bytes() + names + blocks + size_of_val(&*self.decisions) + size_of_val(&*self.sources)
    }

    /// The cache lines that the worst name costs.
    pub fn longest_chain(&self) -> u32 {
        self.layers().map(|layer| layer.table.longest_chain()).sum()
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.delta.iter().chain([&self.base.layer])
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
        PatternView { name: std::str::from_utf8(self.name).unwrap_or_default(), reach: self.reach }
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

    /// With the mark of the end: a list of spares follows. They say the same as an entry before them, in another block of the
    /// file, and are asked for when that one is gone.
    const SPARES: u64 = 1 << 62;

    #[inline(always)]
    fn new(position: u64, source: u16, record: &NameRecord<'_>) -> Self {
        let (owner, role) = match (record.owner, record.effect) {
            (Owner::Exception(exception), _) => (exception, Role::LiftFeeds),
            (Owner::Decision(decision), Effect::Block) => (decision, Role::Block),
            (Owner::Decision(decision), Effect::BlockImportant) => (decision, Role::BlockImportant),
            (Owner::Decision(decision), Effect::Lift) => (decision, Role::LiftOwn),
        };
        Self { position, owner, source, kind: record.reach as u16 | (role as u16) << 2 }
    }

    const fn position(&self) -> u64 {
        self.position & !(Self::LAST | Self::SPARES)
    }

    /// Without the marks of a list.
    const fn alone(&self) -> Self {
        Self { position: self.position(), ..*self }
    }

    const fn reach(&self) -> Reach {
        match self.kind & 3 {
            0 => Reach::Exact,
            1 => Reach::Below,
            _ => Reach::Subtree,
        }
    }

    const fn role(&self) -> Role {
        match self.kind >> 2 {
            0 => Role::Block,
            1 => Role::BlockImportant,
            2 => Role::LiftOwn,
            _ => Role::LiftFeeds,
        }
    }

    /// Whether both say the same, in two lines.
    fn is_same(&self, other: &Self) -> bool {
        (self.source, self.owner, self.kind) == (other.source, other.owner, other.kind)
    }

    /// Whether it covers the host, which is the name itself or below it.
    const fn covers(&self, itself: bool) -> bool {
        if itself { self.reach().covers_itself() } else { self.reach().covers_below() }
    }
}

impl PlacedBlock {
    fn iter(&self) -> RecordIter<'_> {
        self.block.iter(self.first_line)
    }

    fn candidate(&self, position: u64, record: &NameRecord<'_>) -> Candidate {
        Candidate::new(position, self.source, record)
    }
}

fn is_shadow(decision: &Decision) -> bool {
    decision.mode == Mode::Shadow
}
