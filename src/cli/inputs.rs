//! The files that a configuration names: loaded as `serve` would, with nothing started.
//!
//! Inside: lists, certificates, templates and roots, each by the part that owns it. Kept out: the configuration
//! itself, and what is done with the findings.

use std::path::Path;

use jiff::Timestamp;

use crate::blocklist::decision::Mode;
use crate::blocklist::format::decisions;
use crate::blocklist::parsed::Owner;
use crate::blocklist::pattern::Reach;
use crate::blocklist::reload;
use crate::config::Config;
use crate::finding::Finding;
use crate::notice::Notices;
use crate::proxy::upstream::Upstream;
use crate::telemetry::metrics::Metrics;
use crate::tls;

/// How much was looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) listeners: usize,
    pub(super) upstreams: usize,
    pub(super) sources: usize,
    pub(super) decisions: usize,
    pub(super) names: usize,
}

/// Loads every file and tells what is wrong or odd.
pub(super) fn examine(config: &Config) -> (Vec<Finding>, Counts) {
    let lists = reload::check(&config.blocklist, Timestamp::now());
    let counts = Counts {
        listeners: config.proxy.listeners.len(),
        upstreams: config.proxy.upstreams.len(),
        sources: lists.sources.len(),
        decisions: lists.sources.iter().map(|source| source.decisions).sum(),
        names: lists.sources.iter().map(|source| source.names).sum(),
    };
    let mut findings = lists.findings;
    findings.extend(certificates(config));
    findings.extend(templates(config));
    findings.extend(upstreams(config));
    (findings, counts)
}

fn certificates(config: &Config) -> Vec<Finding> {
    let listeners = config.proxy.listeners.iter();
    let settings: Vec<_> =
        listeners.filter_map(|listener| Some((listener.name.clone(), listener.tls.as_ref()?.tls.clone()))).collect();
    tls::reload::check(&settings)
}

fn templates(config: &Config) -> Vec<Finding> {
    config.notice.as_ref().and_then(|notice| Notices::load(notice).err()).unwrap_or_default()
}

/// The roots of upstreams with TLS; nothing is resolved and nothing connected.
fn upstreams(config: &Config) -> Vec<Finding> {
    let metrics = Metrics::new(1, []);
    let built = config.proxy.upstreams.iter().map(|upstream| Upstream::build(upstream, &metrics, None));
    built.filter_map(Result::err).flatten().collect()
}

/// A host that a list of records blocks now; none where it blocks none, or cannot be read.
pub(super) fn blocked_host(list: &Path) -> Option<String> {
    let parsed = decisions::parse(list, &std::fs::read(list).ok()?);
    let now = Timestamp::now();
    let in_force = (0..).zip(&parsed.decisions).filter(|(_, decision)| {
        decision.mode == Mode::Enforce && decision.countries.is_empty() && decision.in_force(now)
    });
    let mut names = in_force.flat_map(|(index, _)| parsed.names.of(Owner::Decision(index)));
    let record = names.next()?;
    let name = record.view().name;
    Some(if record.reach == Reach::Below { format!("www.{name}") } else { name.to_owned() })
}
