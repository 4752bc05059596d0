//! A long list that changes: what it costs the traffic meanwhile, how soon it is in force, how much memory it takes.
//!
//! Inside: rewrites and edits under steady traffic, and one-line edits by themselves. Kept out: what a list says
//! (list_reload.rs), faults (list_faults.rs).
//!
//! Small by default, and then about right answers alone; `SLUIS_RELOAD_NAMES=1000000` on an optimized build holds the
//! promises about time and memory too.

use std::fs;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::traffic::{Timed, Traffic, percentile};
use crate::support::{Edge, Origin, Setup, eventually, setting};

/// From here on it is about time and memory.
const LARGE: usize = 500_000;

/// The quiet time before a list is read, of the large runs: that of every installation.
const SETTLE: Duration = Duration::from_millis(200);

/// In force so soon after the quiet time, or after it was asked for.
const IN_FORCE: Duration = Duration::from_millis(300);

/// A name of the index costs about forty bytes: an edit may take half of that for each, beside the bytes of the file, which
/// is read whole. A second copy of the names or of the table and what leads to it does not fit.
const EDIT_BYTES_A_NAME: u64 = 20;

/// A merge builds a second table beside the first: twelve bytes a name, and sixteen while it sorts. The names themselves are
/// the same.
const MERGE_BYTES_A_NAME: u64 = 32;

struct Scale {
    names: usize,
    is_large: bool,
    settle: Duration,
}

impl Scale {
    fn new() -> Self {
        let names = setting("SLUIS_RELOAD_NAMES", 8_000);
        let is_large = names >= LARGE;
        Self { names, is_large, settle: if is_large { SETTLE } else { Duration::from_millis(30) } }
    }

    fn is_measured(&self) -> bool {
        self.is_large && !cfg!(debug_assertions)
    }

    fn start(&self, origin: &Origin, first: &Version) -> Edge {
        let setup = Setup::new(origin.address()).without_tls().feed(&first.text(self.names));
        let setup = setup.limit("requests_per_connection = 1000000000");
        setup.blocklist(&format!("settle = \"{}ms\"", self.settle.as_millis())).start()
    }

    /// Resident memory once it has come to rest, with whatever is merged or freed after a change.
    fn rss_at_rest(&self, edge: &Edge) -> u64 {
        let (mut before, mut same) = (0, 0);
        let enough = if self.is_large { 50 } else { 2 };
        eventually("memory comes to rest", || {
            let now = edge.rss_bytes();
            same = if now.abs_diff(before) <= now / 500 { same + 1 } else { 0 };
            before = now;
            same >= enough
        });
        before
    }
}

/// What the list says at one time. Two fifths of its lines are of one side or of the other, spread over all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Version {
    side: usize,
    appended: bool,
    removed: bool,
    changed: bool,
}

impl Version {
    fn text(&self, names: usize) -> String {
        let mut text = String::with_capacity(names * 24);
        for number in 0..names {
            match number % 5 {
                _ if number == names / 2 && self.changed => text.push_str("another.test\n"),
                _ if number == names / 2 => text.push_str("before.test\n"),
                _ if number == names / 3 && self.removed => {}
                _ if number == names / 3 => text.push_str("removed.test\n"),
                1 | 3 => text.push_str(&format!("side-{}-{number}.example\n", self.side)),
                _ => text.push_str(&format!("shop-{number}.example\n")),
            }
        }
        text + if self.appended { "appended.test\n" } else { "" }
    }

    /// Hosts of every kind: lasting, never listed, of either side, and those of the lines that are edited.
    fn host(number: u64, names: usize) -> String {
        let random = (number.wrapping_mul(0x9E37_79B9) >> 7) as usize % names / 5 * 5;
        match number % 16 {
            0 | 1 => format!("shop-{random}.example"),
            2 => format!("www.shop-{random}.example"),
            3 | 4 => format!("side-0-{}.example", random + 1),
            5 | 6 => format!("www.side-1-{}.example", random + 3),
            7 => "www.appended.test".to_owned(),
            8 => "removed.test".to_owned(),
            9 => "another.test".to_owned(),
            10 => "before.test".to_owned(),
            11 => format!("shop-{random}.test"),
            _ => format!("open-{random}.test"),
        }
    }

    fn blocks(&self, host: &str, names: usize) -> bool {
        let host = host.strip_prefix("www.").unwrap_or(host);
        let number = |rest: &str| rest.split('.').next().and_then(|digits| digits.parse::<usize>().ok());
        // The lines of these two are taken by others.
        let is_listed = |number: Option<usize>| number.is_some_and(|number| number != names / 2 && number != names / 3);
        match host {
            "appended.test" => self.appended,
            "removed.test" => !self.removed,
            "another.test" => self.changed,
            "before.test" => !self.changed,
            _ if !host.ends_with(".example") => false,
            _ => match host.strip_prefix("shop-") {
                Some(rest) => is_listed(number(rest)),
                None => {
                    let rest = host.strip_prefix(&format!("side-{}-", self.side));
                    rest.is_some_and(|rest| is_listed(number(rest)))
                }
            },
        }
    }
}

/// Five rewrites of the whole, the edits of one line between them.
const VERSIONS: [Version; 9] = {
    let first = Version { side: 0, appended: false, removed: false, changed: false };
    let second = Version { side: 1, ..first };
    let third = Version { appended: true, ..second };
    let fourth = Version { side: 0, ..third };
    let fifth = Version { removed: true, ..fourth };
    let sixth = Version { side: 1, ..fifth };
    let seventh = Version { changed: true, ..sixth };
    [
        first,
        second,
        third,
        fourth,
        fifth,
        sixth,
        seventh,
        Version { side: 0, ..seventh },
        Version { side: 1, ..seventh },
    ]
};

/// Answers every request without a body with 200, at once, and keeps nothing of it.
fn origin() -> Origin {
    Origin::raw(|mut stream, _| {
        let (mut head, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => head.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
        }
    })
}

fn rename_over(edge: &Edge, new: &str) {
    fs::rename(edge.path(new), edge.path("feed.txt")).unwrap();
}

/// Which version is in force, as the clients know it.
#[derive(Default)]
struct InForce {
    /// Twice the number of changes that are in force, and one more while one is being made.
    state: AtomicU64,
}

impl InForce {
    fn now(&self) -> u64 {
        self.state.load(Ordering::SeqCst)
    }

    /// Whether a host may get this status: of each version that was in force between asking and the answer.
    fn is_right(host: &str, names: usize, status: u16, asked: u64, answered: u64) -> bool {
        (asked / 2..=answered.div_ceil(2))
            .any(|changes| status == if VERSIONS[changes as usize].blocks(host, names) { 403 } else { 200 })
    }

    /// Makes every change, each once the one before is in force. How long each took, and memory after the first and the
    /// last rewrite.
    fn change(&self, scale: &Scale, edge: &Edge) -> (Vec<Duration>, [u64; 2]) {
        let (mut delays, mut memory) = (Vec::new(), [0; 2]);
        for number in 1..VERSIONS.len() {
            let generation = edge.generation();
            self.state.fetch_add(1, Ordering::SeqCst);
            rename_over(edge, &format!("version-{number}"));
            let renamed = Instant::now();
            edge.wait_generation(generation + 1);
            delays.push(renamed.elapsed());
            self.state.fetch_add(1, Ordering::SeqCst);
            if number == 1 {
                memory[0] = scale.rss_at_rest(edge);
            }
        }
        memory[1] = scale.rss_at_rest(edge);
        (delays, memory)
    }
}

#[test]
fn steady_traffic_does_not_feel_that_a_long_list_is_rewritten() {
    let scale = Scale::new();
    let (names, origin) = (scale.names, origin());
    let edge = scale.start(&origin, &VERSIONS[0]);
    for (number, version) in VERSIONS.iter().enumerate() {
        fs::write(edge.path(&format!("version-{number}")), version.text(names)).unwrap();
    }
    let (clients, per_second) = if scale.is_large { (16, 1_500) } else { (4, 400) };
    let quiet = Duration::from_millis(if scale.is_large { 8_000 } else { 200 });
    let traffic = Traffic { address: edge.address("http"), clients, per_second };
    let (in_force, done) = (InForce::default(), AtomicBool::new(false));
    let (first, mut spans) = (edge.generation(), Vec::new());
    let (all, (mut delays, memory)) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let host = |number| (Version::host(number, names), in_force.now());
            traffic.run(&done, host, |host, asked, answer| {
                let (answered, status) = (in_force.now(), answer.status);
                let is_right = InForce::is_right(host, names, status, asked, answered);
                assert!(is_right, "{host} got {status} between states {asked} and {answered}");
            })
        });
        // Connections and pages of memory are new at first.
        ask_for(&edge, quiet / 4);
        spans.push(Instant::now());
        ask_for(&edge, quiet);
        spans.push(Instant::now());
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| in_force.change(&scale, &edge)));
        spans.push(Instant::now());
        ask_for(&edge, quiet);
        spans.push(Instant::now());
        done.store(true, Ordering::SeqCst);
        let all = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (all, changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    assert_eq!(edge.generation(), first + VERSIONS.len() as u64 - 1, "each change is one generation");
    let metrics = edge.settled("after the changes");
    assert_eq!(metrics.outcome("aborted") + metrics.outcome("failed") + metrics.outcome("rejected"), 0);
    assert_eq!(metrics.outcome("forwarded") + metrics.outcome("blocked"), all.len() as u64);
    assert_eq!(metrics.sum("sluis_connections_total", &[]), f64::from(clients), "no connection was dropped");
    report_and_judge(&scale, &all, &spans, &mut delays, memory);
}

/// Asks for the generation for a while, as is done while the list changes: that too is work beside the traffic.
fn ask_for(edge: &Edge, time: Duration) {
    let began = Instant::now();
    eventually("time passes", || {
        edge.generation();
        began.elapsed() >= time
    });
}

fn report_and_judge(scale: &Scale, all: &[Timed], spans: &[Instant], delays: &mut [Duration], memory: [u64; 2]) {
    let of = |span: usize, share: usize| percentile(all, spans[span], spans[span + 1], share);
    let [quiet, reloading, after] = [0, 1, 2].map(|span| of(span, 9_990));
    delays.sort_unstable();
    eprintln!(
        "{} names, {} requests; p50 {:?} quiet, {:?} reloading, {:?} after; p99.9 {quiet:?} quiet, {reloading:?} \
         reloading, {after:?} after; longest {:?}, {:?}, {:?}; changes in force after {:?} to {:?}; memory after the \
         first {} KiB, after the last {} KiB",
        scale.names,
        all.len(),
        of(0, 5_000),
        of(1, 5_000),
        of(2, 5_000),
        of(0, 10_000),
        of(1, 10_000),
        of(2, 10_000),
        delays[0],
        delays[delays.len() - 1],
        memory[0] >> 10,
        memory[1] >> 10,
    );
    if scale.is_measured() {
        assert!(
            reloading <= quiet.max(after).mul_f64(1.5),
            "p99.9 is {reloading:?}, and {quiet:?} or {after:?} in quiet"
        );
        assert!(memory[1] <= memory[0] + memory[0] / 20, "memory grows with every reload: {memory:?}");
    }
}

/// One edit of one line by itself: how long until it is in force, and memory at most, beside that of before.
struct Measured {
    what: &'static str,
    by: &'static str,
    took: Duration,
    growth: u64,
}

fn edit_and_measure(
    scale: &Scale,
    edge: &Edge,
    what: &'static str,
    version: &Version,
    host: &str,
    by_api: bool,
) -> Measured {
    let names = scale.names;
    fs::write(edge.path("feed.new"), version.text(names)).unwrap();
    let (mut connection, expected) = (edge.http(), if version.blocks(host, names) { 403 } else { 200 });
    assert_ne!(connection.get(host, "/").status, expected, "{what}: it is in force already");
    let before = scale.rss_at_rest(edge);
    edge.forget_peak_rss();
    rename_over(edge, "feed.new");
    let renamed = Instant::now();
    if by_api {
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        assert_eq!(connection.get(host, "/").status, expected, "{what}: it is in force when the answer comes");
    } else {
        while connection.get(host, "/").status != expected {
            assert!(renamed.elapsed() < crate::support::PATIENCE, "{what}: it never comes into force");
            thread::sleep(Duration::from_millis(1));
        }
    }
    let took = renamed.elapsed();
    // What is merged or freed afterwards counts too.
    scale.rss_at_rest(edge);
    let growth = edge.peak_rss_bytes().saturating_sub(before);
    Measured { what, by: if by_api { "api" } else { "event" }, took, growth }
}

/// Memory that the merge of the last edit takes at most: it comes when nothing has changed for 25 times the quiet time.
fn measure_merge(scale: &Scale, edge: &Edge, version: &Version) -> u64 {
    let before = scale.rss_at_rest(edge);
    edge.forget_peak_rss();
    thread::sleep(scale.settle * 25 + Duration::from_secs(3));
    scale.rss_at_rest(edge);
    assert_eq!(edge.get("before.test", "/").status, if version.blocks("before.test", scale.names) { 403 } else { 200 });
    edge.peak_rss_bytes().saturating_sub(before)
}

/// What is done, a host that it concerns, and how.
type Edit = (&'static str, &'static str, fn(&mut Version));

#[test]
fn edit_of_one_line_is_in_force_soon_and_takes_no_second_copy_of_the_list() {
    let scale = Scale::new();
    let (names, origin) = (scale.names, origin());
    let edge = scale.start(&origin, &Version::default());
    let mut version = Version::default();
    let mut measured = Vec::new();
    let edits: [Edit; 6] = [
        ("append", "appended.test", |version| version.appended = true),
        ("change", "another.test", |version| version.changed = true),
        ("remove", "removed.test", |version| version.removed = true),
        ("insert", "removed.test", |version| version.removed = false),
        ("change back", "before.test", |version| version.changed = false),
        ("cut off", "appended.test", |version| version.appended = false),
    ];
    for (at, (what, host, edit)) in edits.into_iter().enumerate() {
        edit(&mut version);
        measured.push(edit_and_measure(&scale, &edge, what, &version, host, at % 2 == 1));
        for host in ["shop-0.example", "open-0.test", "removed.test", "another.test", "before.test", "appended.test"] {
            let expected = if version.blocks(host, names) { 403 } else { 200 };
            assert_eq!(edge.get(host, "/").status, expected, "after `{what}`: {host}");
        }
    }
    let merge = scale.is_large.then(|| measure_merge(&scale, &edge, &version));
    let file = fs::metadata(edge.path("feed.txt")).unwrap().len();
    for Measured { what, by, took, growth } in &measured {
        let beyond = growth.saturating_sub(file) as f64 / names as f64;
        eprintln!(
            "{names} names, {what} by {by}: in force after {took:?} ({:?} without the quiet time); memory grew by {} KiB at \
             most, of which {} KiB is the file: {beyond:.1} bytes a name beyond it",
            if *by == "api" { *took } else { took.saturating_sub(scale.settle) },
            growth >> 10,
            file >> 10
        );
    }
    if let Some(growth) = merge {
        let a_name = growth as f64 / names as f64;
        eprintln!(
            "{names} names, merged into the base: memory grew by {} KiB at most, {a_name:.1} bytes a name",
            growth >> 10
        );
    }
    if scale.is_measured() {
        assert!(
            merge.is_some_and(|growth| growth <= MERGE_BYTES_A_NAME * names as u64),
            "the merge took {merge:?} bytes"
        );
        for Measured { what, by, took, growth } in &measured {
            let allowed = if *by == "api" { IN_FORCE } else { SETTLE + IN_FORCE };
            assert!(*took <= allowed, "{what} by {by} is in force after {took:?}");
            assert!(*growth <= file + EDIT_BYTES_A_NAME * names as u64, "{what} by {by} took {growth} bytes");
        }
    }
}
