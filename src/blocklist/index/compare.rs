//! One index against another, and against what it was built from.
//!
//! Inside: how many names came and went, and the check before an index is published. Kept out: the guards that say
//! whether so much change is allowed.

use std::sync::Arc;

use super::table::Pointer;
use super::{Candidate, Candidates, Index};
use crate::blocklist::pattern::Reach;

/// How many distinct patterns came and went, source by source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the new index and not in the old one.
    pub added: usize,
    /// In the old index and not in the new one.
    pub removed: usize,
}

/// A name of a source that the index built from it does not find.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the index does not find `{pattern}` of source `{source_name}`, line {line}; it is not used")]
pub struct SelfCheckError {
    /// The source.
    pub source_name: String,
    /// The line.
    pub line: u32,
    /// The pattern.
    pub pattern: String,
}

impl Index {
    /// What came and went since another index. A source that both share unchanged costs nothing.
    pub fn changes_since(&self, old: &Self) -> Changes {
        Changes { added: self.count_missing_in(old), removed: old.count_missing_in(self) }
    }

    /// Looks up at least `samples` names of each source, evenly spread, as a request would; returns how many it looked up.
    pub fn self_check(&self, samples: usize) -> Result<usize, Box<SelfCheckError>> {
        let mut checked = 0;
        for (source_index, source) in (0..).zip(&self.sources) {
            let names = &source.source.parsed.names;
            for record in names.iter().step_by((names.len() / samples.max(1)).max(1)) {
                let expected = self.candidate(source_index, &record);
                let name = self.table.hasher().name(record.name);
                let is_found = self.table.may_have(name.labels, name.bytes.len())
                    && expected.is_some_and(|expected| {
                        self.candidates(&name).into_iter().flatten().any(|found| found.is_same(&expected))
                    });
                if !is_found {
                    return Err(Box::new(SelfCheckError {
                        source_name: source.source.name.clone(),
                        line: record.line,
                        pattern: record.view().to_string(),
                    }));
                }
                checked += 1;
            }
        }
        Ok(checked)
    }

    /// The distinct patterns of this index that another does not have in the source of the same name.
    fn count_missing_in(&self, other: &Self) -> usize {
        let places: Vec<Option<u16>> = self.sources.iter().map(|source| other.place_of(&source.source.name)).collect();
        let is_shared: Vec<bool> = self
            .sources
            .iter()
            .zip(&places)
            .map(|(source, place)| {
                let same = place.and_then(|place| other.source(place));
                same.is_some_and(|same| Arc::ptr_eq(&same.parsed, &source.source.parsed))
            })
            .collect();
        if is_shared.iter().all(|shared| *shared) {
            return 0;
        }
        let mut missing = 0;
        self.for_each_pattern(|name, source, reach| {
            let source = usize::from(source);
            let is_there = is_shared[source] || places[source].is_some_and(|place| other.blocks_by(place, name, reach));
            missing += usize::from(!is_there);
        });
        missing
    }

    fn place_of(&self, name: &str) -> Option<u16> {
        (0..).zip(&self.sources).find(|(_, source)| source.source.name == name).map(|(place, _)| place)
    }

    /// Whether a source has exactly this pattern.
    fn blocks_by(&self, source: u16, name: &[u8], reach: Reach) -> bool {
        let name = self.table.hasher().name(name);
        self.candidates(&name)
            .into_iter()
            .flatten()
            .any(|found| found.source == source && found.reach == reach && !found.role.lifts())
    }

    /// Calls `visit` for each distinct pattern of each source that blocks.
    fn for_each_pattern(&self, mut visit: impl FnMut(&[u8], u16, Reach)) {
        let mut patterns = Vec::new();
        for pointer in self.table.pointers() {
            let (position, candidates) = match pointer {
                Pointer::Record(position) => {
                    let one = self.record(position).and_then(|(source, record)| self.candidate(source, &record));
                    (position, Candidates { one, list: &[] })
                }
                Pointer::List(start) => {
                    let list = self.lists.get(start as usize..).unwrap_or_default();
                    (list.first().map_or(0, Candidate::position), Candidates { one: None, list })
                }
            };
            let Some((_, record)) = self.record(position) else { continue };
            patterns.clear();
            patterns.extend(
                candidates.filter(|candidate| !candidate.role.lifts()).map(|found| (found.source, found.reach)),
            );
            patterns.sort_unstable();
            patterns.dedup();
            for (source, reach) in &patterns {
                visit(record.name, *source, *reach);
            }
        }
    }
}
