//! The style that matters, held by a plain text scan: layers, sizes, the request path, docs in step.
//!
//! Inside: one test a rule of ARCHITECTURE.md and CONTRIBUTING.md. Kept out: what the compiler, clippy and
//! rustfmt hold already, and any parsing of Rust beyond lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A part imports only from lower layers; in the lowest, where every part is small,
/// also from parts that stand before it in this list.
const LAYERS: &[&[&str]] = &[
    &["live", "finding", "document", "host", "telemetry", "drain", "whole_file", "kept_copy", "file_watch"],
    &["blocklist", "tls"],
    &["notice", "journal"],
    &["proxy"],
    &["admin"],
    &["config"],
    &["app"],
    &["cli"],
    &["main"],
];

/// The request path: files (or all files of a folder) that run for every request.
const REQUEST_PATH: &[&str] =
    &["host.rs", "live.rs", "telemetry/counter.rs", "blocklist/index/", "proxy/service.rs", "proxy/forward.rs"];

/// What a file of the request path must not say: locks, file I/O, formatting, panics, logging above debug.
const NOT_ON_THE_REQUEST_PATH: &[&str] = &[
    "Mutex",
    "RwLock",
    "format!",
    ".unwrap()",
    ".expect(",
    "panic!(",
    "info!(",
    "warn!(",
    "error!(",
    "std::fs",
    "fs::",
    "println!",
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 40;

#[test]
fn every_file_starts_with_what_is_inside() {
    let mut problems = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches")) {
        if !file.text.starts_with("//! ") {
            problems.push(format!("{}: does not start with `//!`", file.name));
        }
    }
    report(&problems);
}

#[test]
fn files_and_functions_are_short() {
    let mut problems = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let body = file.without_tests();
        let lines = body.len();
        let most = if file.name == "src/main.rs" { MAIN_LINES } else { FILE_LINES };
        if lines > most {
            problems.push(format!("{}: {lines} lines, at most {most}", file.name));
        }
        for (line, name, length) in functions(&body) {
            if length > FUNCTION_LINES {
                problems.push(format!("{}:{line}: fn {name} has {length} lines, at most {FUNCTION_LINES}", file.name));
            }
        }
    }
    report(&problems);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut problems = Vec::new();
    for file in rust_files("src") {
        for (number, line) in code_lines(&file.without_tests()) {
            if line.contains(".unwrap()") {
                problems.push(format!("{}:{number}: unwrap", file.name));
            }
        }
    }
    report(&problems);
}

#[test]
fn request_path_neither_locks_nor_reads_nor_formats() {
    let mut problems = Vec::new();
    let files = rust_files("src");
    for starred in REQUEST_PATH {
        let path = format!("src/{starred}");
        let mut found = false;
        for file in files.iter().filter(|file| file.name == path || path.ends_with('/') && file.name.starts_with(&path))
        {
            found = true;
            for (number, line) in code_lines(&file.without_tests()) {
                for word in NOT_ON_THE_REQUEST_PATH.iter().filter(|word| line.contains(**word)) {
                    problems.push(format!("{}:{number}: `{word}` on the request path", file.name));
                }
            }
        }
        if !found {
            problems.push(format!("{path}: is on the request path by tests/tidy.rs, and is not there"));
        }
    }
    report(&problems);
}

#[test]
fn imports_go_down_the_layers() {
    let mut problems = Vec::new();
    for import in imports() {
        let (from, to) = (&import.from[0], &import.to[0]);
        if from == to {
            continue;
        }
        match (layer(from), layer(to)) {
            (None, _) => problems.push(format!("{}: `{from}` has no layer in tests/tidy.rs", import.place)),
            (_, None) => problems.push(format!("{}: `{to}` has no layer in tests/tidy.rs", import.place)),
            (Some(importer), Some(imported)) => {
                let lower =
                    imported.0 < importer.0 || imported.0 == importer.0 && importer.0 == 0 && imported < importer;
                if !lower {
                    problems.push(format!("{}: `{from}` may not import `{to}`", import.place));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn files_of_one_folder_import_only_what_stands_above_them() {
    let files: BTreeMap<String, SourceFile> = rust_files("src").into_iter().map(|f| (f.name.clone(), f)).collect();
    let mut problems = Vec::new();
    for import in imports() {
        let common = import.from.iter().zip(&import.to).take_while(|(a, b)| a == b).count();
        if common == 0 || common >= import.from.len() || common >= import.to.len() {
            continue;
        }
        let folder = import.from[..common].join("/");
        let inside = [format!("src/{folder}/mod.rs"), format!("src/{folder}.rs")];
        let Some(file) = inside.iter().find_map(|name| files.get(name)) else { continue };
        let order: Vec<&str> = file.text.lines().filter_map(declared_module).collect();
        let place = |unit: &String| order.iter().position(|module| module == unit);
        let (importer, imported) = (&import.from[common], &import.to[common]);
        if place(imported) >= place(importer) {
            problems.push(format!("{}: `{imported}` stands below `{importer}` in {}", import.place, file.name));
        }
    }
    report(&problems);
}

#[test]
fn every_file_is_reached_from_the_crate_root() {
    let mut reached = BTreeSet::from(["src/main.rs".to_owned(), "src/lib.rs".to_owned()]);
    let files: BTreeMap<String, SourceFile> = rust_files("src").into_iter().map(|f| (f.name.clone(), f)).collect();
    let mut open = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(name) = open.pop() {
        let Some(file) = files.get(&name) else { continue };
        let parent = name.trim_end_matches(".rs");
        let folder = match parent.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => parent,
        };
        for module in file.text.lines().filter_map(declared_module) {
            for candidate in [format!("{folder}/{module}.rs"), format!("{folder}/{module}/mod.rs")] {
                if files.contains_key(&candidate) && reached.insert(candidate.clone()) {
                    open.push(candidate);
                }
            }
        }
    }
    let lost: Vec<String> = files.keys().filter(|name| !reached.contains(*name)).cloned().collect();
    assert!(lost.is_empty(), "no `mod` line leads to {lost:?}");
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let documented = words_with_prefix(&read("docs/metrics.md"), "sluis_");
    let mut exported = BTreeSet::new();
    for file in rust_files("src") {
        for (_, line) in code_lines(&file.without_tests()) {
            for literal in line.split('"').skip(1).step_by(2) {
                exported.extend(words_with_prefix(literal, "sluis_"));
            }
        }
    }
    let stem = |name: &String| -> String {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let exported: BTreeSet<String> = exported.iter().map(stem).collect();
    let documented: BTreeSet<String> = documented.iter().map(stem).collect();
    let undocumented: Vec<_> = exported.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&exported).collect();
    assert!(undocumented.is_empty(), "docs/metrics.md does not name {undocumented:?}");
    assert!(invented.is_empty(), "docs/metrics.md names {invented:?}, which nothing exports");
}

#[test]
fn alert_rules_use_documented_metrics_only() {
    let documented = words_with_prefix(&read("docs/metrics.md"), "sluis_");
    let used = words_with_prefix(&read("deploy/prometheus/sluis.rules.yml"), "sluis_");
    let unknown: Vec<_> = used.difference(&documented).collect();
    assert!(unknown.is_empty(), "deploy/prometheus/sluis.rules.yml uses {unknown:?}");
}

#[test]
fn every_limit_is_in_the_complete_example_and_in_the_documentation() {
    let limits = read("src/proxy/limits.rs");
    let fields: Vec<&str> = limits
        .lines()
        .skip_while(|line| !line.starts_with("pub struct Limits"))
        .skip(1)
        .take_while(|line| *line != "}")
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert!(fields.len() > 20, "the limits were not found in src/proxy/limits.rs");
    let mut problems = Vec::new();
    for place in ["config/sluis.toml", "docs/configuration.md"] {
        let text = read(place);
        let words: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        problems
            .extend(fields.iter().filter(|f| !words.contains(**f)).map(|f| format!("{place}: lacks the limit {f}")));
    }
    report(&problems);
}

#[test]
fn every_documented_key_is_in_the_complete_example() {
    let example = read("config/sluis.toml");
    let words: BTreeSet<&str> = example.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let documentation = read("docs/configuration.md");
    let keys: Vec<&str> =
        documentation.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(keys.len() > 40, "docs/configuration.md no longer lists the keys");
    let absent = keys.iter().filter(|key| key.split('.').any(|part| !words.contains(part)));
    report(
        &absent
            .map(|key| format!("config/sluis.toml: lacks `{key}`, which docs/configuration.md documents"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    // Spelled in two halves, so that this file does not name them either.
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/tm", "p/"]].map(|halves| halves.concat());
    let mut problems = Vec::new();
    for path in files_below(&root(), &|_| true) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for place in places.iter().filter(|place| names_absolute_path(line, place)) {
                problems.push(format!("{}:{}: names {place}", relative(&path), index + 1));
            }
        }
    }
    report(&problems);
}

// ---------------------------------------------------------------------------------------------------------

struct SourceFile {
    /// Relative to the repository, with `/`.
    name: String,
    text: String,
}

impl SourceFile {
    /// The lines before the tests of the file; none where the file is only tests.
    fn without_tests(&self) -> Vec<&str> {
        if self.name.ends_with("/tests.rs") || self.name.contains("/tests/") && self.name.starts_with("src/") {
            return Vec::new();
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]" && ["mod ", "pub mod ", "#["].iter().any(|start| pair[1].starts_with(start))
        });
        match tests {
            Some(at) if !lines[at + 1].ends_with(';') => lines[..at].to_vec(),
            _ => lines,
        }
    }

    /// The module path, such as `["blocklist", "index"]`; `["main"]` for main.rs, empty for lib.rs.
    fn module(&self) -> Vec<String> {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs");
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        if matches!(segments.last().map(String::as_str), Some("mod" | "lib")) {
            segments.pop();
        }
        segments
    }
}

struct Import {
    place: String,
    from: Vec<String>,
    to: Vec<String>,
}

/// Every path that begins with `crate::`, `super::` or `sluis::` outside tests, resolved to a module.
fn imports() -> Vec<Import> {
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

/// The layer, and the place in it.
fn layer(part: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, parts)| Some((layer, parts.iter().position(|p| *p == part)?)))
}

/// Lines with their numbers, without comments.
fn code_lines<'t>(lines: &[&'t str]) -> Vec<(usize, &'t str)> {
    let numbered = lines.iter().enumerate().map(|(index, line)| (index + 1, *line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// Line, name and length of every function: from `fn` to the brace at its own indentation.
fn functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let before = code.split("fn ").next().unwrap_or_default();
        let is_function = code.contains("fn ")
            && before.split_whitespace().all(|word| {
                word.starts_with("pub") || ["async", "const", "unsafe", "crate)", "super)"].contains(&word)
            });
        if !is_function || code.starts_with("//") {
            continue;
        }
        let end = format!("{indent}}}");
        if let Some(length) = lines[index..].iter().position(|line| *line == end) {
            let name = code.split("fn ").nth(1).unwrap_or_default();
            let name = name.split(['(', '<']).next().unwrap_or_default();
            found.push((index + 1, name.to_owned(), length + 1));
        }
    }
    found
}

/// The name in `mod name;`, with any visibility before it.
fn declared_module(line: &str) -> Option<&str> {
    let code = line.trim().strip_suffix(';')?;
    let (before, name) = code.rsplit_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}

fn words_with_prefix(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.len() > prefix.len() && word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

/// Whether the line has the path at the start of a word: `x/tmp/` is not absolute.
fn names_absolute_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '}' | ')' | '$')))
    })
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn rust_files(folder: &str) -> Vec<SourceFile> {
    files_below(&root().join(folder), &|path| path.extension().is_some_and(|end| end == "rs"))
        .into_iter()
        .map(|path| SourceFile { name: relative(&path), text: fs::read_to_string(&path).expect("sources are UTF-8") })
        .collect()
}

/// Files in order, without what is built, fetched or hidden (but for `.ci`).
fn files_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let skipped = matches!(name.as_ref(), "target" | "corpus" | "artifacts" | "Cargo.lock");
        if skipped || name.starts_with('.') && name != ".ci" {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_below(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}
