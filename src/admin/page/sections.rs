//! The tables of the status page.
//!
//! Inside: one function a section. Kept out: what of it needs attention (`attention.rs`), and the frame (`page.html`).

use super::Shown;
use super::attention::CERTIFICATE_SOON;
use super::html::{Html, bytes, grouped, names};
use crate::admin::view::DecisionView;
use crate::blocklist::decision::{Mode, When};
use crate::blocklist::status::{SourceStatus, Trigger};
use crate::telemetry::counter::{Counter, Gauge};
use crate::telemetry::metrics::ListenerMetrics;
use crate::telemetry::outcome::{CodeClass, Outcome};
use crate::tls::status::CertificateStatus;

/// More decisions than this are for the API, those with the most hits first.
const DECISIONS: usize = 200;

/// More patterns of a decision than this are counted, not listed.
pub(super) const HOSTS: usize = 5;

/// A short hash is enough to tell two files apart.
const HASH_DIGITS: usize = 12;

/// The facts of the index and the process.
pub(super) fn summary(shown: &Shown<'_>) -> Html {
    let blocklist = &shown.blocklist;
    let in_force = shown.decisions.iter().filter(|view| view.decision.in_force(shown.now)).count();
    let listeners = shown.admin.metrics.listeners();
    let level = |gauge: fn(&ListenerMetrics) -> &Gauge| -> u64 {
        let sum: i64 = listeners.iter().map(|listener| gauge(listener).sum()).sum();
        u64::try_from(sum).unwrap_or(0)
    };
    let mut html = Html::default();
    for (name, value) in [
        ("<dt>Generation</dt>", grouped(blocklist.status.generation)),
        ("<dt>Names</dt>", grouped(blocklist.names)),
        ("<dt>Decisions in force</dt>", grouped(in_force as u64)),
        ("<dt>Memory of the index</dt>", bytes(blocklist.memory_bytes)),
        ("<dt>Requests in flight</dt>", grouped(level(|listener| &listener.in_flight))),
        ("<dt>Connections</dt>", grouped(level(|listener| &listener.connections_active))),
        ("<dt>Workers</dt>", grouped(shown.admin.metrics.workers() as u64)),
    ] {
        html.markup("<div>").markup(name).markup("<dd>").text(value).markup("</dd></div>");
    }
    html.markup("<div><dt>Started</dt><dd class=\"words\">").moment(shown.admin.started_at, shown.now);
    html.markup("</dd></div>");
    html
}

/// One row a source.
pub(super) fn sources(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    if shown.blocklist.status.sources.is_empty() {
        html.markup("<tr><td colspan=\"6\" class=\"quiet\">No sources are configured: nothing is blocked.</td></tr>");
    }
    for source in &shown.blocklist.status.sources {
        html.markup("<tr><th scope=\"row\">").text(&source.name);
        html.markup("<br><span class=\"quiet\">")
            .text(source_place(source))
            .markup("</span></th><td>")
            .text(source.format);
        html.markup("</td><td class=\"number\">").text(grouped(source.names as u64));
        html.markup("</td><td class=\"number\">").text(grouped(source.decisions as u64)).markup("</td><td>");
        source_loaded(source, shown, &mut html);
        html.markup("</td><td>");
        source_state(source, &mut html);
        html.markup("</td></tr>");
    }
    html
}

/// The file, or the URL where it is fetched.
fn source_place(source: &SourceStatus) -> String {
    let url = source.remote.as_ref().map(|remote| remote.url.clone());
    url.unwrap_or_else(|| source.path.display().to_string())
}

fn source_loaded(source: &SourceStatus, shown: &Shown<'_>, html: &mut Html) {
    match source.loaded_at {
        Some(at) => html.moment(at, shown.now),
        None => html.markup("<span class=\"quiet\">never</span>"),
    };
    if let Some(at) = source.remote.as_ref().and_then(|remote| remote.checked_at) {
        html.markup("<br><span class=\"quiet\">asked for ").moment(at, shown.now).markup("</span>");
    }
    if let Some(sha256) = source.sha256 {
        let short: String = sha256.to_string().chars().take(HASH_DIGITS).collect();
        html.markup("<br><span class=\"quiet\">SHA-256 <code>").text(short).markup("…</code></span>");
    }
}

fn source_state(source: &SourceStatus, html: &mut Html) {
    let not_fetched = source.remote.as_ref().and_then(|remote| remote.failure.as_ref());
    match (source.errors.is_empty(), source.from_state) {
        // The file is good, and nobody knows whether it is still the list.
        (false, false) if not_fetched.is_some() && source.errors.len() == 1 => {
            html.markup("<a class=\"state bad\" href=\"#attention\">Not fetched</a>")
        }
        (false, _) => html.markup("<a class=\"state bad\" href=\"#attention\">Refused</a>"),
        (true, true) => html.markup("<span class=\"state warn\">Stored copy</span>"),
        (true, false) => html.markup("<span class=\"state good\">In force</span>"),
    };
    let dropped: u64 = source.dropped.iter().map(|lines| lines.count).sum();
    if dropped > 0 {
        html.markup("<br><span class=\"quiet\">").text(grouped(dropped)).markup(" lines left out</span>");
    }
}

/// The latest reload, in one sentence.
pub(super) fn last_reload(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    let Some(reload) = &shown.blocklist.status.last_reload else {
        html.markup("<p class=\"quiet\">Nothing was reloaded since the start.</p>");
        return html;
    };
    html.markup("<p>The last reload, ").moment(reload.at, shown.now).markup(", by ").text(trigger(reload.trigger));
    if reload.ok {
        html.markup(", was accepted: ");
    } else {
        html.markup(", was <a class=\"state bad\" href=\"#attention\">refused</a> at least in part: ");
    }
    html.text(names(reload.added as u64))
        .markup(" added, ")
        .text(grouped(reload.removed as u64))
        .markup(" removed.</p>");
    let counts = shown.blocklist.status.reloads;
    html.markup("<p class=\"quiet\">Since the start: ").text(grouped(counts.applied)).markup(" applied, ");
    html.text(grouped(counts.unchanged)).markup(" unchanged, ").text(grouped(counts.refused)).markup(" refused.</p>");
    html
}

const fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Start => "the start",
        Trigger::Event => "a change of a file",
        Trigger::Poll => "the poll",
        Trigger::Hangup => "the signal HUP",
        Trigger::Api => "the API",
        Trigger::Time => "the clock",
    }
}

/// One row an outcome.
pub(super) fn traffic(shown: &Shown<'_>) -> Html {
    let totals: Vec<(Outcome, u64)> = Outcome::ALL.iter().map(|outcome| (*outcome, total(shown, *outcome))).collect();
    let all: u64 = totals.iter().map(|(_, number)| number).sum();
    let mut html = Html::default();
    for (outcome, number) in totals {
        let percent = if all == 0 { 0.0 } else { 100.0 * number as f64 / all as f64 };
        html.markup("<tr><th scope=\"row\">").text(outcome.label()).markup(" <span class=\"quiet\">");
        html.markup(meaning(outcome)).markup("</span></th><td class=\"number\">").text(grouped(number));
        html.markup("</td><td class=\"number\">").text(format_args!("{percent:.1} %"));
        html.markup("</td><td class=\"share\"><svg viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" ");
        html.markup(
            "aria-hidden=\"true\"><rect width=\"100\" height=\"1\" class=\"track\"/><rect height=\"1\" class=\"",
        );
        html.text(outcome.label()).markup("\" width=\"").text(format_args!("{percent:.2}"));
        html.markup("\"/></svg></td></tr>");
    }
    html
}

fn total(shown: &Shown<'_>, outcome: Outcome) -> u64 {
    let counter =
        |listener: &ListenerMetrics, code: &CodeClass| listener.requests(outcome, *code).map_or(0, Counter::sum);
    let listeners = shown.admin.metrics.listeners();
    listeners.iter().flat_map(|listener| CodeClass::ALL.iter().map(|code| counter(listener, code))).sum()
}

const fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded => "an upstream answered",
        Outcome::Blocked => "a decision refused it",
        Outcome::Answered => "sluis answered itself",
        Outcome::Rejected => "the client’s fault",
        Outcome::Failed => "the upstream’s fault or ours",
        Outcome::Aborted => "the client left early",
    }
}

/// One row a decision in force, those with the most hits first.
pub(super) fn decisions(shown: &Shown<'_>) -> Html {
    let mut in_force: Vec<&DecisionView> =
        shown.decisions.iter().filter(|view| view.decision.in_force(shown.now)).collect();
    in_force.sort_by(|left, right| right.hits.cmp(&left.hits).then_with(|| left.decision.id.cmp(&right.decision.id)));
    let mut html = Html::default();
    if in_force.is_empty() {
        html.markup("<tr><td colspan=\"5\" class=\"quiet\">No decision is in force.</td></tr>");
    }
    for view in in_force.iter().take(DECISIONS) {
        decision(view, shown, &mut html);
    }
    if let Some(more) = in_force.len().checked_sub(DECISIONS).filter(|more| *more > 0) {
        html.markup("<tr><td colspan=\"5\" class=\"quiet\">And ").text(grouped(more as u64));
        html.markup(" more: <a href=\"/api/v1/decisions\">/api/v1/decisions</a> has all of them.</td></tr>");
    }
    html
}

fn decision(view: &DecisionView, shown: &Shown<'_>, html: &mut Html) {
    let record = &view.decision;
    html.markup("<tr><th scope=\"row\"><code>").text(&record.id).markup("</code><br><span class=\"quiet\">");
    html.text(record.basis.name()).markup(" · ").text(&view.source).markup("</span>");
    if record.mode == Mode::Shadow {
        html.markup(" <span class=\"state warn\">Shadow</span>");
    }
    html.markup("</th><td>");
    hosts(view, html);
    html.markup("</td><td>").text(&record.decided_by).markup("<br>");
    day(record.decided_at, html);
    if let (Some(authority), Some(reference)) = (&record.authority, &record.reference) {
        html.markup("<br><span class=\"quiet\">").text(authority).markup(", ").text(reference).markup("</span>");
    }
    html.markup("</td><td>");
    ends(view, shown, html);
    html.markup("</td><td class=\"number\">").text(grouped(view.hits)).markup("</td></tr>");
}

fn hosts(view: &DecisionView, html: &mut Html) {
    for host in view.hosts.iter().take(HOSTS) {
        html.markup("<code class=\"host\">").text(host).markup("</code>");
    }
    let listed = view.hosts.len().min(HOSTS) as u64;
    if let Some(more) = view.names.checked_sub(listed).filter(|more| *more > 0) {
        html.markup(if listed > 0 { "<span class=\"quiet\">and " } else { "<span class=\"quiet\">" });
        match listed {
            0 => html.text(names(more)),
            _ => html.text(grouped(more)).markup(" more"),
        };
        html.markup("</span>");
    }
}

fn ends(view: &DecisionView, shown: &Shown<'_>, html: &mut Html) {
    let record = &view.decision;
    if let Some(until) = record.effective_until {
        html.markup("ends ");
        day(until, html);
        html.markup("<br>");
    }
    if let Some(review) = record.review_by {
        html.markup("review by ");
        day(review, html);
        if record.is_overdue(shown.now) {
            html.markup(" <span class=\"state bad\">Overdue</span>");
        }
    }
    if record.effective_until.is_none() && record.review_by.is_none() {
        html.markup("<span class=\"quiet\">until lifted</span>");
    }
}

fn day(when: When, html: &mut Html) {
    match when {
        When::Day(date) => html.markup("<time>").text(date).markup("</time>"),
        When::Moment(at) => html.time(at),
    };
}

/// What begins later, the soonest first.
pub(super) fn scheduled(shown: &Shown<'_>) -> Html {
    let mut ahead: Vec<&DecisionView> =
        shown.decisions.iter().filter(|view| view.decision.starts() > shown.now).collect();
    ahead.sort_by(|left, right| {
        left.decision.starts().cmp(&right.decision.starts()).then_with(|| left.decision.id.cmp(&right.decision.id))
    });
    let mut html = Html::default();
    if ahead.is_empty() {
        html.markup("<p class=\"quiet\">No decision is scheduled.</p>");
        return html;
    }
    html.markup("<ul class=\"plain\">");
    for view in ahead.iter().take(DECISIONS) {
        html.markup("<li><code>").text(&view.decision.id).markup("</code> begins ");
        html.moment(view.decision.starts(), shown.now).markup(", ").text(names(view.names)).markup("</li>");
    }
    html.markup("</ul>");
    html
}

/// One row a certificate.
pub(super) fn certificates(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    if shown.tls.certificates.is_empty() {
        html.markup("<tr><td colspan=\"4\" class=\"quiet\">No certificates: no listener speaks TLS.</td></tr>");
    }
    for certificate in &shown.tls.certificates {
        html.markup("<tr><th scope=\"row\">").text(&certificate.name).markup("<br><span class=\"quiet\">listener ");
        html.text(&certificate.listener).markup("</span></th><td>");
        for host in certificate.hosts.iter().take(HOSTS) {
            html.markup("<code class=\"host\">").text(host).markup("</code>");
        }
        if let Some(more) = certificate.hosts.len().checked_sub(HOSTS).filter(|more| *more > 0) {
            html.markup("<span class=\"quiet\">and ").text(grouped(more as u64)).markup(" more</span>");
        }
        html.markup("</td><td>");
        match certificate.not_after {
            Some(at) => html.moment(at, shown.now),
            None => html.markup("<span class=\"quiet\">unknown</span>"),
        };
        html.markup("</td><td>");
        certificate_state(certificate, shown, &mut html);
        html.markup("</td></tr>");
    }
    html
}

fn certificate_state(certificate: &CertificateStatus, shown: &Shown<'_>, html: &mut Html) {
    let soon = shown.now.checked_add(CERTIFICATE_SOON).unwrap_or(jiff::Timestamp::MAX);
    let expires = |limit| certificate.not_after.is_some_and(|at| at <= limit);
    if certificate.error.is_some() {
        html.markup("<a class=\"state bad\" href=\"#attention\">Refused</a>");
    } else if expires(shown.now) {
        html.markup("<span class=\"state bad\">Expired</span>");
    } else if certificate.from_state {
        html.markup("<span class=\"state warn\">Stored copy</span>");
    } else if expires(soon) {
        html.markup("<span class=\"state warn\">Expires soon</span>");
    } else {
        html.markup("<span class=\"state good\">In force</span>");
    }
}
