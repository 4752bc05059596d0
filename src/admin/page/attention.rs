//! What needs somebody's attention: above everything else on the page, and one line where there is nothing.
//!
//! Inside: what counts as such, and how soon is soon. Kept out: the tables that show all of it.

use std::time::Duration;

use jiff::Timestamp;

use super::Shown;
use super::html::{Html, distance, grouped};
use crate::finding::Finding;
use crate::telemetry::panics;

/// What ends or is to be reviewed within this is shown.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// A certificate that expires within this is shown: renewals run at a third of ninety days as a rule.
pub(super) const CERTIFICATE_SOON: Duration = Duration::from_secs(21 * 86_400);

/// More items of a kind than this are counted, not listed.
const ITEMS: usize = 20;

/// More findings of an item than this are counted, not listed.
const FINDINGS: usize = 10;

/// The list of what needs attention.
pub(super) fn attention(shown: &Shown<'_>) -> Html {
    let mut items = Vec::new();
    configuration(shown, &mut items);
    sources(shown, &mut items);
    certificates(shown, &mut items);
    reviews(shown, &mut items);
    endings(shown, &mut items);
    panics(&mut items);
    let mut html = Html::default();
    if items.is_empty() {
        html.markup("<p class=\"calm\">Nothing needs attention.</p>");
        return html;
    }
    html.markup("<ul class=\"attention\">");
    for item in &items {
        html.piece(item);
    }
    html.markup("</ul>");
    html
}

fn bad(title: impl FnOnce(&mut Html), findings: &[Finding]) -> Html {
    item("<li class=\"bad\"><strong>", title, findings)
}

fn warn(title: impl FnOnce(&mut Html)) -> Html {
    item("<li class=\"warn\"><strong>", title, &[])
}

fn item(start: &'static str, title: impl FnOnce(&mut Html), findings: &[Finding]) -> Html {
    let mut html = Html::default();
    html.markup(start);
    title(&mut html);
    html.markup("</strong>");
    for finding in findings.iter().take(FINDINGS) {
        html.markup("<pre tabindex=\"0\">").text(finding).markup("</pre>");
    }
    if let Some(more) = findings.len().checked_sub(FINDINGS).filter(|more| *more > 0) {
        html.markup("<p>And ").text(grouped(more as u64)).markup(" more; /api/v1/status has all of them.</p>");
    }
    html.markup("</li>");
    html
}

fn configuration(shown: &Shown<'_>, items: &mut Vec<Html>) {
    let reloads = shown.admin.config_reloads.load_full();
    if !reloads.value.last_successful() {
        let title = |html: &mut Html| {
            html.markup("The configuration that was read last was refused: the one before it is in force.");
        };
        items.push(bad(title, reloads.value.errors()));
    }
}

fn sources(shown: &Shown<'_>, items: &mut Vec<Html>) {
    for source in &shown.blocklist.status.sources {
        if !source.errors.is_empty() {
            let title = |html: &mut Html| {
                let not_fetched = source.remote.as_ref().is_some_and(|remote| remote.failure.is_some());
                let what =
                    if not_fetched { ": the list cannot be fetched." } else { ": the file is not what is in force." };
                html.markup("Source ").text(&source.name).markup(what);
            };
            items.push(bad(title, &source.errors));
        }
        if source.from_state {
            items.push(warn(|html| {
                html.markup("Source ").text(&source.name).markup(": in force is the stored copy of an earlier run.");
            }));
        }
    }
}

fn certificates(shown: &Shown<'_>, items: &mut Vec<Html>) {
    if !shown.tls.listener_errors.is_empty() {
        let title = |html: &mut Html| {
            html.markup("Certificates could not be read.");
        };
        let findings: Vec<Finding> = shown.tls.listener_errors.iter().map(|(_, finding)| finding.clone()).collect();
        items.push(bad(title, &findings));
    }
    for certificate in &shown.tls.certificates {
        if let Some(error) = &certificate.error {
            let title = |html: &mut Html| {
                html.markup("Certificate ").text(&certificate.name).markup(": the files are not what is in force.");
            };
            items.push(bad(title, std::slice::from_ref(error)));
        }
        match certificate.not_after {
            Some(at) if at <= shown.now => items.push(bad(
                |html| {
                    html.markup("Certificate ").text(&certificate.name).markup(" expired ");
                    html.text(distance(at, shown.now)).markup(".");
                },
                &[],
            )),
            Some(at) if is_within(at, shown.now, CERTIFICATE_SOON) => items.push(warn(|html| {
                html.markup("Certificate ").text(&certificate.name).markup(" expires ");
                html.text(distance(at, shown.now)).markup(".");
            })),
            _ => {}
        }
    }
}

fn reviews(shown: &Shown<'_>, items: &mut Vec<Html>) {
    let in_force = shown.decisions.iter().filter(|view| view.decision.in_force(shown.now));
    let mut due: Vec<_> = in_force
        .filter_map(|view| Some((view.decision.review_by?.ends(), view)))
        .filter(|(at, _)| is_within(*at, shown.now, SOON))
        .collect();
    due.sort_by_key(|(at, view)| (*at, &view.decision.id));
    for (at, view) in due.iter().take(ITEMS) {
        items.push(warn(|html| {
            html.markup("Decision <a href=\"#decisions\">").text(&view.decision.id).markup("</a> ");
            if *at <= shown.now {
                html.markup("should have been reviewed ").text(distance(*at, shown.now)).markup(".");
            } else {
                html.markup("is to be reviewed ").text(distance(*at, shown.now)).markup(".");
            }
        }));
    }
    more(due.len(), items);
}

fn endings(shown: &Shown<'_>, items: &mut Vec<Html>) {
    let in_force = shown.decisions.iter().filter(|view| view.decision.in_force(shown.now));
    let mut ending: Vec<_> = in_force
        .filter_map(|view| Some((view.decision.ends()?, view)))
        .filter(|(at, _)| is_within(*at, shown.now, SOON))
        .collect();
    ending.sort_by_key(|(at, view)| (*at, &view.decision.id));
    for (at, view) in ending.iter().take(ITEMS) {
        items.push(warn(|html| {
            html.markup("Decision <a href=\"#decisions\">").text(&view.decision.id).markup("</a> ends ");
            html.text(distance(*at, shown.now)).markup("; its hosts will then pass.");
        }));
    }
    more(ending.len(), items);
}

fn more(total: usize, items: &mut Vec<Html>) {
    if let Some(more) = total.checked_sub(ITEMS).filter(|more| *more > 0) {
        items.push(warn(|html| {
            html.text(grouped(more as u64)).markup(" more decisions like these.");
        }));
    }
}

fn panics(items: &mut Vec<Html>) {
    let panics = panics::count();
    if panics > 0 {
        items.push(bad(
            |html| {
                html.text(grouped(panics))
                    .markup(" panics since the start. Each ended one task and is a bug in sluis; ");
                html.markup("the log has its place.");
            },
            &[],
        ));
    }
}

fn is_within(at: Timestamp, now: Timestamp, time: Duration) -> bool {
    at <= now.checked_add(time).unwrap_or(Timestamp::MAX)
}
