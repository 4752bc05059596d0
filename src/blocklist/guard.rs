//! What a source must not do, however well it parses: block what is protected or a public suffix, come in halves,
//! shrink without anyone having said so.
//!
//! Inside: the guards that look at one source. Kept out: duplicate ids over all sources and memory (`reload/`).

use std::path::Path;

use super::config::{Config, SourceConfig, SourceContent};
use super::format::place_of_host;
pub use super::objection::{DropReason, DroppedLines};
use super::objection::{KEPT_FINDINGS, Objection, drop_lines, objection};
use super::parsed::{Effect, ParsedSource};
use crate::finding::{Finding, Place};

/// A feed with fewer names may lose any number of them.
const SHRINK_FROM: usize = 1_000;

/// A source that may come into force.
#[derive(Debug)]
pub(super) struct Guarded {
    pub(super) parsed: ParsedSource,
    pub(super) warnings: Vec<Finding>,
    pub(super) dropped: Vec<DroppedLines>,
}

impl Guarded {
    /// What was parsed, whatever the guards say; what is said of it is put where it belongs.
    pub(super) fn unguarded(mut parsed: ParsedSource) -> Self {
        let mut dropped = Vec::new();
        let findings = std::mem::take(&mut parsed.findings);
        let mut warnings = std::mem::take(&mut parsed.odd);
        if parsed.lines.wrong > 0 {
            let (kept, room) = drop_lines(&mut dropped, DropReason::NotAName, u64::from(parsed.lines.wrong));
            kept.extend(findings.into_iter().take(room));
        } else {
            warnings.extend(findings);
        }
        if parsed.lines.skipped > 0 {
            drop_lines(&mut dropped, DropReason::OtherRule, u64::from(parsed.lines.skipped));
        }
        dropped.append(&mut parsed.dropped);
        Self { parsed, warnings, dropped }
    }
}

/// A parsed source before it has passed.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) content: &'a SourceContent,
    /// The name that findings give the file.
    pub(super) file: &'a Path,
    pub(super) bytes: &'a [u8],
    pub(super) parsed: ParsedSource,
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
    if is_feed { guard_feed(candidate) } else { guard_decisions(candidate, config) }
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
    for record in parsed.names.iter().filter(|record| record.effect != Effect::Lift) {
        let place = || place_of_host(file, bytes, record.line, &record.view().to_string());
        match objection(record.view(), &config.never_block) {
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
    Ok(Guarded { parsed, warnings, dropped: Vec::new() })
}

fn guard_feed(candidate: Candidate<'_>) -> Result<Guarded, Vec<Finding>> {
    let guarded = Guarded::unguarded(candidate.parsed);
    let names = &guarded.parsed.names;
    if names.len() == names.exceptions() {
        let message = "the list has no name in it; its last good content stays in force";
        return Err(vec![Finding::error(Place::file(candidate.file), message)]);
    }
    Ok(guarded)
}

/// Why a feed may not lose so many of its distinct patterns at once. 0 before: it may be as small as it is. Decision records are
/// edited by those who answer for them.
pub(super) fn shrink(source: &SourceConfig, before: usize, now: usize, config: &Config) -> Option<Finding> {
    let lost = before.saturating_sub(now);
    let is_feed = matches!(source.content, SourceContent::Feed { .. });
    if !is_feed || before < SHRINK_FROM || lost * 100 <= before * usize::from(config.max_shrink_percent) {
        return None;
    }
    let message = format!(
        "the list shrinks from {before} names to {now}, more than max_shrink_percent = {}; if that is right, \
         let it through once with POST /api/v1/reload?allow_shrink={}",
        config.max_shrink_percent, source.name
    );
    Some(Finding::error(Place::file(&source.path), message))
}
