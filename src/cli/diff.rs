//! `sluis diff`: what came and what went between two versions of a list file.
//!
//! Inside: which list is meant, and the form of the answer. Kept out: the comparison, which is the blocklist's.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::output::{complain, counted, finding_json, paragraphs, print};
use super::{Exit, Format, load};
use crate::blocklist::config::{Compression, Config, FeedFormat, Scope, SourceConfig, SourceContent};
use crate::blocklist::parsed::Effect;
use crate::blocklist::versions::{self, Change, Entry, RecordChange, RecordChangeKind, Version};
use crate::finding::{Finding, Place};
use crate::whole_file;

/// What standard input is called on the command line.
const STANDARD_INPUT: &str = "-";

/// The largest file, as for a source.
const FILE_BYTES: u64 = 1 << 30;

/// Dropped lines of one version that are shown to people.
const SHOWN_LINES: usize = 10;

const AFTER_HELP: &str = "A line with `+` comes, one with `-` goes, one with `~` is a record with other fields. The exit \
status is 0 whether the lists differ or not, and whether a guard would object or not: scripts read the JSON. It is 78 where \
a list cannot be read.";

/// `sluis diff`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// How the lists are written; decisions where a file ends in .toml
    #[arg(long, value_enum, value_name = "FORMAT")]
    list_format: Option<ListFormat>,
    /// What a bare name means in domains and hosts; exact when left out
    #[arg(long, value_enum)]
    scope: Option<BareName>,
    /// Read the lists as this source of the configuration, and ask the guards as they are set there
    #[arg(long, value_name = "NAME", conflicts_with_all = ["list_format", "scope"])]
    source: Option<String>,
    /// The configuration that has the source
    #[arg(long, value_name = "FILE", requires = "source", default_value = "config/sluis.toml")]
    config: PathBuf,
    /// For people or for tools
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The list as it was; - is standard input
    old: PathBuf,
    /// The list as it is to be; - is standard input
    new: PathBuf,
}

/// The formats of lists, as in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// Decision records
    Decisions,
    /// One name a line
    Domains,
    /// A hosts file
    Hosts,
    /// Rules of content blockers
    Adblock,
    /// Settings of dnsmasq
    Dnsmasq,
    /// A response policy zone
    Rpz,
}

/// What a bare name means, as in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BareName {
    /// That host alone
    Exact,
    /// That host and every host below it
    Subtree,
}

/// Compares two lists.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let (settings, guards) = match settings(arguments) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let old = read(&arguments.old, &settings, 0, &guards);
    let names_before = old.as_ref().map_or(0, |old| old.names);
    let new = read(&arguments.new, &settings, names_before, &guards);
    let (old, new) = match (old, new) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            let wrong: Vec<Finding> = [old.err(), new.err()].into_iter().flatten().flatten().collect();
            complain(&paragraphs(&wrong));
            return Exit::BadInput;
        }
    };
    let difference = Difference::between(&old, &new);
    match arguments.format {
        Format::Text => print(&difference.text(), Exit::Done),
        Format::Json => match serde_json::to_string_pretty(&difference.json()) {
            Ok(text) => print(&(text + "\n"), Exit::Done),
            Err(error) => {
                complain(&format!("error: the difference cannot be written: {error}\n"));
                Exit::Failed
            }
        },
    }
}

/// How the lists are read, and what the guards are asked by.
fn settings(arguments: &Arguments) -> Result<(SourceConfig, Config), Exit> {
    if arguments.old == Path::new(STANDARD_INPUT) && arguments.new == Path::new(STANDARD_INPUT) {
        complain("error: both lists cannot be standard input\n");
        return Err(Exit::Usage);
    }
    if let Some(name) = &arguments.source {
        let config = load(&arguments.config)?;
        let Some(source) = config.blocklist.sources.iter().find(|source| source.name == *name).cloned() else {
            let names: Vec<&str> = config.blocklist.sources.iter().map(|source| source.name.as_str()).collect();
            let file = arguments.config.display();
            complain(&format!("error: {file} has no source `{name}`; it has {}\n", names.join(", ")));
            return Err(Exit::Usage);
        };
        return Ok((source, config.blocklist));
    }
    let format = arguments.list_format.or_else(|| guessed(&arguments.old, &arguments.new));
    let Some(format) = format else {
        complain(
            "error: how are the lists written? Say --list-format FORMAT, or --source NAME to read them as a source of \
             the configuration; only a name that ends in .toml says it itself\n",
        );
        return Err(Exit::Usage);
    };
    let content = content(format, arguments.scope).map_err(|problem| {
        complain(&format!("error: {problem}\n"));
        Exit::Usage
    })?;
    Ok((SourceConfig { name: "SOURCE".to_owned(), path: PathBuf::new(), content, remote: None }, usual_guards()))
}

/// How lists of a format are read, where names mean what their scope says.
fn content(format: ListFormat, bare: Option<BareName>) -> Result<SourceContent, &'static str> {
    let scope = match bare {
        None | Some(BareName::Exact) => Scope::Exact,
        Some(BareName::Subtree) => Scope::Subtree,
    };
    let feed = match format {
        ListFormat::Domains => return Ok(versions::feed(FeedFormat::Domains(scope))),
        ListFormat::Hosts => return Ok(versions::feed(FeedFormat::Hosts(scope))),
        _ if bare.is_some() => return Err("--scope is for domains and hosts: other lists say what a name covers"),
        ListFormat::Decisions => return Ok(SourceContent::Decisions),
        ListFormat::Adblock => FeedFormat::Adblock,
        ListFormat::Dnsmasq => FeedFormat::Dnsmasq,
        ListFormat::Rpz => FeedFormat::Rpz,
    };
    Ok(versions::feed(feed))
}

/// Decisions, where both names end in .toml, or one does and the other is standard input.
fn guessed(old: &Path, new: &Path) -> Option<ListFormat> {
    let inner = |path: &Path| if Compression::of(path).is_some() { path.with_extension("") } else { path.to_owned() };
    let is_toml = |path: &Path| inner(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let fits = |path: &Path| is_toml(path) || path == Path::new(STANDARD_INPUT);
    (fits(old) && fits(new)).then_some(ListFormat::Decisions)
}

/// The guards as they are where the configuration says nothing of them. What the notice needs is not asked here.
fn usual_guards() -> Config {
    Config { has_operator_url: true, ..Config::default() }
}

fn read(path: &Path, settings: &SourceConfig, names_before: usize, guards: &Config) -> Result<Version, Vec<Finding>> {
    let bytes = bytes_of(path).map_err(|message| vec![Finding::error(Place::file(path), message)])?;
    let settings = SourceConfig { path: path.to_owned(), ..settings.clone() };
    Version::read(&settings, &bytes, names_before, guards)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    if path != Path::new(STANDARD_INPUT) {
        return whole_file::read(path, FILE_BYTES).map(|file| file.bytes).map_err(|error| error.to_string());
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("standard input has more than {FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Two versions of a list, and everything in which they differ.
struct Difference<'a> {
    old: &'a Version,
    new: &'a Version,
    entries: Vec<(Change, Entry<'a>)>,
    records: Vec<RecordChange>,
}

impl<'a> Difference<'a> {
    fn between(old: &'a Version, new: &'a Version) -> Self {
        Self { old, new, entries: old.changes(new).collect(), records: old.record_changes(new) }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (change, entry) in &self.entries {
            let sign = if *change == Change::Added { '+' } else { '-' };
            let _ = writeln!(text, "{sign} {entry}");
        }
        for record in &self.records {
            let _ = match &record.kind {
                RecordChangeKind::Added => writeln!(text, "+ record {}", record.id),
                RecordChangeKind::Removed => writeln!(text, "- record {}", record.id),
                RecordChangeKind::Changed(fields) => writeln!(text, "~ record {}: {}", record.id, fields.join(", ")),
            };
        }
        for (which, version) in [("old", self.old), ("new", self.new)] {
            text.push_str(&about(which, version));
        }
        // Whether the old version would still be taken is in the JSON.
        for finding in &self.new.objections {
            let _ = writeln!(text, "  would be refused: {}", finding.log_line());
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let counts = self.counts();
        let mut text = format!("{} added, {} removed", counted(counts.names_added, "name"), counts.names_removed);
        if self.old.exceptions() + self.new.exceptions() > 0 {
            let added = counted(counts.exceptions_added, "exception");
            let _ = write!(text, "; {added} added, {} removed", counts.exceptions_removed);
        }
        if self.old.records() + self.new.records() > 0 {
            let added = counted(counts.records_added, "record");
            let (removed, changed) = (counts.records_removed, counts.records_changed);
            let _ = write!(text, "; {added} added, {removed} removed, {changed} changed");
        }
        text + "\n"
    }

    fn counts(&self) -> Counts {
        let names = |change, lifts| {
            self.entries.iter().filter(|(c, entry)| *c == change && (entry.effect == Effect::Lift) == lifts).count()
        };
        let records =
            |kind: fn(&RecordChangeKind) -> bool| self.records.iter().filter(|record| kind(&record.kind)).count();
        Counts {
            names_added: names(Change::Added, false),
            names_removed: names(Change::Removed, false),
            exceptions_added: names(Change::Added, true),
            exceptions_removed: names(Change::Removed, true),
            records_added: records(|kind| *kind == RecordChangeKind::Added),
            records_removed: records(|kind| *kind == RecordChangeKind::Removed),
            records_changed: records(|kind| matches!(kind, RecordChangeKind::Changed(_))),
        }
    }

    fn json(&self) -> Document<'_> {
        let changed = |change| {
            let entries = self.entries.iter().filter(|(found, _)| *found == change);
            entries.map(|(_, entry)| ChangedName::of(entry)).collect()
        };
        Document {
            old: Side::of(self.old),
            new: Side::of(self.new),
            added: changed(Change::Added),
            removed: changed(Change::Removed),
            records: self.records.iter().map(ChangedRecord::of).collect(),
            summary: self.counts(),
        }
    }
}

/// One version for people: what it has, and what it drops.
fn about(which: &str, version: &Version) -> String {
    let mut text = format!("{which} {}: {}", version.file.display(), counted(version.names, "name"));
    if version.exceptions() > 0 {
        let _ = write!(text, ", {}", counted(version.exceptions(), "exception"));
    }
    if version.records() > 0 {
        let _ = write!(text, ", {}", counted(version.records(), "record"));
    }
    for lines in &version.dropped {
        let _ = write!(text, ", {} dropped ({})", counted(lines.count as usize, "line"), lines.reason.label());
    }
    text.push('\n');
    let dropped = version.dropped.iter().flat_map(|lines| &lines.findings);
    for finding in dropped.take(SHOWN_LINES) {
        let _ = writeln!(text, "  dropped {}", finding.log_line());
    }
    text
}

#[derive(Serialize)]
struct Document<'a> {
    old: Side,
    new: Side,
    added: Vec<ChangedName<'a>>,
    removed: Vec<ChangedName<'a>>,
    records: Vec<ChangedRecord<'a>>,
    summary: Counts,
}

#[derive(Serialize)]
struct Side {
    file: String,
    names: usize,
    exceptions: usize,
    records: usize,
    dropped: serde_json::Map<String, Value>,
    dropped_lines: Vec<Value>,
    warnings: Vec<Value>,
    objections: Vec<Value>,
}

#[derive(Serialize)]
struct ChangedName<'a> {
    pattern: String,
    effect: &'a str,
}

#[derive(Serialize)]
struct ChangedRecord<'a> {
    id: &'a str,
    change: &'static str,
    fields: &'a [&'static str],
}

#[derive(Serialize)]
struct Counts {
    names_added: usize,
    names_removed: usize,
    exceptions_added: usize,
    exceptions_removed: usize,
    records_added: usize,
    records_removed: usize,
    records_changed: usize,
}

impl Side {
    fn of(version: &Version) -> Self {
        let findings = |findings: &[Finding]| findings.iter().map(finding_json).collect();
        let count =
            |lines: &crate::blocklist::guard::DroppedLines| (lines.reason.label().to_owned(), lines.count.into());
        Self {
            file: version.file.to_string_lossy().into_owned(),
            names: version.names,
            exceptions: version.exceptions(),
            records: version.records(),
            dropped: version.dropped.iter().map(count).collect(),
            dropped_lines: version.dropped.iter().flat_map(|lines| &lines.findings).map(finding_json).collect(),
            warnings: findings(&version.warnings),
            objections: findings(&version.objections),
        }
    }
}

impl ChangedName<'_> {
    fn of(entry: &Entry<'_>) -> Self {
        let effect = match entry.effect {
            Effect::Block => "block",
            Effect::BlockImportant => "important",
            Effect::Lift => "exception",
        };
        Self { pattern: entry.pattern.to_string(), effect }
    }
}

impl<'a> ChangedRecord<'a> {
    fn of(record: &'a RecordChange) -> Self {
        let (change, fields): (_, &[&'static str]) = match &record.kind {
            RecordChangeKind::Added => ("added", &[]),
            RecordChangeKind::Removed => ("removed", &[]),
            RecordChangeKind::Changed(fields) => ("changed", fields),
        };
        Self { id: &record.id, change, fields }
    }
}
