//! Two versions of one list against each other: which patterns came and went, which records changed, what each side has
//! that does nothing, and which guards would object to the change.
//!
//! Inside: the comparison, for people before they put a list in place. Kept out: how it is shown (`cli/diff.rs`), and the
//! count of changes at a reload, which never asks which ones they are (`source/difference.rs`).
//!
//! Both sides are sorted once and walked side by side: two million names take a second or two.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::config::{Config, FeedFormat, SourceConfig, SourceContent};
use super::decision::{Basis, Decision, Exception, When};
use super::format::FeedInput;
use super::guard::{Candidate, DroppedLines, Guarded, guard, shrink};
use super::memory::{self, Task};
use super::parsed::{Effect, Names, Owner, ParsedSource};
use super::pattern::{PatternView, Reach};
use super::source;
use crate::finding::Finding;

/// One version of a list, read as a source would read it.
#[derive(Debug)]
pub struct Version {
    /// The file, as it was named.
    pub file: PathBuf,
    /// What it says, without the lines that a feed must not have.
    parsed: ParsedSource,
    /// Distinct patterns that block.
    pub names: usize,
    /// Lines that do nothing, by reason.
    pub dropped: Vec<DroppedLines>,
    /// What is odd about it.
    pub warnings: Vec<Finding>,
    /// Why the guards would refuse it, without a look at the other version.
    pub objections: Vec<Finding>,
}

/// A pattern of a list, with what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The pattern.
    pub pattern: PatternView<'a>,
    /// Whether it blocks or lifts.
    pub effect: Effect,
}

/// Whether something is in the new version only, or in the old one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It comes.
    Added,
    /// It goes.
    Removed,
}

/// A record that is not the same in both versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// The record's id.
    pub id: String,
    /// What happened to it.
    pub kind: RecordChangeKind,
}

/// What happened to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordChangeKind {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// These of its fields are others, in the order of the documentation.
    Changed(Vec<&'static str>),
}

impl Version {
    /// Reads a list as the source `settings` would, and asks the guards of `config` about it. `names_before` is how many
    /// names the version before it had; 0 for that version itself.
    ///
    /// # Errors
    ///
    /// With everything that is wrong, where it cannot be read as such a list at all. What the guards object to is no
    /// error: it can be compared nevertheless.
    pub fn read(
        settings: &SourceConfig,
        bytes: &[u8],
        names_before: usize,
        config: &Config,
    ) -> Result<Self, Vec<Finding>> {
        let (file, content) = (&settings.path, &settings.content);
        let weigh = |bytes| memory::refuse(Task::Feed(bytes));
        let list = source::compression::decompressed(file, bytes, weigh).map_err(|not| vec![not.finding])?;
        let bytes = &*list;
        let input = FeedInput { file, known: &[], never_block: Some(&config.never_block) };
        let read = || source::parse(settings, input, bytes);
        let ask = |parsed, config: &Config| guard(Candidate { content, file, bytes, parsed }, config);
        let parsed = read();
        if parsed.has_errors() {
            return Err(parsed.findings.into_iter().filter(Finding::is_error).collect());
        }
        let mut version = match ask(parsed, config) {
            Ok(guarded) => Self::of(file, guarded, Vec::new()),
            Err(objections) => {
                // What follows an error is what it is about, and told with the dropped lines.
                let objections = objections.into_iter().filter(Finding::is_error).collect();
                // Once more, with guards that let pass what they can: what is in the list is wanted all the same.
                let lenient = Config { max_error_percent: 100, ..config.clone() };
                let without_header = ParsedSource { stated_count: None, ..read() };
                let guarded = ask(without_header, &lenient).unwrap_or_else(|_| Guarded::unguarded(read()));
                Self::of(file, guarded, objections)
            }
        };
        let is_feed = matches!(content, SourceContent::Feed { .. });
        if is_feed && version.objections.is_empty() {
            version.objections.extend(shrink(settings, names_before, version.names, config));
        }
        Ok(version)
    }

    fn of(file: &Path, guarded: Guarded, objections: Vec<Finding>) -> Self {
        let Guarded { parsed, warnings, dropped } = guarded;
        Self { file: file.to_owned(), names: parsed.names.distinct(), parsed, dropped, warnings, objections }
    }

    /// Records: decisions and exceptions of a decisions file. A feed has none.
    pub fn records(&self) -> usize {
        self.parsed.record_places.len()
    }

    /// Patterns that lift: exceptions of a feed, hosts of exception records.
    pub fn exceptions(&self) -> usize {
        self.parsed.names.exceptions()
    }

    /// Every pattern that came or went until `next`, sorted by name.
    pub fn changes<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = (Change, Entry<'a>)> {
        let (old, new) = (sorted(&self.parsed.names), sorted(&next.parsed.names));
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        std::iter::from_fn(move || {
            loop {
                let (change, key) = match (old.peek(), new.peek()) {
                    (None, None) => return None,
                    (Some(before), Some(after)) if before == after => {
                        old.next();
                        new.next();
                        continue;
                    }
                    (Some(before), Some(after)) if before < after => (Change::Removed, old.next()?),
                    (Some(_), None) => (Change::Removed, old.next()?),
                    (_, Some(_)) => (Change::Added, new.next()?),
                };
                return Some((change, entry(key)));
            }
        })
    }

    /// Every record that came, went, or has other fields or hosts in `next`, in the order of their ids.
    pub fn record_changes(&self, next: &Self) -> Vec<RecordChange> {
        let (old, new) = (self.by_id(), next.by_id());
        let mut changes = Vec::new();
        for (id, before) in &old {
            let kind = match new.get(id) {
                None => RecordChangeKind::Removed,
                Some(after) => match changed_fields(before, after) {
                    fields if fields.is_empty() => continue,
                    fields => RecordChangeKind::Changed(fields),
                },
            };
            changes.push(RecordChange { id: (*id).to_owned(), kind });
        }
        let added = new.keys().filter(|id| !old.contains_key(*id));
        changes.extend(added.map(|id| RecordChange { id: (*id).to_owned(), kind: RecordChangeKind::Added }));
        changes.sort_by(|one, other| one.id.cmp(&other.id));
        changes
    }

    fn by_id(&self) -> BTreeMap<&str, Record<'_>> {
        if self.parsed.record_places.is_empty() {
            // The one decision of a feed stands in the configuration.
            return BTreeMap::new();
        }
        // One walk over all names: a walk for each record would be quadratic.
        let mut hosts: BTreeMap<Owner, Vec<(&[u8], Reach)>> = BTreeMap::new();
        for name in self.parsed.names.iter() {
            hosts.entry(name.owner).or_default().push((name.name, name.reach));
        }
        hosts.values_mut().for_each(|hosts| hosts.sort_unstable());
        let mut hosts_of = |owner| hosts.remove(&owner).unwrap_or_default();
        let mut records = BTreeMap::new();
        for (place, decision) in (0..).zip(&self.parsed.decisions) {
            let hosts = hosts_of(Owner::Decision(place));
            records.insert(decision.id.as_str(), Record { kind: RecordKind::Decision(decision), hosts });
        }
        for (place, exception) in (0..).zip(&self.parsed.exceptions) {
            let hosts = hosts_of(Owner::Exception(place));
            records.insert(exception.id.as_str(), Record { kind: RecordKind::Exception(exception), hosts });
        }
        records
    }
}

/// A feed of which only the names matter.
pub fn feed(format: FeedFormat) -> SourceContent {
    let decision = Decision::new("list", Basis::Policy, "nobody", When::Moment(Timestamp::UNIX_EPOCH));
    SourceContent::Feed { format, decision: Box::new(decision) }
}

impl fmt::Display for Entry<'_> {
    /// The pattern, and in brackets what it does where that is not just blocking.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.effect {
            Effect::Block => "",
            Effect::BlockImportant => " (important)",
            Effect::Lift => " (exception)",
        };
        write!(f, "{}{what}", self.pattern)
    }
}

type Key<'a> = (&'a [u8], Reach, Effect);

/// Every distinct pattern, by name.
fn sorted(names: &Names) -> Vec<Key<'_>> {
    let mut keys: Vec<Key<'_>> = names.iter().map(|record| (record.name, record.reach, record.effect)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn entry((name, reach, effect): Key<'_>) -> Entry<'_> {
    Entry { pattern: PatternView { name: std::str::from_utf8(name).unwrap_or_default(), reach }, effect }
}

/// A record of a decisions file, with its hosts sorted.
#[derive(Debug)]
struct Record<'a> {
    kind: RecordKind<'a>,
    hosts: Vec<(&'a [u8], Reach)>,
}

#[derive(Debug, Clone, Copy)]
enum RecordKind<'a> {
    Decision(&'a Decision),
    Exception(&'a Exception),
}

/// The fields in which two records of one id differ.
fn changed_fields(before: &Record<'_>, after: &Record<'_>) -> Vec<&'static str> {
    let fields = match (before.kind, after.kind) {
        (RecordKind::Decision(one), RecordKind::Decision(other)) => decision_fields(one, other),
        (RecordKind::Exception(one), RecordKind::Exception(other)) => exception_fields(one, other),
        // A decision that became an exception, or the other way round.
        _ => vec!["kind"],
    };
    let is_other = before.hosts != after.hosts;
    is_other.then_some("hosts").into_iter().chain(fields).collect()
}

fn decision_fields(one: &Decision, other: &Decision) -> Vec<&'static str> {
    // Taken apart, so that a field that is added later cannot be forgotten here.
    let Decision {
        id: _,
        basis,
        decided_by,
        decided_at,
        review_by,
        effective_from,
        effective_until,
        category,
        authority,
        reference,
        statement_url,
        appeal_url,
        precedents,
        countries,
        mode,
        summary,
    } = one;
    let fields = [
        ("basis", *basis != other.basis),
        ("decided_by", *decided_by != other.decided_by),
        ("decided_at", *decided_at != other.decided_at),
        ("review_by", *review_by != other.review_by),
        ("authority", *authority != other.authority),
        ("reference", *reference != other.reference),
        ("effective_from", *effective_from != other.effective_from),
        ("effective_until", *effective_until != other.effective_until),
        ("category", *category != other.category),
        ("statement_url", *statement_url != other.statement_url),
        ("appeal_url", *appeal_url != other.appeal_url),
        ("precedents", *precedents != other.precedents),
        ("countries", *countries != other.countries),
        ("mode", *mode != other.mode),
        ("summary", *summary != other.summary),
    ];
    fields.into_iter().filter_map(|(name, is_other)| is_other.then_some(name)).collect()
}

fn exception_fields(one: &Exception, other: &Exception) -> Vec<&'static str> {
    let Exception { id: _, decided_by, decided_at, reason, effective_until } = one;
    let fields = [
        ("decided_by", *decided_by != other.decided_by),
        ("decided_at", *decided_at != other.decided_at),
        ("reason", *reason != other.reason),
        ("effective_until", *effective_until != other.effective_until),
    ];
    fields.into_iter().filter_map(|(name, is_other)| is_other.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::blocklist::config::Scope;

    fn guards() -> Config {
        Config { has_operator_url: true, ..Config::default() }
    }

    fn version(content: SourceContent, text: &str) -> Version {
        let settings = SourceConfig { name: "list".to_owned(), path: PathBuf::from("list"), content, remote: None };
        Version::read(&settings, text.as_bytes(), 0, &guards()).expect("a list")
    }

    fn domains(text: &str) -> Version {
        version(feed(FeedFormat::Domains(Scope::Exact)), text)
    }

    fn shown(old: &Version, new: &Version) -> Vec<String> {
        let sign = |change| if change == Change::Added { '+' } else { '-' };
        old.changes(new).map(|(change, entry)| format!("{}{entry}", sign(change))).collect()
    }

    const RECORD: &str = "[[decision]]\nid = \"a\"\nhosts = [\"a.example\"]\nbasis = \"policy\"\ndecided_by = \"x\"\n\
                          decided_at = 2026-11-01\n";

    proptest! {
        #[test]
        fn changes_are_those_of_the_sets(
            old in proptest::collection::vec("[.]?[a-c]{1,2}[.]example", 1..20),
            new in proptest::collection::vec("[.]?[a-c]{1,2}[.]example", 1..20),
        ) {
            let found: BTreeSet<String> = shown(&domains(&old.join("\n")), &domains(&new.join("\n"))).into_iter().collect();
            let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.into_iter().collect(), new.into_iter().collect());
            let expected = new.difference(&old).map(|name| format!("+{name}"));
            let expected: BTreeSet<String> = expected.chain(old.difference(&new).map(|name| format!("-{name}"))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn changes_are_sorted_by_name_and_told_once() {
        let old = domains("b.example\nb.example\na.example\nz.example\n");
        let new = domains("*.b.example\nz.example\n.b.example\nc.example\nz.example\n");
        assert_eq!(shown(&old, &new), ["-a.example", "-b.example", "+*.b.example", "+.b.example", "+c.example"]);
        assert_eq!((old.names, new.names), (3, 4));
        assert!(shown(&new, &new).is_empty());
    }

    /// Each field of a record by itself, and nothing where nothing differs.
    #[test]
    fn each_field_of_a_record_is_told() {
        let legal = "authority = \"court\"\nreference = \"1\"\n";
        let cases = [
            ("", vec![]),
            ("# a comment\n", vec![]),
            ("review_by = 2027-01-01\n", vec!["review_by"]),
            ("authority = \"court\"\n", vec!["authority"]),
            ("reference = \"1\"\n", vec!["reference"]),
            (legal, vec!["authority", "reference"]),
            ("effective_from = 2026-11-02\n", vec!["effective_from"]),
            ("effective_until = 2027-01-01\n", vec!["effective_until"]),
            ("category = \"c\"\n", vec!["category"]),
            ("statement_url = \"https://edge.example\"\n", vec!["statement_url"]),
            ("appeal_url = \"https://edge.example\"\n", vec!["appeal_url"]),
            ("precedents = [\"b\"]\n", vec!["precedents"]),
            ("mode = \"shadow\"\n", vec!["mode"]),
            ("summary.en = \"why\"\n", vec!["summary"]),
        ];
        for (more, expected) in cases {
            let expected = (!expected.is_empty()).then_some(RecordChangeKind::Changed(expected));
            assert_eq!(kind_of_change(RECORD, &format!("{RECORD}{more}")), expected, "{more}");
        }
        let replaced = [
            ("\"policy\"", "\"security\"", vec!["basis"]),
            ("\"x\"", "\"y\"", vec!["decided_by"]),
            ("2026-11-01", "2026-11-02", vec!["decided_at"]),
            ("\"a.example\"", "\".a.example\"", vec!["hosts"]),
            ("\"a.example\"", "\"b.example\", \"a.example\"", vec!["hosts"]),
            ("basis = \"policy\"", "reason = \"r\"", vec!["kind"]),
        ];
        for (from, to, expected) in replaced {
            let kind = if expected == ["kind"] { "[[exception]]" } else { "[[decision]]" };
            let other = RECORD.replace(from, to).replace("[[decision]]", kind);
            assert_eq!(kind_of_change(RECORD, &other), Some(RecordChangeKind::Changed(expected)), "{to}");
        }
        let exception = RECORD.replace("basis = \"policy\"", "reason = \"r\"").replace("[[decision]]", "[[exception]]");
        let other = exception.replace("\"r\"", "\"s\"").replace("\"x\"", "\"y\"") + "effective_until = 2027-01-01\n";
        let expected = RecordChangeKind::Changed(vec!["decided_by", "reason", "effective_until"]);
        assert_eq!(kind_of_change(&exception, &other), Some(expected));
        let moved = exception.replace("2026-11-01", "2026-11-02");
        assert_eq!(kind_of_change(&exception, &moved), Some(RecordChangeKind::Changed(vec!["decided_at"])));
    }

    fn kind_of_change(old: &str, new: &str) -> Option<RecordChangeKind> {
        let (old, new) = (version(SourceContent::Decisions, old), version(SourceContent::Decisions, new));
        let mut changes = old.record_changes(&new);
        assert!(changes.len() <= 1 && changes.iter().all(|change| change.id == "a"), "{changes:?}");
        changes.pop().map(|change| change.kind)
    }

    #[test]
    fn order_of_hosts_and_records_is_no_change() {
        let other = RECORD.replace("\"a\"", "\"b\"").replace("\"a.example\"", "\"c.example\", \"d.example\"");
        let turned = other.replace("\"c.example\", \"d.example\"", "\"d.example\", \"c.example\"");
        let old = version(SourceContent::Decisions, &format!("{RECORD}{other}"));
        let new = version(SourceContent::Decisions, &format!("{turned}{RECORD}"));
        assert_eq!((old.record_changes(&new), shown(&old, &new)), (vec![], vec![]));
        assert_eq!((old.records(), old.names, old.exceptions()), (2, 3, 0));
    }

    #[test]
    fn what_the_guards_object_to_can_be_compared_nevertheless() {
        let names: String = (0..20).map(|number| format!("n{number}.example\n")).collect();
        let cases = [
            (format!("# Entries: 7\n{names}"), "header says 7 names", 20),
            (format!("{names}not a name\n"), "1 of 21 lines are not names", 20),
            ("# nothing\n".to_owned(), "no name in it", 0),
            (String::new(), "the file is empty", 0),
        ];
        for (text, expected, count) in cases {
            let version = domains(&text);
            assert_eq!(version.names, count, "{text}");
            let objections: Vec<String> = version.objections.iter().map(ToString::to_string).collect();
            assert!(matches!(objections.as_slice(), [one] if one.contains(expected)), "{text}: {objections:?}");
        }
        let version = version(SourceContent::Decisions, &RECORD.replace("a.example", "*.com"));
        assert!(version.names == 1 && version.objections[0].message.contains("public suffix"), "{version:?}");
    }
}
