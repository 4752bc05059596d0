//! What commands print: results to standard output, findings to standard error.
//!
//! Inside: writing that survives a reader who leaves (`sluis man | head`), and the form of findings. Kept out:
//! the log, which is `telemetry::logging`'s.

use std::io::{self, ErrorKind, Write as _};

use serde_json::{Value, json};

use crate::finding::{Finding, Severity};

use super::exit::Exit;

/// Writes a result to standard output. A reader who has left is content with what it has; anything else that
/// stops the writing is a failure.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    print_bytes(text.as_bytes(), exit)
}

/// [`print()`] for what is bytes already.
pub(super) fn print_bytes(bytes: &[u8], exit: Exit) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => exit,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit,
        Err(error) => {
            complain(&format!("error: standard output cannot be written: {error}\n"));
            Exit::Failed
        }
    }
}

/// Writes to standard error. Where that is gone too, there is nobody left to tell.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Findings for people: one a paragraph.
pub(super) fn paragraphs(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n\n")).collect()
}

/// A finding for tools.
pub(super) fn finding_json(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let place = finding.place.as_ref();
    let position = place.and_then(|place| place.position.as_ref());
    json!({
        "severity": severity,
        "file": place.map(|place| place.file.to_string_lossy()),
        "line": position.map(|position| position.line),
        "column": position.map(|position| position.column),
        "excerpt": position.map(|position| position.excerpt.as_str()),
        "message": finding.message,
    })
}

/// `1 error`, `2 errors`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::finding::SourceText;

    #[test]
    fn finding_has_all_its_members_as_json() {
        let text = SourceText::new(Path::new("a.toml"), "one\nkye = 1\n");
        let shown = finding_json(&Finding::error(text.place(4), "unknown key `kye`"));
        let expected = json!({
            "severity": "error", "file": "a.toml", "line": 2, "column": 1, "excerpt": "kye = 1",
            "message": "unknown key `kye`",
        });
        assert_eq!(shown, expected);
        let placeless = finding_json(&Finding::without_place("port 80 is in use"));
        assert!(placeless["file"].is_null() && placeless["line"].is_null());
    }
}
