//! What happens to the whole process: no descriptors left, killed at any moment, another time of day, no disk.
//!
//! Kept out: ordinary starts and stops, which are in drain.rs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::client::tcp;
use crate::support::setup::record;
use crate::support::{Connection, Edge, Origin, Setup, eventually, peers};

#[test]
fn p1_process_without_descriptors_waits_without_spinning_and_recovers_at_once() {
    let Some(_) = peers::find("prlimit") else { return };
    let origin = Origin::hello();
    for limits in ["", "connections = 100000"] {
        let setup = Setup::new(origin.address()).without_tls().limit(limits);
        let edge = Edge::start_under(&setup, &["prlimit", "--nofile=64:64"]);
        assert_eq!(edge.get("open.example", "/").status, 200);
        let crowd: Vec<_> = (0..200)
            .map(|_| {
                let mut stream = tcp(edge.address("http")).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: open.example\r\n\r\n").unwrap();
                stream
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        let (used, begun) = (edge.cpu_time(), Instant::now());
        if limits.is_empty() {
            assert_eq!(edge.admin_get("/livez").status, 200, "there is a reserve for the admin endpoint");
        }
        thread::sleep(Duration::from_secs(1));
        let share = (edge.cpu_time() - used).as_secs_f64() / begun.elapsed().as_secs_f64();
        assert!(share < 0.3, "{limits:?}: it spins: {share} of a core");
        drop(crowd);
        eventually("it serves again", || {
            edge.http().try_get("open.example", "/").is_ok_and(|answer| answer.status == 200)
        });
        let recovered = Instant::now();
        assert_eq!(edge.get("blocked.example", "/").status, 403);
        assert!(recovered.elapsed() < Duration::from_secs(1));
        assert_eq!(edge.metrics().sum("sluis_panics_total", &[]), 0.0);
    }
}

#[test]
fn p7_killed_at_any_moment_it_starts_with_the_old_list_or_the_new_one() {
    let origin = Origin::hello();
    let directory = TempDir::new().unwrap();
    let line = format!("state_directory = \"{}\"", directory.path().join("state").display());
    // Two lists of names that belong together: a mixture would show.
    let list = |version: usize| (0..2_000).map(|number| format!("v{version}-{number}.example\n")).collect::<String>();
    let mut edge =
        Setup::new(origin.address()).without_tls().server(&line).blocklist("settle = \"1ms\"").feed(&list(0)).start();
    let feed = edge.path("feed.txt");
    for round in 1..=12_usize {
        fs::write(feed.with_extension("new"), list(round)).unwrap();
        fs::rename(feed.with_extension("new"), &feed).unwrap();
        // Somewhere between the event and the end of what it sets off.
        thread::sleep(Duration::from_millis(3 * round as u64));
        // By the time it starts again there is nothing but the kept copy.
        fs::write(feed.with_extension("new"), "").unwrap();
        edge.kill_and_start_again_after(|| fs::rename(feed.with_extension("new"), &feed).unwrap());
        edge.wait_for_log("ready", |line| line.contains("ready"));
        let blocked =
            |version: usize, number: usize| edge.get(&format!("v{version}-{number}.example"), "/").status == 403;
        let in_force: Vec<usize> = (0..=round).filter(|version| blocked(*version, 0)).collect();
        assert_eq!(in_force.len(), 1, "round {round}: {in_force:?} are in force");
        assert!(blocked(in_force[0], 1_999) && blocked(in_force[0], 1_000), "round {round}: half of a list");
        let leftovers = fs::read_dir(directory.path().join("state")).unwrap().count();
        assert!(leftovers <= 4, "{leftovers} files are left in the state directory");
    }
}

#[test]
fn p7_full_disk_under_the_state_directory_stops_nothing_and_shows() {
    if !Command::new("unshare").args(["-Urm", "true"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this system gives no name space of its own");
        return;
    }
    let origin = Origin::hello();
    let place = TempDir::new().unwrap();
    let state = place.path().display();
    let line = format!("state_directory = \"{state}\"");
    let list = |count: usize| (0..count).map(|number| format!("name-{number}.example\n")).collect::<String>();
    let setup = Setup::new(origin.address()).without_tls().server(&line).feed(&list(100));
    let small_disk = format!("mount -t tmpfs -o size=64k none {state} && exec \"$@\"");
    let edge = Edge::start_under(&setup, &["unshare", "-Urm", "sh", "-c", &small_disk, "sh"]);
    for count in [20_000, 10_001, 20_001] {
        fs::write(edge.path("feed.txt"), list(count)).unwrap();
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200, "it comes into force all the same");
        assert_eq!(edge.get(&format!("name-{}.example", count - 1), "/").status, 403);
        edge.wait_for_log("the failure", |line| line.contains("ERROR") && line.contains("no copy could be kept"));
    }
    // A list that fits is kept: what did not fit is not left in its way.
    fs::write(edge.path("feed.txt"), list(1_000)).unwrap();
    let before = edge.log().matches("no copy could be kept").count();
    assert_eq!(edge.admin_post("/api/v1/reload?allow_shrink=feed").status, 200);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(edge.log().matches("no copy could be kept").count(), before, "{}", edge.log());
}

#[test]
fn p7_file_size_limit_on_the_state_directory_does_not_kill() {
    let Some(_) = peers::find("prlimit") else { return };
    let origin = Origin::hello();
    let place = TempDir::new().unwrap();
    let line = format!("state_directory = \"{}\"", place.path().display());
    let setup = Setup::new(origin.address()).without_tls().server(&line).feed(&"name.example\n".repeat(1_000));
    let mut edge = Edge::start_under(&setup, &["prlimit", "--fsize=4096"]);
    assert_eq!(edge.get("name.example", "/").status, 403);
    assert!(edge.is_running());
}

/// Sets the time of day of a process that runs under faketime, by the offset in a file.
fn step(file: &Path, offset: &str) {
    fs::write(file, offset).unwrap();
}

#[test]
fn p8_clock_that_is_set_moves_decisions_and_no_timeout() {
    let Some(_) = peers::find("faketime") else { return };
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let library = library.map(|folder| format!("{folder}/faketime/libfaketimeMT.so.1"));
    let Some(library) = library.iter().find(|file| Path::new(file).is_file()) else {
        assert!(std::env::var("SLUIS_REQUIRE_PEERS").is_err(), "the library of faketime is not where it is looked for");
        eprintln!("skipped: the library of faketime is not where it is looked for");
        return;
    };
    let origin = Origin::hello();
    let place = TempDir::new().unwrap();
    let clock = place.path().join("clock");
    step(&clock, "+0");
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(30);
    let timed = record("timed-1", "timed.example").trim_end().to_owned() + &format!("\neffective_until = {until}\n");
    let setup = Setup::new(origin.address()).without_tls().records(timed);
    let (preload, file) = (format!("LD_PRELOAD={library}"), format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()));
    let only_the_time_of_day = ["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1"];
    let edge = Edge::start_under(&setup, &["env", &preload, &file, only_the_time_of_day[0], only_the_time_of_day[1]]);
    let mut connection = edge.http();
    let mut idle = edge.http();
    assert_eq!(idle.get("open.example", "/").status, 200);
    for (offset, expected) in [("+3600", 200), ("-3600", 403), ("+86400", 200), ("+0", 403)] {
        let generation = edge.generation();
        step(&clock, offset);
        let took =
            eventually("the decision follows the clock", || connection.get("timed.example", "/").status == expected);
        assert!(took < Duration::from_secs(3), "{offset}: {took:?}");
        edge.wait_generation(generation + 1);
        assert_eq!(connection.get("open.example", "/").status, 200);
    }
    assert_eq!(idle.get("open.example", "/").status, 200, "no idle connection was taken for an old one");
    let metrics = edge.metrics();
    assert_eq!(metrics.outcome("failed") + metrics.outcome("aborted"), 0);
    assert_eq!(metrics.sum("sluis_connections_total", &[]), 2.0);
}

#[test]
fn p8_log_that_nobody_takes_holds_nothing_up_and_tells_what_it_lost() {
    let origin = Origin::hello();
    let records = |round: usize| {
        (0..12)
            .map(|number| record(&format!("r{number}"), &format!("host-{round}-{number}.example")))
            .collect::<String>()
    };
    for stays_blocked in [false, true] {
        let mut edge = Setup::new(origin.address()).without_tls().records(records(0)).start();
        // Those who wait for a line would wait for ever.
        let (http, admin) = (edge.address("http"), edge.address("admin"));
        edge.stop_reading_the_log(true);
        let mut connection = Connection::plain(http);
        for round in 1..=200 {
            fs::write(edge.path("blocklist.toml"), records(round)).unwrap();
            let mut asking = Connection::plain(admin);
            asking.send(format!("POST /api/v1/reload HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!(asking.read_response().status, 200, "round {round}");
            assert_eq!(connection.get(&format!("host-{round}-0.example"), "/").status, 403, "round {round}");
        }
        if !stays_blocked {
            edge.stop_reading_the_log(false);
            edge.wait_for_log("the loss", |line| line.contains("lines of the log were lost"));
        }
        let begun = Instant::now();
        edge.signal(Signal::TERM);
        let mut ended = false;
        eventually("it ends", || {
            ended = ended || !edge.is_running();
            ended
        });
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        edge.stop_reading_the_log(false);
        assert_eq!(edge.wait_exit(), 0);
        assert!(stays_blocked || edge.log().contains("stopped"), "the last line is written");
    }
}
