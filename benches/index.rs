//! What a verdict costs, hit and miss, with warm and with cold caches, and what it costs to read and build a list.
//!
//! Inside: made-up lists of 100,000 and 1,000,000 names; goals are in docs/performance.md. Kept out: comparisons with other programs.

#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]
#![expect(clippy::disallowed_types, reason = "a benchmark measures real time")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use jiff::civil::Date;
use sluis::blocklist::config::Scope;
use sluis::blocklist::decision::{Basis, Decision, Mode, When};
use sluis::blocklist::format::domains;
use sluis::blocklist::index::{Index, IndexSource, Moment};
use sluis::blocklist::parsed::ParsedSource;
use sluis::host::HostName;

const SIZES: [u32; 2] = [100_000, 1_000_000];

/// Larger than the caches of the machines that this runs on.
const COLD_BYTES: usize = 128 << 20;

const MOMENT: Moment = Moment { now: Timestamp::constant(1_800_000_000, 0), country: None };

fn decision() -> Arc<Decision> {
    Arc::new(Decision {
        id: "feed".to_owned(),
        basis: Basis::Security,
        decided_by: "abuse desk".to_owned(),
        decided_at: When::Day(Date::constant(2026, 1, 1)),
        review_by: None,
        effective_from: None,
        effective_until: None,
        category: None,
        authority: None,
        reference: None,
        statement_url: None,
        appeal_url: None,
        precedents: Vec::new(),
        countries: Vec::new(),
        mode: Mode::Enforce,
        summary: Vec::new(),
    })
}

/// A name with the shape of those in real lists: two or three labels, about twenty bytes.
fn name(number: u32) -> String {
    let scrambled = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let middle = ["", "shop.", "login-secure.", "cdn1."][scrambled as usize >> 8 & 3];
    let end = ["com", "net", "example", "co.uk", "xyz"][(scrambled >> 16) as usize % 5];
    format!("{middle}{:x}-{number}.{end}", scrambled >> 40)
}

fn list(size: u32) -> Vec<u8> {
    (0..size).flat_map(|number| (name(number) + "\n").into_bytes()).collect()
}

fn read(bytes: &[u8]) -> ParsedSource {
    domains::parse(Path::new("list"), bytes, Scope::Subtree, decision())
}

fn source(parsed: ParsedSource) -> Arc<IndexSource> {
    Arc::new(IndexSource { name: "feed".to_owned(), is_feed: true, parsed: Arc::new(parsed) })
}

/// Hosts in an order that has nothing to do with that of the list.
fn hosts(size: u32, make: impl Fn(u32) -> String) -> Vec<HostName> {
    let numbers = (0..20_000_u32).map(|at| at.wrapping_mul(2_654_435_761) % size);
    numbers.filter_map(|number| HostName::parse(make(number).as_bytes()).ok()).collect()
}

fn verdict(criterion: &mut Criterion) {
    for size in SIZES {
        let index = Index::build(&[source(read(&list(size)))], 7);
        let cases = [
            ("hit", hosts(size, |number| format!("www.{}", name(number)))),
            ("miss", hosts(size, |number| format!("www.{}", name(number + size)))),
        ];
        let mut group = criterion.benchmark_group("verdict");
        group.sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
        for (case, hosts) in &cases {
            let mut one = hosts.iter().take(64).cycle();
            group.bench_function(BenchmarkId::new(format!("{case}, warm"), size), |bencher| {
                bencher.iter(|| one.next().map(|host| index.verdict(black_box(host), &MOMENT).block.is_some()));
            });
        }
        // Most of the time goes into emptying the caches, which is not measured.
        group.sample_size(10).measurement_time(Duration::from_millis(30)).warm_up_time(Duration::from_millis(1));
        for (case, hosts) in &cases {
            let mut chunks = hosts.chunks_exact(1_000).cycle();
            group.bench_function(BenchmarkId::new(format!("{case}, cold, 1000 of them"), size), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| cold(&index, chunks.next().unwrap_or(&[]))).sum());
            });
        }
        group.finish();
    }
}

fn cold(index: &Index, hosts: &[HostName]) -> Duration {
    let walked = vec![1_u8; COLD_BYTES];
    black_box(walked.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>());
    // The hosts themselves are warm: they have just been parsed.
    black_box(hosts.iter().map(|host| host.as_bytes().len()).sum::<usize>());
    let started = Instant::now();
    for host in hosts {
        black_box(index.verdict(black_box(host), &MOMENT).block.is_some());
    }
    started.elapsed()
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for size in SIZES {
        let bytes = list(size);
        group.bench_function(BenchmarkId::new("read", size), |bencher| bencher.iter(|| read(black_box(&bytes))));
        let source = source(read(&bytes));
        group.bench_function(BenchmarkId::new("build", size), |bencher| {
            bencher.iter(|| Index::build(&[Arc::clone(&source)], black_box(7)));
        });
    }
    group.finish();
}

criterion_group!(benches, verdict, build);
criterion_main!(benches);
