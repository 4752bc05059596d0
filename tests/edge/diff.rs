//! `sluis diff`: two versions of a list, by the program itself.
//!
//! Inside: what it prints, for people and for tools, and how it ends. Kept out: every field of a record and every order of
//! names (src/blocklist/versions.rs).

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::Setup;
use crate::support::edge::{Finished, program};
use crate::support::setup::record;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn diff(folder: &Path, arguments: &[&str]) -> Finished {
    Finished::of(program().arg("diff").args(arguments).current_dir(folder))
}

fn json_of(finished: &Finished) -> Value {
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("JSON")
}

fn names(count: usize, tag: &str) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "{tag}-{number}.example");
    }
    text
}

const OLD: &str = "gone.example\nsame.example\n*.wide.example\nbücher.example\n";
const NEW: &str = "# a comment\nsame.example\n.wide.example\nBÜCHER.example.\nSame.example\nnew.example\n.co.uk\n";

#[test]
fn names_that_come_and_go_are_told_with_what_does_nothing() {
    let folder = folder(&[("old.txt", OLD), ("new.txt", NEW)]);
    let finished = diff(folder.path(), &["--list-format", "domains", "old.txt", "new.txt"]);
    let expected = "- gone.example\n+ new.example\n- *.wide.example\n+ .wide.example\nold old.txt: 4 names\n\
                    new new.txt: 4 names, 1 line dropped (public-suffix)\n  dropped new.txt:7:1: `.co.uk` is a public \
                    suffix, under which anyone has names; name the hosts below it\n2 names added, 2 removed\n";
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str(), finished.code), (expected, "", 0));

    let document = json_of(&diff(folder.path(), &["--list-format=domains", "--format=json", "old.txt", "new.txt"]));
    let name = |pattern: &str| json!({ "pattern": pattern, "effect": "block" });
    assert_eq!(document["added"], json!([name("new.example"), name(".wide.example")]));
    assert_eq!(document["removed"], json!([name("gone.example"), name("*.wide.example")]));
    assert_eq!(document["new"]["dropped"], json!({ "public-suffix": 1 }));
    let line = &document["new"]["dropped_lines"][0];
    assert_eq!((&line["file"], &line["line"], &line["excerpt"]), (&json!("new.txt"), &json!(7), &json!(".co.uk")));
    assert_eq!((&document["summary"]["names_added"], &document["summary"]["names_removed"]), (&json!(2), &json!(2)));

    // What a bare name means can make two spellings one.
    let scoped = diff(folder.path(), &["--list-format=domains", "--scope=subtree", "old.txt", "new.txt"]);
    assert!(scoped.stdout.starts_with("- .gone.example\n+ .new.example\n"), "{}", scoped.stdout);
    let same = diff(folder.path(), &["--list-format=domains", "new.txt", "new.txt"]);
    assert!(same.code == 0 && same.stdout.ends_with("\n0 names added, 0 removed\n"), "{}", same.stdout);
}

#[test]
fn records_are_told_by_id_and_field() {
    let old = record("gone", ".gone.example") + &record("kept", "kept.example") + &record("changed", "a.example");
    let exception = "[[exception]]\nid = \"fine\"\nhosts = [\".fine.example\"]\ndecided_by = \"desk\"\n\
                     decided_at = 2026-01-02\nreason = \"listed by mistake\"\n";
    let changed = record("changed", "b.example").replace("2026-01-02", "2026-01-03");
    let new = changed + "review_by = 2027-01-01\n" + &record("kept", "kept.example") + exception;
    let folder = folder(&[("old.toml", &old), ("new.toml", &new)]);
    let finished = diff(folder.path(), &["old.toml", "new.toml"]);
    let expected = "- a.example\n+ b.example\n+ .fine.example (exception)\n- .gone.example\n\
                    ~ record changed: hosts, decided_at, review_by\n+ record fine\n- record gone\n\
                    old old.toml: 3 names, 3 records\nnew new.toml: 2 names, 1 exception, 3 records\n\
                    1 name added, 2 removed; 1 exception added, 0 removed; 1 record added, 1 removed, 1 changed\n";
    assert_eq!((finished.stdout.as_str(), finished.code), (expected, 0), "{}", finished.stderr);
    let document = json_of(&diff(folder.path(), &["--format=json", "old.toml", "new.toml"]));
    let expected = json!([
        { "id": "changed", "change": "changed", "fields": ["hosts", "decided_at", "review_by"] },
        { "id": "fine", "change": "added", "fields": [] },
        { "id": "gone", "change": "removed", "fields": [] },
    ]);
    assert_eq!(document["records"], expected);
    assert_eq!(document["added"][1], json!({ "pattern": ".fine.example", "effect": "exception" }));
}

#[test]
fn guards_that_would_object_are_named_and_change_no_exit_status() {
    let large = names(1_000, "n");
    let public_suffix = record("wide", ".com");
    let files = [
        ("large.txt", large.as_str()),
        ("small.txt", "n-1.example\nn-2.example\n"),
        ("wrong.txt", "n-1.example\nnot a name\n"),
        ("none.txt", "# nothing\n"),
        ("cut.txt", "# Entries: 9\nn-1.example\n"),
        ("wide.toml", &public_suffix),
        ("none.toml", "# nothing\n"),
    ];
    let folder = folder(&files);
    let cases = [
        ("large.txt", "small.txt", "shrinks from 1000 names to 2, more than max_shrink_percent = 50"),
        ("small.txt", "large.txt", ""),
        ("large.txt", "wrong.txt", "1 of 2 lines are not names, more than max_error_percent = 1"),
        ("large.txt", "none.txt", "the list has no name in it"),
        ("large.txt", "cut.txt", "the file's own header says 9 names, and 1 are in it"),
        ("none.toml", "wide.toml", "`.com` is a public suffix"),
        ("wide.toml", "none.toml", ""),
    ];
    for (old, new, expected) in cases {
        let format = if old.ends_with(".toml") { "decisions" } else { "domains" };
        let arguments = ["--list-format", format, "--format", "json", old, new];
        let document = json_of(&diff(folder.path(), &arguments));
        let objections = document["new"]["objections"].as_array().unwrap();
        let said: Vec<&str> = objections.iter().map(|finding| finding["message"].as_str().unwrap()).collect();
        let is_right =
            if expected.is_empty() { said.is_empty() } else { said.len() == 1 && said[0].contains(expected) };
        assert!(is_right, "{old} {new}: {said:?}");
        let text = diff(folder.path(), &["--list-format", format, old, new]);
        let told = text.stdout.lines().any(|line| line.starts_with("  would be refused: ") && line.contains(expected));
        assert!(text.code == 0 && (told || expected.is_empty()), "{old} {new}: {}", text.stdout);
    }
}

#[test]
fn source_of_the_configuration_says_how_to_read_and_what_to_refuse() {
    let setup = Setup::with_upstream(&["127.0.0.1:3000"]).blocklist("max_shrink_percent = 10").feed(&names(1_000, "n"));
    let folder = tempfile::tempdir().unwrap();
    setup.write(folder.path());
    fs::write(folder.path().join("new.txt"), names(800, "n") + "edge.example\n").unwrap();
    let arguments = ["--config", "sluis.toml", "--source", "feed", "feed.txt", "new.txt"];
    let finished = diff(folder.path(), &arguments);
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    for expected in [
        "\n- .n-999.example\n",
        "new.txt: 800 names, 1 line dropped (never-block)\n",
        "allow_shrink=feed",
        "max_shrink_percent = 10",
        "\n0 names added, 200 removed\n",
    ] {
        assert!(finished.stdout.contains(expected), "no {expected} in\n{}", finished.stdout);
    }
    let unknown = diff(folder.path(), &["--config", "sluis.toml", "--source", "fed", "feed.txt", "new.txt"]);
    let expected = "error: sluis.toml has no source `fed`; it has decisions, feed\n";
    assert_eq!((unknown.code, unknown.stderr.as_str(), unknown.stdout.as_str()), (2, expected, ""));
}

#[test]
fn one_side_may_be_standard_input() {
    let folder = folder(&[("old.txt", OLD), ("old.toml", &record("a", "a.example"))]);
    let piped = |arguments: &[&str], text: &str| {
        let mut command = program();
        command.arg("diff").args(arguments).current_dir(folder.path());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stdout, stderr) = piped(&["--list-format", "domains", "old.txt", "-"], NEW);
    assert!(code == Some(0) && stdout.starts_with("- gone.example\n+ new.example\n"), "{stdout}{stderr}");
    let (code, stdout, stderr) = piped(&["-", "old.toml"], "# nothing\n");
    assert!(code == Some(0) && stdout.starts_with("+ a.example\n+ record a\n"), "{stdout}{stderr}");
    let (code, stdout, stderr) = piped(&["--list-format=domains", "old.txt", "-"], "");
    assert!(code == Some(0) && stdout.contains("would be refused: -: the file is empty"), "{stdout}{stderr}");
    let (code, _, stderr) = piped(&["-", "old.toml"], "kaputt");
    assert!(code == Some(78) && stderr.starts_with("error: -:1:"), "{stderr}");
}

#[test]
fn lists_that_cannot_be_compared_end_with_their_status() {
    let folder = folder(&[
        ("old.txt", OLD),
        ("right.toml", &record("a", "a.example")),
        ("wrong.toml", "[[decision]]\nid = \"x y\"\n"),
        ("empty.toml", ""),
    ]);
    fs::write(folder.path().join("bytes.txt"), b"a.example\n\xff\n").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    fs::write(folder.path().join("broken.gz"), "no gzip").unwrap();
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["old.txt", "old.txt"], 2, &["--list-format", "--source"]),
        (&["right.toml", "old.txt"], 2, &["--list-format"]),
        (&["--list-format", "domains", "-", "-"], 2, &["both lists cannot be standard input"]),
        (&["--list-format", "words", "old.txt", "old.txt"], 2, &["words"]),
        (&["--list-format", "adblock", "--scope", "exact", "old.txt", "old.txt"], 2, &["--scope is for domains"]),
        (&["--scope", "exact", "right.toml", "right.toml"], 2, &["--scope is for domains"]),
        (&["--list-format", "hosts", "old.txt", "broken.gz"], 78, &["broken.gz: the gzip data is cut off or damaged"]),
        (&["right.toml", "missing.toml"], 78, &["missing.toml: cannot read the file: No such file"]),
        (&["--list-format", "domains", "old.txt", "folder"], 78, &["folder: it is a directory"]),
        (&["--list-format", "domains", "bytes.txt", "old.txt"], 78, &["bytes.txt:2:1: the byte 0xff is not UTF-8"]),
        (&["wrong.toml", "missing.toml"], 78, &["wrong.toml:2:6", "wrong.toml:1:1", "missing.toml"]),
        (&["right.toml", "empty.toml"], 78, &["empty.toml: the file is empty"]),
        (&["--source", "feed", "old.txt", "old.txt"], 78, &["config/sluis.toml"]),
    ];
    for (arguments, code, expected) in cases {
        let finished = diff(folder.path(), arguments);
        assert_eq!((finished.code, finished.stdout.as_str()), (code, ""), "{arguments:?}: {}", finished.stderr);
        for expected in expected {
            assert!(finished.stderr.contains(expected), "{arguments:?}: no {expected} in\n{}", finished.stderr);
        }
    }
}

/// Both sides are sorted once: no name is looked for in the other list. `SLUIS_DIFF_NAMES` makes them large.
#[test]
fn large_lists_are_compared_name_by_name() {
    let count: usize = std::env::var("SLUIS_DIFF_NAMES").map_or(20_000, |count| count.parse().expect("a number"));
    let kept: String = names(count, "kept");
    let (old, new) = (names(count / 4, "old") + &kept, kept + &names(count / 4 + 1, "new"));
    let folder = folder(&[("old.txt", &old), ("new.txt", &new)]);
    let start = Instant::now();
    let finished = diff(folder.path(), &["--list-format", "domains", "old.txt", "new.txt"]);
    eprintln!("{count} names that stay, {} that go: {:?}", count / 4, start.elapsed());
    let summary = format!("{} names added, {} removed", count / 4 + 1, count / 4);
    assert_eq!((finished.code, finished.stdout.lines().last()), (0, Some(summary.as_str())), "{}", finished.stderr);
    assert_eq!(finished.stdout.lines().filter(|line| line.starts_with("+ new-")).count(), count / 4 + 1);
    assert_eq!(finished.stdout.lines().filter(|line| line.starts_with("- old-")).count(), count / 4);
}
