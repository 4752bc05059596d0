//! Reading the operator's own templates: `page.html`, `page.txt`, and `LANGUAGE.toml` for texts.
//!
//! Inside: which files count, and their text. Kept out: what is in them. Read at load, never on a worker.

use std::fs;
use std::path::Path;

use crate::finding::{Finding, Place, SourceText};

use super::language::is_tag;

/// What the operator's directory has.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) html: Option<SourceText>,
    pub(super) text: Option<SourceText>,
    /// Language tag and file, in the order of the tags.
    pub(super) languages: Vec<(String, SourceText)>,
}

/// A notice is sent to everyone who asks for a blocked host, so no file of it may be large.
const FILE_BYTES: usize = 128 * 1024;

/// Reads the directory. Names that begin with a dot and other endings are not ours and are left alone.
pub(super) fn read(directory: &Path) -> Result<Files, Vec<Finding>> {
    let mut files = Files::default();
    let mut findings = Vec::new();
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = entries.map_err(|error| {
        let message =
            format!("cannot read this directory of templates: {error}; make it, or take `[notice] templates` out");
        vec![Finding::error(Place::file(directory), message)]
    })?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for path in entries.iter().map(fs::DirEntry::path) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((stem, ending @ ("html" | "txt" | "toml"))) = name.rsplit_once('.') else { continue };
        if name.starts_with('.') {
            continue;
        }
        match (stem, ending) {
            ("page", "html") => files.html = text(&path, &mut findings),
            ("page", "txt") => files.text = text(&path, &mut findings),
            (tag, "toml") if is_tag(tag.as_bytes()) => add_language(&mut files, tag, &path, &mut findings),
            _ => {
                let message = "not a template: expected `page.html`, `page.txt` or a language tag such as `nl.toml`; \
                               rename it or move it elsewhere";
                findings.push(Finding::error(Place::file(&path), message));
            }
        }
    }
    if findings.is_empty() { Ok(files) } else { Err(findings) }
}

fn add_language(files: &mut Files, tag: &str, path: &Path, findings: &mut Vec<Finding>) {
    if let Some((other, _)) = files.languages.iter().find(|(other, _)| other.eq_ignore_ascii_case(tag)) {
        let message = format!("`{other}.toml` is the same language (tags differ by more than case); keep one of them");
        findings.push(Finding::error(Place::file(path), message));
    } else if let Some(source) = text(path, findings) {
        files.languages.push((tag.to_owned(), source));
    }
}

fn text(path: &Path, findings: &mut Vec<Finding>) -> Option<SourceText> {
    let read = fs::read(path).map_err(|error| format!("cannot read this template: {error}"));
    let text = read.and_then(|bytes| match bytes.len() {
        0 => Err("this template is empty; write it, or remove it to have the built-in one".to_owned()),
        1..=FILE_BYTES => {
            String::from_utf8(bytes).map_err(|_| "this template is not UTF-8; save it as UTF-8".to_owned())
        }
        length => Err(format!("this template has {length} bytes; at most {FILE_BYTES} are allowed")),
    });
    match text {
        // Browsers read CRLF as LF, and the hash of a style is made over what they read.
        Ok(text) => Some(SourceText::new(path, text.replace("\r\n", "\n"))),
        Err(message) => {
            findings.push(Finding::error(Place::file(path), message));
            None
        }
    }
}
