//! What a list costs: the time to read and build it, its memory, and what one verdict takes, beside three other ways to hold names.
//!
//! Inside: made-up lists of names, hosts that hit and hosts that miss, warm and cold caches, and at the end the table of
//! docs/performance.md. Kept out: whole programs (`benches/compare`).
//!
//! Without `--bench`, as in CI, everything runs once and is small. `SLUIS_BENCH_NAMES=1000,10000000` sets the numbers of names.

#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]
#![expect(clippy::disallowed_types, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use jiff::civil::Date;
use peak_alloc::PeakAlloc;
use sluis::blocklist::config::Scope;
use sluis::blocklist::decision::{Basis, Decision, When};
use sluis::blocklist::format::domains;
use sluis::blocklist::index::{Index, IndexSource, Moment};
use sluis::host::HostName;

/// Counts what is allocated. It costs an atomic addition an allocation, which lookups do not make.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Walked before each cold measurement: many times the second-level cache of a core.
const WALKED_BYTES: usize = 64 << 20;

/// Lookups in a row: so many hosts repeat while it is warm, and so many share one walk while it is cold.
const HOSTS: usize = 64;

/// The filter that asks for the table alone.
const TABLE: &str = "table";

const SLUIS: &str = "sluis";

const MOMENT: Moment = Moment { now: Timestamp::constant(1_800_000_000, 0), country: None };

/// One way to hold a list. It says whether a host is on the list or below a name of it.
struct Contender {
    name: &'static str,
    covers: Box<dyn Fn(&HostName) -> bool>,
    built_in: Duration,
    /// What is held, and the most that was held while it was built, the bytes of the file included: as it was asked of the
    /// allocator or, for sluis, which has memory of its own, as it is resident.
    bytes: usize,
    peak_bytes: usize,
}

impl Contender {
    /// Builds it from a file and measures that.
    fn new<C: Fn(&HostName) -> bool + 'static>(name: &'static str, file: &Path, build: impl Fn(&Path) -> C) -> Self {
        let has_own_memory = name == SLUIS;
        let before = if has_own_memory { resident("VmRSS:") } else { MEMORY.current_usage() };
        MEMORY.reset_peak_usage();
        // proc_pid_clear_refs(5): 5 sets the peak to what is resident now.
        fs::write("/proc/self/clear_refs", "5").expect("Linux");
        let started = Instant::now();
        let covers = build(file);
        let built_in = started.elapsed();
        let (bytes, peak_bytes) = if has_own_memory {
            (resident("VmRSS:"), resident("VmHWM:"))
        } else {
            (MEMORY.current_usage(), MEMORY.peak_usage())
        };
        let (bytes, peak_bytes) = (bytes.saturating_sub(before), peak_bytes.saturating_sub(before));
        Self { name, covers: Box::new(covers), built_in, bytes, peak_bytes }
    }

    fn all(file: &Path) -> [Self; 4] {
        [
            Self::new(SLUIS, file, sluis),
            Self::new("HashSet<String>", file, hash_set),
            Self::new("fst", file, finite_state),
            Self::new("label trie", file, label_trie),
        ]
    }
}

/// What the system counts of this process, in bytes.
fn resident(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let kib = status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<usize>().ok());
    kib.expect("the kernel counts it") << 10
}

fn sluis(file: &Path) -> impl Fn(&HostName) -> bool + use<> {
    let bytes = fs::read(file).unwrap_or_default();
    let parsed = Arc::new(domains::parse(file, &bytes, Scope::Subtree, decision()));
    drop(bytes);
    let source = IndexSource { name: "feed".to_owned(), is_feed: true, parsed };
    let index = Index::build(&[Arc::new(source)], fastrand::u64(..));
    move |host| index.verdict(host, &MOMENT).block.is_some()
}

fn hash_set(file: &Path) -> impl Fn(&HostName) -> bool + use<> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let names: HashSet<String> = text.lines().map(str::to_owned).collect();
    move |host| host.suffixes().any(|name| std::str::from_utf8(name).is_ok_and(|name| names.contains(name)))
}

fn finite_state(file: &Path) -> impl Fn(&HostName) -> bool + use<> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    let names = fst::Set::from_iter(names).unwrap_or_default();
    move |host| host.suffixes().any(|name| names.contains(name))
}

#[derive(Default)]
struct Node {
    below: HashMap<Box<[u8]>, Self>,
    is_name: bool,
}

fn label_trie(file: &Path) -> impl Fn(&HostName) -> bool + use<> {
    let mut root = Node::default();
    for name in fs::read_to_string(file).unwrap_or_default().lines() {
        let labels = name.rsplit('.');
        labels.fold(&mut root, |node, label| node.below.entry(label.as_bytes().into()).or_default()).is_name = true;
    }
    move |host| {
        let mut node = Some(&root);
        host.as_bytes().rsplit(|byte| *byte == b'.').any(|label| {
            node = node.and_then(|node| node.below.get(label));
            node.is_some_and(|node| node.is_name)
        })
    }
}

fn decision() -> Arc<Decision> {
    Arc::new(Decision::new("feed", Basis::Security, "abuse desk", When::Day(Date::constant(2026, 1, 1))))
}

/// A name with the shape of those in real lists: two or three labels, about twenty bytes.
fn name(number: u32) -> String {
    let scrambled = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let middle = ["", "shop.", "login-secure.", "cdn1."][scrambled as usize >> 8 & 3];
    let end = ["com", "net", "example", "co.uk", "xyz"][(scrambled >> 16) as usize % 5];
    format!("{middle}{:x}-{number}.{end}", scrambled >> 40)
}

/// A file with so many names. It has just been written, so that the page cache has it.
fn list(names: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text: String = (0..names).flat_map(|number| [name(number), "\n".to_owned()]).collect();
    fs::write(file.path(), text).expect("room for the list");
    file
}

/// Hosts in an order that has nothing to do with that of the list: below names of it, and below names that it might have.
fn cases(names: u32) -> [(&'static str, Vec<HostName>); 2] {
    let hosts = |first: u32| {
        let numbers = (0..64 * HOSTS as u32).map(|at| first + at.wrapping_mul(2_654_435_761) % names);
        numbers.filter_map(|number| HostName::parse(format!("www.{}", name(number)).as_bytes()).ok()).collect()
    };
    [("miss", hosts(names)), ("hit", hosts(0))]
}

/// The time of one lookup, of as many as there are hosts.
fn lookups(contender: &Contender, hosts: &[HostName]) -> Duration {
    let started = Instant::now();
    for host in hosts {
        black_box((contender.covers)(black_box(host)));
    }
    started.elapsed() / hosts.len() as u32
}

/// As [`lookups`], with caches and TLB full of something else; the hosts are warm, since in a server they have just been parsed.
fn cold_lookups(contender: &Contender, hosts: &[HostName], walked: &[u8]) -> Duration {
    black_box(walked.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>());
    black_box(hosts.to_vec());
    // So are the code and what every lookup shares.
    lookups(contender, &hosts[..1]);
    lookups(contender, &hosts[1..])
}

fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// What was asked for on the command line; none: everything.
fn filter() -> Option<String> {
    std::env::args().skip(1).find(|argument| !argument.starts_with('-'))
}

fn sizes() -> Vec<u32> {
    match std::env::var("SLUIS_BENCH_NAMES") {
        Ok(sizes) => sizes.split(',').filter_map(|size| size.trim().parse().ok()).collect(),
        Err(_) if is_measured() => vec![1_000, 100_000, 1_000_000],
        Err(_) => vec![1_000],
    }
}

fn load(criterion: &mut Criterion) {
    if filter().is_some_and(|filter| filter == TABLE) {
        return;
    }
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for size in sizes() {
        let file = list(size);
        group.bench_function(BenchmarkId::new("read and build", size), |bencher| {
            bencher.iter_with_large_drop(|| sluis(black_box(file.path())));
        });
    }
    group.finish();
}

fn verdict(criterion: &mut Criterion) {
    if filter().is_some_and(|filter| filter == TABLE) {
        return;
    }
    let walked = vec![1_u8; WALKED_BYTES];
    let mut group = criterion.benchmark_group("verdict");
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    for size in sizes() {
        let file = list(size);
        let contenders = Contender::all(file.path());
        for (case, hosts) in cases(size) {
            for contender in &contenders {
                let mut repeated = hosts[..HOSTS].iter().cycle();
                group.bench_function(BenchmarkId::new(format!("{}, {case}, warm", contender.name), size), |bencher| {
                    bencher.iter(|| repeated.next().map(|host| (contender.covers)(black_box(host))));
                });
                let mut chunks = hosts.chunks_exact(HOSTS).cycle();
                group.bench_function(BenchmarkId::new(format!("{}, {case}, cold", contender.name), size), |bencher| {
                    bencher.iter_custom(|rounds| {
                        (0..rounds).map(|_| cold_lookups(contender, chunks.next().unwrap_or(&[]), &walked)).sum()
                    });
                });
            }
        }
    }
    group.finish();
}

/// Prints the table of docs/performance.md. Rounds of all contenders are interleaved, so that what else the machine does hits
/// all alike.
fn table(_: &mut Criterion) {
    if !is_measured() || filter().is_some_and(|filter| filter != TABLE) {
        return;
    }
    println!("Medians, with the least in brackets; lookups in nanoseconds. {}", cold_read());
    println!("| names | | build, s | bytes a name | at most, building | warm miss | warm hit | cold miss | cold hit |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let walked = vec![1_u8; WALKED_BYTES];
    for size in sizes() {
        let file = list(size);
        let contenders = Contender::all(file.path());
        let mut built: Vec<Vec<Duration>> = contenders.iter().map(|contender| vec![contender.built_in]).collect();
        for _ in 0..(4_000_000 / size).min(10) {
            let again = Contender::all(file.path());
            built.iter_mut().zip(again).for_each(|(built, contender)| built.push(contender.built_in));
        }
        let (cases, mut columns) = (cases(size), vec![[const { Vec::new() }; 4]; contenders.len()]);
        for round in 0..HOSTS {
            for (at, (_, hosts)) in cases.iter().enumerate() {
                for (contender, columns) in contenders.iter().zip(&mut columns) {
                    let warm: Duration = (0..50).map(|_| lookups(contender, &hosts[..HOSTS])).sum();
                    columns[at].push(warm / 50);
                    let chunk = &hosts[round * HOSTS..][..HOSTS];
                    columns[2 + at].push(cold_lookups(contender, chunk, &walked));
                }
            }
        }
        for ((contender, built), columns) in contenders.iter().zip(&mut built).zip(&mut columns) {
            let each = |bytes: usize| bytes as f64 / f64::from(size);
            let (middle, least) = middle_and_least(built);
            print!("| {size} | {} | {:.4} ({:.4})", contender.name, middle.as_secs_f64(), least.as_secs_f64());
            print!(" | {:.1} | {:.1}", each(contender.bytes), each(contender.peak_bytes));
            for column in columns {
                let (middle, least) = middle_and_least(column);
                print!(" | {} ({})", middle.as_nanos(), least.as_nanos());
            }
            println!(" |");
        }
    }
}

fn middle_and_least(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[0])
}

/// What the machine itself takes for one read that waits for the one before it, somewhere in 64 MiB that are not in the caches.
fn cold_read() -> String {
    let lines = WALKED_BYTES / 64;
    let mut order: Vec<usize> = (0..lines).collect();
    fastrand::shuffle(&mut order);
    let mut next = vec![[0_usize; 8]; lines];
    order.iter().zip(order.iter().cycle().skip(1)).for_each(|(from, to)| next[*from][0] = *to);
    let walked = vec![1_u8; WALKED_BYTES];
    let mut at = 0;
    let mut times: Vec<Duration> = (0..HOSTS)
        .map(|_| {
            black_box(walked.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>());
            let started = Instant::now();
            at = (0..HOSTS).fold(at, |at, _| next[at][0]);
            black_box(at);
            started.elapsed() / HOSTS as u32
        })
        .collect();
    let (middle, least) = middle_and_least(&mut times);
    format!("A read that waits for another one, cold: {} ({}).", middle.as_nanos(), least.as_nanos())
}

criterion_group!(benches, load, verdict, table);
criterion_main!(benches);
