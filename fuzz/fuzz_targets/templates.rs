//! Any text as a template or a language file: a template, or findings with their place.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sluis::finding::SourceText;
use sluis::notice::language::Language;
use sluis::notice::template::{Kind, Template};

fuzz_target!(|text: &str| {
    let source = SourceText::new(Path::new("page.html"), text);
    for kind in [Kind::Html, Kind::PlainText] {
        if let Err(findings) = Template::parse(&source, kind) {
            assert!(!findings.is_empty() && findings.iter().all(|finding| finding.place.is_some()));
        }
    }
    if let Err(findings) = Language::parse("en", &source, None) {
        assert!(!findings.is_empty() && findings.iter().all(|finding| finding.place.is_some()));
    }
});
