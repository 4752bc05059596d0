//! What it costs to make the canonical host of a request.
//!
//! Inside: hosts as they come, and as they are sent by those who look for a way round. Kept out: the rest of a request.

#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sluis::blocklist::pattern::Pattern;
use sluis::host::{Authority, HostName};

fn parse(criterion: &mut Criterion) {
    let longest = format!("{}.example", "label.".repeat(40));
    let cases = [
        ("plain", "www.example.com"),
        ("port and upper case", "WWW.Example.COM:8080"),
        ("longest", &longest),
        ("ipv4", "192.0.2.1"),
        ("ipv6", "[2001:db8::1]:443"),
        ("a-label", "xn--bcher-kva.example"),
        ("refused", "www.example.com/path"),
        ("refused punycode", "xn--example-.org"),
    ];
    let mut group = criterion.benchmark_group("authority");
    for (name, bytes) in cases {
        group.bench_function(name, |bencher| bencher.iter(|| Authority::parse(black_box(bytes.as_bytes()))));
    }
    group.finish();
}

fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pattern");
    for (name, text) in [("plain", "tracker.example.com"), ("u-label", "bücher.example")] {
        group.bench_function(name, |bencher| bencher.iter(|| Pattern::parse(black_box(text))));
    }
    let pattern = Pattern::parse(".tracker.example.co.uk").ok();
    group.bench_function("public suffix", |bencher| {
        bencher.iter(|| black_box(&pattern).as_ref().and_then(Pattern::public_suffix));
    });
    let host = HostName::parse(b"a.b.tracker.example.co.uk").ok();
    group.bench_function("suffixes", |bencher| {
        bencher.iter(|| black_box(&host).as_ref().map_or(0, |host| host.suffixes().count()));
    });
    group.finish();
}

criterion_group!(benches, parse, lists);
criterion_main!(benches);
