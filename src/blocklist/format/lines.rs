//! What every format needs to know about the lines of a text: where they begin, what they say without their comments.
//!
//! Inside: bytes to text, places, the walk over a feed's lines with its counts and findings, and the number of names
//! that a feed's own header states. Kept out: what a line means.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::chunks::chunks;
use crate::background::breathe;
use crate::blocklist::objection::{KEPT_FINDINGS, Objection, drop_lines, objection};
use crate::blocklist::packs::{PackUse, Packer, pack};
use crate::blocklist::parsed::{Chunk, Effect, Owner, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternView};
use crate::finding::{Finding, Place, SourceText, position};
use crate::whole_file::Sha256;

/// What is shown of a text that is not a name.
const SHOWN_CHARACTERS: usize = 60;

/// The text of a file, without a byte order mark; invalid UTF-8 refuses the file.
pub(super) fn text_of<'b>(file: &Path, bytes: &'b [u8]) -> Result<&'b str, Box<Finding>> {
    utf8_of(file, bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes))
}

/// The text of a file or of a piece of it, in which a byte order mark is a character as any other.
fn utf8_of<'b>(file: &Path, bytes: &'b [u8]) -> Result<&'b str, Box<Finding>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let place = SourceText::new(file, valid.as_ref()).place(valid.len());
            Err(Box::new(Finding::error(place, format!("the byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"))))
        }
    }
}

/// The place of a host pattern that stands in quotes in a line; of the line where it is written in another way there.
pub fn place_of_host(file: &Path, bytes: &[u8], line: u32, pattern: &str) -> Place {
    let index = line.saturating_sub(1) as usize;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let found = bytes.split(|byte| *byte == b'\n').nth(index).unwrap_or_default();
    let text = String::from_utf8_lossy(found);
    let text = text.trim_end();
    let written = text.to_ascii_lowercase().find(&format!("\"{pattern}\""));
    let start = written.unwrap_or_else(|| text.len() - text.trim_start().len());
    Place { file: file.to_path_buf(), position: Some(position(index, start, text)) }
}

/// Where the lines of a text begin, so that many offsets are turned into places without a walk for each.
#[derive(Debug)]
pub(super) struct LineIndex<'t> {
    source: &'t SourceText,
    starts: Vec<usize>,
}

impl<'t> LineIndex<'t> {
    pub(super) fn new(source: &'t SourceText) -> Self {
        let ends = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { source, starts }
    }

    /// The line of an offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }

    pub(super) fn lines(&self) -> u32 {
        u32::try_from(self.source.text.lines().count()).unwrap_or(u32::MAX)
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let index = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(index).copied().unwrap_or_default();
        let line = self.source.text.get(start..).unwrap_or_default().split(['\n', '\r']).next().unwrap_or_default();
        Place { file: self.source.file.to_path_buf(), position: Some(position(index, offset - start, line)) }
    }
}

/// One line of a feed that says something.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeedLine<'t> {
    /// What it says, without comment and white space around it.
    pub(super) content: &'t str,
    /// The whole line.
    pub(super) whole: &'t str,
    /// Counted from 0.
    pub(super) index: usize,
}

impl<'t> FeedLine<'t> {
    /// The same line, of which this part is looked at: a slice of its content.
    pub(super) fn part(self, content: &'t str) -> Self {
        Self { content, ..self }
    }

    /// Where the content begins in the whole line, in bytes.
    fn start(self) -> usize {
        let start = self.content.as_ptr().addr().wrapping_sub(self.whole.as_ptr().addr());
        // What is no part of the line stands for all of it.
        if start <= self.whole.len() {
            start
        } else {
            self.whole.len() - self.whole.trim_start_matches(WHITE_SPACE).len()
        }
    }

    fn place(self, file: &Path) -> Place {
        Place { file: file.to_path_buf(), position: Some(position(self.index, self.start(), self.whole)) }
    }
}

/// What a line that is a comment says, without what marks it as one; none for a line that is no comment.
pub(super) type CommentOf = fn(&str) -> Option<&str>;

/// What a feed is read with, beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct FeedInput<'p> {
    /// The name that findings give the file.
    pub file: &'p Path,
    /// The pieces of the version before, read with the same settings: where the bytes are the same, so is what they say.
    pub known: &'p [Arc<Chunk>],
    /// The hosts that may not be blocked; none where nothing is to be dropped, public suffixes included.
    pub never_block: Option<&'p [Pattern]>,
}

impl<'p> From<&'p Path> for FeedInput<'p> {
    /// Everything is read anew, and nothing dropped.
    fn from(file: &'p Path) -> Self {
        Self { file, known: &[], never_block: None }
    }
}

/// Collects what the lines of one feed say.
#[derive(Debug)]
pub(super) struct FeedReader<'p> {
    input: FeedInput<'p>,
    /// Of the file as far as it has been read.
    whole: ParsedSource,
    /// Of the piece that is being read.
    parsed: ParsedSource,
    comment_of: CommentOf,
}

impl<'p> FeedReader<'p> {
    /// `parsed` has the decision of the feed. Lines that begin with `#` or `!` are comments.
    pub(super) fn new(input: impl Into<FeedInput<'p>>, parsed: ParsedSource) -> Self {
        let comment_of: CommentOf = |line| line.strip_prefix(['#', '!']);
        Self { input: input.into(), whole: parsed, parsed: ParsedSource::default(), comment_of }
    }

    /// The same with other comments: `comment_of` is given lines without white space around them.
    pub(super) fn with_comments(self, comment_of: CommentOf) -> Self {
        Self { comment_of, ..self }
    }

    /// Gives the whole text to `read`, for a format whose lines mean something only together.
    pub(super) fn read_whole(mut self, bytes: &[u8], read: impl FnOnce(&mut Self, &str)) -> ParsedSource {
        match text_of(self.input.file, bytes) {
            Ok(text) => read(&mut self, text),
            Err(finding) => self.parsed.findings.push(*finding),
        }
        pack(&mut self.parsed.names, bytes.len());
        ParsedSource { decisions: self.whole.decisions, closest_wins: self.whole.closest_wins, ..self.parsed }
    }

    /// What has been read so far, for such a format: it counts for itself.
    pub(super) fn parsed(&mut self) -> &mut ParsedSource {
        &mut self.parsed
    }

    /// Walks the lines; `read` is called for each that is neither blank nor a comment, and not in a known piece. What it does
    /// may depend on that line alone.
    pub(super) fn read(mut self, bytes: &[u8], mut read: impl FnMut(&mut Self, FeedLine<'_>)) -> ParsedSource {
        let known: HashMap<Sha256, &Arc<Chunk>> = self.input.known.iter().map(|chunk| (chunk.sha256, chunk)).collect();
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let pieces: Vec<Piece<'_, '_>> = chunks(bytes).map(|bytes| Piece::new(bytes, &known)).collect();
        let pack_use = PackUse::by(pieces.iter().filter_map(|piece| Some(&piece.known?.parsed.names)));
        let known = |piece: &Piece<'_, 'p>| piece.known.filter(|chunk| !pack_use.is_waste(&chunk.parsed.names));
        let new = pieces.iter().filter(|piece| known(piece).is_none());
        let mut packer = Packer::for_text(new.map(|piece| piece.bytes.len()).sum());
        let (mut chunks, mut wrong) = (Vec::with_capacity(pieces.len()), None);
        for piece in &pieces {
            breathe();
            if let Some(chunk) = known(piece) {
                chunks.push(Arc::clone(chunk));
                continue;
            }
            match self.read_chunk(piece.bytes, &mut read) {
                Ok(mut parsed) => {
                    packer.take_in(&mut parsed.names);
                    chunks.push(Arc::new(Chunk { sha256: piece.sha256, line_ends: line_ends(piece.bytes), parsed }));
                }
                Err(finding) => {
                    wrong = Some(finding);
                    break;
                }
            }
        }
        let (packs, mut lines) = (packer.finish(), 0);
        for mut chunk in chunks {
            if let Some(new) = Arc::get_mut(&mut chunk) {
                packs.give_back(&mut new.parsed.names);
            }
            let line_ends = chunk.line_ends;
            self.whole.append(chunk, lines);
            lines = lines.saturating_add(line_ends);
        }
        if let Some(finding) = wrong {
            self.whole.findings.push(finding.moved(lines));
            return self.whole;
        }
        // A line of nothing is a line where there is no other.
        self.whole.lines.total = self.whole.lines.total.max(1);
        self.whole
    }

    fn read_chunk(
        &mut self,
        bytes: &[u8],
        read: &mut impl FnMut(&mut Self, FeedLine<'_>),
    ) -> Result<ParsedSource, Box<Finding>> {
        let text = utf8_of(self.input.file, bytes)?;
        for (index, whole) in text.split('\n').enumerate() {
            let trimmed = whole.trim_matches(WHITE_SPACE);
            if !trimmed.is_empty() {
                self.parsed.lines.total = line_number(index);
            }
            if let Some(comment) = (self.comment_of)(trimmed) {
                if self.parsed.lines.content == 0 && self.parsed.stated_count.is_none() {
                    self.parsed.stated_count = stated_count(comment);
                }
            } else if !trimmed.is_empty() {
                self.parsed.lines.content += 1;
                read(self, FeedLine { content: without_comment(trimmed), whole, index });
            }
        }
        Ok(std::mem::take(&mut self.parsed))
    }

    /// Adds a pattern that a line names, unless it must not be blocked.
    pub(super) fn add(&mut self, line: FeedLine<'_>, pattern: PatternView<'_>, effect: Effect) {
        let never_block = self.input.never_block.filter(|_| effect != Effect::Lift);
        match never_block.and_then(|never_block| objection(pattern, never_block)) {
            Some(Objection::Refused(reason, message)) => {
                // A place costs a walk over its line, which may have any number of names.
                let (kept, room) = drop_lines(&mut self.parsed.dropped, reason, 1);
                if room > 0 {
                    kept.push(Finding::warning(line.place(self.input.file), message));
                }
                return;
            }
            Some(Objection::Odd(message)) if self.parsed.odd.len() < KEPT_FINDINGS => {
                let finding = Finding::warning(line.place(self.input.file), message);
                self.parsed.odd.push(finding);
            }
            _ => {}
        }
        self.parsed.names.push(pattern, effect, line_number(line.index), Owner::Decision(0));
    }

    /// Counts a line that says something about other things than hosts.
    pub(super) fn skip(&mut self) {
        self.parsed.lines.skipped += 1;
    }

    /// Counts a line that is not a name, and keeps the finding, at its content, if it is one of the first. Once a line.
    pub(super) fn wrong(&mut self, line: FeedLine<'_>, why: &dyn fmt::Display) {
        self.unreadable(line, &format_args!("is not a name: {why}"));
    }

    /// The same of a line that is wrong in another way: `what` goes on after its content.
    pub(super) fn unreadable(&mut self, line: FeedLine<'_>, what: &dyn fmt::Display) {
        self.parsed.lines.wrong += 1;
        if self.parsed.lines.wrong as usize <= KEPT_FINDINGS {
            let finding = Finding::warning(line.place(self.input.file), format!("`{}` {what}", shown(line.content)));
            self.parsed.findings.push(finding);
        }
    }

    /// Refuses the feed because of a line.
    pub(super) fn refuse(&mut self, line: FeedLine<'_>, why: &str) {
        let finding = Finding::error(line.place(self.input.file), why);
        self.parsed.findings.push(finding);
    }
}

/// A piece of the file, and what the version before said there.
struct Piece<'b, 'p> {
    bytes: &'b [u8],
    sha256: Sha256,
    known: Option<&'p Arc<Chunk>>,
}

impl<'b, 'p> Piece<'b, 'p> {
    fn new(bytes: &'b [u8], known: &HashMap<Sha256, &'p Arc<Chunk>>) -> Self {
        let sha256 = Sha256::of(bytes);
        breathe();
        Self { bytes, sha256, known: known.get(&sha256).copied() }
    }
}

fn line_ends(bytes: &[u8]) -> u32 {
    u32::try_from(memchr::memchr_iter(b'\n', bytes).count()).unwrap_or(u32::MAX)
}

/// What may stand around the words of a line.
pub(super) const WHITE_SPACE: [char; 3] = [' ', '\t', '\r'];

pub(super) fn line_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

/// What stands before a `#` or `!` that follows white space.
fn without_comment(content: &str) -> &str {
    let bytes = content.as_bytes();
    let comment = bytes.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#' | b'!']));
    comment.map_or(content, |at| content[..at].trim_end_matches(WHITE_SPACE))
}

/// The beginning of a text, without what would disturb a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut characters = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut beginning: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    if characters.next().is_some() {
        beginning.push('…');
    }
    beginning
}

/// The count in a comment such as `Entries: 190,215`, `Domains: 7355` or `Number of unique domains: 153,663`.
pub(super) fn stated_count(comment: &str) -> Option<u64> {
    let (key, value) = comment.split_once(':')?;
    let mut words =
        key.trim_matches(['#', '!', ' ', '\t']).split_ascii_whitespace().map(str::to_ascii_lowercase).peekable();
    words.peek()?;
    let (mut counted, mut other) = (false, false);
    for word in words {
        match word.as_str() {
            "entries" | "domains" => counted = true,
            "number" | "of" | "total" | "unique" => {}
            _ => other = true,
        }
    }
    let digits: String = value.trim().chars().filter(|c| !matches!(c, ',' | '_' | '\'')).collect();
    if counted && !other { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_states_a_count_in_its_own_words() {
        let cases = [
            (" Entries: 190,215", Some(190_215)),
            (" Domains: 7355", Some(7_355)),
            ("# Number of entries: 12", Some(12)),
            (" Number of unique domains: 153_663", Some(153_663)),
            (" Total number of domains : 5 ", Some(5)),
            (" Format: domains", None),
            (" Domains: many", None),
            (" Domains blocked by others: 7", None),
            (" Number of: 7", None),
            (" entries 7", None),
            (": 7", None),
        ];
        for (comment, expected) in cases {
            assert_eq!(stated_count(comment), expected, "{comment}");
        }
    }

    #[test]
    fn comment_begins_after_white_space() {
        assert_eq!(without_comment("a.example # why"), "a.example");
        assert_eq!(without_comment("a.example\t!why"), "a.example");
        assert_eq!(without_comment("a.example#why"), "a.example#why");
        assert_eq!(without_comment("a b"), "a b");
    }

    #[test]
    fn line_is_found_again_by_its_number() {
        let bytes = "\u{feff}a\r\n  bé # x\r\n\"b\", \"c\"".as_bytes();
        let place = place_of_host(Path::new("list"), bytes, 2, "b");
        assert_eq!(place.to_string(), "list:2:3");
        assert_eq!(place.position.map(|position| position.excerpt), Some("  bé # x".to_owned()));
        assert_eq!(place_of_host(Path::new("list"), bytes, 9, "b").to_string(), "list:9:1");
        assert_eq!(place_of_host(Path::new("list"), bytes, 3, "c").to_string(), "list:3:6");
    }

    #[test]
    fn line_index_agrees_with_the_text() {
        let source = SourceText::new(Path::new("t"), "one\ntwo é three\n\nfour");
        let index = LineIndex::new(&source);
        for offset in (0..source.text.len()).filter(|offset| source.text.is_char_boundary(*offset)) {
            let place = source.place(offset);
            assert_eq!(index.place(offset), place, "{offset}");
            assert_eq!(Some(index.line(offset)), place.position.map(|position| position.line), "{offset}");
        }
        assert_eq!(index.lines(), 4);
    }

    #[test]
    fn text_that_is_not_utf8_has_its_place() {
        let finding = text_of(Path::new("list"), b"a\nb\xffc").expect_err("not UTF-8");
        assert_eq!(finding.place.as_ref().map(ToString::to_string), Some("list:2:2".to_owned()));
        assert!(finding.is_error() && finding.message.contains("0xff"));
    }
}
