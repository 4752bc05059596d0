//! The configuration: one TOML file turned into the parts' own, checked settings.
//!
//! Inside: reading the file, walking it, checking it; every mistake is found in one run. Kept out: what the
//! settings do, and loading the lists, certificates and templates that the file names.
//!
//! A text becomes a document, the document becomes `raw` values with their places (shape), and those become
//! [`Config`] (meaning). The tables and keys are data in `sections`, which the documentation is made of.

mod keys;
mod sections;

mod reader;
pub mod reference;

mod limits;

mod raw;
mod values;

mod check;
mod file;

mod listeners;
mod routes;
mod remote;
mod sources;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::document::{self, Report, Table};
use crate::finding::{Finding, SourceText};
use crate::proxy::{DrainConfig, Http1Path};
use crate::telemetry::logging;
use crate::{admin, blocklist, notice, proxy};

use self::check::Check;
use self::raw::{Operator, Raw, Server};

/// A whole configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// Threads that serve requests; 0: one per core.
    pub workers: usize,
    /// Where the last good bytes of every source and certificate are kept.
    pub state_directory: Option<PathBuf>,
    /// How long the new process of an upgrade may take to become ready.
    pub upgrade_timeout: Duration,
    /// The proxying path, with listeners, routes, upstreams and limits.
    pub proxy: proxy::Config,
    /// What every notice says; always there where there is a blocklist source.
    pub notice: Option<notice::Config>,
    /// The blocklist and its sources.
    pub blocklist: blocklist::config::Config,
    /// The admin endpoint.
    pub admin: admin::Config,
    /// Where metrics and health alone are, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// The log.
    pub logging: logging::Config,
    /// What is worth a look and refuses nothing, in the order of the file.
    pub warnings: Vec<Finding>,
}

/// Reads and checks a configuration file. `random` makes the default of `server.name`. Errors are everything
/// that is wrong with the file, warnings included, in the order of the file.
pub fn load(path: &Path, random: u64) -> Result<Config, Vec<Finding>> {
    accept(examine(path, random)?)
}

/// Checks a configuration that is in memory; relative paths are relative to the folder of `source.file`.
pub fn from_source(source: &SourceText, random: u64) -> Result<Config, Vec<Finding>> {
    accept(examine_source(source, random))
}

/// A configuration with what was found in it. Where there are errors, it says what could be made out, which is
/// enough to look at the files that it names, and is not to be served.
#[derive(Debug)]
pub struct Examined {
    /// The configuration; its warnings are in `findings`.
    pub config: Config,
    /// Everything that is wrong with the file or worth a look, in the order of the file.
    pub findings: Vec<Finding>,
}

/// Reads a configuration file and makes out what can be made out. Errors are those of a file that cannot be read.
pub fn examine(path: &Path, random: u64) -> Result<Examined, Vec<Finding>> {
    let source = file::read(path).map_err(|finding| vec![*finding])?;
    Ok(examine_source(&source, random))
}

fn accept(examined: Examined) -> Result<Config, Vec<Finding>> {
    if examined.findings.iter().any(Finding::is_error) {
        return Err(examined.findings);
    }
    Ok(Config { warnings: examined.findings, ..examined.config })
}

fn examine_source(source: &SourceText, random: u64) -> Examined {
    let report = Report::new(source);
    let document = document::parse(source, &report);
    let base = source.file.parent().unwrap_or_else(|| Path::new(""));
    let config = {
        let raw = raw::walk(Table::root(&document, &report));
        build(Check::new(&report, base), raw, random)
    };
    Examined { config, findings: document::without_guesses(report.into_findings()) }
}

/// From raw values to checked ones. What is wrong is recorded, and left out or replaced by its default.
fn build(check: Check<'_>, raw: Raw<'_>, random: u64) -> Config {
    let addresses = listeners::addresses(check, &raw);
    let upstreams = routes::upstreams(check, &raw);
    routes::loops(check, &raw, &addresses.listeners);
    let routes = routes::routes(check, &raw, &upstreams);
    let server_name = server_name(check, &raw.server, random);
    let operator = operator(check, &raw.operator, !raw.blocklist.sources.is_empty());
    let templates = check.path(raw.templates.as_ref());
    let state_directory = check.path(raw.server.state_directory.as_ref());
    let has_operator_url = operator.as_ref().is_some_and(|operator| operator.url.is_some());
    Config {
        workers: raw.server.workers.as_ref().and_then(|found| usize::try_from(found.value).ok()).unwrap_or(0),
        state_directory: state_directory.clone(),
        upgrade_timeout: raw.server.upgrade_timeout.as_ref().map_or(Duration::from_secs(60), |found| found.value),
        proxy: proxy::Config {
            server_name: server_name.clone(),
            http1: match raw.server.http1.as_ref().map(|found| found.value) {
                Some("hyper") => Http1Path::Hyper,
                _ => Http1Path::Fast,
            },
            trusted_proxies: trusted_proxies(check, &raw.server),
            limits: raw.limits,
            routes,
            upstreams,
            listeners: addresses.listeners,
            drain: drain(&raw.server),
        },
        notice: operator.map(|operator| notice::Config { server_name, operator, templates }),
        blocklist: sources::blocklist(check, raw.blocklist, state_directory, has_operator_url),
        admin: admin::Config { address: addresses.admin },
        metrics: addresses.metrics,
        logging: logging(&raw.log),
        warnings: Vec::new(),
    }
}

fn server_name(check: Check<'_>, raw: &Server<'_>, random: u64) -> String {
    let given = check.value("server.name", raw.name.as_ref(), values::pseudonym);
    given.unwrap_or_else(|| format!("sluis-{:08x}", random & 0xffff_ffff))
}

fn drain(raw: &Server<'_>) -> DrainConfig {
    DrainConfig {
        delay: raw.drain_delay.as_ref().map_or(Duration::ZERO, |found| found.value),
        timeout: raw.drain_timeout.as_ref().map_or(Duration::from_secs(30), |found| found.value),
    }
}

fn trusted_proxies(check: Check<'_>, raw: &Server<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in raw.trusted_proxies.iter().flat_map(|list| &list.value) {
        let Some((network, meant)) = check.value("server.trusted_proxies", Some(text), values::network) else {
            continue;
        };
        if let Some(meant) = meant {
            check.warning(&text.span, format!("`server.trusted_proxies`: {meant}"));
        }
        if network.prefix_len() == 0 {
            let message =
                "`server.trusted_proxies` trusts everyone: any client can choose the address it seems to come from";
            check.warning(&text.span, message);
        }
        networks.push(network);
    }
    networks
}

/// Who runs the edge; none where it is not said, which is an error where there is a blocklist: a notice that
/// cannot say who blocks and how to object is not sent out.
fn operator(check: Check<'_>, raw: &Operator<'_>, required: bool) -> Option<notice::Operator> {
    let place = raw.span.clone().unwrap_or(0..0);
    for key in raw.missing.iter().filter(|_| required) {
        let message = format!(
            "`operator.{key}` is missing: where there is a blocklist, every notice says who blocks and how to object"
        );
        check.error(&place, message);
    }
    let name = check.value("operator.name", raw.name.as_ref(), values::printed);
    let url = check.value("operator.url", raw.url.as_ref(), |text| values::url(text, values::WEB));
    let contact = check.value("operator.contact", raw.contact.as_ref(), |text| values::url(text, values::CONTACT));
    Some(notice::Operator { name: name?, url, contact: contact? })
}

fn logging(raw: &raw::Log) -> logging::Config {
    let defaults = logging::Config::default();
    let level = raw.level.as_ref().and_then(|found| logging::level_from_name(found.value));
    let format = raw.format.as_ref().and_then(|found| logging::Format::from_name(found.value));
    logging::Config { level: level.unwrap_or(defaults.level), format: format.unwrap_or(defaults.format) }
}

#[cfg(test)]
mod tests;
