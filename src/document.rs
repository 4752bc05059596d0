//! A TOML document that is walked key by key, so that everything wrong with it is found in one run.
//!
//! Inside: typed access to keys with findings for the missing, the mistyped and the unknown.
//! Kept out: what the keys mean. Derived deserialisers stop at the first error, which is why this exists.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

use crate::finding::{Finding, Place, SourceText};

/// A value with the byte range where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the document.
    pub span: Range<usize>,
}

/// Collects what is wrong with one document.
#[derive(Debug)]
pub struct Report<'d> {
    source: &'d SourceText,
    findings: RefCell<Vec<Finding>>,
    errors: Cell<usize>,
    warnings: Cell<usize>,
}

/// Errors, and warnings, that are kept of one document; the others are counted. To place one costs a look at the whole
/// text before it, and nobody reads a hundred thousand.
const KEPT: usize = 1_000;

impl<'d> Report<'d> {
    /// An empty report on a text.
    pub fn new(source: &'d SourceText) -> Self {
        Self { source, findings: RefCell::default(), errors: Cell::new(0), warnings: Cell::new(0) }
    }

    /// The place of a range of the text.
    pub fn place(&self, span: &Range<usize>) -> Place {
        self.source.place(span.start)
    }

    /// Records an error at a range.
    pub fn error(&self, span: &Range<usize>, message: impl Into<String>) {
        if counts_as_kept(&self.errors) {
            self.findings.borrow_mut().push(Finding::error(self.place(span), message));
        }
    }

    /// Records a warning at a range.
    pub fn warning(&self, span: &Range<usize>, message: impl Into<String>) {
        if counts_as_kept(&self.warnings) {
            self.findings.borrow_mut().push(Finding::warning(self.place(span), message));
        }
    }

    /// Whether an error was recorded.
    pub fn has_errors(&self) -> bool {
        self.errors.get() > 0
    }

    /// Everything that was recorded, in the order of the text, and how much was left out.
    pub fn into_findings(self) -> Vec<Finding> {
        let left_out = |count: &Cell<usize>| count.get().saturating_sub(KEPT);
        let (errors, warnings) = (left_out(&self.errors), left_out(&self.warnings));
        let whole = self.place(&(0..0)).file;
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| {
            let position = finding.place.as_ref().and_then(|place| place.position.as_ref());
            position.map(|position| (position.line, position.column))
        });
        if errors > 0 {
            findings.push(Finding::error(Place::file(&whole), format!("{errors} more errors are not shown")));
        }
        if warnings > 0 {
            findings.push(Finding::warning(Place::file(&whole), format!("{warnings} more warnings are not shown")));
        }
        findings
    }
}

/// Counts one more, and says whether it is among those that are kept.
fn counts_as_kept(count: &Cell<usize>) -> bool {
    count.set(count.get() + 1);
    count.get() <= KEPT
}

/// How the message of every syntax error begins.
const NOT_TOML: &str = "not TOML: ";

/// The findings that are sure: a document whose syntax is broken is known in part only, and what seems missing,
/// unused or unknown may be in the rest. A key that is there twice breaks nothing else.
pub fn without_guesses(mut findings: Vec<Finding>) -> Vec<Finding> {
    let is_syntax = |finding: &Finding| finding.message.starts_with(NOT_TOML);
    if findings.iter().any(|finding| is_syntax(finding) && !finding.message.ends_with("duplicate key")) {
        findings.retain(is_syntax);
    }
    findings
}

/// Parses a text; syntax errors go to the report, and what could be read is returned beside them.
pub fn parse<'i>(source: &'i SourceText, report: &Report<'_>) -> Spanned<DeTable<'i>> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        report.error(&error.span().unwrap_or(0..0), format!("{NOT_TOML}{}", error.message()));
    }
    document
}

/// One table of a document, which remembers the keys that were asked for.
#[derive(Debug)]
pub struct Table<'d> {
    report: &'d Report<'d>,
    name: String,
    span: Range<usize>,
    entries: &'d DeTable<'d>,
    known: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    /// The document's top level.
    pub fn root(document: &'d Spanned<DeTable<'d>>, report: &'d Report<'d>) -> Self {
        Self::new(report, String::new(), 0..0, document.get_ref())
    }

    fn new(report: &'d Report<'d>, name: String, span: Range<usize>, entries: &'d DeTable<'d>) -> Self {
        Self { report, name, span, entries, known: RefCell::default() }
    }

    /// The table's own name with dots, empty at the top.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the table stands.
    pub fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// Where its findings go.
    pub fn report(&self) -> &'d Report<'d> {
        self.report
    }

    /// The full name of a key of this table.
    pub fn key_name(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn entry(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().push(key);
        self.entries.get(key)
    }

    fn typed<T>(
        &self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<Located<T>> {
        let entry = self.entry(key)?;
        let Some(value) = convert(entry.get_ref()) else {
            let found = kind(entry.get_ref());
            self.report.error(&entry.span(), format!("`{}` is {found}; expected {expected}", self.key_name(key)));
            return None;
        };
        Some(Located { value, span: entry.span() })
    }

    /// Whether the key is there at all, of whatever type.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Takes note of a key without reading it; where it stands, if it is there.
    pub fn mark_known(&self, key: &'static str) -> Option<Range<usize>> {
        self.entry(key).map(Spanned::span)
    }

    /// Records that a key is missing where it is.
    pub fn require(&self, key: &'static str, why: &str) {
        if !self.has(key) {
            self.known.borrow_mut().push(key);
            let because = if why.is_empty() { String::new() } else { format!(": {why}") };
            self.report.error(&self.span, format!("`{}` is missing{because}", self.key_name(key)));
        }
    }

    /// A string.
    pub fn string(&self, key: &'static str) -> Option<Located<&'d str>> {
        self.typed(key, "a string in quotes", DeValue::as_str)
    }

    /// A string that must be there.
    pub fn required_string(&self, key: &'static str) -> Option<Located<&'d str>> {
        self.require(key, "");
        self.string(key)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<Located<bool>> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number within a range.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Located<u64>> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let found = self.typed(key, &expected, |value| value.as_integer().cloned())?;
        let digits: String = found.value.as_str().chars().filter(|c| *c != '_').collect();
        match u64::from_str_radix(digits.trim_start_matches('+'), found.value.radix()) {
            Ok(value) if range.contains(&value) => Some(Located { value, span: found.span }),
            _ => {
                self.report.error(&found.span, format!("`{}` is {digits}; expected {expected}", self.key_name(key)));
                None
            }
        }
    }

    /// A duration such as `"200ms"`, `"5s"`, `"2m"` or `"1h"`.
    pub fn duration(&self, key: &'static str) -> Option<Located<Duration>> {
        let text = self.typed(key, "a duration such as \"200ms\", \"5s\" or \"1h\"", DeValue::as_str)?;
        match parse_duration(text.value) {
            Some(value) => Some(Located { value, span: text.span }),
            None => {
                let message = format!(
                    "`{}` is \"{}\"; expected a duration such as \"200ms\", \"5s\" or \"1h\"",
                    self.key_name(key),
                    text.value
                );
                self.report.error(&text.span, message);
                None
            }
        }
    }

    /// A date or a date-time.
    pub fn datetime(&self, key: &'static str) -> Option<Located<Datetime>> {
        self.typed(
            key,
            "a date such as 2026-11-21 or a date-time such as 2026-11-21T20:15:00Z, without quotes",
            |value| value.as_datetime().copied(),
        )
    }

    /// A list of strings; items of another type are reported one by one and left out.
    pub fn strings(&self, key: &'static str) -> Option<Located<Vec<Located<&'d str>>>> {
        let list = self.typed(key, "a list of strings", DeValue::as_array)?;
        let mut items = Vec::new();
        for item in list.value {
            match item.get_ref().as_str() {
                Some(value) => items.push(Located { value, span: item.span() }),
                None => {
                    let found = kind(item.get_ref());
                    let message = format!("`{}` has {found}; expected strings only", self.key_name(key));
                    self.report.error(&item.span(), message);
                }
            }
        }
        Some(Located { value: items, span: list.span })
    }

    /// A table below this one.
    pub fn table(&self, key: &'static str) -> Option<Self> {
        let found = self.typed(key, "a table", DeValue::as_table)?;
        Some(Self::new(self.report, self.key_name(key), found.span, found.value))
    }

    /// The tables of a `[[key]]`.
    pub fn array_of_tables(&self, key: &'static str) -> Vec<Self> {
        let Some(list) = self.typed(key, "a list of tables ([[...]])", DeValue::as_array) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list.value {
            match item.get_ref().as_table() {
                Some(entries) => tables.push(Self::new(self.report, self.key_name(key), item.span(), entries)),
                None => {
                    self.report.error(&item.span(), format!("`{}` is a list of tables ([[{key}]])", self.key_name(key)))
                }
            }
        }
        tables
    }

    /// The tables below `key`, each under a name that the operator chose, in the order of the text.
    pub fn named_tables(&self, key: &'static str) -> Vec<(Located<&'d str>, Self)> {
        let Some(parent) = self.table(key) else { return Vec::new() };
        parent.each_named()
    }

    /// The tables in this table, each under a name that the operator chose, in the order of the text.
    pub fn each_named(&self) -> Vec<(Located<&'d str>, Self)> {
        let mut tables = Vec::new();
        for (name, value) in self.entries {
            let full_name = self.key_name(name.get_ref());
            match value.get_ref().as_table() {
                Some(entries) => {
                    let located = Located { value: name.get_ref().as_ref(), span: name.span() };
                    tables.push((located, Self::new(self.report, full_name, name.span(), entries)));
                }
                None => self.report.error(&value.span(), format!("`{full_name}` must be a table ([{full_name}])")),
            }
        }
        tables.sort_by_key(|(name, _)| name.span.start);
        tables
    }

    /// The strings of a table whose keys the operator chose (`summary.en = "..."`).
    pub fn each_string(&self) -> Vec<(Located<&'d str>, Located<&'d str>)> {
        let mut strings = Vec::new();
        for (name, value) in self.entries {
            match value.get_ref().as_str() {
                Some(text) => strings.push((
                    Located { value: name.get_ref().as_ref(), span: name.span() },
                    Located { value: text, span: value.span() },
                )),
                None => {
                    let message = format!("`{}` must be a string in quotes", self.key_name(name.get_ref()));
                    self.report.error(&value.span(), message);
                }
            }
        }
        strings.sort_by_key(|(name, _)| name.span.start);
        strings
    }

    /// Reports every key that nobody asked for, with the nearest known one, else with all of them.
    pub fn finish(self) {
        let known = self.known.borrow();
        for name in self.entries.keys() {
            let key = name.get_ref().as_ref();
            if known.contains(&key) {
                continue;
            }
            let hint = match nearest(key, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected {}", one_of(&known)),
            };
            self.report.error(&name.span(), format!("unknown key `{}`; {hint}", self.key_name(key)));
        }
    }
}

/// `a`, `b` or `c`, each once, by the alphabet.
fn one_of(keys: &[&str]) -> String {
    let keys: BTreeSet<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let keys: Vec<String> = keys.into_iter().collect();
    match keys.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "no key".to_owned(),
    }
}

/// What a value is, in words.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Reads `"200ms"`, `"5s"`, `"2m"`, `"1h"`, `"1d"`; none for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    // A hundred years keeps every sum of a time and a duration inside its type.
    (milliseconds <= 100 * 366 * 86_400_000).then(|| Duration::from_millis(milliseconds))
}

/// The candidate that is at most two edits away, the nearest first.
pub fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let near = candidates.iter().map(|candidate| (edit_distance(word, candidate), *candidate)).min()?;
    (near.0 <= 2 && near.0 < word.len()).then_some(near.1)
}

fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn findings(text: &str, walk: impl Fn(&Table<'_>)) -> Vec<String> {
        let source = SourceText::new(Path::new("t.toml"), text);
        let report = Report::new(&source);
        let document = parse(&source, &report);
        let report_ref = &report;
        let root = Table::root(&document, report_ref);
        walk(&root);
        root.finish();
        report.into_findings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn document_that_is_wrong_everywhere_has_bounded_findings() {
        let text = "a = 1\n".repeat(5_000);
        let found = findings(&text, |_| {});
        assert_eq!(found.len(), KEPT + 1);
        assert!(found[KEPT].contains("4000 more errors are not shown"), "{}", found[KEPT]);
    }

    #[test]
    fn everything_wrong_is_found_in_one_run() {
        let found = findings("name = 3\nworkerz = 2\nwait = \"5 parsecs\"\ncount = 70000\n", |root| {
            assert!(root.string("name").is_none());
            assert!(root.integer("workers", 0..=10).is_none());
            assert!(root.duration("wait").is_none());
            assert!(root.integer("count", 1..=65_535).is_none());
            root.require("address", "");
        });
        assert_eq!(found.len(), 5, "{found:#?}");
        assert!(found.iter().any(|f| f.contains("t.toml:2:1: unknown key `workerz`; did you mean `workers`?")));
        assert!(found.iter().any(|f| f.contains("t.toml:3:8: `wait` is \"5 parsecs\"")));
        assert!(found.iter().any(|f| f.contains("`address` is missing")));
    }

    #[test]
    fn key_that_is_like_none_is_told_with_those_that_there_are() {
        let found = findings("x = 1\nworkers = 2\n", |root| {
            root.require("workers", "");
            root.integer("workers", 0..=64);
            root.strings("addresses");
        });
        assert!(found[0].contains("unknown key `x`; expected `addresses` or `workers`"), "{found:?}");
    }

    #[test]
    fn syntax_error_has_its_place() {
        let found = findings("a = \nb = 1\n", |root| {
            root.integer("a", 0..=9);
            root.integer("b", 0..=9);
        });
        assert!(found[0].contains("t.toml:1:"), "{found:#?}");
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [("0s", 0), ("200ms", 200), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "5 s", "5S", "1.5s", "99999999999999999999h", "99999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
