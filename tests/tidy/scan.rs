//! Files as text: which there are, what in them is code, where functions begin and end.
//!
//! Inside: finding and reading. Kept out: what is right or wrong (`tidy.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file.
pub struct SourceFile {
    /// Relative to the repository, with `/`.
    pub name: String,
    /// Everything in it.
    pub text: String,
    /// Declared under `#[cfg(test)]`.
    only_tests: bool,
}

impl SourceFile {
    /// A file that is only made up, to try a rule on.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), only_tests: false }
    }

    /// The lines before the tests of the file; none where the file is only tests.
    pub fn without_tests(&self) -> Vec<&str> {
        if self.only_tests {
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
    pub fn module(&self) -> Vec<String> {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs");
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        if matches!(segments.last().map(String::as_str), Some("mod" | "lib")) {
            segments.pop();
        }
        segments
    }
}

/// Lines with their numbers, without comments.
pub fn code_lines<'t>(lines: &[&'t str]) -> Vec<(usize, &'t str)> {
    let numbered = lines.iter().enumerate().map(|(index, line)| (index + 1, *line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

/// Line, name and length of every function: from `fn` to the brace at its own indentation.
pub fn functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
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
pub fn declared_module(line: &str) -> Option<&str> {
    let code = line.trim().strip_suffix(';')?;
    let (before, name) = code.rsplit_once("mod ")?;
    (before.is_empty() || before.starts_with("pub")).then_some(name)
}

pub fn words_with_prefix(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.len() > prefix.len() && word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

/// Whether the line has the path at the start of a word: `x/tmp/` is not absolute.
pub fn names_absolute_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '}' | ')' | '$')))
    })
}

pub fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn rust_files(folder: &str) -> Vec<SourceFile> {
    let paths = files_below(&root().join(folder), &|path| path.extension().is_some_and(|end| end == "rs"));
    let texts = paths.iter().map(|path| fs::read_to_string(path).expect("sources are UTF-8"));
    let mut files: Vec<SourceFile> = paths
        .iter()
        .zip(texts)
        .map(|(path, text)| SourceFile { name: relative(path), text, only_tests: false })
        .collect();
    let tests: BTreeSet<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        let stem = file.name.trim_end_matches(".rs").trim_end_matches("/mod");
        file.only_tests = tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")));
    }
    files
}

/// The paths, without their ending, of the modules that a file declares under `#[cfg(test)]`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let stem = file.name.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    let lines: Vec<&str> = file.text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    declared.filter_map(|pair| Some(format!("{folder}/{}", declared_module(pair[1])?))).collect()
}

/// Files in order, without what is built, fetched or hidden (but for `.ci`).
pub fn files_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let skipped = matches!(name.as_ref(), "target" | "node_modules" | "corpus" | "artifacts" | "Cargo.lock");
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
