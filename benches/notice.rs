//! What a blocked request costs: choosing form and language, and making the notice.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue};
use sluis::blocklist::decision::{Basis, Decision, Mode, When};
use sluis::host::HostName;
use sluis::notice::language::Languages;
use sluis::notice::{Config, Notices, Operator, negotiate};

const BROWSER_ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
const BROWSER_LANGUAGE: &str = "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7";

fn headers(accept: &'static str, language: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static(accept)),
        (ACCEPT_LANGUAGE, HeaderValue::from_static(language)),
    ])
}

fn decision() -> Decision {
    let day = |year, month, day| When::Day(jiff::civil::date(year, month, day));
    Decision {
        id: "2026-11-harassment-forum".to_owned(),
        basis: Basis::CourtOrder,
        decided_by: "Trust and Safety".to_owned(),
        decided_at: day(2026, 11, 21),
        review_by: None,
        effective_from: None,
        effective_until: Some(day(2027, 2, 21)),
        category: None,
        authority: Some("Rechtbank Amsterdam".to_owned()),
        reference: Some("C/13/123456".to_owned()),
        statement_url: Some("https://edge.example/blog/why".to_owned()),
        appeal_url: None,
        precedents: Vec::new(),
        countries: Vec::new(),
        mode: Mode::Enforce,
        summary: vec![("en".to_owned(), "Due to an immediate and acute threat to human life, the content of this site is not accessible through our infrastructure.".to_owned())],
    }
}

fn negotiation(criterion: &mut Criterion) {
    let languages = Languages::built_in();
    let browser = headers(BROWSER_ACCEPT, BROWSER_LANGUAGE);
    let mut group = criterion.benchmark_group("negotiate");
    group.bench_function("media type, a browser", |bencher| {
        bencher.iter(|| negotiate::media_type(black_box(&browser)));
    });
    group.bench_function("language, a browser", |bencher| {
        bencher.iter(|| negotiate::language(black_box(&browser), &languages));
    });
    let long: String = (0..4000).map(|n| format!("x{};q=0.{},", n % 10, n % 1000)).collect();
    let hostile = HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_str(&long.replace('x', "text/x")).expect("ASCII")),
        (ACCEPT_LANGUAGE, HeaderValue::from_str(&long).expect("ASCII")),
    ]);
    group.bench_function("both, 4,000 wishes", |bencher| {
        bencher.iter(|| (negotiate::media_type(black_box(&hostile)), negotiate::language(&hostile, &languages)));
    });
    group.finish();
}

fn answer(criterion: &mut Criterion) {
    let operator = Operator {
        name: "Example Edge".to_owned(),
        url: Some("https://edge.example/blocking".to_owned()),
        contact: "mailto:abuse@edge.example".to_owned(),
    };
    let config = Config { server_name: "edge-1".to_owned(), operator, templates: None };
    let notices = Notices::load(&config).expect("the built-in notice has no faults");
    let host = HostName::parse(b"harassment-forum.example").expect("a host");
    let decision = decision();
    let mut group = criterion.benchmark_group("answer");
    for (name, accept) in [("HTML", BROWSER_ACCEPT), ("text", "text/plain"), ("problem JSON", "application/json")] {
        let headers = headers(accept, BROWSER_LANGUAGE);
        group.bench_function(name, |bencher| {
            bencher.iter(|| notices.answer(black_box(&decision), &host, black_box(&headers)));
        });
    }
    group.finish();
}

criterion_group!(benches, negotiation, answer);
criterion_main!(benches);
