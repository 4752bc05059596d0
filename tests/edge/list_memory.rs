//! Lists that are too large: refused by what they would take, while everything else goes on.
//!
//! Inside: the operator's own limit, and the limit of the process's address space. Kept out: control groups, which need a
//! machine of their own (src/blocklist/memory/group.rs has their arithmetic).

use std::fmt::Write as _;
use std::fs;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;

use crate::support::setup::record;
use crate::support::{Edge, Origin, Setup};

/// Names of about thirty bytes.
fn names(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "host-{number:07}.among-many.example");
    }
    text
}

fn replace(edge: &Edge, name: &str, text: impl AsRef<[u8]>) {
    let temporary = edge.path("new");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, edge.path(name)).unwrap();
}

fn source<'s>(status: &'s Value, name: &str) -> &'s Value {
    status["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap()
}

/// The statuses of a host of the feed, and of one of a record that came with the same reload.
fn verdicts(edge: &Edge) -> [u16; 2] {
    [edge.get("host-0000001.among-many.example", "/").status, edge.get("late.example", "/").status]
}

#[test]
fn p4_list_over_max_memory_mib_is_refused_and_the_others_go_on() {
    let origin = Origin::hello();
    let edge = Edge::start(
        &Setup::new(origin.address()).blocklist("max_memory_mib = 1").blocklist("settle = \"1h\"").feed(&names(100)),
    );
    assert_eq!(verdicts(&edge), [403, 200]);
    replace(&edge, "feed.txt", names(40_000));
    replace(&edge, "blocklist.toml", record("late", "late.example"));
    let answer = edge.admin_post("/api/v1/reload");
    assert_eq!(answer.status, 422);
    let said = answer.text();
    assert!(
        said.contains("feed.txt") && said.contains("MiB, more than max_memory_mib = 1; shorten the list"),
        "{said}"
    );
    assert_eq!(verdicts(&edge), [403, 403], "the last good list stays, and the record is in force");
    let status = edge.admin_get("/api/v1/status").json();
    assert_eq!(source(&status, "feed")["names"], 100);
    assert!(source(&status, "feed")["error"].as_str().unwrap().contains("max_memory_mib"));
    assert!(source(&status, "decisions")["error"].is_null());
    let metrics = edge.metrics();
    let feed = [("source", "feed")];
    assert_eq!(metrics.value("sluis_blocklist_last_reload_successful", &feed), Some(0.0));
    let bytes = metrics.value("sluis_blocklist_index_bytes", &[]).unwrap();
    assert!(bytes > 100.0 * 38.0 && bytes < (1 << 20) as f64, "{bytes}");

    let check = edge.run(&["check", "--config", "sluis.toml"]);
    assert!(check.code == 78 && check.stderr.contains("max_memory_mib = 1"), "{}{}", check.stdout, check.stderr);

    // What fits again is taken again.
    replace(&edge, "feed.txt", names(200));
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    let status = edge.admin_get("/api/v1/status").json();
    assert!(source(&status, "feed")["names"] == 200 && source(&status, "feed")["error"].is_null(), "{status}");
}

#[test]
fn limit_that_is_raised_lets_the_list_in_and_one_below_what_is_in_force_is_refused() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).blocklist("max_memory_mib = 9").feed(&names(40_000));
    let edge = Edge::start(&setup);
    let bytes = edge.metrics().value("sluis_blocklist_index_bytes", &[]).unwrap();
    assert!(bytes > (1 << 20) as f64, "{bytes}");
    let configuration = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    let with = |line: &str| configuration.replace("max_memory_mib = 9", line);
    replace(&edge, "sluis.toml", with("max_memory_mib = 1"));
    edge.signal(Signal::HUP);
    edge.wait_for_log("the limit is refused", |line| line.contains("more than max_memory_mib = 1"));
    assert_eq!(edge.metrics().value("sluis_config_last_reload_successful", &[]), Some(0.0));
    replace(&edge, "sluis.toml", with("max_memory_mib = 8"));
    edge.signal(Signal::HUP);
    crate::support::eventually("the limit is taken", || {
        edge.metrics().value("sluis_config_last_reload_successful", &[]) == Some(1.0)
    });
    assert_eq!(edge.get("host-0039999.among-many.example", "/").status, 403);
}

/// The process must not end because a list asks for more address space than there is (`ulimit -v`).
#[test]
fn p4_list_too_large_for_the_address_space_is_refused_and_the_process_goes_on() {
    let origin = Origin::hello();
    let mut edge = Edge::start(&Setup::new(origin.address()).blocklist("settle = \"1h\"").feed(&names(100)));
    assert_eq!(verdicts(&edge), [403, 200]);
    let id = Pid::from_raw(i32::try_from(edge.id()).unwrap()).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", edge.id())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size = size.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
    // Less than glibc sets aside for a thread, so that no thread takes all of it.
    let most = Some(size + (62 << 20));
    prlimit(Some(id), Resource::As, Rlimit { current: most, maximum: most }).unwrap();

    // These are read, and there is no room beside them for what is in them: not even where glibc has set space aside for
    // the thread, which is 64 MiB. Comments, so that it takes no time.
    let comment = format!("# {}\n", "x".repeat(100_000));
    replace(&edge, "feed.txt", names(100) + &comment.repeat(560));
    replace(&edge, "blocklist.toml", record("late", "late.example"));
    let answer = edge.admin_post("/api/v1/reload");
    let said = answer.text();
    assert_eq!(answer.status, 422, "{said}");
    assert!(said.contains("feed.txt") && said.contains("(ulimit -v); shorten the list"), "{said}");
    assert_eq!(verdicts(&edge), [403, 403]);

    // The file alone is more than there is.
    replace(&edge, "feed.txt", names(100) + &comment.repeat(720));
    let answer = edge.admin_post("/api/v1/reload");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer.text().contains("feed.txt") && answer.text().contains("(ulimit -v); shorten the list"),
        "{}",
        answer.text()
    );
    assert_eq!(verdicts(&edge), [403, 403]);

    replace(&edge, "feed.txt", names(101));
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert!(edge.is_running());
}
