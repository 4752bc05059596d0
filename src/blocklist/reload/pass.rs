//! One pass over the sources: from what is on disk to one index, or to the reasons why not.
//!
//! Inside: what looks at several sources together (duplicate ids, memory), the build and its self-check. Kept out:
//! publishing, which `mod.rs` alone does, and with it every effect: a pass changes nothing that is in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::examine::{Examiner, KIND, Ready, Step};
use super::state::{InForce, Refused, SourceState};
use crate::blocklist::guard::shrink;
use crate::blocklist::index::{Changes, Index, IndexSource, MAX_BLOCKS};
use crate::blocklist::memory::{self, Task};
use crate::blocklist::parsed::ParsedSource;
use crate::finding::{Finding, Place};
use crate::kept_copy::StateDirectory;

/// Names of each source that are looked up in a new index before it is published.
const SELF_CHECK_SAMPLES: usize = 1_000;

/// What a pass found.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Every source as it is after the pass, in the order of the configuration.
    pub(super) sources: Vec<SourceState>,
    /// The index to publish; none where nothing changed.
    pub(super) index: Option<Arc<Index>>,
    /// Why there is no index, where that is the fault of no new content.
    pub(super) unbuilt: Option<Finding>,
    /// The sources whose content is new, with what the state directory is to keep.
    pub(super) applied: Vec<Applied>,
    /// How many sources have on disk what they have in force.
    pub(super) confirmed: usize,
    /// How many sources have on disk what was refused before.
    pub(super) refused_before: usize,
    /// How many sources were refused for something new.
    pub(super) newly_refused: usize,
    /// The sources that were being written.
    pub(super) changing: Vec<usize>,
}

/// A source whose content is new.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) source: String,
    pub(super) names: usize,
    /// Counted once the index is in force.
    pub(super) changes: Changes,
    pub(super) bytes: Option<Vec<u8>>,
}

/// What an index comes from, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'i> {
    /// The one in force; none at a start.
    pub(super) in_force: Option<&'i Index>,
    /// There must be a new index even where no content is new: a source was added or taken away.
    pub(super) rebuild: bool,
    pub(super) seed: u64,
}

/// Looks at the sources that `wanted` names, and at those that another source stood in the way of.
pub(super) fn run(
    examiner: Examiner<'_>,
    sources: &[SourceState],
    wanted: impl Fn(usize) -> bool,
    base: Base<'_>,
) -> Pass {
    let mut pass = Pass { sources: sources.to_vec(), ..Pass::default() };
    let mut ready: BTreeMap<usize, Ready> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let stood_back = source.refused.as_ref().is_some_and(|refused| refused.by_another_source);
        if !wanted(index) && !stood_back {
            continue;
        }
        match examiner.examine(source) {
            Step::RefusedBefore => pass.refused_before += 1,
            Step::Changing => pass.changing.push(index),
            Step::Refused(refused) => pass.refused(index, refused),
            Step::Ready(found) => {
                ready.insert(index, *found);
            }
            Step::Confirmed => pass.confirm(index, examiner.now),
        }
    }
    pass.stand_back_from_duplicate_ids(&mut ready);
    pass.tell_duplicate_ids_of_refused(&ready);
    let mut attempt = base.rebuild || !ready.is_empty();
    while attempt {
        attempt = match build(&pass.contents(&ready), examiner.config.max_memory_mib, base) {
            Ok(index) if pass.refuse_shrunk(&mut ready, &index, examiner) => base.rebuild || !ready.is_empty(),
            Ok(index) => {
                pass.take_up(std::mem::take(&mut ready), index);
                false
            }
            // The others are not to wait for the one that asks too much.
            Err(message) if pass.refuse_largest(&mut ready, &message) => base.rebuild || !ready.is_empty(),
            Err(message) => {
                pass.unbuilt = Some(Finding::without_place(message));
                false
            }
        };
    }
    pass
}

impl Pass {
    fn confirm(&mut self, index: usize, now: Timestamp) {
        self.confirmed += 1;
        let Some(source) = self.sources.get_mut(index) else { return };
        source.refused = None;
        if let Some(content) = &mut source.in_force {
            content.last_success = Some(now);
            content.from_state = false;
        }
    }

    fn refused(&mut self, index: usize, refused: Refused) {
        let Some(source) = self.sources.get_mut(index) else { return };
        if source.refuse(refused) {
            self.newly_refused += 1;
        } else {
            self.refused_before += 1;
        }
    }

    /// What the index is built of: new content where there is some, else what is in force.
    fn contents(&self, ready: &BTreeMap<usize, Ready>) -> Vec<Arc<IndexSource>> {
        self.contents_by_source(ready).map(|(_, content)| Arc::clone(content)).collect()
    }

    fn contents_by_source<'a>(
        &'a self,
        ready: &'a BTreeMap<usize, Ready>,
    ) -> impl Iterator<Item = (usize, &'a Arc<IndexSource>)> {
        self.sources.iter().enumerate().filter_map(|(index, source)| {
            let new = ready.get(&index).map(|ready| &ready.in_force);
            new.or(source.in_force.as_ref()).map(|content| (index, &content.content))
        })
    }

    /// Refuses new content until no id is in two sources. The last in the order of the configuration stands back; what is
    /// in force has no duplicates, so this ends.
    fn stand_back_from_duplicate_ids(&mut self, ready: &mut BTreeMap<usize, Ready>) {
        while let Some((index, id, other)) = self.duplicate_id(ready) {
            let place =
                ready.remove(&index).and_then(|ready| ready.in_force.content.parsed.place_of_record(&id).cloned());
            let Some(name) = self.sources.get(other).map(|source| source.config.name.clone()) else { return };
            let Some(source) = self.sources.get_mut(index) else { return };
            let place = place.unwrap_or_else(|| Place::file(&source.config.path));
            let findings = Arc::from([id_is_taken(place, &id, &name)]);
            self.refused(index, Refused { key: None, findings, by_another_source: true, ids: Arc::default() });
        }
    }

    /// Adds to what is wrong with a refused source the ids that another source has too, so that both are told in one run.
    /// Of two refused ones, the last in the order of the configuration has it.
    fn tell_duplicate_ids_of_refused(&mut self, ready: &BTreeMap<usize, Ready>) {
        let mut taken: HashMap<String, String> = HashMap::new();
        for (index, content) in self.contents_by_source(ready) {
            let Some(source) = self.sources.get(index) else { continue };
            taken.extend(ids(&content.parsed).map(|id| (id.to_owned(), source.config.name.clone())));
        }
        for source in &mut self.sources {
            let Some(refused) = &mut source.refused else { continue };
            let name = &source.config.name;
            let twice = refused.ids.iter().filter_map(|(id, place)| Some((place, id, taken.get(id)?)));
            let twice: Vec<Finding> = twice.map(|(place, id, other)| id_is_taken(place.clone(), id, other)).collect();
            if !twice.is_empty() {
                refused.findings = refused.findings.iter().cloned().chain(twice).collect();
            }
            for (id, _) in &*refused.ids {
                taken.entry(id.clone()).or_insert_with(|| name.clone());
            }
        }
    }

    /// An id that two sources have: the new one of them that is to stand back, the id, and the other.
    fn duplicate_id(&self, ready: &BTreeMap<usize, Ready>) -> Option<(usize, String, usize)> {
        let mut taken: HashMap<&str, usize> = HashMap::new();
        for (index, content) in self.contents_by_source(ready) {
            for id in ids(&content.parsed) {
                match taken.insert(id, index) {
                    Some(before) if before != index && ready.contains_key(&index) => {
                        return Some((index, id.to_owned(), before));
                    }
                    Some(before) if before != index && ready.contains_key(&before) => {
                        return Some((before, id.to_owned(), index));
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// Refuses content that lost more names than it may, which only the index counts; whether there was any.
    fn refuse_shrunk(&mut self, ready: &mut BTreeMap<usize, Ready>, index: &Index, examiner: Examiner<'_>) -> bool {
        let mut shrunk = Vec::new();
        for (place, found) in &*ready {
            let Some(source) = self.sources.get(*place) else { continue };
            let now = names_of(index, &source.config.name);
            if let Some(finding) = shrink(&source.config, found.names_before, now, examiner.config) {
                let (key, findings) = (Some(found.in_force.key), Arc::from([finding]));
                let refused = Refused { key, findings, by_another_source: false, ids: Arc::default() };
                shrunk.push((*place, examiner.instead_of(source, refused)));
            }
        }
        let any = !shrunk.is_empty();
        for (place, step) in shrunk {
            ready.remove(&place);
            match step {
                Step::Refused(refused) => self.refused(place, refused),
                Step::Ready(instead) => _ = ready.insert(place, *instead),
                Step::Changing | Step::Confirmed | Step::RefusedBefore => {}
            }
        }
        any
    }

    fn take_up(&mut self, ready: BTreeMap<usize, Ready>, index: Index) {
        for (place, ready) in ready {
            let Some(source) = self.sources.get_mut(place) else { continue };
            let names = names_of(&index, &source.config.name);
            self.applied.push(Applied {
                source: source.config.name.clone(),
                names,
                changes: Changes { added: names, removed: 0 },
                bytes: ready.bytes,
            });
            source.in_force = Some(InForce { names, ..ready.in_force });
            source.refused = None;
            if let Some(refused) = ready.refused {
                self.refused(place, refused);
            }
        }
        self.index = Some(Arc::new(index));
    }

    /// Counts what came and went since another index.
    pub(super) fn count_changes(&mut self, old: &Index) {
        let Some(index) = &self.index else { return };
        for (source, changes) in index.sources().zip(index.changes_since(old)) {
            if let Some(applied) = self.applied.iter_mut().find(|applied| applied.source == source.name) {
                applied.changes = changes;
            }
        }
    }

    /// Keeps the good bytes for the next start.
    pub(super) fn keep_copies(&self, state: &StateDirectory) {
        for applied in &self.applied {
            let (source, Some(bytes)) = (&applied.source, &applied.bytes) else { continue };
            if let Err(error) = state.keep(KIND, source, bytes) {
                let directory = state.path().display();
                tracing::error!(%error, source, %directory, "no copy could be kept for the next start");
            }
        }
    }

    /// How much was read that is new.
    pub(super) fn bytes_applied(&self) -> u64 {
        self.applied.iter().filter_map(|applied| applied.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum()
    }

    /// Refuses the new content with the most names; whether there was any.
    fn refuse_largest(&mut self, ready: &mut BTreeMap<usize, Ready>, message: &str) -> bool {
        let largest = ready.iter().max_by_key(|(_, ready)| ready.in_force.names).map(|(place, _)| *place);
        let Some(place) = largest else { return false };
        ready.remove(&place);
        if let Some(source) = self.sources.get(place) {
            let findings = Arc::from([Finding::error(Place::file(&source.config.path), message)]);
            self.refused(place, Refused { key: None, findings, by_another_source: true, ids: Arc::default() });
        }
        true
    }
}

/// The ids of all records of a source.
fn ids(parsed: &ParsedSource) -> impl Iterator<Item = &str> {
    let decisions = parsed.decisions.iter().map(|decision| decision.id.as_str());
    decisions.chain(parsed.exceptions.iter().map(|exception| exception.id.as_str()))
}

fn id_is_taken(place: Place, id: &str, other: &str) -> Finding {
    let message = format!("the id \"{id}\" is taken by a record of source `{other}`; ids are unique over all sources");
    Finding::error(place, message)
}

/// The distinct patterns that a source of an index blocks.
fn names_of(index: &Index, name: &str) -> usize {
    index.sources().zip(index.names()).find(|(source, _)| source.name == name).map_or(0, |(_, names)| names)
}

fn build(contents: &[Arc<IndexSource>], max_memory_mib: Option<u64>, base: Base<'_>) -> Result<Index, String> {
    let bytes: usize = contents.iter().map(|content| content.parsed.names.memory_bytes()).sum();
    if let Some(message) = memory::over_limit(names_in(contents), bytes, max_memory_mib) {
        return Err(message);
    }
    let index = match base.in_force.and_then(|index| index.update(contents)) {
        Some(index) => checked(index)?,
        None => build_anew(contents, base.seed)?,
    };
    // The estimate does not know how many names several entries share.
    match memory::over_limit(0, index.memory_bytes(), max_memory_mib) {
        Some(message) => Err(message),
        None => Ok(index),
    }
}

/// Builds and checks an index from nothing, if there is room for it.
pub(super) fn build_anew(contents: &[Arc<IndexSource>], seed: u64) -> Result<Index, String> {
    let blocks: usize = contents.iter().map(|content| content.parsed.names.parts().len()).sum();
    if blocks > MAX_BLOCKS {
        return Err(format!(
            "all sources together have {blocks} blocks of names, more than {MAX_BLOCKS}; shorten the lists"
        ));
    }
    if let Some(message) = memory::refuse(Task::Index(names_in(contents))) {
        return Err(message);
    }
    checked(Index::build(contents, seed))
}

/// An index in which names of every source are found.
fn checked(index: Index) -> Result<Index, String> {
    index.self_check(SELF_CHECK_SAMPLES).map_err(|error| format!("{error}. Please report this"))?;
    Ok(index)
}

/// The names of all sources, repeated ones included.
fn names_in(contents: &[Arc<IndexSource>]) -> usize {
    contents.iter().map(|content| content.parsed.names.len()).sum()
}
