//! The `domains` format: one name a line.
//!
//! Inside: `x`, `*.x` and `.x`, comments with `#` and `!`, alone or after a name. Kept out: what all feeds share, which
//! is in `lines.rs`.

use std::sync::Arc;

use super::lines::{FeedInput, FeedReader};
use crate::blocklist::config::Scope;
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternView};

/// Reads a feed of names. A bare name means what `scope` says; a bare address is that address alone.
///
/// `input` is the file's name in findings, or all that there is to know beside its bytes.
pub fn parse<'p>(input: impl Into<FeedInput<'p>>, bytes: &[u8], scope: Scope, decision: Arc<Decision>) -> ParsedSource {
    let bare = scope.reach();
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(input, source).read(bytes, |feed, line| {
        if let Some(pattern) = PatternView::of_canonical(line.content, bare) {
            return feed.add(line, pattern, Effect::Block);
        }
        match Pattern::parse_with(line.content, bare) {
            Ok(pattern) => feed.add(line, pattern.view(), Effect::Block),
            Err(error) => feed.wrong(line, &error),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::blocklist::decision::{Basis, tests::decision};
    use crate::finding::Finding;

    fn read(bytes: &[u8], scope: Scope) -> ParsedSource {
        parse(Path::new("list.txt"), bytes, scope, Arc::new(decision("feed", Basis::Security)))
    }

    fn names(parsed: &ParsedSource) -> Vec<(String, u32)> {
        parsed.names.iter().map(|record| (record.view().to_string(), record.line)).collect()
    }

    #[test]
    fn every_spelling_of_a_name_is_read() {
        let text = "\u{feff}# Title: a list\n! Entries: 9\r\n\r\na.example\r\n  B.Example. \n*.c.example\n.d.example\n\
                    bücher.example\ne.example # why\nf.example\t! why\n\n192.0.2.1\n[2001:DB8::1]";
        let parsed = read(text.as_bytes(), Scope::Subtree);
        let expected = [
            (".a.example", 4),
            (".b.example", 5),
            ("*.c.example", 6),
            (".d.example", 7),
            (".xn--bcher-kva.example", 8),
            (".e.example", 9),
            (".f.example", 10),
            ("192.0.2.1", 12),
            ("[2001:db8::1]", 13),
        ];
        assert_eq!(names(&parsed), expected.map(|(name, line)| (name.to_owned(), line)));
        assert_eq!(parsed.findings, []);
        assert_eq!((parsed.lines.total, parsed.lines.content, parsed.lines.wrong), (13, 9, 0));
        assert_eq!(parsed.stated_count, Some(9));
        assert_eq!(parsed.stated_count_contradicted(), None);
    }

    #[test]
    fn scope_is_for_bare_names_alone() {
        let parsed = read(b"a.example\n.b.example\n*.c.example\n", Scope::Exact);
        let names: Vec<String> = parsed.names.iter().map(|record| record.view().to_string()).collect();
        assert_eq!(names, ["a.example", ".b.example", "*.c.example"]);
    }

    #[test]
    fn lines_that_are_not_names_are_found_and_counted() {
        let text = b"good.example\n  http://bad.example/\na.example b.example\n||x.example^\n*\n127.1\nxn--a.example\nnul\0.example\n";
        let parsed = read(text, Scope::Exact);
        assert_eq!(parsed.names.len(), 1);
        assert_eq!((parsed.lines.content, parsed.lines.wrong), (8, 7));
        assert!(!parsed.has_errors() && parsed.lines.exceeds(1));
        let places: Vec<String> =
            parsed.findings.iter().filter_map(|finding| finding.place.as_ref()).map(ToString::to_string).collect();
        assert_eq!(places[..2], ["list.txt:2:3", "list.txt:3:1"]);
        assert!(parsed.findings[0].message.starts_with("`http://bad.example/` is not a name: the host has `:`"));
        assert!(parsed.findings.iter().all(|finding| !finding.to_string().contains('\0')));
    }

    #[test]
    fn stated_count_is_compared_with_lines_and_with_distinct_names() {
        let contradicted = |text: &str| read(text.as_bytes(), Scope::Exact).stated_count_contradicted();
        assert_eq!(contradicted("# Entries: 3\na.example\nb.example\nb.example\n"), None);
        assert_eq!(contradicted("# Entries: 2\na.example\nb.example\nb.example\n"), None);
        assert_eq!(contradicted("# Entries: 2\na.example\n?\n"), None);
        assert_eq!(contradicted("# Entries: 4\na.example\nb.example\nb.example\n"), Some((4, 3)));
        assert_eq!(contradicted("a.example\n# Entries: 4\n"), None);
    }

    #[test]
    fn a_file_that_is_not_utf8_is_refused_whole() {
        let parsed = read(b"a.example\nb\xc3\n", Scope::Exact);
        assert!(parsed.has_errors() && parsed.names.is_empty());
        assert_eq!(parsed.findings.len(), 1);
    }

    #[test]
    fn hostile_sizes_are_bounded() {
        let long_line = "a".repeat(10_000_000);
        let many_wrong = "?\n".repeat(100_000);
        let parsed = read(format!("{long_line}\n{many_wrong}x.example").as_bytes(), Scope::Exact);
        assert_eq!((parsed.names.len(), parsed.lines.wrong), (1, 100_001));
        assert_eq!(parsed.findings.len(), 100);
        assert!(parsed.findings.iter().map(|finding| finding.to_string().len()).all(|length| length < 1_000));
        assert!(read(b"", Scope::Exact).names.is_empty());
        assert!(read(b"\n\n# nothing\n", Scope::Exact).findings.is_empty());
    }

    proptest! {
        #[test]
        fn line_by_line_is_what_the_pattern_says(lines in proptest::collection::vec("[ \t]?[*.]{0,2}[a-z0-9.:@ü-]{0,12}\r?", 0..20)) {
            let parsed = read(lines.join("\n").as_bytes(), Scope::Exact);
            let mut expected = Vec::new();
            let mut wrong = 0;
            for (index, line) in lines.iter().enumerate() {
                let line = line.trim();
                match Pattern::parse(line) {
                    _ if line.is_empty() => {}
                    Ok(pattern) => expected.push((pattern.to_string(), index as u32 + 1)),
                    Err(_) => wrong += 1,
                }
            }
            prop_assert_eq!(names(&parsed), expected);
            prop_assert_eq!(parsed.lines.wrong, wrong);
            prop_assert_eq!(parsed.findings.iter().filter(|finding| !Finding::is_error(finding)).count(), wrong as usize);
        }
    }
}
