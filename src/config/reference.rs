//! Every key of the configuration: its kind, its range, its default and what it is for.
//!
//! Inside: the one table that the walker reads its ranges and choices from, and the documentation made of
//! it (Markdown and JSON schema), so that neither can fall behind. Kept out: reading a document.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::sections::SECTIONS;

/// A table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// The name with dots; `NAME` stands for a name that the operator chooses, `[]` ends a list of tables.
    pub name: &'static str,
    /// What the table is for, in one or two sentences.
    pub about: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The default as TOML, or in words where it is not one value; [`REQUIRED`] where there is none.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
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
pub const REQUIRED: &str = "required";

impl Section {
    /// The key of that name. The walker asks for documented keys only.
    pub(super) fn key(&self, name: &str) -> &'static Key {
        self.keys.iter().find(|key| key.name == name).expect("every key of the walker is in the reference")
    }
}

/// The section of that name. The walker asks for documented sections only.
pub(super) fn section(name: &str) -> &'static Section {
    SECTIONS.iter().find(|section| section.name == name).expect("every table of the walker is in the reference")
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

impl Kind {
    /// In words, for the documentation.
    fn in_words(self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Integer(least, most) => format!("{least} to {most}"),
            Self::Duration(least, most) => format!("duration, {} to {}", duration_text(least), duration_text(most)),
            Self::Choice(words) => {
                words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
            }
            Self::Strings => "list of strings".to_owned(),
            Self::Table => "table".to_owned(),
        }
    }

    fn schema(self) -> Value {
        match self {
            Self::Text | Self::Path => json!({"type": "string", "minLength": 1}),
            Self::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Self::Duration(..) => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
            Self::Choice(words) => json!({"enum": words}),
            Self::Strings => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
            Self::Table => json!({"type": "object"}),
        }
    }
}

/// The reference as Markdown: `docs/configuration.md`, byte for byte.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         Made from `src/config/sections.rs`; a test keeps the two in step. A complete, commented example is\n\
         [`config/sluis.toml`](../config/sluis.toml), the smallest one [`config/minimal.toml`](../config/minimal.toml).\n\n\
         TOML. An unknown key is an error. Relative paths are relative to the file that names them. Durations are\n\
         written `\"200ms\"`, `\"5s\"`, `\"2m\"`, `\"1h\"`, `\"7d\"`. Every mistake is reported in one run of `sluis check`,\n\
         each with file, line and column.\n",
    );
    for section in SECTIONS.iter().filter(|section| !section.name.is_empty()) {
        let heading = heading(section.name);
        let _ = write!(text, "\n## `{heading}`\n\n{}\n\n", section.about);
        text.push_str("| key | value | default | what it is for |\n|---|---|---|---|\n");
        for key in section.keys.iter().filter(|key| !matches!(key.kind, Kind::Table)) {
            let default = if is_literal(key.default) { format!("`{}`", key.default) } else { key.default.to_owned() };
            let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.name, key.kind.in_words(), key.about);
        }
    }
    text
}

fn heading(name: &str) -> String {
    name.strip_suffix("[]").map_or_else(|| format!("[{name}]"), |list| format!("[[{list}]]"))
}

/// Whether a default is TOML and not words.
pub(super) fn is_literal(default: &str) -> bool {
    default.starts_with(['"', '[']) || default.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}

/// The reference as a JSON schema (draft 2020-12), for editors that complete TOML.
pub fn json_schema() -> Value {
    let mut schema = object("");
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("sluis configuration"));
    Value::Object(schema)
}

/// The schema of a section with everything below it.
fn object(name: &str) -> Map<String, Value> {
    let section = section(name);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in section.keys {
        let mut schema = match key.kind {
            Kind::Table => below(name, key.name),
            kind => kind.schema(),
        };
        schema["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), schema);
        if key.default == REQUIRED {
            required.push(key.name);
        }
    }
    let schema = json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The schema of a table key: one table, a table of named tables, a list of tables, or a record that has its own page.
fn below(parent: &str, key: &str) -> Value {
    let name = if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") };
    let exists = |name: &str| SECTIONS.iter().any(|section| section.name == name);
    if exists(&name) {
        Value::Object(object(&name))
    } else if exists(&format!("{name}.NAME")) {
        json!({"type": "object", "additionalProperties": object(&format!("{name}.NAME"))})
    } else if exists(&format!("{name}[]")) {
        json!({"type": "array", "items": object(&format!("{name}[]"))})
    } else {
        json!({"type": "object"})
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

    #[test]
    fn documentation_is_what_the_reference_makes() {
        let page = include_str!("../../docs/configuration.md");
        assert!(page == markdown(), "docs/configuration.md is behind: write it anew (see write_the_documentation)");
        let schema = include_str!("../../docs/configuration.schema.json");
        assert!(schema == schema_text(), "docs/configuration.schema.json is behind (see write_the_documentation)");
    }

    fn schema_text() -> String {
        format!("{:#}\n", json_schema())
    }

    /// `cargo test --lib write_the_documentation -- --ignored` brings docs/ in step.
    #[test]
    #[ignore = "writes into docs/"]
    fn write_the_documentation() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        std::fs::write(docs.join("configuration.md"), markdown()).expect("docs/ can be written");
        std::fs::write(docs.join("configuration.schema.json"), schema_text()).expect("docs/ can be written");
    }

    #[test]
    fn no_key_and_no_section_stands_twice() {
        for section in SECTIONS {
            assert_eq!(SECTIONS.iter().filter(|other| other.name == section.name).count(), 1, "{}", section.name);
            for key in section.keys {
                let same = section.keys.iter().filter(|other| other.name == key.name).count();
                assert_eq!(same, 1, "{}.{}", section.name, key.name);
            }
        }
    }
}
