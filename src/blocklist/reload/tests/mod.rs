//! What the reload promises, with real files: the good comes into force, the bad changes nothing.
//!
//! Inside: what one reload does with one file. Kept out: the thread over time (`lifetime.rs`), small changes of large lists
//! (`small_changes.rs`), and what is left of one version of a list in the next (`lines.rs`, `updates.rs`).

mod fresh;
mod lifetime;
mod lines;
mod small_changes;
mod updates;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::blocklist::config::{FeedFormat, Scope, SourceConfig, SourceContent};
use crate::blocklist::decision::Basis;
use crate::blocklist::decision::tests::decision;
use crate::blocklist::guard::DropReason;
use crate::blocklist::index::Moment;
use crate::blocklist::pattern::Pattern;
use crate::blocklist::status::SourceStatus;
use crate::host::HostName;

const BOUND: Duration = Duration::from_secs(20);

/// A directory with lists, and the configuration that names them.
struct Lists {
    directory: tempfile::TempDir,
    config: Config,
}

impl Lists {
    /// Nothing is reloaded unless a test asks for it: changes never come to rest.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config {
            settle: Duration::from_secs(3_600),
            poll: Duration::from_secs(3_600),
            never_block: vec![Pattern::parse(".edge.example").expect("a pattern")],
            max_shrink_percent: 50,
            max_error_percent: 1,
            max_memory_mib: None,
            sources: Vec::new(),
            state_directory: Some(directory.path().join("state")),
            has_operator_url: true,
        };
        Self { directory, config }
    }

    /// Changes are followed.
    fn following(mut self) -> Self {
        self.config.settle = Duration::from_millis(30);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn with_decisions(mut self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        self.config.sources.push(SourceConfig {
            name: name.to_owned(),
            path,
            content: SourceContent::Decisions,
            remote: None,
        });
        self
    }

    fn with_feed(mut self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        let decision = Box::new(decision(&format!("{name}-feed"), Basis::Security));
        let content = SourceContent::Feed { format: FeedFormat::Domains(Scope::Subtree), decision };
        self.config.sources.push(SourceConfig { name: name.to_owned(), path, content, remote: None });
        self
    }

    fn replace(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        let temporary = path.with_extension("new");
        fs::write(&temporary, text).expect("written");
        fs::rename(&temporary, &path).expect("renamed");
    }

    fn start(&self) -> Running {
        Running::new(start(self.config.clone(), 2).expect("started"))
    }

    fn start_errors(&self) -> Vec<String> {
        let Err(findings) = start(self.config.clone(), 2) else { panic!("it started") };
        findings.iter().map(ToString::to_string).collect()
    }
}

/// A blocklist that follows its files until the test ends.
struct Running {
    blocklist: Blocklist,
    handle: ReloadHandle,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn new(started: Started) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { blocklist: started.blocklist, handle: started.handle, runtime }
    }

    fn reload(&self) -> ReloadReport {
        self.runtime.block_on(self.handle.reload(Trigger::Api, None))
    }

    fn reload_shrunk(&self, source: &str) -> ReloadReport {
        self.runtime.block_on(self.handle.reload(Trigger::Api, Some(source.to_owned())))
    }

    fn apply(&self, config: Config) -> Result<ReloadReport, Vec<Finding>> {
        self.runtime.block_on(self.handle.apply(config))
    }

    /// The id of the decision that blocks a host, empty where it passes.
    fn verdict(&self, host: &str) -> String {
        let snapshot = self.blocklist.load_full();
        let host = HostName::parse(host.as_bytes()).expect("a host");
        let verdict = snapshot.value.index().verdict(&host, &moment());
        verdict.block.map(|found| found.decision.id.clone()).unwrap_or_default()
    }

    fn generation(&self) -> u64 {
        self.blocklist.generation()
    }

    fn source(&self, name: &str) -> SourceStatus {
        let status = self.handle.status();
        status.sources.iter().find(|source| source.name == name).expect("the source").clone()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = std::time::SystemTime::now() + BOUND;
        while !is_so(self) {
            assert!(std::time::SystemTime::now() < end, "{what}: {:#?}", self.handle.status());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn moment() -> Moment {
    Moment { now: Timestamp::now(), country: None }
}

/// Decision records, each with one host.
fn records(records: &[(&str, &str)]) -> String {
    let record = |(id, host): &(&str, &str)| {
        format!(
            "[[decision]]\nid = \"{id}\"\nhosts = [\"{host}\"]\nbasis = \"policy\"\ndecided_by = \"T\"\ndecided_at = 2026-01-01\n"
        )
    };
    format!("# decisions\n{}", records.iter().map(record).collect::<String>())
}

fn feed(count: usize) -> String {
    (0..count).map(|number| format!("n{number}.example\n")).collect()
}

#[test]
fn reload_applies_what_is_new_and_says_how_much() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example"), ("b", ".b.example")]));
    let running = lists.start();
    assert_eq!((running.generation(), running.verdict("a.example").as_str()), (1, "a"));
    let report = running.reload();
    let unchanged = ReloadReport { generation: 1, added: 0, removed: 0, applied: Vec::new(), failed: Vec::new() };
    assert_eq!(report, unchanged);

    lists.replace("own", records(&[("b", ".b.example"), ("c", "c.example"), ("d", "d.example")]));
    let report = running.reload();
    assert_eq!((report.generation, report.added, report.removed, report.applied.len()), (2, 2, 1, 1));
    assert_eq!(report.failed, []);
    let verdicts = ["a.example", "www.b.example", "c.example", "d.example"].map(|host| running.verdict(host));
    assert_eq!(verdicts, ["", "b", "c", "d"]);
    let status = running.handle.status();
    assert_eq!((status.generation, status.reloads), (2, ReloadCounts { applied: 1, unchanged: 1, refused: 0 }));
    let last = status.last_reload.clone().expect("a reload");
    assert_eq!((last.ok, last.trigger, last.added, last.removed, last.error), (true, Trigger::Api, 2, 1, None));
    let source = running.source("own");
    assert_eq!((source.names, source.decisions, source.format), (3, 3, "decisions"));
    let bytes = fs::read(lists.path("own")).expect("read");
    assert_eq!(source.sha256, Some(crate::whole_file::Sha256::of(&bytes)));
    assert_eq!(running.handle.reload_durations().buckets.iter().sum::<u64>(), 3);
}

#[test]
fn change_on_disk_comes_into_force_by_itself() {
    let lists = Lists::new().following().with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    for round in 0..3 {
        let id = format!("r{round}");
        lists.replace("own", records(&[(&id, "a.example")]));
        running.until("a rename over", |running| running.verdict("a.example") == id);
        fs::write(lists.path("own"), records(&[("in-place", "a.example")])).expect("written");
        running.until("a write in place", |running| running.verdict("a.example") == "in-place");
    }
    assert_eq!(running.handle.status().last_reload.clone().map(|last| last.trigger), Some(Trigger::Event));
}

#[test]
fn every_bad_file_keeps_the_last_good_content_whole_and_others_go_on() {
    let good = records(&[("a", "a.example"), ("a2", "a2.example")]);
    let half = &good[..good.len() - 20];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", b"".to_vec(), "the file is empty"),
        ("only a byte order mark", "\u{feff}".into(), "the file is empty"),
        ("half written", half.into(), "own:"),
        ("invalid UTF-8", b"[[decision]]\nid = \"\xff\"\n".to_vec(), "is not UTF-8"),
        ("NUL", b"\0\0\0\0".to_vec(), "own:1:"),
        ("a wrong last record", format!("{good}\n[[decision]]\nid = \"x\"\n").into(), "is missing"),
        ("an unknown key", good.replace("decided_by", "decided_bye").into(), "unknown key"),
        ("not TOML", b"a.example\nb.example\n".to_vec(), "own:1:"),
        ("a public suffix", records(&[("x", ".co.uk")]).into(), "is a public suffix"),
        ("a protected host", records(&[("x", "www.edge.example")]).into(), "never_block protects"),
        ("wider than a protected host", records(&[("x", "*.edge.example")]).into(), "never_block protects"),
    ];
    let lists = Lists::new().with_decisions("own", &good).with_decisions("other", &records(&[("o0", "o.example")]));
    let running = lists.start();
    for (round, (what, bytes, expected)) in cases.into_iter().enumerate() {
        let generation = running.generation();
        lists.replace("own", &bytes);
        let report = running.reload();
        assert_eq!(report.failed.len(), 1, "{what}");
        let (source, findings) = &report.failed[0];
        let is_expected = |finding: &Finding| finding.is_error() && finding.to_string().contains(expected);
        assert!(source == "own" && findings.iter().any(is_expected), "{what}: {findings:#?}");
        assert_eq!(running.generation(), generation, "{what}: nothing is published");
        assert_eq!(running.verdict("a.example"), "a", "{what}");
        assert_eq!(running.verdict("a2.example"), "a2", "{what}");
        let status = running.handle.status();
        assert_eq!(status.last_reload.clone().map(|last| last.ok), Some(false), "{what}");
        assert!(running.source("own").error().expect("an error").contains(&findings[0].message), "{what}");

        let id = format!("o{}", round + 1);
        lists.replace("other", records(&[(&id, "o.example")]));
        let report = running.reload();
        assert_eq!((report.generation, report.failed.len()), (generation + 1, 1), "{what}: the other goes on");
        assert_eq!((running.verdict("o.example"), running.verdict("a.example")), (id, "a".to_owned()), "{what}");
    }
    lists.replace("own", &good);
    let report = running.reload();
    assert_eq!((report.failed.len(), report.added, report.removed), (0, 0, 0), "equal to the one in force: cleared");
    assert_eq!(running.source("own").error(), None);
}

#[test]
fn file_that_cannot_be_read_keeps_the_last_good_content() {
    let lists = Lists::new().with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    let path = lists.path("own");
    let remove = || fs::remove_file(&path).expect("removed");
    let expect = |what: &str, expected: &str| {
        let report = running.reload();
        let text = report.failed.first().map(|(_, findings)| findings[0].to_string()).unwrap_or_default();
        assert!(text.contains(expected), "{what}: {text}");
        assert_eq!((running.verdict("a.example").as_str(), running.generation()), ("a", 1), "{what}");
    };
    remove();
    expect("gone", "No such file or directory");
    fs::create_dir(&path).expect("made");
    expect("a directory", "it is a directory");
    fs::remove_dir(&path).expect("removed");
    std::os::unix::fs::symlink("nowhere", &path).expect("linked");
    expect("a broken link", "No such file or directory");
    remove();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("made");
    expect("a fifo", "it is a fifo");
    remove();
    fs::File::create(&path).expect("made").set_len(1 << 40).expect("sparse");
    expect("a huge sparse file", "at most 1073741824 are read");
    lists.replace("own", records(&[("back", "a.example")]));
    assert_eq!((running.reload().failed.len(), running.verdict("a.example").as_str()), (0, "back"));
}

#[test]
fn refusal_is_told_once_and_counted_once_by_events() {
    let lists = Lists::new().following().with_decisions("own", &records(&[("a", "a.example")]));
    let running = lists.start();
    let refused = |running: &Running| running.handle.status().reloads.refused;
    lists.replace("own", "kaputt");
    running.until("the refusal", |running| refused(running) == 1);
    let last = running.handle.status().last_reload.clone().expect("a reload");
    // The same bytes again: events arrive, and nobody is told anything.
    lists.replace("own", "kaputt");
    lists.replace("own", "kaputt");
    lists.replace("own", "kaputt still");
    running.until("the next refusal", |running| refused(running) == 2);
    assert_eq!(running.handle.status().reloads, ReloadCounts { applied: 0, unchanged: 0, refused: 2 });
    assert_ne!(running.handle.status().last_reload, Some(last));
    assert_eq!(running.reload().failed.len(), 1, "who asks is told again");
}

#[test]
fn feed_drops_what_it_must_not_block_and_says_which_lines() {
    let text = format!("{}.com\nwww.edge.example\n\n.github.io\nno name at all\n", feed(200));
    let lists = Lists::new().with_feed("feed", &text);
    let running = lists.start();
    assert_eq!(running.verdict("www.n7.example"), "feed-feed");
    assert_eq!(running.verdict("anything.com"), "");
    assert_eq!(running.verdict("www.edge.example"), "");
    assert_eq!(running.verdict("someone.github.io"), "feed-feed", "a private suffix may be meant");
    let source = running.source("feed");
    let mut dropped: Vec<(DropReason, u64, String)> = source
        .dropped
        .iter()
        .map(|lines| (lines.reason, lines.count, lines.findings[0].place.clone().expect("a place").to_string()))
        .collect();
    dropped.sort();
    let file = lists.path("feed").display().to_string();
    assert_eq!(
        dropped,
        [
            (DropReason::NotAName, 1, format!("{file}:205:1")),
            (DropReason::PublicSuffix, 1, format!("{file}:201:1")),
            (DropReason::NeverBlock, 1, format!("{file}:202:1")),
        ]
    );
    assert!(source.warnings[0].message.contains("public suffix of one company"), "{:?}", source.warnings);
    assert_eq!(source.names, 201);
}

#[test]
fn bad_feeds_keep_the_last_good_content() {
    let lists = Lists::new().with_feed("feed", &feed(2_000));
    let running = lists.start();
    let cases = [
        ("empty", String::new(), "the file is empty"),
        ("comments only", "# nothing\n".to_owned(), "no name in it"),
        ("only dropped names", ".com\n".to_owned(), "no name in it"),
        ("shrunk", feed(999), "shrinks from 2000 names to 999"),
        ("too many errors", format!("{}{}", feed(2_000), "http://x/\n".repeat(21)), "21 of 2021 lines are not names"),
        ("cut off", format!("# Entries: 2000\n{}", feed(1_999)), "header says 2000 names, and 1999 are in it"),
    ];
    for (what, text, expected) in cases {
        lists.replace("feed", &text);
        let report = running.reload();
        let text = report.failed.first().map(|(_, findings)| findings[0].to_string()).unwrap_or_default();
        assert!(text.contains(expected), "{what}: {text}");
        assert_eq!((running.generation(), running.verdict("n1999.example").as_str()), (1, "feed-feed"), "{what}");
    }
    lists.replace("feed", feed(1_000));
    assert_eq!(running.reload().removed, 1_000, "half is not more than half");
    lists.replace("feed", feed(2_000));
    running.reload();
    let few_errors = format!("{}{}", feed(2_000), "http://x/\n".repeat(20));
    lists.replace("feed", &few_errors);
    assert_eq!(running.reload().failed, [], "one percent of errors is not more than one percent");
}

#[test]
fn shrinking_is_allowed_once_for_one_source() {
    let lists = Lists::new().with_feed("feed", &feed(2_000)).with_feed("small", &feed(999));
    let running = lists.start();
    lists.replace("small", "n1.example\n");
    assert_eq!(running.reload().removed, 998, "a small feed may lose any number");
    lists.replace("feed", "n1.example\n");
    let report = running.reload();
    assert!(report.failed[0].1[0].message.ends_with("allow_shrink=feed"), "ready to paste: {report:?}");
    assert_eq!(running.reload_shrunk("small").failed.len(), 1, "another source was named");
    let report = running.reload_shrunk("no-such");
    assert!(report.failed.iter().any(|(name, _)| name == "no-such"), "{report:?}");
    let report = running.reload_shrunk("feed");
    assert_eq!((report.removed, report.failed.len()), (1_999, 0));
    lists.replace("feed", feed(2_000));
    running.reload();
    lists.replace("feed", "n2.example\n");
    assert_eq!(running.reload().failed.len(), 1, "it was allowed once");
}

#[test]
fn id_is_unique_over_all_sources_and_may_move_between_them() {
    let lists = Lists::new()
        .with_decisions("one", &records(&[("a", "a.example"), ("b", "b.example")]))
        .with_decisions("two", &records(&[("c", "c.example")]));
    let running = lists.start();
    lists.replace("two", records(&[("c", "c.example"), ("b", "b.example")]));
    let report = running.reload();
    assert_eq!(report.failed[0].0, "two");
    assert!(report.failed[0].1[0].message.contains("the id \"b\" is taken by a record of source `one`"), "{report:?}");
    assert!(report.failed[0].1[0].to_string().contains(":8:1: the id"), "the record has its place: {report:?}");
    assert_eq!((running.generation(), running.verdict("b.example").as_str()), (1, "b"));
    lists.replace("one", records(&[("a", "a.example")]));
    let report = running.reload();
    assert_eq!((report.failed.len(), report.generation), (0, 2), "the other one let go of it");
    assert_eq!(running.verdict("b.example"), "b");

    lists.replace("one", records(&[("c", "a.example")]));
    let report = running.reload();
    assert_eq!(report.failed[0].0, "one", "the one that brings the duplicate last is refused");
    lists.replace("one", records(&[("b", "a.example")]));
    lists.replace("two", records(&[("a", "b.example")]));
    let report = running.reload();
    assert_eq!(report.failed, [], "both change at once");
    assert_eq!((running.verdict("a.example"), running.verdict("b.example")), ("b".to_owned(), "a".to_owned()));
}
