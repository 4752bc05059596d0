//! `/metrics`: the families of the request path with those of the blocklist, the certificates and the configuration beside
//! them.
//!
//! Inside: the families of what the control thread counts. Kept out: their text form (`telemetry::exposition`), and
//! their meaning for people (`docs/metrics.md`).

use std::collections::BTreeMap;

use http::StatusCode;
use jiff::Timestamp;

use super::reply::{self, Reply};
use super::state::{Admin, ConfigReloads};
use super::view::BlocklistView;
use crate::blocklist::guard::DropReason;
use crate::blocklist::status::{BlocklistStatus, FetchResult};
use crate::telemetry::exposition::{self, Family};
use crate::tls::status::TlsStatus;

/// More decisions than this share one series: a label must stay bounded.
const DECISION_SERIES: usize = 1_000;

/// The label of the decisions past [`DECISION_SERIES`].
const OTHER_DECISIONS: &str = "other";

/// `/metrics`: everything, as Prometheus reads it.
pub(super) fn metrics(admin: &Admin, now: Timestamp) -> Reply {
    match exposition::render(&families(admin, now)) {
        Ok(text) => reply::of_type(StatusCode::OK, exposition::CONTENT_TYPE, text),
        Err(error) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn families(admin: &Admin, now: Timestamp) -> Vec<Family> {
    let blocklist = admin.parts.blocklist();
    let mut families = exposition::process(admin.version);
    families.extend(exposition::request_path(&admin.metrics));
    families.extend(index(&blocklist, admin.parts.generation()));
    families.extend(sources(&blocklist.status));
    families.extend(blocks(&blocklist));
    families.extend(decisions(&blocklist, admin.parts.overdue(now)));
    families.extend(certificates(&admin.parts.tls()));
    families.extend(configuration(&admin.config_reloads.load().value));
    families
}

fn index(blocklist: &BlocklistView, generation: u64) -> Vec<Family> {
    let mut durations = Family::histogram(
        "sluis_blocklist_reload_duration_seconds",
        "From the first read of a reload to what it published being in force.",
    );
    durations.add_durations(&[], blocklist.reload_durations);
    let reloads = Family::counter("sluis_blocklist_reloads_total", "Reloads of the blocklist, by what they came to.");
    let counts = blocklist.status.reloads;
    vec![
        Family::gauge("sluis_blocklist_generation", "The number of the index in force.").with(&[], generation as f64),
        by_result(reloads, [counts.applied, counts.unchanged, counts.refused]),
        durations,
        Family::gauge(
            "sluis_blocklist_index_bytes",
            "Memory of the index in force, the names of all sources included.",
        )
        .with(&[], blocklist.memory_bytes as f64),
        Family::gauge("sluis_blocklist_retired_indexes", "Indexes that were replaced and that somebody still reads.")
            .with(&[], blocklist.status.retired_indexes as f64),
    ]
}

fn sources(status: &BlocklistStatus) -> Vec<Family> {
    let mut names = Family::gauge("sluis_blocklist_names", "Distinct patterns in force, by source.");
    let mut successful = Family::gauge(
        "sluis_blocklist_last_reload_successful",
        "1 where the source's file is what is in force and was fetched, if it is fetched; else 0.",
    );
    let mut success_times = Family::gauge(
        "sluis_blocklist_last_reload_success_timestamp_seconds",
        "When what is in force was last found to be what the file has, or the server.",
    );
    let mut dropped =
        Family::gauge("sluis_blocklist_lines_dropped", "Lines of the feed in force that were left out, by reason.");
    let mut fetches =
        Family::counter("sluis_blocklist_fetches_total", "Fetches of a source that has a URL, by how they ended.");
    let mut info =
        Family::gauge("sluis_blocklist_info", "Always 1; the label is the hash of the source's bytes in force.");
    for source in &status.sources {
        let name = ("source", &*source.name);
        names.add(&[name], source.names as f64);
        successful.add(&[name], number(source.errors.is_empty() && !source.from_state));
        if let Some(at) = source.last_success {
            success_times.add(&[name], seconds(at));
        }
        for reason in DropReason::ALL {
            let lines = source.dropped.iter().find(|lines| lines.reason == reason);
            dropped.add(&[name, ("reason", reason.label())], lines.map_or(0, |lines| lines.count) as f64);
        }
        for (result, count) in source.remote.iter().flat_map(|remote| FetchResult::ALL.iter().zip(&remote.fetches)) {
            fetches.add(&[name, ("result", result.label())], *count as f64);
        }
        if let Some(sha256) = source.sha256 {
            info.add(&[name, ("sha256", &sha256.to_string())], 1.0);
        }
    }
    vec![names, successful, success_times, dropped, fetches, info]
}

fn blocks(blocklist: &BlocklistView) -> Vec<Family> {
    let mut blocked = Family::counter("sluis_blocked_total", "Requests that got a notice, by source and basis.");
    let mut shadow = Family::counter(
        "sluis_shadow_blocked_total",
        "Requests that a decision in shadow mode would have blocked, by source and basis.",
    );
    for count in &blocklist.blocks {
        let labels = [("source", &*count.source), ("basis", count.basis.name())];
        blocked.add(&labels, count.blocked as f64);
        shadow.add(&labels, count.shadow as f64);
    }
    vec![blocked, shadow]
}

fn decisions(blocklist: &BlocklistView, overdue: usize) -> Vec<Family> {
    let mut hits = Family::counter(
        "sluis_decision_hits_total",
        "Requests that a decision record stopped, or would have stopped in shadow mode.",
    );
    let mut other = blocklist.other_decision_hits;
    for (place, (id, number)) in blocklist.decision_hits.iter().enumerate() {
        // A record may have the shared label for its id; two series of one name would break the scrape.
        if place < DECISION_SERIES && **id != *OTHER_DECISIONS {
            hits.add(&[("decision", id)], *number as f64);
        } else {
            other += number;
        }
    }
    hits.add(&[("decision", OTHER_DECISIONS)], other as f64);
    let overdue = Family::gauge("sluis_decisions_overdue", "Decisions in force whose day of review has passed.")
        .with(&[], overdue as f64);
    vec![hits, overdue]
}

fn certificates(tls: &TlsStatus) -> Vec<Family> {
    let mut not_after = Family::gauge(
        "sluis_tls_certificate_not_after_timestamp_seconds",
        "When the certificate in force expires, the earliest of those of that name.",
    );
    // Two listeners may each have a certificate of the same name.
    let mut earliest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for certificate in &tls.certificates {
        if let Some(at) = certificate.not_after {
            earliest.entry(&certificate.name).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
    }
    for (name, at) in earliest {
        not_after.add(&[("certificate", name)], seconds(at));
    }
    let reloads = Family::counter("sluis_tls_reloads_total", "Reloads of the certificates, by what they came to.");
    vec![
        not_after,
        by_result(reloads, [tls.reloads.applied, tls.reloads.unchanged, tls.reloads.refused]),
        Family::gauge("sluis_tls_last_reload_successful", "1 where every pair of files is what is in force.")
            .with(&[], number(tls.last_reload_successful())),
    ]
}

fn configuration(reloads: &ConfigReloads) -> Vec<Family> {
    let total = Family::counter("sluis_config_reloads_total", "Times that HUP read the configuration, by result.");
    vec![
        total
            .with(&[("result", "applied")], reloads.applied as f64)
            .with(&[("result", "refused")], reloads.refused as f64),
        Family::gauge(
            "sluis_config_last_reload_successful",
            "1 where the configuration that was read last is in force, 0 where it was refused.",
        )
        .with(&[], number(reloads.last_successful())),
    ]
}

/// Applied, unchanged, refused.
fn by_result(mut family: Family, counts: [u64; 3]) -> Family {
    for (result, count) in ["applied", "unchanged", "refused"].into_iter().zip(counts) {
        family.add(&[("result", result)], count as f64);
    }
    family
}

fn number(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}
