//! Instructions of the steps that every request takes: host, head, verdict, notice. They do not depend on what else a machine
//! does, so a step that needs more than 5 % above what is recorded here fails.
//!
//! Inside: the steps, what each took when it was recorded, and the limit. Kept out: time (the other benchmarks), and the
//! caches, which callgrind only guesses at. It needs valgrind and gungraun-runner: `just instructions` (CONTRIBUTING.md).
//! To renew: run it, and put what it prints as `Instructions` into `recorded`, with the commit that says why.

#![allow(missing_docs, reason = "gungraun's macros make public items without documentation")]
#![allow(unused_qualifications, reason = "gungraun's macros name things from the root")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use sluis::blocklist::config::Scope;
use sluis::blocklist::decision::{Basis, Decision, When};
use sluis::blocklist::format::domains;
use sluis::blocklist::index::{Index, IndexSource, Moment};
use sluis::host::{Authority, HostError, HostName};
use sluis::notice::memo::Memo;
use sluis::notice::wire::{Preference, Preferences, Wire};
use sluis::notice::{Config, Notices, Operator};
use sluis::proxy::gate::head::{HeadLimits, HeadParser, Progress};

const MOMENT: Moment = Moment { now: Timestamp::constant(1_800_000_000, 0), country: None };

const NAMES: u32 = 100_000;

/// Lookups in one measurement, so that short and long chains of the table even out.
const LOOKUPS: u32 = 64;

const BROWSER_ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
const BROWSER_LANGUAGE: &str = "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7";

/// So much may come with changes elsewhere, by which the compiler arranges a step in another way.
const SLACK: u64 = 50;

/// Fails above 5 % more than was recorded, or `SLACK` where that is more.
fn recorded(instructions: u64) -> LibraryBenchmarkConfig {
    let limit = instructions + (instructions / 20).max(SLACK);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, limit)]));
    config
}

#[library_benchmark]
#[bench::plain(args = ("www.example.com"), config = recorded(658))]
#[bench::upper_case_with_port(args = ("WWW.Example.COM:8080"), config = recorded(782))]
#[bench::ipv6(args = ("[2001:db8::1]:443"), config = recorded(3060))]
#[bench::refused(args = ("www.example.com/path"), config = recorded(571))]
fn host(text: &str) -> Result<Authority, HostError> {
    Authority::parse(black_box(text.as_bytes()))
}

const BROWSER_HEAD: &str = "GET /forum/index.html?page=2 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-User: ?1\r\n\r\n";

#[library_benchmark]
#[bench::shortest(args = ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), config = recorded(1496))]
#[bench::browser(args = (BROWSER_HEAD), config = recorded(8548))]
fn head(text: &str) -> Progress {
    let limits = HeadLimits { bytes: 65_536, fields: 100, target_bytes: 8_192 };
    HeadParser::default().advance(black_box(text.as_bytes()), &limits)
}

/// A name with the shape of those in real lists: two or three labels, about twenty bytes.
fn name(number: u32) -> String {
    let scrambled = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let middle = ["", "shop.", "login-secure.", "cdn1."][scrambled as usize >> 8 & 3];
    let end = ["com", "net", "example", "co.uk", "xyz"][(scrambled >> 16) as usize % 5];
    format!("{middle}{:x}-{number}.{end}", scrambled >> 40)
}

/// An index, and hosts below its names or, from `NAMES` on, below names that it does not have. It is not freed, which
/// would be counted.
fn lookups(first: u32) -> (&'static Index, &'static [HostName]) {
    let list: String = (0..NAMES).flat_map(|number| [name(number), "\n".to_owned()]).collect();
    let decision = Decision::new("feed", Basis::Security, "abuse desk", When::Day(Date::constant(2026, 1, 1)));
    let parsed = domains::parse(Path::new("feed"), list.as_bytes(), Scope::Subtree, Arc::new(decision));
    let source = IndexSource { name: "feed".to_owned(), is_feed: true, parsed: Arc::new(parsed) };
    let index = Index::build(&[Arc::new(source)], 0x5eed);
    let numbers = (0..LOOKUPS).map(|at| first + at.wrapping_mul(2_654_435_761) % NAMES);
    let hosts: Vec<HostName> =
        numbers.filter_map(|number| HostName::parse(format!("www.{}", name(number)).as_bytes()).ok()).collect();
    let blocked = hosts.iter().filter(|host| index.verdict(host, &MOMENT).block.is_some()).count();
    assert_eq!(blocked, if first < NAMES { LOOKUPS as usize } else { 0 });
    (Box::leak(Box::new(index)), hosts.leak())
}

#[library_benchmark(setup = lookups)]
#[bench::miss_64(args = (NAMES), config = recorded(17_149))]
#[bench::hit_64(args = (0), config = recorded(39_162))]
fn verdict((index, hosts): (&'static Index, &'static [HostName])) -> usize {
    hosts.iter().filter(|host| index.verdict(black_box(host), &MOMENT).block.is_some()).count()
}

/// A worker that has answered the same request before.
struct Warm {
    memo: Memo,
    notices: Arc<Notices>,
    decision: Arc<Decision>,
    host: HostName,
    headers: HeaderMap,
    out: Vec<u8>,
}

impl Warm {
    fn preferences(&self) -> Preferences<'static> {
        let line = |text: &'static str| Preference::Line(text.as_bytes());
        Preferences { accept: line(BROWSER_ACCEPT), languages: line(BROWSER_LANGUAGE) }
    }

    fn wire(&mut self, is_head: bool) {
        let wire = Wire { is_head, closes: false, date: b"Thu, 26 Nov 2026 18:30:00 GMT" };
        let preferences = self.preferences();
        self.out.clear();
        self.memo.wire(&self.notices, &self.decision, &self.host, &preferences, wire, &mut self.out);
    }

    fn answer(&self) -> Response<bytes::Bytes> {
        self.memo.answer(&self.notices, &self.decision, &self.host, &self.headers)
    }
}

fn warm(is_head: bool) -> (&'static mut Warm, bool) {
    let operator = Operator {
        name: "Example Edge".to_owned(),
        url: Some("https://edge.example/blocking".to_owned()),
        contact: "mailto:abuse@edge.example".to_owned(),
    };
    let config = Config { server_name: "edge-1".to_owned(), operator, templates: None };
    let notices = Notices::load(&config).expect("the built-in notice has no faults");
    let day = When::Day(Date::constant(2026, 11, 21));
    let decision = Decision {
        authority: Some("Rechtbank Amsterdam".to_owned()),
        reference: Some("C/13/123456".to_owned()),
        ..Decision::new("2026-11-harassment-forum", Basis::CourtOrder, "Trust and Safety", day)
    };
    let mut warm = Warm {
        memo: Memo::default(),
        notices: Arc::new(notices),
        decision: Arc::new(decision),
        host: HostName::parse(b"harassment-forum.example").expect("a host"),
        headers: HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static(BROWSER_ACCEPT)),
            (ACCEPT_LANGUAGE, HeaderValue::from_static(BROWSER_LANGUAGE)),
        ]),
        out: Vec::with_capacity(65_536),
    };
    warm.wire(is_head);
    (Box::leak(Box::new(warm)), is_head)
}

#[library_benchmark(setup = warm)]
#[bench::get(args = (false), config = recorded(1782))]
#[bench::head(args = (true), config = recorded(937))]
fn notice_bytes((warm, is_head): (&'static mut Warm, bool)) -> usize {
    warm.wire(black_box(is_head));
    warm.out.len()
}

#[library_benchmark(setup = warm)]
#[bench::kept(args = (false), config = recorded(5656))]
fn notice_answer((warm, _): (&'static mut Warm, bool)) -> Response<bytes::Bytes> {
    warm.answer()
}

#[library_benchmark(setup = warm)]
#[bench::made(args = (false), config = recorded(36_480))]
fn notice_made((warm, _): (&'static mut Warm, bool)) -> Response<bytes::Bytes> {
    warm.notices.answer(black_box(&warm.decision), &warm.host, &warm.headers)
}

library_benchmark_group!(name = steps, benchmarks = [host, head, verdict, notice_bytes, notice_answer, notice_made]);

main!(library_benchmark_groups = steps);
