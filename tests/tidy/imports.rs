//! Who imports whom in `src`.
//!
//! Inside: the paths of a file, resolved to modules. Kept out: which imports are allowed (`tidy.rs`); re-exports are
//! not followed.

use std::collections::BTreeSet;

use super::scan::{SourceFile, code_lines, rust_files};

/// One import of a module of this crate.
pub struct Import {
    /// File and line.
    pub place: String,
    /// The module that imports.
    pub from: Vec<String>,
    /// The module that it imports.
    pub to: Vec<String>,
}

/// Every path that begins with `crate::`, `super::` or `sluis::` outside tests, resolved to a module.
pub fn imports() -> Vec<Import> {
    let files = rust_files("src");
    let modules: BTreeSet<Vec<String>> = files.iter().map(SourceFile::module).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.module().is_empty()) {
        let from = file.module();
        for (number, statement) in statements(&code_lines(&file.without_tests())) {
            for path in paths(&statement, &from) {
                let known = (0..=path.len()).rev().find(|n| modules.contains(&path[..*n])).unwrap_or(0);
                let to = path[..known].to_vec();
                if !to.is_empty() && to != from {
                    found.push(Import { place: format!("{}:{number}", file.name), from: from.clone(), to });
                }
            }
        }
    }
    assert!(!found.is_empty(), "no import was found: the scan is broken");
    found
}

/// The lines, with each `use` of several lines made one.
fn statements(code: &[(usize, &str)]) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (number, line) in code {
        match found.last_mut() {
            Some((_, open)) if open.trim_start_matches("pub ").starts_with("use ") && !open.contains(';') => {
                open.push_str(line.trim());
            }
            _ => found.push((*number, line.trim_start().to_owned())),
        }
    }
    found
}

/// The absolute paths that a statement in the module `from` names.
fn paths(statement: &str, from: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (marker, up) in [("crate::", from.len()), ("sluis::", from.len()), ("super::", 1)] {
        for (at, _) in statement.match_indices(marker) {
            if statement[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '"')) {
                continue;
            }
            let mut rest = &statement[at + marker.len()..];
            let mut base = from[..from.len().saturating_sub(up)].to_vec();
            while let Some(above) = rest.strip_prefix("super::") {
                base.pop();
                rest = above;
            }
            found.extend(expand(rest).into_iter().map(|path| base.iter().cloned().chain(path).collect()));
        }
    }
    found
}

/// The paths of `a::{b, c::d}` and of `a::b::C`, one group deep at the start and any depth in each.
fn expand(path: &str) -> Vec<Vec<String>> {
    let simple = |text: &str| -> Vec<String> {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        text[..end].split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
    };
    let Some(open) = path.find('{').filter(|open| !path[..*open].contains([';', ' ', '(', ',', '<', '&'])) else {
        return vec![simple(path)];
    };
    let prefix = simple(&path[..open]);
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for character in path[open..].chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => parts.push(String::new()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let last = parts.len() - 1;
        if depth > 1 || !matches!(character, '{' | ',') {
            parts[last].push(character);
        }
    }
    parts.iter().map(|part| prefix.iter().cloned().chain(simple(part.trim())).collect()).collect()
}
