//! Configurations, right and wrong, and what is found in them.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::finding::Severity;
use crate::proxy::{Limits, SniMismatch};
use crate::tls::config::TlsVersion;

const EXAMPLE: &str = include_str!("../../config/sluis.toml");
const MINIMAL: &str = include_str!("../../config/minimal.toml");

/// The least that serves: one listener, one upstream, one route.
const LEAST: &str = "\
[listener.http]
address = \"127.0.0.1:8080\"
[upstream.origin]
servers = [\"127.0.0.1:3000\"]
[[route]]
upstream = \"origin\"
";

fn parse(text: &str) -> Result<Config, Vec<Finding>> {
    from_source(&SourceText::new(Path::new("etc/sluis.toml"), text), 0x1234_5678_9abc_def0)
}

fn accepted(text: &str) -> Config {
    parse(text).unwrap_or_else(|findings| panic!("{}", shown(&findings).join("\n")))
}

fn refused(text: &str) -> Vec<String> {
    shown(&parse(text).map(|_| text.to_owned()).expect_err("the configuration was accepted"))
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// LEAST with further text, which a finding is on from line 7.
fn with(text: &str) -> String {
    format!("{LEAST}{text}")
}

const OPERATOR: &str = "[operator]\nname = \"E\"\ncontact = \"mailto:a@edge.example\"\n";

#[test]
fn defaults_are_those_of_the_contract() {
    let config = accepted(LEAST);
    assert_eq!(config.proxy.server_name, "sluis-9abcdef0");
    assert_eq!((config.workers, config.state_directory, config.metrics), (0, None, None));
    assert_eq!(config.proxy.drain, DrainConfig { delay: Duration::ZERO, timeout: Duration::from_secs(30) });
    assert_eq!(config.proxy.limits, Limits::default());
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9180");
    assert_eq!(config.logging, logging::Config::default());
    let blocklist = &config.blocklist;
    assert_eq!((blocklist.settle, blocklist.poll), (Duration::from_millis(200), Duration::from_secs(5)));
    assert_eq!((blocklist.max_shrink_percent, blocklist.max_error_percent), (50, 1));
    assert!(blocklist.never_block.is_empty() && blocklist.sources.is_empty());
    assert!(config.notice.is_none() && config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn documented_defaults_are_the_defaults() {
    // A document with every key that has a literal default, at that default, means what an empty one means.
    let mut text = String::new();
    for name in ["server", "server.drain", "blocklist", "log", "limits", "admin"] {
        text.push_str(&format!("[{name}]\n"));
        for key in sections::section(name).keys.iter().filter(|key| reference::is_literal(key.default)) {
            text.push_str(&format!("{} = {}\n", key.name, key.default));
        }
    }
    text.push_str("[listener.http]\naddress = \"127.0.0.1:8080\"\n");
    let (written, silent) = (accepted(&text), accepted("[listener.http]\naddress = \"127.0.0.1:8080\"\n"));
    assert_eq!(format!("{:?}", written.proxy), format!("{:?}", silent.proxy));
    assert_eq!(format!("{:?}", written.blocklist), format!("{:?}", silent.blocklist));
    assert_eq!((written.admin, written.logging), (silent.admin, silent.logging));
}

#[test]
fn example_means_what_it_says() {
    let config = accepted(EXAMPLE);
    assert!(config.warnings.is_empty(), "{:?}", shown(&config.warnings));
    assert_eq!((config.proxy.server_name.as_str(), config.proxy.drain.delay), ("edge-1", Duration::from_secs(5)));
    let https = &config.proxy.listeners[1];
    let tls = https.tls.as_ref().expect("the second listener has TLS");
    assert_eq!((https.name.as_str(), tls.tls.certificates.as_path()), ("https", Path::new("etc/../certs")));
    assert_eq!((tls.tls.default.as_deref(), tls.sni_mismatch), (Some("edge"), SniMismatch::Certificate));
    assert_eq!((tls.tls.min_version, tls.tls.client_ca.as_deref()), (TlsVersion::Tls12, None));
    let sources: Vec<(&str, &Path)> =
        config.blocklist.sources.iter().map(|source| (source.name.as_str(), source.path.as_path())).collect();
    let expected = [("decisions", Path::new("etc/blocklist.toml")), ("phishing", Path::new("etc/lists/phishing.txt"))];
    assert_eq!(sources, expected);
    assert_eq!(config.proxy.routes.iter().map(|route| route.upstream).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(config.proxy.routes[0].hosts.len(), 2);
    assert_eq!(config.metrics.map(|address| address.port()), Some(9181));
    let notice = config.notice.expect("there is an operator");
    assert_eq!((notice.server_name.as_str(), notice.operator.name.as_str()), ("edge-1", "Example Edge"));
}

#[test]
fn smallest_example_is_accepted() {
    assert!(accepted(MINIMAL).warnings.is_empty());
}

/// The example's lines with the table that each stands in; commented-out keys count as keys.
fn example_keys() -> Vec<(String, String, &'static str)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
            continue;
        }
        let setting = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, _)) = setting.split_once(" = ") else { continue };
        if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.')) {
            keys.push((table.clone(), key.to_owned(), line));
        }
    }
    keys
}

#[test]
fn example_has_every_key_with_its_default_beside_it() {
    let keys = example_keys();
    let mut problems = Vec::new();
    for section in sections::SECTIONS {
        for key in section.keys.iter().filter(|key| !matches!(key.kind, keys::Kind::Table)) {
            let (table, prefix) = match section.name {
                "listener.NAME.tls" => ("listener.NAME", "tls."),
                name => (name.trim_end_matches("[]"), ""),
            };
            let full = format!("{prefix}{}", key.name);
            let in_table = |found: &str| match table.strip_suffix(".NAME") {
                Some(parent) => found.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.')),
                None => found == table,
            };
            let beside =
                if key.default.starts_with("required") { key.default } else { &format!("Default: {}", key.default) };
            let mut lines = keys.iter().filter(|(found, name, _)| in_table(found) && *name == full);
            if !lines.any(|(_, _, line)| line.split_once('#').is_some_and(|(_, comment)| comment.contains(beside))) {
                problems.push(format!("[{table}] {full}: no line says `{beside}`"));
            }
        }
    }
    assert!(problems.is_empty(), "config/sluis.toml:\n{}", problems.join("\n"));
}

#[test]
fn example_has_no_key_that_is_not_read_even_where_it_is_commented_out() {
    let enabled: String = EXAMPLE
        .lines()
        .map(|line| {
            if example_keys().iter().any(|(_, _, found)| *found == line) { line.trim_start_matches("# ") } else { line }
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = accepted(&enabled);
    assert_eq!(config.state_directory.as_deref(), Some(Path::new("/var/lib/sluis")));
    assert!(config.proxy.listeners[1].tls.as_ref().is_some_and(|tls| tls.tls.client_ca.is_some()));
    assert!(config.notice.is_some_and(|notice| notice.templates.is_some()));
    assert!(config.proxy.upstreams[1].ca.is_some());
}

#[test]
fn one_run_finds_mistakes_of_every_kind() {
    let found = refused(
        "[server]\nnmae = \"edge\"\nworkers = \"four\"\ntrusted_proxies = [\"10.0.0.0/99\"]\n\
         [listener.http]\n[listener.https]\naddress = \"localhost:1\"\ntls.sni_mismatch = \"ignore\"\n\
         [blocklist]\nsettle = \"soon\"\nmax_shrink_percent = 101\n\
         [upstream.origin]\nservers = [\"127.0.0.1\"]\n\
         [[route]]\nupstream = \"orign\"\nhosts = [\"*.*.example\"]\n",
    );
    for expected in [
        "etc/sluis.toml:2:1: unknown key `server.nmae`; did you mean `name`?",
        "etc/sluis.toml:3:11: `server.workers` is a string; expected a whole number from 0 to 1024",
        "etc/sluis.toml:4:20: `server.trusted_proxies`: \"10.0.0.0/99\" is not a network",
        "etc/sluis.toml:5:11: `listener.http.address` is missing",
        "etc/sluis.toml:7:11: `listener.https.address`: \"localhost:1\" is not an IP address",
        "`listener.https.tls.certificates` is missing",
        "etc/sluis.toml:8:20: `listener.https.tls.sni_mismatch` is \"ignore\"",
        "etc/sluis.toml:10:10: `blocklist.settle` is \"soon\"; expected a duration",
        "etc/sluis.toml:11:22: `blocklist.max_shrink_percent` is 101; expected a whole number from 0 to 100",
        "etc/sluis.toml:13:12: `upstream.origin.servers`: \"127.0.0.1\" has no port",
        "etc/sluis.toml:15:12: `route.upstream` is \"orign\", which is no upstream; expected \"origin\"; did you mean \"origin\"?",
        "etc/sluis.toml:16:10: `route.hosts`: \"*.*.example\" is not a host pattern",
    ] {
        assert!(found.iter().any(|finding| finding.contains(expected)), "no {expected} in\n{}", found.join("\n"));
    }
}

/// Every wrong configuration: text, then the places and words of its findings.
type Wrong = (String, &'static [&'static str]);

fn each_is_refused(cases: &[Wrong]) {
    for (text, expected) in cases {
        let found = refused(text);
        for expected in *expected {
            assert!(
                found.iter().any(|finding| finding.contains(expected)),
                "no {expected} in\n{}\nof\n{text}",
                found.join("\n")
            );
        }
        let errors = found.iter().filter(|finding| finding.starts_with("error")).count();
        assert_eq!(errors, expected.len(), "other errors than expected:\n{}\nof\n{text}", found.join("\n"));
    }
}

#[test]
fn wrong_server_operator_and_log_are_refused() {
    each_is_refused(&[
        (with("[server]\nname = 7\n"), &["8:8: `server.name` is a whole number"]),
        (with("[server]\nname = \"\"\n"), &["8:8: `server.name` is empty"]),
        (with("[server]\nname = \"edge 1\"\n"), &["8:8: `server.name`: \"edge 1\" is no pseudonym"]),
        (with("[server]\nworkers = -1\n"), &["8:11: `server.workers` is -1; expected a whole number from 0 to 1024"]),
        (with("[server]\nworkers = 2.5\n"), &["8:11: `server.workers` is a number with a fraction"]),
        (with("[server]\ndrain = \"30s\"\n"), &["8:9: `server.drain` is a string; expected a table"]),
        (
            with("[server]\ndrain = { delay = 5 }\n"),
            &["8:19: `server.drain.delay` is a whole number; expected a duration"],
        ),
        (
            with("[server]\ndrain = { delay = \"2h\" }\n"),
            &["8:19: `server.drain.delay` is \"2h\"; expected a duration from \"0s\" to \"1h\""],
        ),
        (with("[server]\ndrain = { wait = \"5s\" }\n"), &["8:11: unknown key `server.drain.wait`"]),
        (
            with("[server]\ntrusted_proxies = \"10.0.0.0/8\"\n"),
            &["8:19: `server.trusted_proxies` is a string; expected a list"],
        ),
        (
            with("[server]\ntrusted_proxies = [10]\n"),
            &["8:20: `server.trusted_proxies` has a whole number; expected strings only"],
        ),
        (with("[server]\nhttp1 = \"hyper\"\n"), &["8:1: unknown key `server.http1`"]),
        (with("[server]\nstate_directory = \"\"\n"), &["8:19: `server.state_directory` is empty"]),
        (
            with("server = 1\n").replace("server = 1\n", "") + "[serverr]\nname = \"x\"\n",
            &["7:2: unknown key `serverr`; did you mean `server`?"],
        ),
        (with("[operator]\nname = \"a\\nb\"\n"), &["8:8: `operator.name`: has a control character"]),
        (with("[operator]\nurl = \"edge.example\"\n"), &["8:7: `operator.url`: \"edge.example\" is no URL"]),
        (
            with("[operator]\nurl = \"mailto:a@edge.example\"\n"),
            &["8:7: `operator.url`: \"mailto:a@edge.example\" has another scheme"],
        ),
        (
            with("[operator]\ncontact = \"abuse@edge.example\"\n"),
            &["8:11: `operator.contact`: \"abuse@edge.example\" is no URL"],
        ),
        (
            with("[log]\nlevel = \"inof\"\n"),
            &[
                "8:9: `log.level` is \"inof\"; expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\"; did you mean \"info\"?",
            ],
        ),
        (with("[log]\nformat = true\n"), &["8:10: `log.format` is true or false"]),
        (with("[log]\naccess = \"access.log\"\n"), &["8:10: `log.access`: this version does not have access logs yet"]),
        (with("[access_log]\npath = \"x\"\n"), &["`access_log`: this version does not have access logs yet"]),
        (with("[journal]\npath = \"x\"\n"), &["7:2: unknown key `journal`"]),
        (with("[notice]\ntemplates = 1\n"), &["8:13: `notice.templates` is a whole number"]),
        (with("[metrics]\n"), &["`metrics.address` is missing"]),
    ]);
}

#[test]
fn wrong_listeners_and_addresses_are_refused() {
    let listener = |text: &str| format!("[listener.http]\n{text}");
    each_is_refused(&[
        (String::new(), &["etc/sluis.toml:1:1: there is no listener; add [listener.http]"]),
        (
            "listener = 1\n".to_owned(),
            &["1:12: `listener` is a whole number; expected a table", "there is no listener"],
        ),
        (
            "[listener]\naddress = \"127.0.0.1:80\"\n".to_owned(),
            &["2:11: `listener.address` must be a table ([listener.address])", "there is no listener"],
        ),
        (
            listener("address = \":8080\"\n"),
            &["2:11: `listener.http.address`: \":8080\" is not an IP address with a port"],
        ),
        (listener("address = 8080\n"), &["2:11: `listener.http.address` is a whole number"]),
        (listener("address = \"127.0.0.1:80\"\nport = 80\n"), &["3:1: unknown key `listener.http.port`"]),
        (
            listener("address = \"127.0.0.1:80\"\ntls = true\n"),
            &["3:7: `listener.http.tls` is true or false; expected a table"],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.default = \"edge\"\n"),
            &["`listener.http.tls.certificates` is missing"],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.certificates = \"c\"\ntls.default = \"c/edge.crt\"\n"),
            &["4:15: `tls.default`: \"c/edge.crt\" is a file"],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.certificates = \"c\"\ntls.min_version = \"1.1\"\n"),
            &["4:19: `listener.http.tls.min_version` is \"1.1\"; expected \"1.2\" or \"1.3\""],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.certificates = \"c\"\ntls.client_ca = 3\n"),
            &["4:17: `listener.http.tls.client_ca` is a whole number"],
        ),
        (
            "[listener.\"a b\"]\naddress = \"127.0.0.1:80\"\n".to_owned(),
            &["1:11: [listener.a b]: the name \"a b\" is not 1 to 64 letters"],
        ),
        (
            with("[listener.http]\naddress = \"127.0.0.1:80\"\n"),
            &["7:11: not TOML: duplicate key", "8:1: not TOML: duplicate key"],
        ),
        (
            with("[listener.other]\naddress = \"127.0.0.1:8080\"\n"),
            &[
                "8:11: `listener.other.address`: 127.0.0.1:8080 is taken by `listener.http.address` (127.0.0.1:8080, line 2)",
            ],
        ),
        (
            with("[listener.other]\naddress = \"0.0.0.0:8080\"\n"),
            &["8:11: `listener.other.address`: 0.0.0.0:8080 is taken by `listener.http.address`"],
        ),
        (
            with("[admin]\naddress = \"127.0.0.1:8080\"\n"),
            &["8:11: `admin.address`: 127.0.0.1:8080 is taken by `listener.http.address`"],
        ),
        (
            with("[metrics]\naddress = \"127.0.0.1:9180\"\n"),
            &["8:11: `metrics.address` takes 127.0.0.1:9180, the default of `admin.address`"],
        ),
        (
            with("[admin]\naddress = \"127.0.0.1:1\"\n[metrics]\naddress = \"127.0.0.1:1\"\n"),
            &["8:11: `admin.address`: 127.0.0.1:1 is taken by `metrics.address`"],
        ),
        (with("[admin]\ntokens = []\n"), &["8:1: unknown key `admin.tokens`"]),
    ]);
}

#[test]
fn wrong_upstreams_and_routes_are_refused() {
    let listener = "[listener.http]\naddress = \"127.0.0.1:8080\"\n";
    let upstream = |text: &str| format!("{listener}[upstream.a]\n{text}[[route]]\nupstream = \"a\"\n");
    each_is_refused(&[
        (upstream(""), &["3:11: `upstream.a.servers` is missing"]),
        (upstream("servers = []\n"), &["4:11: `upstream.a.servers` is empty"]),
        (upstream("servers = \"127.0.0.1:1\"\n"), &["4:11: `upstream.a.servers` is a string; expected a list"]),
        (
            upstream("servers = [\"ftp://127.0.0.1:1\"]\n"),
            &["4:12: `upstream.a.servers`: \"ftp://127.0.0.1:1\" has another scheme"],
        ),
        (
            upstream("servers = [\"127.0.0.1:1\", \"http://127.0.0.1:1\"]\n"),
            &["4:27: `upstream.a.servers` has 127.0.0.1:1 twice"],
        ),
        (
            upstream("server = \"x\"\nservers = [\"127.0.0.1:1\"]\n"),
            &["4:1: unknown key `upstream.a.server`; did you mean `servers`?"],
        ),
        (with("[[route]]\nhosts = [\"a.example\"]\n"), &["7:1: `route.upstream` is missing"]),
        (with("[[route]]\nupstream = \"origin\"\n"), &["7:1: a second [[route]] without `hosts`; the one on line 5"]),
        (with("[[route]]\nhosts = []\nupstream = \"origin\"\n"), &["8:9: `route.hosts` is empty"]),
        (
            with("[[route]]\nhosts = [\"exa mple\"]\nupstream = \"origin\"\n"),
            &["8:10: `route.hosts`: \"exa mple\" is not a host pattern"],
        ),
        (
            with("[[route]]\nhosts = [\"a.*.example\"]\nupstream = \"origin\"\n"),
            &["8:10: `route.hosts`: \"a.*.example\" is not a host pattern"],
        ),
        (
            with("[[route]]\nhosts = \"a.example\"\nupstream = \"origin\"\n"),
            &["8:9: `route.hosts` is a string; expected a list"],
        ),
        (
            with("[[route]]\nhosts = [\"a.example\"]\nupstream = \"origins\"\n"),
            &[
                "9:12: `route.upstream` is \"origins\", which is no upstream; expected \"origin\"; did you mean \"origin\"?",
            ],
        ),
        (
            with(
                "[[route]]\nhosts = [\"a.example\"]\nupstream = \"origin\"\n[[route]]\nhosts = [\"A.example.\"]\nupstream = \"origin\"\n",
            ),
            &["11:10: `route.hosts`: \"A.example.\" claims the same host as the route on line 8"],
        ),
        (
            with(
                "[[route]]\nhosts = [\".a.example\"]\nupstream = \"origin\"\n[[route]]\nhosts = [\"*.a.example\"]\nupstream = \"origin\"\n",
            ),
            &["11:10: `route.hosts`: \"*.a.example\" claims the same hosts below it as the route on line 8"],
        ),
        (
            with("[route]\nupstream = \"origin\"\n"),
            &["7:2: not TOML: duplicate key", "7:1: `route` is a table; expected a list of tables"],
        ),
        (
            format!("{listener}[[route]]\nupstream = \"a\"\n"),
            &["4:12: `route.upstream` is \"a\", which is no upstream; there is no [upstream.NAME] at all"],
        ),
    ]);
}

#[test]
fn wrong_blocklists_are_refused() {
    let blocklist = |text: &str| format!("{LEAST}{OPERATOR}[blocklist]\n{text}");
    each_is_refused(&[
        (
            with("[blocklist.source.x]\npath = \"x.toml\"\n"),
            &["`operator.name` is missing", "`operator.contact` is missing"],
        ),
        (
            with("[operator]\nname = \"E\"\n[blocklist.source.x]\npath = \"x.toml\"\n"),
            &["7:1: `operator.contact` is missing"],
        ),
        (
            with("[operator]\nname = 3\ncontact = \"\"\n[blocklist.source.x]\npath = \"x.toml\"\n"),
            &["8:8: `operator.name` is a whole number", "9:11: `operator.contact` is empty"],
        ),
        (
            blocklist("poll = \"0s\"\n"),
            &["11:8: `blocklist.poll` is \"0s\"; expected a duration from \"100ms\" to \"1h\""],
        ),
        (blocklist("settle = 200\n"), &["11:10: `blocklist.settle` is a whole number; expected a duration"]),
        (
            blocklist("never_block = [\"not a host\"]\n"),
            &["11:16: `blocklist.never_block`: \"not a host\" is not a host pattern"],
        ),
        (blocklist("max_error_percent = \"1%\"\n"), &["11:21: `blocklist.max_error_percent` is a string"]),
        (blocklist("two_person = [\"emergency\"]\n"), &["11:1: unknown key `blocklist.two_person`"]),
    ]);
}

#[test]
fn wrong_sources_are_refused() {
    const RECORD: &str =
        "decision = { id = \"x\", basis = \"security\", decided_by = \"me\", decided_at = 2026-11-01 }\n";
    let source = |text: &str| format!("{LEAST}{OPERATOR}[blocklist.source.x]\n{text}");
    each_is_refused(&[
        (source("format = \"decisions\"\n"), &["`blocklist.source.x.path` is missing"]),
        (
            source("path = \"x.txt\"\nformat = \"list\"\n"),
            &["12:10: `blocklist.source.x.format` is \"list\"; expected \"decisions\" or \"domains\""],
        ),
        (source("path = \"x.txt\"\n"), &["10:19: `blocklist.source.x.format` is missing"]),
        (
            source("path = \"x.txt\"\nformat = \"hosts\"\n"),
            &["12:10: `blocklist.source.x.format`: this version does not read \"hosts\" lists yet"],
        ),
        (source("path = \"x.txt\"\nformat = \"adblock\"\n"), &["this version does not read \"adblock\" lists yet"]),
        (source("path = \"x.txt\"\nformat = \"dnsmasq\"\n"), &["this version does not read \"dnsmasq\" lists yet"]),
        (source("path = \"x.txt\"\nformat = \"rpz\"\n"), &["this version does not read \"rpz\" lists yet"]),
        (
            source("path = \"x.txt\"\nformat = \"domains\"\n"),
            &["`blocklist.source.x.scope` is missing", "`blocklist.source.x.decision` is missing"],
        ),
        (
            source(&format!("path = \"x.txt\"\nformat = \"domains\"\nscope = \"wide\"\n{RECORD}")),
            &["13:9: `blocklist.source.x.scope` is \"wide\"; expected \"exact\" or \"subtree\""],
        ),
        (source("path = \"x.toml\"\nscope = \"exact\"\n"), &["12:9: `blocklist.source.x.scope` is for feeds"]),
        (source(&format!("path = \"x.toml\"\n{RECORD}")), &["`blocklist.source.x.decision` is for feeds"]),
        (
            source("path = \"x.toml\"\n[blocklist.source.y]\npath = \"x.toml\"\n"),
            &["13:8: `blocklist.source.y.path`: source `x` (line 11) reads that file already"],
        ),
        (
            source(&format!(
                "path = \"x\"\nformat = \"domains\"\nscope = \"exact\"\n{RECORD}[blocklist.source.y]\npath = \"y\"\nformat = \"domains\"\nscope = \"exact\"\n{RECORD}"
            )),
            &["19:12: `blocklist.source.y.decision.id` \"x\" is the id of source `x` (line 14) too"],
        ),
        (
            source(
                "path = \"x\"\nformat = \"domains\"\nscope = \"exact\"\ndecision = { id = \"x\", basis = \"security\", decided_by = \"me\", decided_at = 2026-11-01, hosts = [\"a.example\"] }\n",
            ),
            &["hosts"],
        ),
        (
            source(
                "path = \"x\"\nformat = \"domains\"\nscope = \"exact\"\ndecision = { id = \"x\", basis = \"court-order\", decided_by = \"me\", decided_at = 2026-11-01, authority = \"A\", reference = \"1\" }\n",
            ),
            &["14:12: `blocklist.source.x.decision` is a legal demand: its notice links to `operator.url`"],
        ),
    ]);
}

#[test]
fn wrong_limits_are_refused() {
    let limits = |text: &str| with(&format!("[limits]\n{text}"));
    each_is_refused(&[
        (
            limits("request_head_bytes = 0\n"),
            &["8:22: `limits.request_head_bytes` is 0; expected a whole number from 1024 to 1048576"],
        ),
        (limits("request_head_bytes = \"32KiB\"\n"), &["8:22: `limits.request_head_bytes` is a string"]),
        (
            limits("request_head_timeout = \"0s\"\n"),
            &["8:24: `limits.request_head_timeout` is \"0s\"; expected a duration from \"10ms\" to \"1d\""],
        ),
        (
            limits("keep_alive_timeout = 60\n"),
            &["8:22: `limits.keep_alive_timeout` is a whole number; expected a duration"],
        ),
        (
            limits("keepalive_timeout = \"60s\"\n"),
            &["8:1: unknown key `limits.keepalive_timeout`; did you mean `keep_alive_timeout`?"],
        ),
        (limits("http2_connection_window = 1024\n"), &["8:27: `limits.http2_connection_window` is 1024"]),
        (
            limits("upstream_queue = 99999999999999999999999\n"),
            &["8:18: `limits.upstream_queue` is 99999999999999999999999"],
        ),
    ]);
}

#[test]
fn what_is_no_toml_is_told_by_its_syntax_alone() {
    let found = refused("[listener.http\naddress = \"127.0.0.1:80\"\n");
    assert!(found.iter().all(|finding| finding.contains("not TOML")), "{found:#?}");
    assert!(found[0].contains("etc/sluis.toml:1:"), "{found:#?}");
    let found = refused("[listener.http]\naddress = 127.0.0.1:80\n");
    assert!(found.iter().all(|finding| finding.contains("not TOML")) && found[0].contains(":2:"), "{found:#?}");
}

#[test]
fn warnings_refuse_nothing_and_have_their_place() {
    for (text, expected) in [
        (with("[upstream.spare]\nservers = [\"127.0.0.1:1\"]\n"), "7:11: [upstream.spare] is never used"),
        (with("[admin]\naddress = \"0.0.0.0:9180\"\n"), "8:11: `admin.address` is not loopback"),
        (
            with("[server]\ntrusted_proxies = [\"10.1.2.3/8\"]\n"),
            "8:20: `server.trusted_proxies`: \"10.1.2.3/8\" has bits below",
        ),
        (with("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n"), "8:20: `server.trusted_proxies` trusts everyone"),
        (
            with("[limits]\nrequest_target_bytes = 9000\nrequest_head_bytes = 8192\n"),
            "8:24: `limits.request_target_bytes` is never reached",
        ),
        (LEAST.replace("127.0.0.1:3000", "127.0.0.1:8080"), "4:12: 127.0.0.1:8080 is our own [listener.http]"),
        (
            LEAST.replace("[\"127.0.0.1:3000\"]", "[\"127.0.0.1:3000\"]\nca = \"x.pem\""),
            "5:6: `upstream.origin.ca` is never used",
        ),
        (
            with("[[route]]\nhosts = [\"a.example\", \"a.example\"]\nupstream = \"origin\"\n"),
            "8:23: `route.hosts` has \"a.example\" twice",
        ),
        ("[listener.http]\naddress = \"127.0.0.1:8080\"\n".to_owned(), "1:1: there is no [[route]]"),
    ] {
        let warnings = accepted(&text).warnings;
        assert_eq!(warnings.len(), 1, "{:#?}\nof\n{text}", shown(&warnings));
        assert_eq!(warnings[0].severity, Severity::Warning);
        assert!(warnings[0].to_string().contains(expected), "no {expected} in {}", warnings[0]);
    }
}

#[test]
fn patterns_of_one_route_may_say_the_same_twice_over() {
    // `x` beside `.x` is how people write it; a more precise host elsewhere wins and is no conflict.
    let text = with(
        "[upstream.b]\nservers = [\"127.0.0.1:1\"]\n[[route]]\nhosts = [\"a.example\", \".a.example\"]\nupstream = \"b\"\n\
         [[route]]\nhosts = [\"www.a.example\"]\nupstream = \"origin\"\n",
    );
    assert!(accepted(&text).warnings.is_empty());
}

#[test]
fn files_that_cannot_be_read_are_findings() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = |path: &Path| load(path, 0).map(|_| ()).expect_err("it was accepted")[0].to_string();
    let missing = folder.path().join("sluis.toml");
    assert!(refusal(&missing).contains("there is no such file"));
    assert!(refusal(folder.path()).contains("is a directory"));
    std::fs::write(&missing, b"[server]\nname = \"\xff\"\n").expect("written");
    let not_utf8 = refusal(&missing);
    assert!(not_utf8.contains("sluis.toml:2:9: is not UTF-8 here"), "{not_utf8}");
    std::fs::write(&missing, format!("\u{feff}{LEAST}")).expect("written");
    assert!(load(&missing, 0).is_ok(), "a byte order mark is no mistake");
    std::fs::write(&missing, LEAST.replace('\n', "\r\n")).expect("written");
    assert!(load(&missing, 0).is_ok(), "line ends of another system are no mistake");
}

proptest! {
    /// Whatever is written, reading it ends with a configuration or with findings that have their place.
    #[test]
    fn no_edit_of_the_example_is_too_wrong_to_be_told(
        line in 0_usize..120,
        edit in "([a-z.]{1,12} = )?[0-9a-z\\[\\]{}\"'=.,# é\n-]{0,20}",
    ) {
        let edited: Vec<&str> =
            EXAMPLE.lines().enumerate().map(|(index, text)| if index == line { edit.as_str() } else { text }).collect();
        if let Err(findings) = parse(&edited.join("\n")) {
            prop_assert!(findings.iter().any(Finding::is_error));
            for finding in findings {
                prop_assert!(finding.place.is_some_and(|place| place.position.is_some()));
            }
        }
    }
}

#[test]
fn a_bare_file_name_has_its_relative_paths_beside_it() {
    let source = SourceText::new(Path::new("sluis.toml"), MINIMAL);
    let config = from_source(&source, 0).expect("it is right");
    assert_eq!(config.blocklist.sources[0].path, Path::new("blocklist.toml"));
}
