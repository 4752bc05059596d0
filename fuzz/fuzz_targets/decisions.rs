//! Any bytes as a file of decision records: never a panic, findings with places, and an index of what was accepted.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sluis::blocklist::format::decisions;
use sluis::blocklist::index::{Index, IndexSource};

fuzz_target!(|bytes: &[u8]| {
    let parsed = decisions::parse(Path::new("blocklist.toml"), bytes);
    for finding in &parsed.findings {
        let place = finding.place.as_ref().expect("a finding on a file has a place");
        assert!(place.position.is_some() || bytes.is_empty());
        assert!(finding.to_string().len() < 4_096 + 2 * bytes.len());
    }
    if parsed.has_errors() {
        return;
    }
    assert_eq!(parsed.decisions.len(), parsed.decision_places.len());
    let names = parsed.names.len();
    let source = IndexSource { name: "decisions".to_owned(), is_feed: false, parsed: Arc::new(parsed) };
    let index = Index::build(&[Arc::new(source)], 7);
    assert_eq!(index.self_check(names.max(1)), Ok(names));
});
