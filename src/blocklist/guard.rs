//! What a source must not do, however well it parses: block what is protected or a public suffix, come in halves,
//! shrink without anyone having said so.
//!
//! Inside: the guards that look at one source. Kept out: duplicate ids over all sources and memory (`reload/`).

use std::path::Path;

use super::config::{Config, SourceContent};
use super::format::{place_of_host, place_of_line};
use super::parsed::{Effect, NameRecord, ParsedSource};
use super::pattern::{Pattern, PublicSuffix};
use super::source::difference::PatternSet;
use crate::finding::{Finding, Place};

/// A feed with fewer names may lose any number of them.
const SHRINK_FROM: usize = 1_000;

/// Findings on single names that are kept; the others are only counted.
const KEPT_FINDINGS: usize = 100;

/// Why a line of a feed does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// It is not a name.
    NotAName,
    /// It is a rule for something other than hosts.
    OtherRule,
    /// It would block a public suffix.
    PublicSuffix,
    /// It would block a protected host.
    NeverBlock,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotAName, Self::OtherRule, Self::PublicSuffix, Self::NeverBlock];

    /// The value of the label `reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotAName => "not-a-name",
            Self::OtherRule => "other-rule",
            Self::PublicSuffix => "public-suffix",
            Self::NeverBlock => "never-block",
        }
    }
}

/// Lines of a feed that do nothing, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedLines {
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
    /// The first of them, each with its place.
    pub findings: Vec<Finding>,
}

/// A source that may come into force.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) parsed: ParsedSource,
    pub(super) patterns: PatternSet,
    pub(super) warnings: Vec<Finding>,
    pub(super) dropped: Vec<DroppedLines>,
}

impl Guarded {
    /// What was parsed, whatever the guards say: for a look at it, never for an index.
    pub(super) fn unguarded(mut parsed: ParsedSource) -> Self {
        let dropped = lines_dropped_by_format(&mut parsed);
        let warnings = std::mem::take(&mut parsed.findings);
        Self { patterns: PatternSet::of(&parsed.names), parsed, warnings, dropped }
    }
}

/// A parsed source before it has passed.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// The source's name.
    pub(super) source: &'a str,
    pub(super) content: &'a SourceContent,
    /// The name that findings give the file.
    pub(super) file: &'a Path,
    pub(super) bytes: &'a [u8],
    pub(super) parsed: ParsedSource,
    /// How many names the source has in force; 0 where it may lose any number of them.
    pub(super) names_before: usize,
}

/// Lets a source through, without the lines that a feed must not have; or says why not.
pub(super) fn guard(candidate: Candidate<'_>, config: &Config) -> Result<Guarded, Vec<Finding>> {
    let is_feed = matches!(candidate.content, SourceContent::Feed { .. });
    let refuse = |message: String| vec![Finding::error(Place::file(candidate.file), message)];
    if candidate.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(candidate.bytes).is_empty() {
        return Err(refuse("the file is empty; a list that blocks nothing has at least a comment in it".to_owned()));
    }
    if is_feed && candidate.parsed.has_errors() {
        return Err(errors_first(candidate.parsed.findings));
    }
    if let Some((stated, found)) = candidate.parsed.stated_count_contradicted() {
        return Err(refuse(format!(
            "the file's own header says {stated} names, and {found} are in it; it may be cut off"
        )));
    }
    if is_feed && candidate.parsed.lines.exceeds(config.max_error_percent) {
        let lines = candidate.parsed.lines;
        let message = format!(
            "{} of {} lines are not names, more than max_error_percent = {}",
            lines.wrong, lines.content, config.max_error_percent
        );
        let mut findings = refuse(message);
        findings.extend(candidate.parsed.findings);
        return Err(findings);
    }
    if is_feed { guard_feed(candidate, config) } else { guard_decisions(candidate, config) }
}

/// What refuses the source before what is only odd, each in the order of the file.
fn errors_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| {
        let position = finding.place.as_ref().and_then(|place| place.position.as_ref());
        (!finding.is_error(), position.map(|position| (position.line, position.column)))
    });
    findings
}

fn guard_decisions(candidate: Candidate<'_>, config: &Config) -> Result<Guarded, Vec<Finding>> {
    let Candidate { file, bytes, parsed, .. } = candidate;
    let (mut wrong, mut warnings): (Vec<_>, Vec<_>) = parsed.findings.iter().cloned().partition(Finding::is_error);
    // Records that are wrong elsewhere are looked at too: everything wrong is told in one run.
    let mut errors = Vec::new();
    for (decision, place) in parsed.decisions.iter().zip(&parsed.decision_places) {
        if decision.basis.is_legal_demand() && !config.has_operator_url && errors.len() < KEPT_FINDINGS {
            let message = format!(
                "`{}` is a {}: its notice links to `operator.url` (RFC 7725), which the configuration does not have",
                decision.id,
                decision.basis.name()
            );
            errors.push(Finding::error(place.clone(), message));
        }
    }
    for record in &parsed.names {
        let place = || place_of_host(file, bytes, record.line, &record.view().to_string());
        match objection(&record, &config.never_block) {
            Some(Objection::Refused(_, message)) if errors.len() < KEPT_FINDINGS => {
                errors.push(Finding::error(place(), message));
            }
            Some(Objection::Odd(message)) if warnings.len() < KEPT_FINDINGS => {
                warnings.push(Finding::warning(place(), message));
            }
            _ => {}
        }
    }
    wrong.append(&mut errors);
    if !wrong.is_empty() {
        wrong.append(&mut warnings);
        return Err(errors_first(wrong));
    }
    let patterns = PatternSet::of(&parsed.names);
    Ok(Guarded { parsed, patterns, warnings, dropped: Vec::new() })
}

fn guard_feed(candidate: Candidate<'_>, config: &Config) -> Result<Guarded, Vec<Finding>> {
    let Candidate { file, bytes, mut parsed, source, names_before, .. } = candidate;
    let refuse = |message: String| vec![Finding::error(Place::file(file), message)];
    let mut dropped = lines_dropped_by_format(&mut parsed);
    let mut warnings = std::mem::take(&mut parsed.findings);
    parsed.names.retain(|record| match objection(record, &config.never_block) {
        None => true,
        Some(Objection::Refused(reason, message)) => {
            drop_line(&mut dropped, reason, || Finding::warning(place_of_line(file, bytes, record.line), message));
            false
        }
        Some(Objection::Odd(message)) => {
            if warnings.len() < KEPT_FINDINGS {
                warnings.push(Finding::warning(place_of_line(file, bytes, record.line), message));
            }
            true
        }
    });
    let patterns = PatternSet::of(&parsed.names);
    if patterns.len() == 0 {
        return Err(refuse("the list has no name in it; its last good content stays in force".to_owned()));
    }
    if names_before >= SHRINK_FROM {
        let lost = names_before.saturating_sub(patterns.len());
        if lost * 100 > names_before * usize::from(config.max_shrink_percent) {
            return Err(refuse(format!(
                "the list shrinks from {names_before} names to {}, more than max_shrink_percent = {}; if that is right, \
                 let it through once with POST /api/v1/reload?allow_shrink={source}",
                patterns.len(),
                config.max_shrink_percent
            )));
        }
    }
    Ok(Guarded { parsed, patterns, warnings, dropped })
}

/// What the format left out: its findings on lines belong to the dropped lines, not to the warnings.
fn lines_dropped_by_format(parsed: &mut ParsedSource) -> Vec<DroppedLines> {
    let mut dropped = Vec::new();
    if parsed.lines.wrong > 0 {
        let findings = std::mem::take(&mut parsed.findings);
        dropped.push(DroppedLines { reason: DropReason::NotAName, count: u64::from(parsed.lines.wrong), findings });
    }
    if parsed.lines.skipped > 0 {
        let count = u64::from(parsed.lines.skipped);
        dropped.push(DroppedLines { reason: DropReason::OtherRule, count, findings: Vec::new() });
    }
    dropped
}

fn drop_line(dropped: &mut Vec<DroppedLines>, reason: DropReason, finding: impl FnOnce() -> Finding) {
    let index = dropped.iter().position(|lines| lines.reason == reason).unwrap_or_else(|| {
        dropped.push(DroppedLines { reason, count: 0, findings: Vec::new() });
        dropped.len() - 1
    });
    if let Some(lines) = dropped.get_mut(index) {
        lines.count += 1;
        if lines.findings.len() < KEPT_FINDINGS {
            lines.findings.push(finding());
        }
    }
}

enum Objection {
    Refused(DropReason, String),
    Odd(String),
}

fn objection(record: &NameRecord<'_>, never_block: &[Pattern]) -> Option<Objection> {
    // What lifts a block protects: it may be as wide as it likes.
    if record.effect == Effect::Lift {
        return None;
    }
    let pattern = record.view();
    if let Some(protected) = never_block.iter().find(|protected| pattern.covers(protected.view())) {
        let message = format!("`{pattern}` would block `{protected}`, which never_block protects");
        return Some(Objection::Refused(DropReason::NeverBlock, message));
    }
    match pattern.public_suffix()? {
        PublicSuffix::Icann => {
            let message =
                format!("`{pattern}` is a public suffix, under which anyone has names; name the hosts below it");
            Some(Objection::Refused(DropReason::PublicSuffix, message))
        }
        PublicSuffix::Private => Some(Objection::Odd(format!(
            "`{pattern}` is a public suffix of one company; this blocks all of its customers"
        ))),
    }
}
