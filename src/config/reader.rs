//! One table of the configuration together with its section of the reference.
//!
//! Inside: typed access whose ranges and choices come from the reference. Kept out: which keys there are
//! (`sections.rs`), which are asked for (`raw.rs`), and what they mean.

use std::time::Duration;

use crate::document::{Located, Table, nearest};

use super::keys::{Kind, Section, duration_text};
use super::sections::section;

/// One table and what the reference says about it.
#[derive(Debug)]
pub(super) struct Reader<'d> {
    table: Table<'d>,
    section: &'static Section,
}

impl<'d> Reader<'d> {
    /// A table that the section of that name describes.
    pub(super) fn new(table: Table<'d>, section_name: &str) -> Self {
        Self { table, section: section(section_name) }
    }

    /// The table below a key, with its own section.
    pub(super) fn below(&self, key: &'static str, section_name: &str) -> Option<Self> {
        self.section.key(key);
        Some(Self::new(self.table.table(key)?, section_name))
    }

    /// The table below a key that another part reads, such as a decision record.
    pub(super) fn foreign(&self, key: &'static str) -> Option<Table<'d>> {
        self.section.key(key);
        self.table.table(key)
    }

    /// The tables below a key under names that the operator chose.
    pub(super) fn named(&self, key: &'static str, section_name: &str) -> Vec<(Located<&'d str>, Self)> {
        self.section.key(key);
        let tables = self.table.named_tables(key).into_iter();
        tables.map(|(name, table)| (name, Self::new(table, section_name))).collect()
    }

    /// The tables of a `[[key]]`.
    pub(super) fn list(&self, key: &'static str, section_name: &str) -> Vec<Self> {
        self.section.key(key);
        let tables = self.table.array_of_tables(key).into_iter();
        tables.map(|table| Self::new(table, section_name)).collect()
    }

    /// The table itself.
    pub(super) fn table(&self) -> &Table<'d> {
        &self.table
    }

    /// A string that says something.
    pub(super) fn text(&self, key: &'static str) -> Option<Located<&'d str>> {
        self.section.key(key);
        let found = self.table.string(key)?;
        if found.value.trim().is_empty() {
            let message = format!("`{}` is empty; give it a value or leave the key out", self.table.key_name(key));
            self.table.report().error(&found.span, message);
            return None;
        }
        Some(found)
    }

    /// A string that must be there.
    pub(super) fn required_text(&self, key: &'static str, why: &str) -> Option<Located<&'d str>> {
        self.table.require(key, why);
        self.text(key)
    }

    /// A list of strings.
    pub(super) fn strings(&self, key: &'static str) -> Option<Located<Vec<Located<&'d str>>>> {
        self.section.key(key);
        self.table.strings(key)
    }

    /// A whole number in the range of the reference.
    pub(super) fn integer(&self, key: &'static str) -> Option<Located<u64>> {
        let Kind::Integer(least, most) = self.section.key(key).kind else {
            unreachable!("the reference says that `{key}` is no number")
        };
        self.table.integer(key, least..=most)
    }

    /// A duration in the range of the reference.
    pub(super) fn duration(&self, key: &'static str) -> Option<Located<Duration>> {
        let Kind::Duration(least, most) = self.section.key(key).kind else {
            unreachable!("the reference says that `{key}` is no duration")
        };
        let found = self.table.duration(key)?;
        if found.value < Duration::from_millis(least) || found.value > Duration::from_millis(most) {
            let shown = u64::try_from(found.value.as_millis()).map_or_else(|_| "too long".to_owned(), duration_text);
            let message = format!(
                "`{}` is \"{shown}\"; expected a duration from \"{}\" to \"{}\"",
                self.table.key_name(key),
                duration_text(least),
                duration_text(most)
            );
            self.table.report().error(&found.span, message);
            return None;
        }
        Some(found)
    }

    /// One of the words of the reference.
    pub(super) fn choice(&self, key: &'static str) -> Option<Located<&'static str>> {
        let Kind::Choice(words) = self.section.key(key).kind else {
            unreachable!("the reference says that `{key}` is no choice")
        };
        let found = self.table.string(key)?;
        if let Some(value) = words.iter().find(|word| **word == found.value) {
            return Some(Located { value, span: found.span });
        }
        let message = format!(
            "`{}` is \"{}\"; expected {}{}",
            self.table.key_name(key),
            found.value,
            one_of(words),
            did_you_mean(found.value, words)
        );
        self.table.report().error(&found.span, message);
        None
    }

    /// A key that a later version will have: an error that says so.
    pub(super) fn not_yet(&self, key: &'static str, what: &str) {
        if let Some(span) = self.table.mark_known(key) {
            let message =
                format!("`{}`: this version does not have {what} yet; take the key out", self.table.key_name(key));
            self.table.report().error(&span, message);
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        self.table.finish();
    }
}

/// `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// `; did you mean "x"?`, or nothing.
pub(super) fn did_you_mean(word: &str, candidates: &[&str]) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default()
}
