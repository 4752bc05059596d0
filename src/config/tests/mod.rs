//! Configurations, right and wrong, and what is found in them.
//!
//! Inside: what right ones mean, and the files of the repository. Kept out: wrong ones (`wrong.rs`).

mod wrong;

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::finding::Severity;
use crate::proxy::{Limits, SniMismatch};
use crate::tls::config::TlsVersion;

const EXAMPLE: &str = include_str!("../../../config/sluis.toml");
const MINIMAL: &str = include_str!("../../../config/minimal.toml");

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
    assert_eq!(blocklist.max_memory_mib, None);
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
    assert_eq!(written.upgrade_timeout, silent.upgrade_timeout);
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
        if let Some(header) = line.strip_prefix("# ").unwrap_or(line).strip_prefix('[') {
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
            let is_enabled = line.starts_with("# [") || example_keys().iter().any(|(_, _, found)| *found == line);
            if is_enabled { line.trim_start_matches("# ") } else { line }
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = accepted(&enabled);
    assert_eq!(config.state_directory.as_deref(), Some(Path::new("/var/lib/sluis")));
    assert!(config.proxy.listeners[1].tls.as_ref().is_some_and(|tls| tls.tls.client_ca.is_some()));
    assert!(config.notice.is_some_and(|notice| notice.templates.is_some()));
    let fetched =
        config.blocklist.sources.iter().find_map(|source| Some((source.path.as_path(), source.remote.as_ref()?)));
    let (path, remote) = fetched.expect("a source has a URL");
    assert_eq!(path, Path::new("/var/lib/sluis/feeds/malware.list"));
    assert_eq!((remote.refresh, remote.timeout), (Duration::from_secs(3_600), Duration::from_secs(300)));
    assert_eq!((remote.max_bytes, remote.ca.as_deref()), (256 << 20, Some(Path::new("etc/lists-root.pem"))));
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
