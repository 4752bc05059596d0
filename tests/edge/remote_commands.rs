//! `sluis check` and `sluis lookup` where a list is fetched.

use std::fs;

use tempfile::TempDir;

use crate::support::edge::{Finished, program};
use crate::support::lists::KEPT;
use crate::support::{ListServer, Origin, Setup};

fn written(setup: &Setup) -> TempDir {
    let folder = TempDir::new().unwrap();
    setup.write(folder.path());
    folder
}

fn run(folder: &TempDir, arguments: &[&str]) -> Finished {
    Finished::of(program().current_dir(folder.path()).args(arguments))
}

fn check(folder: &TempDir) -> Finished {
    run(folder, &["check", "--config", "sluis.toml"])
}

fn lookup(folder: &TempDir, host: &str) -> Finished {
    run(folder, &["lookup", "--config", "sluis.toml", host])
}

fn setup(origin: &Origin, server: &ListServer) -> Setup {
    Setup::new(origin.address()).without_tls().fetching(&server.url(), "")
}

#[test]
fn list_that_is_not_kept_yet_is_fetched_and_nothing_is_written() {
    let (origin, server) = (Origin::hello(), ListServer::of("a.example\n"));
    let folder = written(&setup(&origin, &server));
    let checked = check(&folder);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stdout.contains("2 sources"), "{}", checked.stdout);
    let found = lookup(&folder, "a.example");
    assert!(found.stdout.contains("a.example: block"), "{}{}", found.stdout, found.stderr);
    assert_eq!(server.requests().len(), 2);
    assert!(!folder.path().join("state").exists());
}

#[test]
fn list_that_is_kept_is_read_and_nobody_is_asked() {
    let (origin, server) = (Origin::hello(), ListServer::of("b.example\n"));
    let folder = written(&setup(&origin, &server).file(KEPT, "a.example\n"));
    assert_eq!(check(&folder).code, 0);
    assert!(lookup(&folder, "a.example").stdout.contains("a.example: block"));
    assert!(server.requests().is_empty());
}

#[test]
fn what_is_wrong_is_told_with_the_url() {
    let (origin, server) = (Origin::hello(), ListServer::of("a.example\nno name\nb.example\n"));
    let folder = written(&setup(&origin, &server));
    let checked = check(&folder);
    assert_eq!(checked.code, 78);
    assert!(checked.stderr.contains(&format!("{}:2:", server.url())), "{}", checked.stderr);
    server.sends("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    for failed in [check(&folder), lookup(&folder, "a.example")] {
        assert_eq!(failed.code, 78);
        let shown = format!("error: {}: cannot fetch the list: the server answered with status 503", server.url());
        assert!(failed.stderr.contains(&shown), "{}", failed.stderr);
        assert!(!failed.stderr.contains("No such file"), "{}", failed.stderr);
    }
}

#[test]
fn url_without_tls_to_another_machine_draws_a_warning() {
    let (origin, server) = (Origin::hello(), ListServer::of(""));
    let folder = written(&setup(&origin, &server).file(KEPT, "a.example\n"));
    assert!(!check(&folder).stderr.contains("without TLS"), "this machine is no way to be on");
    let text = fs::read_to_string(folder.path().join("sluis.toml")).unwrap();
    fs::write(folder.path().join("sluis.toml"), text.replace(&server.url(), "http://lists.example/a")).unwrap();
    let checked = check(&folder);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(
        checked.stderr.contains("warning: sluis.toml:") && checked.stderr.contains("without TLS"),
        "{}",
        checked.stderr
    );
}
