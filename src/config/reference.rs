//! The documentation of the configuration, made from the same table that the walker reads its ranges from.
//!
//! Inside: Markdown for people, a JSON schema for editors. Kept out: the keys themselves (`sections.rs`).

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::keys::{Kind, REQUIRED, duration_text};
use super::sections::{SECTIONS, section};

impl Kind {
    /// In words, for the documentation.
    fn in_words(self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Integer(least, most) => format!("{least} to {most}"),
            Self::Duration(least, most) => format!("duration, {} to {}", duration_text(least), duration_text(most)),
            Self::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
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
    let schema =
        json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
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
    fn documentation_is_what_the_reference_makes() {
        let page = include_str!("../../docs/configuration.md");
        assert!(page == markdown(), "docs/configuration.md is behind: `cargo run --example reference`");
        let schema = include_str!("../../docs/configuration.schema.json");
        assert!(schema == schema_text(), "docs/configuration.schema.json is behind: `cargo run --example reference`");
    }

    fn schema_text() -> String {
        format!("{:#}\n", json_schema())
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
