//! The configuration as it is written: the document walked key by key.
//!
//! Inside: shape only; every unknown key, wrong type, missing field and value out of range is reported here,
//! all in one run. Kept out: what goes together and what the values mean, which the other files check.

use std::ops::Range;
use std::time::Duration;

use crate::document::{Located, Table};
use crate::proxy::Limits;

use super::limits::limits;
use super::reader::Reader;

/// A string with its place.
pub(super) type Text<'d> = Located<&'d str>;

/// A list of strings, each with its place.
pub(super) type Texts<'d> = Located<Vec<Text<'d>>>;

/// The whole document.
#[derive(Debug)]
pub(super) struct Raw<'d> {
    pub(super) server: Server<'d>,
    pub(super) operator: Operator<'d>,
    pub(super) listeners: Vec<Listener<'d>>,
    pub(super) admin_address: Option<Text<'d>>,
    pub(super) metrics_address: Option<Text<'d>>,
    pub(super) blocklist: Blocklist<'d>,
    pub(super) templates: Option<Text<'d>>,
    pub(super) upstreams: Vec<Upstream<'d>>,
    pub(super) routes: Vec<Route<'d>>,
    pub(super) log: Log,
    pub(super) limits: Limits,
}

/// `[server]`.
#[derive(Debug, Default)]
pub(super) struct Server<'d> {
    pub(super) name: Option<Text<'d>>,
    pub(super) workers: Option<Located<u64>>,
    pub(super) drain_delay: Option<Located<Duration>>,
    pub(super) drain_timeout: Option<Located<Duration>>,
    pub(super) upgrade_timeout: Option<Located<Duration>>,
    pub(super) trusted_proxies: Option<Texts<'d>>,
    pub(super) http1: Option<Located<&'static str>>,
    pub(super) state_directory: Option<Text<'d>>,
}

/// `[operator]`; the span is the table's, or none where there is no such table.
#[derive(Debug, Default)]
pub(super) struct Operator<'d> {
    pub(super) span: Option<Range<usize>>,
    pub(super) name: Option<Text<'d>>,
    pub(super) url: Option<Text<'d>>,
    pub(super) contact: Option<Text<'d>>,
    /// The keys that are not there, which is told apart from a value that cannot be used.
    pub(super) missing: Vec<&'static str>,
}

/// `[listener.NAME]`.
#[derive(Debug)]
pub(super) struct Listener<'d> {
    pub(super) name: Text<'d>,
    pub(super) address: Option<Text<'d>>,
    pub(super) tls: Option<ListenerTls<'d>>,
}

/// `tls.*` of a listener.
#[derive(Debug)]
pub(super) struct ListenerTls<'d> {
    pub(super) certificates: Option<Text<'d>>,
    pub(super) default: Option<Text<'d>>,
    pub(super) sni_mismatch: Option<Located<&'static str>>,
    pub(super) min_version: Option<Located<&'static str>>,
    pub(super) client_ca: Option<Text<'d>>,
}

/// `[blocklist]`.
#[derive(Debug, Default)]
pub(super) struct Blocklist<'d> {
    pub(super) settle: Option<Located<Duration>>,
    pub(super) poll: Option<Located<Duration>>,
    pub(super) never_block: Option<Texts<'d>>,
    pub(super) max_shrink_percent: Option<Located<u64>>,
    pub(super) max_error_percent: Option<Located<u64>>,
    pub(super) max_memory_mib: Option<Located<u64>>,
    pub(super) sources: Vec<Source<'d>>,
}

/// `[blocklist.source.NAME]`. The decision is a record and is read as one.
#[derive(Debug)]
pub(super) struct Source<'d> {
    pub(super) name: Text<'d>,
    pub(super) path: Option<Text<'d>>,
    pub(super) has_path: bool,
    pub(super) remote: Remote<'d>,
    pub(super) format: Option<Text<'d>>,
    pub(super) scope: Option<Located<&'static str>>,
    /// Whether the key is there, with a value that can be used or not.
    pub(super) has_scope: bool,
    pub(super) decision: Option<Table<'d>>,
    pub(super) has_decision: bool,
}

/// The keys of a source whose list is fetched.
#[derive(Debug)]
pub(super) struct Remote<'d> {
    pub(super) url: Option<Text<'d>>,
    pub(super) has_url: bool,
    pub(super) refresh: Option<Located<Duration>>,
    pub(super) timeout: Option<Located<Duration>>,
    pub(super) max_mib: Option<Located<u64>>,
    pub(super) ca: Option<Text<'d>>,
}

/// `[upstream.NAME]`.
#[derive(Debug)]
pub(super) struct Upstream<'d> {
    pub(super) name: Text<'d>,
    pub(super) servers: Option<Texts<'d>>,
    pub(super) ca: Option<Text<'d>>,
}

/// `[[route]]`.
#[derive(Debug)]
pub(super) struct Route<'d> {
    pub(super) span: Range<usize>,
    pub(super) hosts: Option<Texts<'d>>,
    /// Whether the key is there, with a value that can be used or not.
    pub(super) has_hosts: bool,
    pub(super) upstream: Option<Text<'d>>,
}

/// `[log]`.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) level: Option<Located<&'static str>>,
    pub(super) format: Option<Located<&'static str>>,
}

/// Walks the whole document.
pub(super) fn walk(root: Table<'_>) -> Raw<'_> {
    let root = Reader::new(root, "");
    let raw = Raw {
        server: root.below("server", "server").map(server).unwrap_or_default(),
        operator: root.below("operator", "operator").map_or_else(no_operator, operator),
        listeners: each(root.named("listener", "listener.NAME"), listener),
        admin_address: root.below("admin", "admin").and_then(|table| address_only(table, false)),
        metrics_address: root.below("metrics", "metrics").and_then(|table| address_only(table, true)),
        blocklist: root.below("blocklist", "blocklist").map(blocklist).unwrap_or_default(),
        templates: root.below("notice", "notice").and_then(notice),
        upstreams: each(root.named("upstream", "upstream.NAME"), upstream),
        routes: root.list("route", "route[]").into_iter().map(route).collect(),
        log: root.below("log", "log").map(log).unwrap_or_default(),
        limits: root.below("limits", "limits").map(limits).unwrap_or_default(),
    };
    root.not_yet("access_log", "access logs");
    root.finish();
    raw
}

fn each<'d, T>(tables: Vec<(Text<'d>, Reader<'d>)>, read: impl Fn(Text<'d>, Reader<'d>) -> T) -> Vec<T> {
    tables.into_iter().map(|(name, table)| read(name, table)).collect()
}

fn server(table: Reader<'_>) -> Server<'_> {
    let mut raw = Server {
        name: table.text("name"),
        workers: table.integer("workers"),
        drain_delay: None,
        drain_timeout: None,
        upgrade_timeout: table.duration("upgrade_timeout"),
        trusted_proxies: table.strings("trusted_proxies"),
        http1: table.choice("http1"),
        state_directory: table.text("state_directory"),
    };
    if let Some(drain) = table.below("drain", "server.drain") {
        raw.drain_delay = drain.duration("delay");
        raw.drain_timeout = drain.duration("timeout");
        drain.finish();
    }
    table.finish();
    raw
}

fn no_operator<'d>() -> Operator<'d> {
    Operator { missing: vec!["name", "contact"], ..Operator::default() }
}

fn operator(table: Reader<'_>) -> Operator<'_> {
    let raw = Operator {
        span: Some(table.table().span().clone()),
        name: table.text("name"),
        url: table.text("url"),
        contact: table.text("contact"),
        missing: ["name", "contact"].into_iter().filter(|key| !table.table().has(key)).collect(),
    };
    table.finish();
    raw
}

fn listener<'d>(name: Text<'d>, table: Reader<'d>) -> Listener<'d> {
    let address = table.required_text("address", "where to accept, such as \"0.0.0.0:8080\"");
    let tls = table.below("tls", "listener.NAME.tls").map(listener_tls);
    table.finish();
    Listener { name, address, tls }
}

fn listener_tls(table: Reader<'_>) -> ListenerTls<'_> {
    let raw = ListenerTls {
        certificates: table.required_text("certificates", "a directory of NAME.crt and NAME.key"),
        default: table.text("default"),
        sni_mismatch: table.choice("sni_mismatch"),
        min_version: table.choice("min_version"),
        client_ca: table.text("client_ca"),
    };
    table.finish();
    raw
}

fn address_only(table: Reader<'_>, required: bool) -> Option<Text<'_>> {
    let address = if required { table.required_text("address", "") } else { table.text("address") };
    table.finish();
    address
}

fn blocklist(table: Reader<'_>) -> Blocklist<'_> {
    let raw = Blocklist {
        settle: table.duration("settle"),
        poll: table.duration("poll"),
        never_block: table.strings("never_block"),
        max_shrink_percent: table.integer("max_shrink_percent"),
        max_error_percent: table.integer("max_error_percent"),
        max_memory_mib: table.integer("max_memory_mib"),
        sources: each(table.named("source", "blocklist.source.NAME"), source),
    };
    table.finish();
    raw
}

fn source<'d>(name: Text<'d>, table: Reader<'d>) -> Source<'d> {
    let raw = Source {
        name,
        path: table.text("path"),
        has_path: table.table().has("path"),
        remote: Remote {
            url: table.text("url"),
            has_url: table.table().has("url"),
            refresh: table.duration("refresh"),
            timeout: table.duration("timeout"),
            max_mib: table.integer("max_mib"),
            ca: table.text("ca"),
        },
        format: table.text("format"),
        scope: table.choice("scope"),
        has_scope: table.table().has("scope"),
        decision: table.foreign("decision"),
        has_decision: table.table().has("decision"),
    };
    table.finish();
    raw
}

fn notice(table: Reader<'_>) -> Option<Text<'_>> {
    let templates = table.text("templates");
    table.finish();
    templates
}

fn upstream<'d>(name: Text<'d>, table: Reader<'d>) -> Upstream<'d> {
    table.table().require("servers", "at least one, such as servers = [\"127.0.0.1:3000\"]");
    let raw = Upstream { name, servers: table.strings("servers"), ca: table.text("ca") };
    table.finish();
    raw
}

fn route(table: Reader<'_>) -> Route<'_> {
    let raw = Route {
        span: table.table().span().clone(),
        hosts: table.strings("hosts"),
        has_hosts: table.table().has("hosts"),
        upstream: table.required_text("upstream", "the NAME of an [upstream.NAME]"),
    };
    table.finish();
    raw
}

fn log(table: Reader<'_>) -> Log {
    let raw = Log { level: table.choice("level"), format: table.choice("format") };
    table.not_yet("access", "access logs");
    table.finish();
    raw
}
