//! The `decisions` format: `blocklist.toml`, decision records with their hosts, and exceptions.
//!
//! Inside: the file as a whole and what concerns several records. Kept out: the fields of one decision, which are in
//! `fields.rs`, and the guards of the reload.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::fields;
use super::lines::{LineIndex, shown, text_of};
use crate::blocklist::decision::Exception;
use crate::blocklist::parsed::{Effect, Owner, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternView, Reach};
use crate::document::{Report, Table, parse as parse_document};
use crate::finding::{Finding, Place, SourceText};
use crate::host::is_below;

/// Hosts of one file that are reported as wrong or repeated, one by one.
const KEPT_HOST_FINDINGS: usize = 200;

/// Reads a file of decision records. Every error is found, and any refuses the file.
///
/// `file` is the name that findings give the file.
pub fn parse(file: &Path, bytes: &[u8]) -> ParsedSource {
    let text = if bytes.is_empty() {
        let message =
            "the file is empty, as one that was cut off would be; a list without decisions has a comment in it";
        Err(Box::new(Finding::error(Place::file(file), message)))
    } else {
        text_of(file, bytes)
    };
    let text = match text {
        Ok(text) => SourceText::new(file, text),
        Err(finding) => return ParsedSource { findings: vec![*finding], ..ParsedSource::default() },
    };
    let report = Report::new(&text);
    let lines = LineIndex::new(&text);
    let mut reader = Reader {
        lines: &lines,
        parsed: ParsedSource::default(),
        ids: HashMap::new(),
        host_errors: 0,
        host_warnings: 0,
    };
    let document = parse_document(&text, &report);
    let root = Table::root(&document, &report);
    for record in root.array_of_tables("decision") {
        reader.read_decision(record);
    }
    for record in root.array_of_tables("exception") {
        reader.read_exception(record);
    }
    root.finish();
    let mut parsed = reader.parsed;
    parsed.lines.total = lines.lines();
    parsed.findings = report.into_findings();
    parsed.names.shrink_to_fit();
    parsed
}

struct Reader<'t> {
    lines: &'t LineIndex<'t>,
    parsed: ParsedSource,
    /// Every id with the line where it stands.
    ids: HashMap<String, u32>,
    host_errors: usize,
    host_warnings: usize,
}

impl Reader<'_> {
    fn read_decision(&mut self, record: Table<'_>) {
        let decision = fields::decision_fields(&record);
        let hosts = self.hosts(&record);
        warn_about_www(&record, &hosts);
        self.check_id(&record);
        // The hosts of a record that is wrong elsewhere are for the guards to look at; its source is refused anyway.
        self.add(&hosts, Effect::Block, Owner::Decision(index(self.parsed.decisions.len())));
        if let Some(decision) = decision {
            self.parsed.decisions.push(Arc::new(decision));
            self.parsed.decision_places.push(self.lines.place(record.span().start));
        }
        record.finish();
    }

    fn read_exception(&mut self, record: Table<'_>) {
        let exception = exception_fields(&record);
        let hosts = self.hosts(&record);
        self.check_id(&record);
        if let Some(exception) = exception {
            fields::check_end(&record, exception.starts(), exception.effective_until);
            let owner = Owner::Exception(index(self.parsed.exceptions.len()));
            self.parsed.exceptions.push(Arc::new(exception));
            self.add(&hosts, Effect::Lift, owner);
        }
        record.finish();
    }

    /// Reports an id that the file has already had.
    fn check_id(&mut self, record: &Table<'_>) {
        let Some(id) = record.string("id") else { return };
        let line = self.lines.line(id.span.start);
        if let Some(first) = self.ids.get(id.value) {
            let message = format!("the id \"{}\" is taken by the record in line {first}; ids are unique", id.value);
            record.report().error(&id.span, message);
        } else {
            self.ids.insert(id.value.to_owned(), line);
            self.parsed.record_places.push((id.value.to_owned(), self.lines.place(record.span().start)));
        }
    }

    /// The patterns of a record, each once.
    fn hosts(&mut self, record: &Table<'_>) -> Vec<Host> {
        record.require("hosts", "");
        let Some(list) = record.strings("hosts") else { return Vec::new() };
        if list.value.is_empty() {
            record
                .report()
                .error(&list.span, format!("`{}` is empty; name at least one host", record.key_name("hosts")));
        }
        let mut hosts = Vec::with_capacity(list.value.len());
        let mut seen = HashSet::with_capacity(list.value.len());
        for item in list.value {
            let line = self.lines.line(item.span.start);
            match Pattern::parse(item.value) {
                Ok(pattern) if !seen.insert(pattern.clone()) => {
                    if is_kept(&mut self.host_warnings) {
                        record.report().warning(&item.span, format!("`{pattern}` is there twice"));
                    }
                }
                Ok(pattern) => hosts.push(Host { pattern, line, start: item.span.start }),
                Err(error) => {
                    if is_kept(&mut self.host_errors) {
                        let message = format!("\"{}\" is no host pattern: {error}", shown(item.value));
                        record.report().error(&item.span, message);
                    }
                }
            }
        }
        hosts
    }

    fn add(&mut self, hosts: &[Host], effect: Effect, owner: Owner) {
        self.parsed.lines.content += index(hosts.len());
        for host in hosts {
            self.parsed.names.push(host.pattern.view(), effect, host.line, owner);
        }
    }
}

/// Counts a finding, and whether it is one of the first. Each looks for its line in the whole text, so a file that is
/// wrong everywhere gets a bounded number of them.
fn is_kept(count: &mut usize) -> bool {
    *count += 1;
    *count <= KEPT_HOST_FINDINGS
}

struct Host {
    pattern: Pattern,
    line: u32,
    start: usize,
}

fn exception_fields(record: &Table<'_>) -> Option<Exception> {
    let id = fields::required_id(record);
    let decided_by = fields::required_text(record, "decided_by");
    let decided_at = fields::required_when(record, "decided_at");
    let reason = fields::required_text(record, "reason");
    let effective_until = fields::when(record, "effective_until");
    Some(Exception { id: id?, decided_by: decided_by?, decided_at: decided_at?, reason: reason?, effective_until })
}

/// Warns where a record names a registrable domain alone and no pattern of the record covers its `www`.
fn warn_about_www(record: &Table<'_>, hosts: &[Host]) {
    let patterns: HashSet<PatternView<'_>> = hosts.iter().map(|host| host.pattern.view()).collect();
    let open = |host: &&Host| host.pattern.is_registrable_domain_alone() && leaves_www_open(&patterns, &host.pattern);
    let mut open = hosts.iter().filter(open);
    let Some(first) = open.next() else { return };
    let name = &first.pattern.host;
    let others = match open.count() {
        0 => String::new(),
        count => format!(" (the record has {count} more like it)"),
    };
    let message = format!("`{name}` leaves `www.{name}` open; write `.{name}` for both{others}");
    record.report().warning(&(first.start..first.start), message);
}

fn leaves_www_open(patterns: &HashSet<PatternView<'_>>, alone: &Pattern) -> bool {
    let www = format!("www.{}", alone.host);
    let covers = |reach, name| patterns.contains(&PatternView { name, reach });
    let above = alone.host.suffixes().filter_map(|suffix| std::str::from_utf8(suffix).ok());
    let mut above = above.inspect(|name| debug_assert!(is_below(www.as_bytes(), name.as_bytes())));
    !(covers(Reach::Exact, &www)
        || covers(Reach::Subtree, &www)
        || above.any(|name| covers(Reach::Below, name) || covers(Reach::Subtree, name)))
}

/// More than four billion of anything do not fit in a file that is read whole.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklist::decision::{Basis, Mode};

    const RECORD: &str = r#"
[[decision]]
id = "2026-11-harassment-forum"
hosts = [
  ".harassment-forum.example",
  "Bücher.example.", "www.bücher.example",
  "[2001:DB8::1]",
]
basis = "court-order"
decided_by = "Trust and Safety"
decided_at = 2026-11-21T20:15:00Z
review_by = 2026-12-05
effective_from = 2026-11-22
effective_until = 2027-02-21
category = "threat-to-life"
authority = "Rechtbank Amsterdam"
reference = "C/13/123456"
statement_url = "https://edge.example/blog/why"
appeal_url = "mailto:appeal@edge.example"
precedents = ["2019-imageboard"]
mode = "shadow"
summary.en = "Not accessible."
summary.nl = "Niet toegankelijk."

[[decision]]
id = "second"
hosts = ["*.second.example"]
basis = "policy"
decided_by = "abuse desk"
decided_at = 2026-11-01

[[exception]]
id = "not-this-one"
hosts = [".fine.example", "192.0.2.1"]
decided_by = "abuse desk"
decided_at = 2026-11-02
reason = "wrongly listed by a feed"
effective_until = 2026-12-31
"#;

    fn read(text: &str) -> ParsedSource {
        parse(Path::new("blocklist.toml"), text.as_bytes())
    }

    fn findings(text: &str) -> Vec<String> {
        read(text).findings.iter().map(ToString::to_string).collect()
    }

    fn record(fields: &str) -> String {
        format!("[[decision]]\nid = \"a\"\nbasis = \"policy\"\ndecided_by = \"x\"\ndecided_at = 2026-11-01\n{fields}\n")
    }

    #[test]
    fn records_are_read_whole() {
        let parsed = read(RECORD);
        assert_eq!(parsed.findings, []);
        let names: Vec<_> =
            parsed.names.iter().map(|name| (name.view().to_string(), name.line, name.effect, name.owner)).collect();
        let expected = [
            (".harassment-forum.example", 5, Effect::Block, Owner::Decision(0)),
            ("xn--bcher-kva.example", 6, Effect::Block, Owner::Decision(0)),
            ("www.xn--bcher-kva.example", 6, Effect::Block, Owner::Decision(0)),
            ("[2001:db8::1]", 7, Effect::Block, Owner::Decision(0)),
            ("*.second.example", 27, Effect::Block, Owner::Decision(1)),
            (".fine.example", 34, Effect::Lift, Owner::Exception(0)),
            ("192.0.2.1", 34, Effect::Lift, Owner::Exception(0)),
        ];
        assert_eq!(names, expected.map(|(name, line, effect, owner)| (name.to_owned(), line, effect, owner)));
        let places: Vec<_> = parsed.decision_places.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["blocklist.toml:2:1", "blocklist.toml:25:1"]);
        assert_eq!(parsed.lines.total, 38);
    }

    #[test]
    fn every_field_of_a_record_arrives() {
        let parsed = read(RECORD);
        let decision = &parsed.decisions[0];
        assert_eq!((decision.id.as_str(), decision.basis), ("2026-11-harassment-forum", Basis::CourtOrder));
        assert_eq!(decision.decided_at.to_string(), "2026-11-21T20:15:00Z");
        assert_eq!(decision.starts().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(decision.ends().map(|end| end.to_string()).as_deref(), Some("2027-02-22T00:00:00Z"));
        assert_eq!(decision.review_by.map(|review| review.to_string()).as_deref(), Some("2026-12-05"));
        let texts = [
            &decision.category,
            &decision.authority,
            &decision.reference,
            &decision.statement_url,
            &decision.appeal_url,
        ];
        let expected = [
            "threat-to-life",
            "Rechtbank Amsterdam",
            "C/13/123456",
            "https://edge.example/blog/why",
            "mailto:appeal@edge.example",
        ];
        assert_eq!(texts.map(|text| text.as_deref()), expected.map(Some));
        assert_eq!(
            (decision.precedents.as_slice(), decision.mode),
            (["2019-imageboard".to_owned()].as_slice(), Mode::Shadow)
        );
        let languages: Vec<_> = decision.summary.iter().map(|(language, _)| language.as_str()).collect();
        assert_eq!(languages, ["en", "nl"]);
        let exception = &parsed.exceptions[0];
        assert_eq!((exception.id.as_str(), exception.reason.as_str()), ("not-this-one", "wrongly listed by a feed"));
        assert_eq!(exception.ends().map(|end| end.to_string()).as_deref(), Some("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn list_without_records_is_valid_and_an_empty_file_is_not() {
        for text in ["# nothing is blocked\n", "\n", "\u{feff}", "\u{feff}# nothing\n", "decision = []\n"] {
            let parsed = read(text);
            assert!(parsed.findings.is_empty() && parsed.names.is_empty(), "{text:?} {:?}", parsed.findings);
        }
        let parsed = read("");
        assert!(parsed.has_errors());
        assert!(parsed.findings[0].to_string().starts_with("error: blocklist.toml: the file is empty"));
    }

    #[test]
    fn what_is_not_text_or_not_toml_has_its_place() {
        let broken = parse(Path::new("b.toml"), b"# ok\nx = \"\xff\"\n");
        assert!(broken.findings[0].to_string().starts_with("error: b.toml:2:6: the byte 0xff is not UTF-8"));
        assert!(read("[[decision]\n").has_errors());
        assert!(findings("# ok\n[[decision]]\nid = \n").iter().any(|finding| finding.contains("blocklist.toml:3:")));
    }

    #[test]
    fn one_wrong_thing_is_one_finding_with_its_place() {
        let cases = [
            (record(""), "error: blocklist.toml:1:1: `decision.hosts` is missing"),
            (record("hosts = []"), "error: blocklist.toml:6:9: `decision.hosts` is empty"),
            (record("hosts = [\"a.b.example\", 7]"), "blocklist.toml:6:25: `decision.hosts` has a whole number"),
            (record("hosts = [\"x.a.example\", \"http://y\"]"), "error: blocklist.toml:6:25: \"http://y\" is no host pattern"),
            (record("hosts = [\"*\"]"), "this would cover every host"),
            (record("hosts = [\".a.example\", \".A.example.\"]"), "warning: blocklist.toml:6:24: `.a.example` is there twice"),
            (record("hosts = [\".a.example\"]\neffective_untill = 2027-01-01"), "did you mean `effective_until`?"),
            (record("hosts = [\".a.example\"]\nreason = \"x\""), "unknown key `decision.reason`"),
            (format!("{}\n[decisions]\n", record("hosts = [\".a.example\"]")), "unknown key `decisions`; did you mean `decision`?"),
            ("[[exception]]\nid = \"e\"\nhosts = [\".a.example\"]\ndecided_by = \"x\"\ndecided_at = 2026-11-01\n".to_owned(),
                "error: blocklist.toml:1:1: `exception.reason` is missing"),
            ("[[exception]]\nid = \"e\"\nhosts = [\".a.example\"]\ndecided_by = \"x\"\ndecided_at = 2026-11-01\nreason = \"x\"\neffective_until = 2026-10-01\n".to_owned(),
                "it would never be in force"),
            ("[decision]\nid = \"a\"\n".to_owned(), "expected a list of tables"),
        ];
        for (text, expected) in cases {
            let found = findings(&text);
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
            assert!(found[0].contains(expected), "{text}: {found:#?}");
        }
    }

    #[test]
    fn ids_are_unique_over_decisions_and_exceptions() {
        let twice = format!("{}{}", record("hosts = [\".a.example\"]"), record("hosts = [\".b.example\"]"));
        let found = findings(&twice);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("blocklist.toml:8:6: the id \"a\" is taken by the record in line 2"), "{found:#?}");
        let mixed = format!("{}{}", RECORD.replace("\"not-this-one\"", "\"second\""), "");
        assert!(findings(&mixed)[0].contains("the id \"second\" is taken"));
    }

    #[test]
    fn registrable_domain_that_leaves_www_open_draws_a_warning() {
        let open = ["hosts = [\"a.example\"]", "hosts = [\"a.example\", \"m.a.example\", \".b.example\"]"];
        for hosts in open {
            let found = findings(&record(hosts));
            assert_eq!(found.len(), 1, "{hosts}: {found:#?}");
            assert!(
                found[0].starts_with("warning: blocklist.toml:6:10: `a.example` leaves `www.a.example` open"),
                "{found:#?}"
            );
        }
        let several = findings(&record("hosts = [\"a.example\", \"b.example\", \"c.example\"]"));
        assert!(several.len() == 1 && several[0].contains("(the record has 2 more like it)"), "{several:#?}");
        let closed = [
            "hosts = [\".a.example\"]",
            "hosts = [\"a.example\", \"www.a.example\"]",
            "hosts = [\"a.example\", \".www.a.example\"]",
            "hosts = [\"*.a.example\", \"a.example\"]",
            "hosts = [\"a.example\", \".a.example\"]",
            "hosts = [\"192.0.2.1\", \"m.a.example\", \"localhost\"]",
        ];
        for hosts in closed {
            assert_eq!(findings(&record(hosts)), Vec::<String>::new(), "{hosts}");
        }
    }

    #[test]
    fn file_that_is_wrong_everywhere_has_bounded_findings_and_is_refused() {
        let repeated = "\".a.example\", ".repeat(1_000);
        let wrong = "\"?\", ".repeat(1_000);
        let parsed = read(&record(&format!("hosts = [{repeated}{wrong}]")));
        assert!(parsed.has_errors());
        assert_eq!(parsed.findings.len(), 2 * KEPT_HOST_FINDINGS);
    }
}
