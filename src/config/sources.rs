//! `[blocklist]` and its sources.
//!
//! Inside: settings and sources by themselves, and whether they go together. Kept out: reading the lists, and
//! the fields of a decision record, which `blocklist::format::decisions` knows.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::blocklist::config::{Compression, Config, FeedFormat, Scope, SourceConfig, SourceContent};
use crate::blocklist::format::fields;

use super::check::Check;
use super::raw::{Blocklist, Source};
use super::reader::{did_you_mean, one_of};
use super::remote;
use super::values;

/// The formats.
const FORMATS: &[&str] = &["decisions", "domains", "hosts", "adblock", "dnsmasq", "rpz"];

/// Checks `[blocklist]`; the decision tables of the sources are read, which is why it takes the raw one whole.
/// `has_operator_url` says whether the operator has a page about its blocking.
pub(super) fn blocklist(
    check: Check<'_>,
    raw: Blocklist<'_>,
    state_directory: Option<PathBuf>,
    has_operator_url: bool,
) -> Config {
    let percent = |found: Option<u64>, default: u8| found.and_then(|value| u8::try_from(value).ok()).unwrap_or(default);
    let patterns = raw.never_block.iter().flat_map(|list| &list.value);
    let never_block =
        patterns.filter_map(|text| check.value("blocklist.never_block", Some(text), values::pattern)).collect();
    let mut taken = Taken { check, paths: HashMap::new(), ids: HashMap::new() };
    let (state, default) = (state_directory.as_deref(), Config::default());
    Config {
        settle: raw.settle.map_or(default.settle, |found| found.value),
        poll: raw.poll.map_or(default.poll, |found| found.value),
        never_block,
        max_shrink_percent: percent(raw.max_shrink_percent.map(|found| found.value), default.max_shrink_percent),
        max_error_percent: percent(raw.max_error_percent.map(|found| found.value), default.max_error_percent),
        max_memory_mib: raw.max_memory_mib.map(|found| found.value),
        sources: raw
            .sources
            .into_iter()
            .filter_map(|source| one_source(check, source, &mut taken, state, has_operator_url))
            .collect(),
        state_directory,
        has_operator_url,
    }
}

fn one_source(
    check: Check<'_>,
    raw: Source<'_>,
    taken: &mut Taken<'_>,
    state_directory: Option<&Path>,
    has_operator_url: bool,
) -> Option<SourceConfig> {
    let name = check.name("blocklist.source", &raw.name);
    let (path, remote) = remote::location(check, &raw, state_directory);
    if let (Some(path), Some(text)) = (&path, raw.path.as_ref().or(raw.remote.url.as_ref())) {
        taken.path(path, &name, &text.span);
    }
    let content = match format(check, &raw, path.as_deref())? {
        "decisions" => decisions(check, &raw, &name),
        word => feed(check, raw, word, &name, taken, has_operator_url)?,
    };
    Some(SourceConfig { name, path: path?, content, remote })
}

/// The format: as it is named, else by the ending of the path, of which one that says how it is compressed is no part.
fn format(check: Check<'_>, raw: &Source<'_>, path: Option<&Path>) -> Option<&'static str> {
    let name = raw.name.value;
    let Some(text) = &raw.format else {
        let path = path?;
        let inner = if Compression::of(path).is_some() { Path::new(path.file_stem()?) } else { path };
        if inner.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml")) {
            return Some("decisions");
        }
        let message = format!(
            "`blocklist.source.{name}.format` is missing; expected {}, since the path does not end in .toml",
            one_of(FORMATS)
        );
        check.error(&raw.name.span, message);
        return None;
    };
    let word = text.value;
    let known = FORMATS.iter().find(|format| **format == word).copied();
    if known.is_none() {
        let (expected, hint) = (one_of(FORMATS), did_you_mean(word, FORMATS));
        let message = format!("`blocklist.source.{name}.format` is \"{word}\"; expected {expected}{hint}");
        check.error(&text.span, message);
    }
    known
}

fn decisions(check: Check<'_>, raw: &Source<'_>, name: &str) -> SourceContent {
    if let Some(scope) = &raw.scope {
        let message = format!("`blocklist.source.{name}.scope` is for feeds: the patterns of records say their reach");
        check.error(&scope.span, message);
    }
    if let Some(table) = &raw.decision {
        let message = format!("`blocklist.source.{name}.decision` is for feeds: each record is its own decision");
        check.error(table.span(), message);
    }
    SourceContent::Decisions
}

fn feed(
    check: Check<'_>,
    raw: Source<'_>,
    word: &str,
    name: &str,
    taken: &mut Taken<'_>,
    has_operator_url: bool,
) -> Option<SourceContent> {
    let format = feed_format(check, &raw, word, name);
    if !raw.has_decision {
        let message = format!(
            "`blocklist.source.{name}.decision` is missing: a feed has no records, so say here why its names are \
             blocked: decision = {{ id = \"...\", basis = \"security\", decided_by = \"...\", decided_at = 2026-11-01 }}"
        );
        check.error(&raw.name.span, message);
    }
    let table = raw.decision?;
    let place = table.span().clone();
    let decision = fields::source_decision(table)?;
    taken.id(&decision.id, name, &place);
    if decision.basis.is_legal_demand() && !has_operator_url {
        let message = format!(
            "`blocklist.source.{name}.decision` is a legal demand: its notice links to `operator.url` (RFC 7725), which is missing"
        );
        check.error(&place, message);
    }
    Some(SourceContent::Feed { format: format?, decision: Box::new(decision) })
}

/// The format with the scope of its bare names, which is for those to say that do not mean one thing by them.
fn feed_format(check: Check<'_>, raw: &Source<'_>, word: &str, name: &str) -> Option<FeedFormat> {
    let (format, reach) = match word {
        "adblock" => (FeedFormat::Adblock, "its rules mean the name and all below it"),
        "dnsmasq" => (FeedFormat::Dnsmasq, "its settings mean the name and all below it"),
        "rpz" => (FeedFormat::Rpz, "its rows are for `x` alone, or for `*.x`"),
        _ => {
            let scope = bare_scope(check, raw, name)?;
            return Some(if word == "hosts" { FeedFormat::Hosts(scope) } else { FeedFormat::Domains(scope) });
        }
    };
    if let Some(scope) = &raw.scope {
        let message = format!(
            "`blocklist.source.{name}.scope` is for domains and hosts; take it out: a {word} list says itself what a name \
             covers, {reach}"
        );
        check.error(&scope.span, message);
    }
    Some(format)
}

fn bare_scope(check: Check<'_>, raw: &Source<'_>, name: &str) -> Option<Scope> {
    if !raw.has_scope {
        let message = format!(
            "`blocklist.source.{name}.scope` is missing: \"exact\" for a bare name that is that host alone, \"subtree\" \
             for that host and all below it"
        );
        check.error(&raw.name.span, message);
    }
    Some(if raw.scope.as_ref()?.value == "exact" { Scope::Exact } else { Scope::Subtree })
}

/// Sources must differ in what they read and in the decisions that they bring.
struct Taken<'d> {
    check: Check<'d>,
    paths: HashMap<PathBuf, (String, Range<usize>)>,
    ids: HashMap<String, (String, Range<usize>)>,
}

impl Taken<'_> {
    fn path(&mut self, path: &Path, source: &str, place: &Range<usize>) {
        if let Some((other, first)) = self.paths.get(path) {
            let line = self.check.line(first);
            let message =
                format!("`blocklist.source.{source}.path`: source `{other}` (line {line}) reads that file already");
            self.check.error(place, message);
        }
        self.paths.insert(path.to_owned(), (source.to_owned(), place.clone()));
    }

    fn id(&mut self, id: &str, source: &str, place: &Range<usize>) {
        if let Some((other, first)) = self.ids.get(id) {
            let line = self.check.line(first);
            let message = format!(
                "`blocklist.source.{source}.decision.id` \"{id}\" is the id of source `{other}` (line {line}) too"
            );
            self.check.error(place, message);
        }
        self.ids.insert(id.to_owned(), (source.to_owned(), place.clone()));
    }
}
