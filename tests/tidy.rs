//! The style that matters, held by a plain text scan: layers, sizes, the request path, docs in step.
//!
//! Inside: one test a rule of ARCHITECTURE.md and CONTRIBUTING.md. Kept out: what the compiler, clippy and
//! rustfmt hold already, and any parsing of Rust beyond lines.

#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` marks what the tests use")]

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/named_tests.rs"]
mod named_tests;
#[path = "tidy/scan.rs"]
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use imports::imports;
use named_tests::{named_tests, problem_with, row_numbers};
use scan::{
    SourceFile, code_lines, declared_module, files_below, functions, names_absolute_path, read, relative, report, root,
    rust_files, words_with_prefix,
};

/// The layers, lowest first. A part imports only from lower layers; in the lowest, where every part is small,
/// also from parts that stand before it in this list.
const LAYERS: &[&[&str]] = &[
    &[
        "live",
        "finding",
        "document",
        "host",
        "telemetry",
        "drain",
        "large",
        "background",
        "whole_file",
        "kept_copy",
        "file_watch",
        "trusted_roots",
    ],
    &["blocklist", "tls"],
    &["notice", "journal"],
    &["proxy"],
    &["admin"],
    &["config"],
    &["app"],
    &["cli"],
    &["main"],
];

/// The request path: files (or all files of a folder) that run for every request.
const REQUEST_PATH: &[&str] = &[
    "host/mod.rs",
    "host/room.rs",
    "live.rs",
    "telemetry/counter.rs",
    "blocklist/index/table.rs",
    "blocklist/index/compare.rs",
    "blocklist/index/mod.rs",
    "blocklist/index/near.rs",
    "blocklist/index/search.rs",
    "blocklist/index/walk.rs",
    "tls/resolver.rs",
    "notice/mod.rs",
    "notice/memo.rs",
    "notice/wire.rs",
    "notice/negotiate.rs",
    "notice/render.rs",
    "proxy/date.rs",
    "proxy/service.rs",
    "proxy/judge.rs",
    "proxy/forward.rs",
    "proxy/upgrade.rs",
    "proxy/headers.rs",
    "proxy/route.rs",
    "proxy/target.rs",
    "proxy/error.rs",
    "proxy/exchange.rs",
    "proxy/body.rs",
    "proxy/request_body.rs",
    "proxy/upstream_body.rs",
    "proxy/upstream_head.rs",
    "proxy/upstream/response_head.rs",
    "proxy/upstream/decoder.rs",
    "proxy/upstream/connection.rs",
    "proxy/upstream/received.rs",
    "proxy/upstream/outgoing.rs",
    "proxy/upstream/pool.rs",
    "proxy/upload_pace.rs",
    "proxy/scratch.rs",
    "proxy/sweep.rs",
    "proxy/own_error.rs",
    "proxy/sni.rs",
    "proxy/client_io.rs",
    "proxy/http1/runs.rs",
    "proxy/http1/request.rs",
    "proxy/http1/response.rs",
    "proxy/http1/client_side.rs",
    "proxy/http1/upload.rs",
    "proxy/http1/splice.rs",
    "proxy/http1/answer_body.rs",
    "proxy/http1/attempt.rs",
    "proxy/http1/forwarding/mod.rs",
    "proxy/http1/forwarding/send.rs",
    "proxy/http1/forwarding/receive.rs",
    "proxy/http1/spare.rs",
    "proxy/http1/driver.rs",
    "proxy/http1/mod.rs",
];

/// What a file of the request path must not say: locks, file I/O, formatting, panics, logging above debug.
const NOT_ON_THE_REQUEST_PATH: &[&str] = &[
    "Mutex",
    "RwLock",
    "format!",
    ".unwrap()",
    ".expect(\"",
    "panic!(",
    "info!(",
    "warn!(",
    "error!(",
    "std::fs",
    "fs::",
    "println!",
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 40;

#[test]
fn every_file_starts_with_what_is_inside() {
    let mut problems = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches")) {
        if !file.text.starts_with("//! ") {
            problems.push(format!("{}: does not start with `//!`", file.name));
        }
    }
    report(&problems);
}

#[test]
fn files_and_functions_are_short() {
    let mut problems = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("tests")) {
        let body = file.without_tests();
        let lines = body.len();
        let most = if file.name == "src/main.rs" { MAIN_LINES } else { FILE_LINES };
        if lines > most {
            problems.push(format!("{}: {lines} lines, at most {most}", file.name));
        }
        for (line, name, length) in functions(&body) {
            if length > FUNCTION_LINES {
                problems.push(format!("{}:{line}: fn {name} has {length} lines, at most {FUNCTION_LINES}", file.name));
            }
        }
    }
    report(&problems);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut problems = Vec::new();
    for file in rust_files("src") {
        for (number, line) in code_lines(&file.without_tests()) {
            if line.contains(".unwrap()") {
                problems.push(format!("{}:{number}: unwrap", file.name));
            }
        }
    }
    report(&problems);
}

#[test]
fn request_path_neither_locks_nor_reads_nor_formats() {
    let mut problems = Vec::new();
    let files = rust_files("src");
    for starred in REQUEST_PATH {
        let path = format!("src/{starred}");
        let mut found = false;
        for file in files.iter().filter(|file| file.name == path || path.ends_with('/') && file.name.starts_with(&path))
        {
            found = true;
            for (number, line) in code_lines(&file.without_tests()) {
                for word in NOT_ON_THE_REQUEST_PATH.iter().filter(|word| line.contains(**word)) {
                    problems.push(format!("{}:{number}: `{word}` on the request path", file.name));
                }
            }
        }
        if !found {
            problems.push(format!("{path}: is on the request path by tests/tidy.rs, and is not there"));
        }
    }
    report(&problems);
}

#[test]
fn imports_go_down_the_layers() {
    let mut problems = Vec::new();
    for import in imports() {
        let (from, to) = (&import.from[0], &import.to[0]);
        if from == to {
            continue;
        }
        match (layer(from), layer(to)) {
            (None, _) => problems.push(format!("{}: `{from}` has no layer in tests/tidy.rs", import.place)),
            (_, None) => problems.push(format!("{}: `{to}` has no layer in tests/tidy.rs", import.place)),
            (Some(importer), Some(imported)) => {
                let lower =
                    imported.0 < importer.0 || imported.0 == importer.0 && importer.0 == 0 && imported < importer;
                if !lower {
                    problems.push(format!("{}: `{from}` may not import `{to}`", import.place));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn files_of_one_folder_import_only_what_stands_above_them() {
    let files: BTreeMap<String, SourceFile> = rust_files("src").into_iter().map(|f| (f.name.clone(), f)).collect();
    let mut problems = Vec::new();
    for import in imports() {
        let common = import.from.iter().zip(&import.to).take_while(|(a, b)| a == b).count();
        if common == 0 || common >= import.from.len() || common >= import.to.len() {
            continue;
        }
        let folder = import.from[..common].join("/");
        let inside = [format!("src/{folder}/mod.rs"), format!("src/{folder}.rs")];
        let Some(file) = inside.iter().find_map(|name| files.get(name)) else { continue };
        let order: Vec<&str> = file.text.lines().filter_map(declared_module).collect();
        let place = |unit: &String| order.iter().position(|module| module == unit);
        let (importer, imported) = (&import.from[common], &import.to[common]);
        if place(imported) >= place(importer) {
            problems.push(format!("{}: `{imported}` stands below `{importer}` in {}", import.place, file.name));
        }
    }
    report(&problems);
}

#[test]
fn every_file_is_reached_from_the_crate_root() {
    let mut reached = BTreeSet::from(["src/main.rs".to_owned(), "src/lib.rs".to_owned()]);
    let files: BTreeMap<String, SourceFile> = rust_files("src").into_iter().map(|f| (f.name.clone(), f)).collect();
    let mut open = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
    while let Some(name) = open.pop() {
        let Some(file) = files.get(&name) else { continue };
        let parent = name.trim_end_matches(".rs");
        let folder = match parent.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => parent,
        };
        for module in file.text.lines().filter_map(declared_module) {
            for candidate in [format!("{folder}/{module}.rs"), format!("{folder}/{module}/mod.rs")] {
                if files.contains_key(&candidate) && reached.insert(candidate.clone()) {
                    open.push(candidate);
                }
            }
        }
    }
    let lost: Vec<String> = files.keys().filter(|name| !reached.contains(*name)).cloned().collect();
    assert!(lost.is_empty(), "no `mod` line leads to {lost:?}");
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let documented = words_with_prefix(&read("docs/metrics.md"), "sluis_");
    let mut exported = BTreeSet::new();
    for file in rust_files("src") {
        for (_, line) in code_lines(&file.without_tests()) {
            for literal in line.split('"').skip(1).step_by(2) {
                exported.extend(words_with_prefix(literal, "sluis_"));
            }
        }
    }
    let stem = |name: &String| -> String {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let exported: BTreeSet<String> = exported.iter().map(stem).collect();
    let documented: BTreeSet<String> = documented.iter().map(stem).collect();
    let undocumented: Vec<_> = exported.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&exported).collect();
    assert!(undocumented.is_empty(), "docs/metrics.md does not name {undocumented:?}");
    assert!(invented.is_empty(), "docs/metrics.md names {invented:?}, which nothing exports");
}

#[test]
fn alert_rules_use_documented_metrics_only() {
    let documented = words_with_prefix(&read("docs/metrics.md"), "sluis_");
    let used = words_with_prefix(&read("deploy/prometheus/sluis.rules.yml"), "sluis_");
    let unknown: Vec<_> = used.difference(&documented).collect();
    assert!(unknown.is_empty(), "deploy/prometheus/sluis.rules.yml uses {unknown:?}");
}

#[test]
fn every_limit_is_in_the_complete_example_and_in_the_documentation() {
    let limits = read("src/proxy/limits.rs");
    let fields: Vec<&str> = limits
        .lines()
        .skip_while(|line| !line.starts_with("pub struct Limits"))
        .skip(1)
        .take_while(|line| *line != "}")
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert!(fields.len() > 20, "the limits were not found in src/proxy/limits.rs");
    let mut problems = Vec::new();
    for place in ["config/sluis.toml", "docs/configuration.md"] {
        let text = read(place);
        let words: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        problems
            .extend(fields.iter().filter(|f| !words.contains(**f)).map(|f| format!("{place}: lacks the limit {f}")));
    }
    report(&problems);
}

#[test]
fn every_documented_key_is_in_the_complete_example() {
    let example = read("config/sluis.toml");
    let words: BTreeSet<&str> = example.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let documentation = read("docs/configuration.md");
    let keys: Vec<&str> =
        documentation.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(keys.len() > 40, "docs/configuration.md no longer lists the keys");
    let absent = keys.iter().filter(|key| key.split('.').any(|part| !words.contains(part)));
    report(
        &absent
            .map(|key| format!("config/sluis.toml: lacks `{key}`, which docs/configuration.md documents"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_test_that_the_security_page_names_is_there_and_runs() {
    let files: Vec<SourceFile> = rust_files("tests/edge").into_iter().chain(rust_files("src")).collect();
    let named = named_tests(&read("docs/security.md"));
    assert!(named.len() > 60, "docs/security.md no longer names the tests");
    let problems = named.iter().filter_map(|(line, name)| {
        problem_with(name, &files).map(|problem| format!("docs/security.md:{line}: {problem}"))
    });
    report(&problems.collect::<Vec<_>>());
    // The scan itself: what is not there, is no test, or would not run.
    for (wrong, expected) in [
        ("bypass::nobody_wrote_this", "no such function"),
        ("nowhere::each_way_to_name_a_host", "no such module"),
        ("bypass::sent_on", "is not a test"),
        ("made_up::later", "is ignored"),
    ] {
        let made_up = SourceFile::new("tests/edge/made_up.rs", "#[test]\n#[ignore = \"slow\"]\nfn later() {}\n");
        let files: Vec<SourceFile> = rust_files("tests/edge").into_iter().chain([made_up]).collect();
        let found = named_tests(&format!("| 1 | x | `{wrong}` and `std::fs::File` |"));
        assert_eq!(found, [(1, wrong.to_owned())]);
        let problem = problem_with(wrong, &files).unwrap_or_default();
        assert!(problem.contains(expected), "{wrong}: {problem}");
    }
}

#[test]
fn security_page_has_every_row_of_its_tables_once() {
    let page = read("docs/security.md");
    for (heading, letter, last) in [("## Every way to name a host", "", 61), ("## Every framing trick", "F", 20)] {
        let rows = row_numbers(&page, heading, letter);
        assert_eq!(rows, (1..=last).collect::<Vec<u32>>(), "{heading}");
    }
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    // Spelled in two halves, so that this file does not name them either.
    let places = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/tm", "p/"]].map(|halves| halves.concat());
    let mut problems = Vec::new();
    for path in files_below(&root(), &|_| true) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for place in places.iter().filter(|place| names_absolute_path(line, place)) {
                problems.push(format!("{}:{}: names {place}", relative(&path), index + 1));
            }
        }
    }
    report(&problems);
}

/// The layer, and the place in it.
fn layer(part: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, parts)| Some((layer, parts.iter().position(|p| *p == part)?)))
}
