//! Examples cannot rot: each configuration that is handed out loads, and every wrong one is explained.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::edge::{Finished, program};
use crate::support::setup::record;
use crate::support::{Origin, Setup, certs};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn check(directory: &Path, file: &Path, more: &[&str]) -> Finished {
    Finished::of(program().args(["check", "--config"]).arg(file).args(more).current_dir(directory))
}

#[test]
fn every_example_configuration_loads_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    copy(&repository().join("config"), &place.path().join("config"));
    // Certificates are made, not handed out.
    fs::create_dir(place.path().join("certs")).unwrap();
    certs::pair(&["edge.example", "*.edge.example"]).write(&place.path().join("certs"), "edge");
    let configuration = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        path.extension().is_some_and(|end| end == "toml") && text.contains("[listener.")
    };
    let files: Vec<PathBuf> = fs::read_dir(place.path().join("config"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(configuration)
        .collect();
    assert!(!files.is_empty(), "config/ has no configuration");
    for file in files {
        let finished = check(place.path(), &file, &[]);
        assert_eq!(finished.code, 0, "{}: {}{}", file.display(), finished.stdout, finished.stderr);
    }
}

#[test]
fn configuration_of_the_tests_is_checked_without_a_warning() {
    let place = tempfile::tempdir().unwrap();
    Setup::new(Origin::hello().address()).records(record("x", ".site.example")).write(place.path());
    let finished = check(place.path(), Path::new("sluis.toml"), &["--strict"]);
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let place = tempfile::tempdir().unwrap();
    Setup::new(Origin::hello().address())
        .server("colour = \"red\"")
        .limit("request_headers = \"many\"")
        .limit("keep_alive_timeout = 60")
        .records("[[decision]]\nid = \"x y\"\nhosts = [\"a..b\", \".com\"]\nbasis = \"whim\"\n")
        .write(place.path());
    let finished = check(place.path(), Path::new("sluis.toml"), &[]);
    assert_eq!(finished.code, 78);
    let said = finished.stdout + &finished.stderr;
    for word in [
        "colour",
        "request_headers",
        "keep_alive_timeout",
        "x y",
        "a..b",
        ".com",
        "whim",
        "decided_by",
        "decided_at",
        "blocklist.toml:2:",
        "blocklist.toml:3:",
    ] {
        assert!(said.contains(word), "nothing is said of {word}:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    let finished = check(place.path(), Path::new("sluis.toml"), &["--format", "json"]);
    assert_eq!(finished.code, 78);
    let parsed: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON for tools on standard output");
    assert!(parsed.to_string().contains("colour"), "{parsed}");
}

#[test]
fn warning_is_no_error_unless_strict() {
    let place = tempfile::tempdir().unwrap();
    // A registrable domain whose www stays open.
    Setup::new(Origin::hello().address()).records(record("x", "site.example")).write(place.path());
    let text = fs::read_to_string(place.path().join("blocklist.toml")).unwrap();
    fs::write(place.path().join("blocklist.toml"), text.replace("site.example", "site.com")).unwrap();
    assert_eq!(check(place.path(), Path::new("sluis.toml"), &[]).code, 0);
    let strict = check(place.path(), Path::new("sluis.toml"), &["--strict"]);
    assert_eq!(strict.code, 78);
    assert!((strict.stdout + &strict.stderr).contains("www"), "the warning names what stays open");
}

#[test]
fn completions_and_manual_are_made() {
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let finished = Finished::of(program().args(arguments));
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stdout.contains("sluis") && finished.stdout.len() > 500, "{arguments:?}");
    }
}
