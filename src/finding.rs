//! A finding: one thing that is wrong with an input, with its place and what to do about it.
//!
//! Inside: the finding, its place in a text, and how both are printed for people and for tools.
//! Kept out: what is right or wrong, which every parser decides for itself, and any I/O.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; nothing is refused because of it (unless `check --strict` asks for that).
    Warning,
    /// The input that has it is refused.
    Error,
}

/// Where a finding is: the file, and the line and column where the text has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as the operator named it.
    pub file: PathBuf,
    /// Line, counted from 1, and column in characters, counted from 1, with the line itself.
    pub position: Option<Position>,
}

/// A line and a column in a text, with the line itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// The line, without its end; where it is very long, the part of it around the column.
    pub excerpt: String,
    /// Where in the excerpt the column is, in characters, counted from 0.
    pub mark: u32,
}

/// One thing that is wrong, where it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the input is refused because of it.
    pub severity: Severity,
    /// Where it is; none for what has no file, such as a port that is in use.
    pub place: Option<Place>,
    /// What is wrong, what was expected, and what to do, in one or two sentences.
    pub message: String,
}

impl Finding {
    /// A finding that refuses the input.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: Some(place), message: visible(message.into()) }
    }

    /// A finding that refuses nothing.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place: Some(place), message: visible(message.into()) }
    }

    /// A finding that refuses the input and has no file, such as a port that is in use.
    pub fn without_place(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: None, message: visible(message.into()) }
    }

    /// The same finding, some lines further down in its file.
    #[must_use]
    pub fn moved(&self, lines: u32) -> Self {
        let mut moved = self.clone();
        if let Some(position) = moved.place.as_mut().and_then(|place| place.position.as_mut()) {
            position.line += lines;
        }
        moved
    }

    /// Place and message in one line, for the log: it says the severity itself, and has no room for an excerpt.
    pub fn log_line(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        })
    }

    /// Whether the input is refused because of this finding.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A message quotes what an input has: whatever would break the line, or steer a terminal or the order of the text, is shown
/// escaped.
fn visible(message: String) -> String {
    let is_hidden = |char: char| {
        char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    if !message.contains(is_hidden) {
        return message;
    }
    let mut shown = String::with_capacity(message.len() + 16);
    for char in message.chars() {
        if is_hidden(char) { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

impl Place {
    /// A place that is a whole file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { file: path.into(), position: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(position) = &self.position {
            write!(f, ":{}:{}", position.line, position.column)?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    /// One paragraph: severity, place and message, then the line with a mark under the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let Some(place) = &self.place else {
            return write!(f, "{severity}: {}", self.message);
        };
        write!(f, "{severity}: {place}: {}", self.message)?;
        if let Some(position) = &place.position {
            let number = position.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(position.mark as usize);
            write!(f, "\n  {number} | {}\n  {margin} | {indent}^", position.excerpt)?;
        }
        Ok(())
    }
}

/// A text with its file name, which turns byte offsets into places.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// The file as the operator named it.
    pub file: Arc<Path>,
    /// What is in it.
    pub text: Arc<str>,
}

/// Longer lines are cut in excerpts: a finding is for reading.
const EXCERPT_CHARACTERS: usize = 160;

/// What is shown before the column where the beginning of the line is cut off.
const BEFORE_CHARACTERS: usize = 60;

impl SourceText {
    /// A text under the name that findings give it.
    pub fn new(file: impl Into<Arc<Path>>, text: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// The place of a byte offset; offsets past the end or inside a character are moved back.
    pub fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_index = before.bytes().filter(|byte| *byte == b'\n').count();
        let line = self.text[line_start..].split(['\n', '\r']).next().unwrap_or_default();
        Place { file: self.file.to_path_buf(), position: Some(position(line_index, offset - line_start, line)) }
    }
}

/// The position of a byte offset inside one line, the line's number counted from 0.
pub fn position(line_index: usize, offset_in_line: usize, line: &str) -> Position {
    let column = line.char_indices().take_while(|(at, _)| *at < offset_in_line).count();
    // The column stays in sight with some of what follows it.
    let cut = if column < EXCERPT_CHARACTERS - BEFORE_CHARACTERS { 0 } else { column - BEFORE_CHARACTERS };
    let part = line.chars().skip(cut).take(EXCERPT_CHARACTERS);
    Position {
        line: u32::try_from(line_index + 1).unwrap_or(u32::MAX),
        column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        excerpt: part.map(|c| if c.is_control() { ' ' } else { c }).collect(),
        mark: u32::try_from(column - cut).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_the_line_or_steer_a_terminal_is_shown_escaped() {
        let finding = Finding::without_place("`x\r\n{\"level\"}\u{1b}[31m\u{9b}m\u{2028}\u{202e}` and ü");
        assert_eq!(finding.message, "`x\\r\\n{\"level\"}\\u{1b}[31m\\u{9b}m\\u{2028}\\u{202e}` and ü");
        assert!(matches!(Finding::without_place("plain").message.as_str(), "plain"));
    }

    #[test]
    fn offset_becomes_line_and_column_in_characters() {
        let text = SourceText::new(Path::new("a.toml"), "één = 1\nbad key = 2\r\n");
        let place = text.place("één = 1\nbad ".len());
        let position = place.position.expect("a text has positions");
        assert_eq!((position.line, position.column, position.excerpt.as_str()), (2, 5, "bad key = 2"));
    }

    #[test]
    fn offset_past_the_end_is_the_end() {
        let text = SourceText::new(Path::new("a.toml"), "x");
        assert_eq!(text.place(99).to_string(), "a.toml:1:2");
    }

    #[test]
    fn finding_shows_the_line_and_marks_the_column() {
        let text = SourceText::new(Path::new("a.toml"), "first\nkye = 1\n");
        let shown = Finding::error(text.place(6), "unknown key `kye`").to_string();
        assert_eq!(shown, "error: a.toml:2:1: unknown key `kye`\n  2 | kye = 1\n    | ^");
    }

    #[test]
    fn long_line_is_shown_where_it_is_wrong() {
        let line = format!("hosts = [{}\"exa mple\"]", "\"host.example\", ".repeat(40));
        let text = SourceText::new(Path::new("a.toml"), line.as_str());
        let shown = Finding::error(text.place(line.find("\"exa").expect("it is there")), "a space").to_string();
        let mut lines = shown.lines().skip(1);
        let (excerpt, mark) = (lines.next().expect("an excerpt"), lines.next().expect("a mark"));
        assert_eq!(excerpt.get(mark.len() - 1..), Some("\"exa mple\"]"), "{shown}");
        assert!(shown.starts_with("error: a.toml:1:650: "), "{shown}");
    }

    #[test]
    fn line_of_the_log_has_place_and_message_and_nothing_to_escape() {
        let text = SourceText::new(Path::new("a.toml"), "first\nkye = \"1\"\n");
        let warning = Finding::warning(text.place(6), "unknown key `kye`");
        assert_eq!(warning.log_line().to_string(), "a.toml:2:1: unknown key `kye`");
        assert_eq!(Finding::without_place("port 80 is in use").log_line().to_string(), "port 80 is in use");
    }
}
