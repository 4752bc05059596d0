//! Any bytes as a feed of names: never a panic, every line counted once, and every name found again.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use jiff::civil::Date;
use libfuzzer_sys::fuzz_target;
use sluis::blocklist::config::Scope;
use sluis::blocklist::decision::{Basis, Decision, When};
use sluis::blocklist::format::domains;
use sluis::blocklist::index::{Index, IndexSource};

static DECISION: LazyLock<Arc<Decision>> = LazyLock::new(|| {
    let decided_at = When::Day(Date::constant(2026, 1, 1));
    Arc::new(Decision::new("feed", Basis::Security, "abuse desk", decided_at))
});

fuzz_target!(|bytes: &[u8]| {
    let parsed = domains::parse(Path::new("list"), bytes, Scope::Subtree, Arc::clone(&DECISION));
    let names = parsed.names.len();
    if !parsed.has_errors() {
        assert_eq!(parsed.lines.content as usize, names + parsed.lines.wrong as usize);
        assert!(parsed.lines.content <= parsed.lines.total);
    }
    let distinct = parsed.names.distinct();
    let source = IndexSource { name: "feed".to_owned(), is_feed: true, parsed: Arc::new(parsed) };
    let index = Index::build(&[Arc::new(source)], 7);
    assert_eq!(index.self_check(names.max(1)), Ok(names));
    assert_eq!(index.names().sum::<usize>(), distinct);
});
