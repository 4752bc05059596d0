//! The reload thread over time: start, clock, new configurations, storms, end.
//!
//! Inside: what lasts longer than one reload. Kept out: what one reload does with one file (`mod.rs`).

use super::*;

#[test]
fn start_is_refused_with_every_finding_of_every_source() {
    let lists = Lists::new()
        .with_decisions("one", &records(&[("a", ".com")]))
        .with_feed("two", "# nothing\n")
        .with_decisions("three", &records(&[("ok", "ok.example")]));
    let errors = lists.start_errors();
    assert!(errors.iter().any(|error| error.contains("`.com` is a public suffix")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("no name in it")), "{errors:?}");
    let checked = check(&lists.config, Timestamp::now());
    assert_eq!(checked.findings.iter().filter(|finding| finding.is_error()).count(), 2);
    let host = HostName::parse(b"ok.example").expect("a host");
    assert!(checked.index.verdict(&host, &moment()).block.is_some(), "what loads can be looked up");
}

#[test]
fn start_without_a_source_blocks_nothing() {
    let running = Lists::new().start();
    assert_eq!((running.generation(), running.verdict("a.example").as_str()), (1, ""));
    assert_eq!(running.reload().failed, []);
}

#[test]
fn start_takes_the_kept_copy_of_a_source_that_does_not_load() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")])).with_feed("feed", &feed(10));
    let running = lists.start();
    lists.replace("own", records(&[("a2", "a.example")]));
    running.reload();
    drop(running);
    lists.replace("own", "kaputt");
    fs::remove_file(lists.path("feed")).expect("removed");

    let running = lists.start();
    assert_eq!(running.verdict("a.example"), "a2", "the last good one");
    assert_eq!(running.verdict("n1.example"), "feed-feed");
    let source = running.source("own");
    assert!(source.from_state && source.error().is_some() && source.last_success.is_none(), "{source:?}");
    assert!(!running.handle.status().last_reload.clone().expect("the start").ok);
    lists.replace("own", records(&[("a2", "a.example")]));
    let report = running.reload();
    assert_eq!(report.failed.len(), 1, "the feed is still gone");
    let source = running.source("own");
    assert!(!source.from_state && source.error().is_none() && source.last_success.is_some(), "{source:?}");
    drop(running);

    let kept = lists.path("state").join("source-feed.kept");
    fs::write(&kept, "torn").expect("written");
    let errors = lists.start_errors();
    assert!(errors.iter().any(|error| error.contains("No such file or directory")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("is damaged")), "{errors:?}");
}

#[test]
fn decision_starts_and_ends_by_itself() {
    let start_at = Timestamp::now() + jiff::SignedDuration::from_millis(1_500);
    let end_at = start_at + jiff::SignedDuration::from_millis(500);
    let text = format!("{}effective_from = {start_at}\neffective_until = {end_at}\n", records(&[("a", "a.example")]));
    let lists = Lists::new().with_decisions("own", &text);
    let running = lists.start();
    assert_eq!((running.verdict("a.example").as_str(), running.generation()), ("", 1));
    assert_eq!(running.handle.status().next_change, Some(start_at));
    running.until("the start", |running| running.generation() >= 2);
    assert!(Timestamp::now() >= start_at);
    running.until("the end", |running| running.generation() == 3);
    assert_eq!(running.verdict("a.example"), "");
    running.until("no further change", |running| running.handle.status().next_change.is_none());
}

#[test]
fn new_configuration_adds_and_lifts_sources_or_changes_nothing() {
    let lists = Lists::new().with_feed("feed", &feed(2_000)).with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    let lists = lists.with_decisions("new", "kaputt");
    let findings = running.apply(lists.config.clone()).expect_err("the new source is bad");
    assert!(!findings.is_empty());
    assert_eq!((running.generation(), running.handle.status().sources.len()), (1, 2));

    lists.replace("new", records(&[("n", "n.example")]));
    let mut config = lists.config.clone();
    config.sources.remove(0);
    let report = running.apply(config.clone()).expect("applied");
    assert_eq!((report.generation, report.added, report.removed), (2, 1, 2_000), "lifted without the shrink guard");
    assert_eq!((running.verdict("n.example").as_str(), running.verdict("n1.example").as_str()), ("n", ""));
    config.settle = Duration::from_millis(30);
    running.apply(config.clone()).expect("applied");
    lists.replace("new", records(&[("n2", "n.example")]));
    running.until("the new source is followed", |running| running.verdict("n.example") == "n2");

    config.never_block.push(Pattern::parse("n.example").expect("a pattern"));
    let report = running.apply(config).expect("known sources keep their content");
    assert_eq!(report.failed[0].0, "new");
    assert_eq!(running.verdict("n.example"), "n2", "last good, until the list is put right");
}

#[test]
fn counters_outlive_reloads() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")])).with_feed("feed", &feed(10));
    let running = lists.start();
    let hit = |host: &str, worker: usize| {
        let snapshot = running.blocklist.load();
        let host = HostName::parse(host.as_bytes()).expect("a host");
        let verdict = snapshot.value.index().verdict(&host, &moment());
        snapshot.value.count_block(WorkerId(worker), &verdict.block.expect("a block"));
    };
    hit("a.example", 0);
    hit("n1.example", 0);
    lists.replace("own", records(&[("z", "z.example"), ("a", "a.example")]));
    running.reload();
    hit("a.example", 1);
    hit("z.example", 1);
    let snapshot = running.blocklist.load_full();
    let counters = snapshot.value.counters();
    let blocked = |source: &str, basis: Basis| {
        let found = counters.sources.iter().find(|counters| &*counters.source == source).expect("the source");
        found.blocked[basis.index()].sum()
    };
    assert_eq!((blocked("own", Basis::Policy), blocked("feed", Basis::Security)), (3, 1));
    let hits: Vec<(String, u64)> =
        counters.decisions.iter().map(|(id, counter)| (id.to_string(), counter.sum())).collect();
    assert_eq!(hits, [("a".to_owned(), 2), ("z".to_owned(), 1)]);
    let listed: Vec<(String, Option<u64>)> =
        snapshot.value.decisions().map(|(entry, hits)| (entry.decision.id.clone(), hits)).collect();
    assert_eq!(listed, [("z".to_owned(), Some(1)), ("a".to_owned(), Some(2)), ("feed-feed".to_owned(), None)]);
}

#[test]
fn old_generations_are_freed_though_a_reader_was_late() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    let late = running.blocklist.load_full();
    let old = Arc::downgrade(&late);
    for round in 0..5 {
        lists.replace("own", records(&[(&format!("r{round}"), "a.example")]));
        running.reload();
    }
    assert!(old.upgrade().is_some());
    running.until("only the late one is kept", |running| running.handle.status().retired_indexes == 1);
    drop(late);
    running.until("the late one is let go", |_| old.upgrade().is_none());
    running.until("none is counted any more", |running| running.handle.status().retired_indexes == 0);
}

#[test]
fn reload_storm_ends_with_the_last_content_and_generations_only_grow() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let snapshot = running.blocklist.load();
                assert!(snapshot.generation >= last, "generations only grow");
                last = snapshot.generation;
                let host = HostName::parse(b"a.example").expect("a host");
                assert!(snapshot.value.index().verdict(&host, &moment()).block.is_some(), "always blocked");
            }
        });
        for round in 0..60 {
            lists.replace("own", records(&[(&format!("r{round}"), "a.example")]));
            running.runtime.block_on(async {
                let reloads = (0..4).map(|_| running.handle.reload(Trigger::Api, None));
                for reload in reloads {
                    assert_eq!(reload.await.failed, []);
                }
            });
            assert_eq!(running.verdict("a.example"), format!("r{round}"), "answered when in force");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("the reader ends");
    });
}

#[test]
fn thread_ends_when_the_last_handle_is_gone() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")]));
    let started = start(lists.config.clone(), 1).expect("started");
    drop(started.handle);
    started.thread.join().expect("it ends");
    assert_eq!(started.blocklist.generation(), 1, "what is in force stays");
}

#[test]
fn kept_copies_that_cannot_be_written_stop_nothing() {
    let mut lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")]));
    lists.config.state_directory = Some(Path::new("/dev/null/state").to_path_buf());
    let running = lists.start();
    lists.replace("own", records(&[("b", "b.example")]));
    assert_eq!(running.reload().failed, []);
    assert_eq!(running.verdict("b.example"), "b");
}

#[test]
fn one_file_in_flux_is_left_alone_and_the_others_come_into_force() {
    let lists = Lists::new()
        .following()
        .with_decisions("flux", &records(&[("f", "f.example")]))
        .with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            use std::io::Write as _;
            let mut file = fs::File::create(lists.path("flux")).expect("opened");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"[[decision]]\n").expect("written");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        lists.replace("own", records(&[("b", "a.example")]));
        running.until("the quiet one", |running| running.verdict("a.example") == "b");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().expect("the writer ends");
    });
    running.until("the other one, at rest, is refused", |running| running.source("flux").error().is_some());
    assert_eq!(running.verdict("f.example"), "f", "never a verdict from half a list");
}

#[test]
fn feed_that_was_cut_off_while_nobody_ran_is_not_taken_at_the_start() {
    let lists = Lists::new().with_feed("feed", &feed(2_000));
    drop(lists.start());
    lists.replace("feed", feed(800));
    let running = lists.start();
    let source = running.source("feed");
    assert_eq!((source.names, source.from_state), (2_000, true), "{source:?}");
    assert!(source.errors[0].message.contains("shrinks from 2000 names to 800"), "{source:?}");
    assert_eq!(running.reload_shrunk("feed").removed, 1_200, "it is let through once somebody says so");
}

#[test]
fn id_that_a_refused_source_shares_is_told_in_the_same_run() {
    let wrong = records(&[("a", "a.example"), ("b", "b.example")]) + "\n[[decision]]\nid = \"c\"\n";
    let lists = Lists::new().with_decisions("one", &records(&[("b", "c.example")])).with_decisions("two", &wrong);
    let errors = lists.start_errors();
    assert!(
        errors.iter().any(|error| error.contains("the id \"b\" is taken by a record of source `one`")),
        "{errors:#?}"
    );
    assert!(errors.iter().any(|error| error.contains("`decision.hosts` is missing")), "{errors:#?}");
}
