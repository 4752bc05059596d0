//! The `rpz` format: a response policy zone, as name servers load it (RFC 1035 section 5 for how it is written).
//!
//! Inside: which rows block and which lift. Kept out: how rows, owners and origins are written, which is in
//! `zone_text.rs`, and what all feeds share, which is in `lines.rs`.
//!
//! `x` is that host alone and `*.x` all below it. `CNAME .`, `CNAME *.` and `CNAME rpz-drop.` block, whatever it is that a
//! resolver would answer; `CNAME rpz-passthru.` is an exception, and so is, as of old, a `CNAME` to the name itself. Other
//! answers, and rows about addresses and name servers (`.rpz-ip`), are for a resolver alone: they are skipped and counted.

use std::path::Path;
use std::sync::Arc;

use super::lines::FeedReader;
use super::zone_text::{Data, Owner, Row, ZoneText};
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternError, Reach};
use crate::host::HostError;

/// The last labels of owners that are no names of hosts.
const OTHER_TRIGGERS: [&str; 4] = ["rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"];

/// Reads a zone. `file` is the name that findings give the file.
pub fn parse(file: &Path, bytes: &[u8], decision: Arc<Decision>) -> ParsedSource {
    let source = ParsedSource { decisions: vec![decision], ..ParsedSource::default() };
    FeedReader::new(file, source).read_whole(bytes, |feed, text| {
        let mut names = [0_u64, 0];
        ZoneText::new(text).read(feed, |feed, row| {
            if let Some(reach) = read_row(feed, row) {
                names[usize::from(reach == Reach::Below)] += 1;
            }
        });
        // Publishers count names, of which each has two rows: itself and `*.` before it.
        let parsed = feed.parsed();
        if parsed.stated_count.is_some_and(|stated| names.contains(&stated)) {
            parsed.stated_count = None;
        }
    })
}

/// Reads one row, and says how far it blocks.
fn read_row(feed: &mut FeedReader<'_>, row: &Row<'_>) -> Option<Reach> {
    let trigger = match &row.owner {
        // The zone's own rows say nothing about hosts.
        Owner::Zone => return None,
        Owner::Name(name) => name,
        Owner::Outside(why) => {
            feed.parsed().lines.content += 1;
            feed.unreadable(row.line, why);
            return None;
        }
    };
    feed.parsed().lines.content += 1;
    let Some(effect) = effect_of(trigger, &row.data) else {
        feed.skip();
        return None;
    };
    match pattern_of(trigger) {
        Ok(pattern) => {
            feed.add(row.line, &pattern, effect);
            (effect == Effect::Block).then_some(pattern.reach)
        }
        Err(error) => {
            feed.wrong(row.line, &error);
            None
        }
    }
}

/// What a row does to hosts; none where it does nothing to them.
fn effect_of(trigger: &str, data: &Data<'_>) -> Option<Effect> {
    let last_label = trigger.rsplit('.').next().unwrap_or_default();
    if OTHER_TRIGGERS.iter().any(|other| last_label.eq_ignore_ascii_case(other)) {
        return None;
    }
    let Data::Alias(target) = data else { return None };
    let target = target.strip_suffix('.')?;
    if matches!(target, "" | "*") || target.eq_ignore_ascii_case("rpz-drop") {
        Some(Effect::Block)
    } else if target.eq_ignore_ascii_case("rpz-passthru") || target.eq_ignore_ascii_case(trigger) {
        Some(Effect::Lift)
    } else {
        None
    }
}

fn pattern_of(trigger: &str) -> Result<Pattern, PatternError> {
    // `.x` means more than one name elsewhere, and nothing in a zone.
    if trigger.starts_with('.') { Err(HostError::EmptyLabel.into()) } else { Pattern::parse(trigger) }
}
