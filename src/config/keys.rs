//! What is known of a key of the configuration: its kind, its range, its default and what it is for.
//!
//! Inside: the types, and how a duration is written. Kept out: the keys themselves (`sections.rs`).

/// A table of the configuration.
#[derive(Debug)]
pub(super) struct Section {
    /// The name with dots; `NAME` stands for a name that the operator chooses, `[]` ends a list of tables.
    pub(super) name: &'static str,
    /// What the table is for, in one or two sentences.
    pub(super) about: &'static str,
    /// Its keys, in the order of the documentation.
    pub(super) keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    /// The name.
    pub(super) name: &'static str,
    /// What its value may be.
    pub(super) kind: Kind,
    /// The default as TOML, or in words where it is not one value; [`REQUIRED`] where there is none.
    pub(super) default: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A path, relative to the file that names it.
    Path,
    /// A whole number, both ends included.
    Integer(u64, u64),
    /// A duration in milliseconds, both ends included.
    Duration(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of strings.
    Strings,
    /// A table, which has its own section.
    Table,
}

/// The default of a key that must be there.
pub(super) const REQUIRED: &str = "required";

impl Section {
    /// The key of that name. The walker asks for documented keys only.
    pub(super) fn key(&self, name: &str) -> &'static Key {
        self.keys.iter().find(|key| key.name == name).expect("every key of the walker is in the reference")
    }
}

/// `"200ms"`, `"5s"`, `"2m"`, `"1h"` or `"7d"`: the largest unit that divides the milliseconds.
pub(super) fn duration_text(milliseconds: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let largest = units.into_iter().find(|(_, unit)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    match largest {
        Some((name, unit)) => format!("{}{name}", milliseconds / unit),
        None if milliseconds == 0 => "0s".to_owned(),
        None => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_their_largest_unit() {
        for (milliseconds, text) in [(0, "0s"), (10, "10ms"), (1_500, "1500ms"), (5_000, "5s"), (90_000, "90s")] {
            assert_eq!(duration_text(milliseconds), text);
        }
        assert_eq!((duration_text(3_600_000), duration_text(604_800_000)), ("1h".to_owned(), "7d".to_owned()));
    }
}
