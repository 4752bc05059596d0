//! What one source says once it has been read: its names, and the decisions and exceptions that own them.
//!
//! Inside: the whole of a source, the pieces that it shares with its next version, and the counts that guards need. Kept
//! out: how names are packed (`names.rs`), how each format is read (`format/`), and what is refused (`guard.rs`).

use std::sync::Arc;

use super::decision::{Decision, Exception};
pub use super::names::{Effect, NameRecord, Names, Owner};
use super::objection::{DroppedLines, KEPT_FINDINGS, drop_lines};
use crate::finding::{Finding, Place};
use crate::whole_file::Sha256;

/// Everything that one source says.
#[derive(Debug, Clone, Default)]
pub struct ParsedSource {
    /// The names, in the order of the file.
    pub names: Names,
    /// The records of a decisions file, or the one decision of a feed.
    pub decisions: Vec<Arc<Decision>>,
    /// Where each decision stands; empty for a feed, whose decision stands in the configuration.
    pub decision_places: Vec<Place>,
    /// The id of each record, decision or exception, with where the record begins: of those that are wrong elsewhere too.
    pub record_places: Vec<(String, Place)>,
    /// The `[[exception]]` records.
    pub exceptions: Vec<Arc<Exception>>,
    /// What is wrong or odd. An error refuses the source. Lines of a feed that are not names are warnings, of which the
    /// first hundred are kept and all are counted.
    pub findings: Vec<Finding>,
    /// What the lines were.
    pub lines: LineCounts,
    /// How many names the file itself says that it has, where it says so.
    pub stated_count: Option<u64>,
    /// Names of a feed that it must not block, which are not among the names.
    pub dropped: Vec<DroppedLines>,
    /// Names of a feed that it may block, and hardly means to. The first hundred are kept.
    pub odd: Vec<Finding>,
    /// Whether an exception of a feed lifts only what is blocked by a name that is no closer to the host than its own, as in a policy
    /// zone, of which a resolver takes the closest row alone.
    pub closest_wins: bool,
    /// The pieces of a feed that is read line by line, for its next version.
    pub chunks: Vec<Arc<Chunk>>,
}

/// A piece of a feed's file. Its lines are counted from its own beginning, so that it is the same wherever it stands.
#[derive(Debug)]
pub struct Chunk {
    /// The hash of its bytes.
    pub sha256: Sha256,
    /// How many lines end in it.
    pub line_ends: u32,
    /// What it says.
    pub parsed: ParsedSource,
}

/// What the lines of a source were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// All of them.
    pub total: u32,
    /// Those that were meant to say something: neither blank nor a comment.
    pub content: u32,
    /// Of these, the ones that are not names.
    pub wrong: u32,
    /// Of these, the ones that are rules for something other than hosts.
    pub skipped: u32,
}

impl ParsedSource {
    /// Whether the source is refused for what is wrong with it.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }

    /// Where the record of that id begins; none for a feed, whose decision is in the configuration.
    pub fn place_of_record(&self, id: &str) -> Option<&Place> {
        self.record_places.iter().find(|(found, _)| found == id).map(|(_, place)| place)
    }

    /// The count that the file states and the one that was found, where they differ. Publishers count lines or distinct
    /// names; either will do, and so will lines that are not names or are dropped.
    pub fn stated_count_contradicted(&self) -> Option<(u64, u64)> {
        let stated = self.stated_count?;
        let dropped: u64 = self.dropped.iter().map(|lines| lines.count).sum();
        let found = self.names.len() as u64 + dropped;
        let is_distinct = || {
            let distinct = self.names.distinct() as u64;
            // Lines that are not names may be among what was counted, and the machine's own names in a hosts file are not.
            (distinct..=distinct + dropped + u64::from(self.lines.wrong)).contains(&stated)
        };
        // Counting the distinct ones is the most work, so it comes last.
        let agrees = stated == found || stated == u64::from(self.lines.content) || is_distinct();
        (!agrees).then_some((stated, found))
    }

    /// Adds the next piece of the file, which begins `lines` lines down.
    pub fn append(&mut self, chunk: Arc<Chunk>, lines: u32) {
        let piece = &chunk.parsed;
        let moved = |findings: &[Finding]| findings.iter().map(|finding| finding.moved(lines)).collect::<Vec<_>>();
        self.names.append(&piece.names, lines);
        // A count is stated before anything is counted.
        if self.lines.content == 0 && self.stated_count.is_none() {
            self.stated_count = piece.stated_count;
        }
        self.lines.append(piece.lines, lines);
        let room = KEPT_FINDINGS.saturating_sub(self.findings.len());
        self.findings.extend(moved(&piece.findings).into_iter().take(room));
        for lines_dropped in &piece.dropped {
            let (kept, room) = drop_lines(&mut self.dropped, lines_dropped.reason, lines_dropped.count);
            kept.extend(moved(&lines_dropped.findings).into_iter().take(room));
        }
        let room = KEPT_FINDINGS.saturating_sub(self.odd.len());
        self.odd.extend(moved(&piece.odd).into_iter().take(room));
        self.chunks.push(chunk);
    }
}

impl LineCounts {
    /// Whether more than this many percent of the lines with content are not names.
    pub fn exceeds(&self, max_error_percent: u8) -> bool {
        u64::from(self.wrong) * 100 > u64::from(self.content) * u64::from(max_error_percent)
    }

    /// Adds those of the next piece, which begins `lines` lines down.
    fn append(&mut self, piece: Self, lines: u32) {
        if piece.total > 0 {
            self.total = lines + piece.total;
        }
        self.content += piece.content;
        self.wrong += piece.wrong;
        self.skipped += piece.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_percentage_is_of_lines_with_content() {
        let lines = |content, wrong| LineCounts { total: 1_000, content, wrong, skipped: 0 };
        assert!(!lines(100, 1).exceeds(1));
        assert!(lines(99, 1).exceeds(1));
        assert!(!lines(0, 0).exceeds(0));
        assert!(lines(1_000, 1).exceeds(0));
    }
}
