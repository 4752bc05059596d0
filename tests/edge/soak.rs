//! Traffic without a pause while the list is rewritten, and a list of a size that hurts.
//!
//! Inside: what only shows over many requests and many reloads: a wrong answer in a thousand, memory that grows, a
//! tail. Small by default; `SLUIS_SOAK_REQUESTS`, `SLUIS_SOAK_LIST` and `SLUIS_SOAK_NAMES` make it large.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::peers::Nginx;
use crate::support::{Edge, Setup, eventually, setting};

const CLIENTS: usize = 8;

/// The names of the list that stay through every change.
fn lasting_names() -> Vec<String> {
    let Ok(file) = env::var("SLUIS_SOAK_LIST") else {
        return (0..2_000).map(|number| format!("listed-{number}.example")).collect();
    };
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let plain = |line: &&str| !line.is_empty() && line.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    text.lines().map(str::trim).filter(plain).map(str::to_owned).collect()
}

/// The list in turn with `flip-a` and with `flip-b` names.
struct Alternating {
    texts: [String; 2],
    lasting: Vec<String>,
    /// Twice the number of changes that are in force, and one more while one is being made.
    state: AtomicU64,
}

impl Alternating {
    fn new() -> Self {
        let lasting = lasting_names();
        let base: String = lasting.iter().map(|name| format!("{name}\n")).collect();
        let flip = |side: char| (0..100).map(|number| format!("flip-{side}-{number}.test\n")).collect::<String>();
        Self { texts: [flip('a') + &base, base.clone() + &flip('b')], lasting, state: AtomicU64::new(0) }
    }

    /// A fifth of the hosts are listed, half of those only every other time.
    fn host(&self, number: usize) -> String {
        let random = number.wrapping_mul(0x9E37_79B9) >> 7;
        match number % 20 {
            0 => format!("flip-a-{}.test", random % 100),
            7 => format!("flip-b-{}.test", random % 100),
            3 | 11 => format!("www.{}", self.lasting[random % self.lasting.len()]),
            _ => format!("open-{}.test", random % 5_000),
        }
    }

    /// What the version after so many changes says of a host.
    fn status(host: &str, changes: u64) -> u16 {
        let side = if changes.is_multiple_of(2) { "flip-a" } else { "flip-b" };
        let blocked = host.starts_with(side) || host.starts_with("www.");
        if blocked { 403 } else { 200 }
    }

    /// Rewrites the list until `done`: in turn by a rename over it and in place. How long each took to be in force.
    fn rewrite_until(&self, edge: &Edge, pause: Duration, done: &AtomicBool) -> Vec<Duration> {
        let mut delays = Vec::new();
        while !done.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let number = self.state.fetch_add(1, Ordering::SeqCst) / 2 + 1;
            let text = &self.texts[usize::from(!number.is_multiple_of(2))];
            let generation = edge.generation();
            if number.is_multiple_of(2) {
                fs::write(edge.path("feed.txt"), text).unwrap();
            } else {
                fs::write(edge.path("feed.new"), text).unwrap();
                fs::rename(edge.path("feed.new"), edge.path("feed.txt")).unwrap();
            }
            let written = Instant::now();
            edge.wait_generation(generation + 1);
            delays.push(written.elapsed());
            self.state.fetch_add(1, Ordering::SeqCst);
            thread::sleep(pause.saturating_sub(begun.elapsed()));
        }
        delays
    }

    /// Asks until no request is left; how long each took.
    fn ask(&self, edge: &Edge, next: &AtomicUsize, requests: usize) -> Vec<Duration> {
        let mut connection = edge.http();
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= requests {
                return times;
            }
            let host = self.host(number);
            let before = self.state.load(Ordering::SeqCst);
            let begun = Instant::now();
            let answer = connection.get(&host, "/page");
            times.push(begun.elapsed());
            let after = self.state.load(Ordering::SeqCst);
            // Each version that was in force between sending and receiving; while one is changed, both are.
            let right = (before / 2..=after.div_ceil(2)).any(|changes| answer.status == Self::status(&host, changes));
            assert!(right, "request {number}: {host} got {} between states {before} and {after}", answer.status);
            assert!(answer.complete && (answer.status != 200 || answer.text() == "a page"), "{answer:?}");
        }
    }
}

fn page() -> Option<Nginx> {
    Nginx::start("location = /page { return 200 \"a page\"; }", &[])
}

/// The value below which so many of a thousand are.
fn quantile(times: &mut [Duration], thousandths: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * thousandths / 1_000]
}

#[test]
fn every_answer_is_right_while_the_list_is_rewritten_once_a_second() {
    let Some(origin) = page() else { return };
    let requests = setting("SLUIS_SOAK_REQUESTS", 20_000);
    let list = Alternating::new();
    let edge = Setup::new(origin.address())
        .without_tls()
        .limit("requests_per_connection = 1000000000")
        .feed(&list.texts[0])
        .start();
    let (first, rss, begun) = (edge.generation(), edge.rss_bytes(), Instant::now());
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut times, mut delays) = thread::scope(|scope| {
        let writer = scope.spawn(|| list.rewrite_until(&edge, Duration::from_secs(1), &done));
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| list.ask(&edge, &next, requests))).collect();
        let answers: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::SeqCst);
        let delays = writer.join().unwrap();
        (answers.into_iter().flat_map(Result::unwrap).collect::<Vec<_>>(), delays)
    });
    let took = begun.elapsed();
    assert_eq!(edge.generation(), first + delays.len() as u64, "each rewrite is one generation");
    let metrics = edge.metrics();
    assert_eq!(metrics.outcome("aborted") + metrics.outcome("failed") + metrics.outcome("rejected"), 0);
    assert_eq!(metrics.outcome("forwarded") + metrics.outcome("blocked"), requests as u64);
    assert_eq!(metrics.sum("sluis_connections_total", &[]), CLIENTS as f64, "no connection was dropped");
    eprintln!(
        "{requests} requests in {took:?}, {} names, {} rewrites, in force after {:?} (median) {:?} (longest); request \
         {:?} (median) {:?} (99 %) {:?} (longest); memory {} -> {} MiB",
        list.lasting.len() + 100,
        delays.len(),
        quantile(&mut delays, 500),
        quantile(&mut delays, 1_000),
        quantile(&mut times, 500),
        quantile(&mut times, 990),
        quantile(&mut times, 1_000),
        rss >> 20,
        edge.rss_bytes() >> 20,
    );
}

/// A list of so many names, one of which is another in each version.
fn many_names(count: usize, version: usize) -> String {
    let mut text: String =
        (1..count).map(|number| format!("{}-{number}.example\n", ["shop", "login", "cdn"][number % 3])).collect();
    text.push_str(&format!("version-{version}.test\n"));
    text
}

fn replace_feed(edge: &Edge, text: &str) -> PathBuf {
    let (new, feed) = (edge.path("feed.new"), edge.path("feed.txt"));
    fs::write(&new, text).unwrap();
    fs::rename(&new, &feed).unwrap();
    feed
}

#[test]
fn one_line_of_a_large_list_changes_without_harm_to_memory_or_to_traffic() {
    let Some(origin) = page() else { return };
    let count = setting("SLUIS_SOAK_NAMES", 50_000);
    let begun = Instant::now();
    let setup = Setup::new(origin.address()).without_tls().feed(&many_names(count, 0));
    let edge = setup.limit("requests_per_connection = 1000000000").start();
    let (started, loaded_rss) = (begun.elapsed(), edge.rss_bytes());
    let done = AtomicBool::new(false);
    let (mut delays, mut times, mut rss) = (Vec::new(), Vec::new(), Vec::new());
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut connection, mut times) = (edge.http(), Vec::new());
            while !done.load(Ordering::SeqCst) {
                let begun = Instant::now();
                assert_eq!(connection.get("open.test", "/page").status, 200);
                times.push(begun.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            times
        });
        for version in 1..=5 {
            let text = many_names(count, version);
            let mut connection = edge.http();
            let host = format!("version-{version}.test");
            assert_eq!(connection.get(&host, "/page").status, 200);
            replace_feed(&edge, &text);
            delays.push(eventually("the edit is in force", || connection.get(&host, "/page").status == 403));
            assert_eq!(connection.get(&format!("version-{}.test", version - 1), "/page").status, 200);
            rss.push(edge.rss_bytes() >> 20);
        }
        done.store(true, Ordering::SeqCst);
        times = client.join().unwrap();
    });
    eprintln!(
        "{count} names: started in {started:?}, an edit in force after {delays:?}, memory {} -> {rss:?} MiB, request \
         {:?} (median) {:?} (99 %) {:?} (longest)",
        loaded_rss >> 20,
        quantile(&mut times, 500),
        quantile(&mut times, 990),
        quantile(&mut times, 1_000),
    );
    // Old and new side by side, and what the allocator keeps; no growth from one reload to the next.
    assert!(rss[4] <= rss[1] + rss[1] / 4 + 8, "memory grows with every reload: {rss:?} MiB");
}
