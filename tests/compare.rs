//! What `cargo bench --bench compare` computes and reads: a benchmark that brings its own `main` can hold no tests.
//!
//! Inside: the modules of benches/compare that are pure. Kept out: sockets and processes, which `cargo test --benches` tries.

#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` marks what the modules use of each other")]
#![allow(dead_code, reason = "the modules have more than the tests use")]

#[path = "../benches/compare/statistics.rs"]
mod statistics;
#[path = "../benches/compare/accounting.rs"]
mod accounting;
#[path = "../benches/compare/wire.rs"]
mod wire;
#[path = "../benches/compare/goals.rs"]
mod goals;
#[path = "../benches/compare/docs.rs"]
mod docs;
#[path = "../benches/compare/load/counted.rs"]
mod counted;
#[path = "../benches/compare/proxies/example.rs"]
mod example;

use accounting::{CpuTime, Machine, parse_machine, parse_resident, parse_schedstat, parse_stat};
use goals::{Goal, Series};
use serde_json::json;
use statistics::{Spread, percentile, ratios, spread};
use wire::{Page, request_head, response_head, values};

#[test]
fn spread_is_the_median_with_its_ends() {
    let spread_of = |median, least, most| Some(Spread { median, least, most });
    for (values, expected) in [
        (vec![], None),
        (vec![3.0], spread_of(3.0, 3.0, 3.0)),
        (vec![4.0, 1.0], spread_of(2.5, 1.0, 4.0)),
        (vec![9.0, 1.0, 2.0], spread_of(2.0, 1.0, 9.0)),
        (vec![1.0, f64::NAN], None),
        (vec![1.0, f64::INFINITY], None),
    ] {
        assert_eq!(spread(&values), expected, "{values:?}");
    }
    assert_eq!(ratios(&[2.0, 9.0], &[4.0, 3.0]), [0.5, 3.0]);
}

#[test]
fn percentile_is_by_nearest_rank() {
    let hundred: Vec<u32> = (1..=100).collect();
    for (values, share, expected) in [
        (hundred.as_slice(), 0.5, Some(50)),
        (&hundred, 0.99, Some(99)),
        (&hundred, 0.999, Some(100)),
        (&hundred, 0.0, Some(1)),
        (&hundred, 1.0, Some(100)),
        (&[7], 0.999, Some(7)),
        (&[], 0.5, None),
    ] {
        assert_eq!(percentile(values, share), expected, "{share} of {}", values.len());
    }
}

#[test]
fn processor_time_is_read_as_the_kernel_writes_it() {
    assert_eq!(parse_schedstat("123456789 42 7\n"), Some(123_456_789));
    assert_eq!(parse_schedstat(""), None);
    let stat = "17 (a b) c) S 4 17 17 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 99 1 2";
    assert_eq!(parse_stat(stat), Some(accounting::Stat { parent: 4, ticks: 124 }));
    for wrong in ["", "17 (x", "17 (x) S", "17 (x) S 4 17 17 0 -1 4194560 1 2 3 4 100 20 3", "17 (x) S -1 0"] {
        assert_eq!(parse_stat(wrong), None, "{wrong:?}");
    }
    assert_eq!(parse_resident("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
    assert_eq!(parse_resident("VmRSS:\t2048 pages\n"), None);
    let used = |nanoseconds, ticks| CpuTime { nanoseconds, ticks };
    assert!(used(1_000_000_000, 100).since(used(0, 0)).agrees());
    assert!(used(1_000_000_000, 106).agrees(), "within 5 % and some ticks");
    assert!(!used(1_000_000_000, 150).agrees(), "a thread ended, and took half of its time with it");
}

#[test]
fn steal_is_a_share_of_all_time() {
    let before = parse_machine("cpu  10 0 10 80 0 0 0 0 5 5\ncpu0 1 2\n");
    let after = parse_machine("cpu  20 0 20 158 0 0 0 2 9 9\n");
    assert_eq!(before, Some(Machine { all: 100, steal: 0 }));
    let share = after.zip(before).map(|(after, before)| after.steal_since(before));
    assert_eq!(share, Some(0.02));
    for wrong in ["", "cpu 1 2 3\n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3 4 5 6 7 x\n"] {
        assert_eq!(parse_machine(wrong), None, "{wrong:?}");
    }
}

#[test]
fn answer_ends_where_it_says_and_nowhere_else() {
    let head = b"HTTP/1.1 403 Forbidden\r\nVia: 1.1 edge-1\r\nContent-Length: 5\r\n\r\nhello";
    let read = response_head(head).map(|head| head.map(|head| (head.status, head.head_bytes, head.body_bytes)));
    assert_eq!(read, Ok(Some((403, head.len() - 5, 5))));
    for end in 0..head.len() - 5 {
        assert_eq!(response_head(&head[..end]), Ok(None), "{end} bytes");
    }
    for wrong in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTP/1.1 200 OK\r\n\r\n",
    ] {
        assert!(response_head(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn origin_knows_its_pages_and_no_others() {
    let page = |text: &str| request_head(text.as_bytes()).map(|head| head.map(|head| (head.page, head.body_bytes)));
    assert_eq!(page("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Ok(Some((Page::Small, 0))));
    assert_eq!(page("GET /large HTTP/1.1\r\n\r\n"), Ok(Some((Page::Large, 0))));
    assert_eq!(page("POST /take HTTP/1.1\r\ncontent-length: 9\r\n\r\n"), Ok(Some((Page::Taken, 9))));
    assert_eq!(page("GET / HTTP/1.1\r\n"), Ok(None));
    assert!(page("GET /other HTTP/1.1\r\n\r\n").is_err());
    assert!(page("POST /take HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    let head = "GET / HTTP/1.1\r\nVia: 1.0 a\r\nHost: x\r\nvia:1.1 b\r\n\r\n";
    assert_eq!(values(head, "Via"), ["1.0 a", "1.1 b"]);
    assert!(values(head, "Forwarded").is_empty());
}

#[test]
fn goal_is_judged_against_the_best_round_by_round() {
    let series =
        |name: &str, is_judged, values: &[f64]| Series { name: name.to_owned(), is_judged, values: values.to_vec() };
    // The second round was slow for all.
    let all = [
        series("sluis", true, &[8.0, 80.0, 8.0]),
        series("nginx", false, &[10.0, 100.0, 10.0]),
        series("haproxy", false, &[20.0, 20.0, 20.0]),
    ];
    let judged =
        |goal: Goal, all: &[Series]| goal.judge(&all[0], all).map(|verdict| (verdict.reference, verdict.is_met));
    let nginx = || Some("nginx".to_owned());
    assert_eq!(judged(Goal::OfBest(&["nginx", "haproxy"], 0.8), &all), Some((nginx(), true)));
    assert_eq!(judged(Goal::OfBest(&["nginx"], 0.79), &all), Some((nginx(), false)));
    assert_eq!(judged(Goal::OfBest(&["caddy"], 0.8), &all), None, "it was not measured");
    assert_eq!(judged(Goal::AtMost(8.0), &all), Some((None, true)));
    assert_eq!(judged(Goal::AtMost(7.9), &all), Some((None, false)));
    assert_eq!(judged(Goal::None, &all), None);
    assert_eq!(Goal::AtMost(8.0).judge(&all[1], &all), None, "a peer has no goal");
    assert_eq!(judged(Goal::AtMost(8.0), &[series("sluis", true, &[])]), None, "nothing was measured");
}

#[test]
fn h2load_is_read_as_it_prints() {
    let text = "finished in 1.05s, 9523.81 req/s, 10.60MB/s\n\
        requests: 10000 total, 10000 started, 10000 done, 9990 succeeded, 10 failed, 0 errored, 0 timeout\n\
        status codes: 9990 2xx, 0 3xx, 10 4xx, 0 5xx\n\
        traffic: 11.13MB (11670108) total, 391.41KB (400804) headers (space savings 70.00%), 9.77MB (10240000) data\n";
    let expected = counted::Counted { succeeded: 9990, status_2xx: 9990, status_4xx: 10, data_bytes: 10_240_000 };
    assert_eq!(counted::parse(text), Some(expected));
    for line in text.lines().skip(1) {
        assert_eq!(counted::parse(&text.replace(line, "")), None, "without {line}");
    }
}

#[test]
fn keys_are_set_in_their_own_section() {
    let text = "[a]                 # first\nx = 1  # one\n\n[b]\nx = 2\nz = 4\n";
    for (section, key, old, new) in [
        ("b", "x", "x = 2", "x = 3"),
        ("a", "x", "x = 1  # one", "x = 3"),
        ("a", "y", "x = 1  # one", "y = 3\nx = 1  # one"),
        // Another section's key of that name stays as it is.
        ("a", "z", "x = 1  # one", "z = 3\nx = 1  # one"),
    ] {
        let set = example::set(text, &[(section, key, "3".to_owned())]);
        assert_eq!(set, Ok(text.replace(old, new)), "{section}.{key}");
    }
    assert!(example::set(text, &[("c", "x", "3".to_owned())]).is_err());
}

#[test]
fn page_changes_between_its_markers_alone() {
    let page = include_str!("../docs/performance.md");
    let run = json!({
        "machine": { "cpu": "a processor", "cores": 2, "kernel": "6.1" },
        "rows": [{
            "title": "forward", "unit": "us", "goal": "<= 0.8x nginx",
            "series": [{
                "name": "sluis", "measured": { "median": 8.0, "least": 7.0, "most": 9.0 },
                "verdict": { "measured": { "median": 0.7, "least": 0.6, "most": 0.9 }, "of": "nginx", "met": true },
            }],
            "absent": [{ "name": "caddy", "why": "absent: it is not installed\nmore" }],
        }],
    });
    let section = docs::section(&run);
    assert!(section.contains("| forward, us | <= 0.8x nginx | sluis: 0.70 (0.60 - 0.90)x nginx | yes |"), "{section}");
    assert!(section.contains("| forward | us | caddy | absent: it is not installed |"), "{section}");
    let once = docs::replace(page, &section).expect("docs/performance.md has the markers");
    assert_eq!(docs::replace(&once, &section).as_ref(), Some(&once), "made twice, it is the same");
    assert!(once.contains("## The index") && once.contains(section.trim()));
    assert_eq!(docs::replace("no markers", &section), None);
}
