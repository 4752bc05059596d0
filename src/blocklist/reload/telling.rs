//! What follows from a pass once it is in force: counts, the log, and the copies for the next start.
//!
//! Inside: what is told of a pass. Kept out: the pass, publishing, and the status (`mod.rs`).

use tokio::time::Instant;

use super::pass::Pass;
use super::{Reloader, Trigger};

/// Warnings of one source that are logged; `check` and the status have them all.
const LOGGED_WARNINGS: usize = 10;

impl Reloader {
    pub(super) fn count(&mut self, pass: &Pass, trigger: Trigger, lifted: usize) {
        let refused_again = pass.refused_before > 0;
        if trigger == Trigger::Start {
            // A start is no reload.
        } else if pass.newly_refused > 0 || refused_again && trigger.is_asked_for() {
            self.counts.refused += 1;
        } else if !pass.applied.is_empty() || lifted > 0 {
            self.counts.applied += 1;
        } else if pass.confirmed > 0 && !refused_again {
            self.counts.unchanged += 1;
        }
    }

    pub(super) fn log(&self, pass: &Pass, trigger: Trigger, began: Instant) {
        let generation = self.blocklist.generation();
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let trigger_name = trigger.name();
        for applied in &pass.applied {
            let source = pass.sources.iter().find(|source| source.config.name == applied.source);
            let content = source.and_then(|source| source.in_force.as_ref());
            let dropped: u64 = content.map_or(0, |content| content.dropped.iter().map(|lines| lines.count).sum());
            tracing::info!(
                generation,
                source = applied.source,
                names = applied.names,
                added = applied.changes.added,
                removed = applied.changes.removed,
                lines_dropped = dropped,
                trigger = trigger_name,
                duration_ms,
                "source in force"
            );
            for warning in content.iter().flat_map(|content| content.warnings.iter()).take(LOGGED_WARNINGS) {
                tracing::warn!(source = applied.source, "{}", warning.log_line());
            }
        }
        self.log_refusals(pass, trigger);
    }

    fn log_refusals(&self, pass: &Pass, trigger: Trigger) {
        for source in &pass.sources {
            let before = self.sources.iter().find(|before| before.config.name == source.config.name);
            let before = before.and_then(|before| before.refused.as_ref()).map(|refused| &refused.findings);
            let now = source.refused.as_ref().map(|refused| &refused.findings);
            let name = &source.config.name;
            match (before, now) {
                (before, Some(now)) if before != Some(now) => {
                    let first = now.first().map(|finding| finding.log_line().to_string()).unwrap_or_default();
                    let trigger = trigger.name();
                    tracing::error!(
                        source = name,
                        trigger,
                        findings = now.len(),
                        "source refused, last good stays: {first}"
                    );
                }
                (Some(_), None) => tracing::info!(source = name, "source is good again"),
                _ => {}
            }
        }
    }
}
