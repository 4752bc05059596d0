//! The blocklist changes while requests run: every way of writing it, and every way of writing it wrong.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::support::setup::record;
use crate::support::{Connection, Edge, Origin, Setup, eventually};

/// What is promised where file events arrive (lists page).
const PROMPT: Duration = Duration::from_secs(1);

/// A client that asks for two hosts in turn on one connection, for as long as the list is changed.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Instant, u16)>>,
}

impl Watcher {
    fn start(edge: &Edge, host: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut connection) = (Arc::clone(&stop), edge.http());
        let thread = thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                // Looked at before the request, so that the last request follows the change.
                let last = stopped.load(Ordering::SeqCst);
                // A dropped connection fails here, and with it the test.
                assert_eq!(connection.get("untouched.example", "/").status, 200);
                let status = connection.get(host, "/").status;
                seen.push((Instant::now(), status));
                if last {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self { stop, thread }
    }

    /// When the verdict changed; fails where it changed more than once or was neither the old nor the new one.
    fn finish(self, old: u16, new: u16) -> Instant {
        self.stop.store(true, Ordering::SeqCst);
        let seen = self.thread.join().expect("no request of the watching client failed");
        let changed = seen.iter().position(|(_, status)| *status == new).expect("the change took effect");
        for (at, (_, status)) in seen.iter().enumerate() {
            assert_eq!(*status, if at < changed { old } else { new }, "answer {at} of {}", seen.len());
        }
        seen[changed].0
    }
}

/// Blocks and frees `changing.example` a few times by `write`, which gets the new text; the last write of each
/// must be in force within a second, in the median, and no connection may suffer.
fn each_change_is_prompt(setup: Setup, prepare: impl Fn(&Edge), write: impl Fn(&Edge, &str)) {
    let edge = setup.start();
    prepare(&edge);
    let base = record("fixed-1", "fixed.example");
    let mut delays = Vec::new();
    for round in 0..3 {
        let (old, new) = if round % 2 == 0 { (200, 403) } else { (403, 200) };
        let text = if new == 403 { base.clone() + &record("change-1", "changing.example") } else { base.clone() };
        eventually("the old state is in force", || edge.get("changing.example", "/").status == old);
        let generation = edge.generation();
        let watcher = Watcher::start(&edge, "changing.example");
        write(&edge, &text);
        let written = Instant::now();
        edge.wait_generation(generation + 1);
        eventually("the change is in force", || edge.get("changing.example", "/").status == new);
        delays.push(watcher.finish(old, new).saturating_duration_since(written));
    }
    delays.sort();
    assert!(delays[1] <= PROMPT, "from the last write to the new verdict: {delays:?}");
    assert_eq!(edge.get("fixed.example", "/").status, 403);
    assert_eq!(edge.metrics().outcome("aborted") + edge.metrics().outcome("failed"), 0);
}

fn setup(origin: &Origin) -> Setup {
    Setup::new(origin.address()).without_tls().records(record("fixed-1", "fixed.example"))
}

fn list(edge: &Edge) -> PathBuf {
    edge.path("blocklist.toml")
}

fn write_slowly(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    for piece in text.as_bytes().chunks(40) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        // Shorter than `settle`, so that the file is not quiet before it is whole.
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn change_by_writing_in_place_is_prompt() {
    let origin = Origin::hello();
    each_change_is_prompt(setup(&origin), |_| {}, |edge, text| fs::write(list(edge), text).unwrap());
}

#[test]
fn change_by_appending_is_prompt() {
    let origin = Origin::hello();
    let edge = setup(&origin).start();
    let watcher = Watcher::start(&edge, "changing.example");
    let mut file = fs::OpenOptions::new().append(true).open(list(&edge)).unwrap();
    file.write_all(record("change-1", "changing.example").as_bytes()).unwrap();
    let written = Instant::now();
    eventually("the change is in force", || edge.get("changing.example", "/").status == 403);
    let delay = watcher.finish(200, 403).saturating_duration_since(written);
    assert!(delay <= PROMPT * 3, "{delay:?}");
}

#[test]
fn change_by_writing_slowly_in_place_is_prompt_and_never_half() {
    let origin = Origin::hello();
    each_change_is_prompt(setup(&origin), |_| {}, |edge, text| write_slowly(&list(edge), text));
}

#[test]
fn change_by_rename_over_is_prompt() {
    let origin = Origin::hello();
    each_change_is_prompt(
        setup(&origin),
        |_| {},
        |edge, text| {
            fs::write(edge.path("new.toml"), text).unwrap();
            fs::rename(edge.path("new.toml"), list(edge)).unwrap();
        },
    );
}

#[test]
fn change_as_editors_save_is_prompt() {
    let origin = Origin::hello();
    each_change_is_prompt(
        setup(&origin),
        |_| {},
        |edge, text| {
            let _ = fs::remove_file(edge.path("blocklist.toml~"));
            fs::rename(list(edge), edge.path("blocklist.toml~")).unwrap();
            thread::sleep(Duration::from_millis(30));
            write_slowly(&list(edge), text);
        },
    );
}

#[test]
fn change_by_deleting_and_making_anew_is_prompt() {
    let origin = Origin::hello();
    each_change_is_prompt(
        setup(&origin),
        |_| {},
        |edge, text| {
            fs::remove_file(list(edge)).unwrap();
            thread::sleep(Duration::from_millis(50));
            fs::write(list(edge), text).unwrap();
        },
    );
}

/// Makes the list a ConfigMap volume: `blocklist.toml -> ..data/blocklist.toml`, `..data -> ..N`.
pub fn swap_as_a_config_map_does(edge: &Edge, text: &str) {
    let version = format!("..version-{}", jiff::Timestamp::now().as_nanosecond());
    fs::create_dir(edge.path(&version)).unwrap();
    fs::write(edge.path(&version).join("blocklist.toml"), text).unwrap();
    symlink(&version, edge.path("..data_tmp")).unwrap();
    let old = fs::read_link(edge.path("..data")).ok();
    fs::rename(edge.path("..data_tmp"), edge.path("..data")).unwrap();
    if !list(edge).is_symlink() {
        symlink("..data/blocklist.toml", edge.path("link")).unwrap();
        fs::rename(edge.path("link"), list(edge)).unwrap();
    }
    if let Some(old) = old {
        fs::remove_dir_all(edge.path(".").join(old)).unwrap();
    }
}

#[test]
fn change_of_a_config_map_is_prompt() {
    let origin = Origin::hello();
    each_change_is_prompt(
        setup(&origin),
        |edge| {
            // Another text, so that its coming into force shows that the links are followed by now.
            swap_as_a_config_map_does(
                edge,
                &(record("fixed-1", "fixed.example") + &record("mounted", "mounted.example")),
            );
            eventually("the mount is in force", || edge.get("mounted.example", "/").status == 403);
        },
        swap_as_a_config_map_does,
    );
}

/// Another name of the list, elsewhere: what is written to it changes the list without an event in its directory.
fn name_elsewhere(edge: &Edge) -> PathBuf {
    let folder = edge.path("elsewhere");
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
        fs::hard_link(list(edge), folder.join("other-name")).unwrap();
    }
    folder.join("other-name")
}

#[test]
fn change_by_hangup_is_prompt_where_no_event_and_no_poll_helps() {
    let origin = Origin::hello();
    let slow = setup(&origin).blocklist("poll = \"1h\"");
    each_change_is_prompt(
        slow,
        |_| {},
        |edge, text| {
            fs::write(name_elsewhere(edge), text).unwrap();
            edge.signal(Signal::HUP);
        },
    );
}

#[test]
fn change_by_the_admin_endpoint_is_in_force_when_it_answers() {
    let origin = Origin::hello();
    let edge = setup(&origin).blocklist("settle = \"1h\"").blocklist("poll = \"1h\"").start();
    for round in 0..10 {
        let block = round % 2 == 0;
        let more = if block { record("change-1", "changing.example") } else { String::new() };
        fs::write(list(&edge), record("fixed-1", "fixed.example") + &more).unwrap();
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(edge.get("changing.example", "/").status, if block { 403 } else { 200 });
        let json = answer.json();
        assert_eq!(
            (json["added"].as_u64(), json["removed"].as_u64()),
            (Some(u64::from(block)), Some(u64::from(!block)))
        );
    }
    let answer = edge.admin_post("/api/v1/reload").json();
    assert_eq!((answer["added"].as_u64(), answer["removed"].as_u64()), (Some(0), Some(0)), "nothing changed");
    assert_eq!(answer["generation"].as_u64(), Some(edge.generation()));
}

#[test]
fn poll_finds_a_change_that_no_event_tells() {
    let origin = Origin::hello();
    let edge = setup(&origin).blocklist("poll = \"300ms\"").start();
    fs::write(name_elsewhere(&edge), record("change-1", "changing.example")).unwrap();
    eventually("the change is in force", || edge.get("changing.example", "/").status == 403);
}

/// Breaks the list in one way, and checks that nothing changed but what tells of it.
pub fn bad_list_changes_nothing(spoil: impl Fn(&Path)) {
    let origin = Origin::hello();
    let edge = setup(&origin).start();
    let before = edge.generation();
    let mut connection = edge.http();
    spoil(&list(&edge));
    let answer = edge.admin_post("/api/v1/reload");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.header("content-type").unwrap().starts_with("application/problem+json"));
    assert!(answer.text().contains("blocklist.toml"), "{}", answer.text());
    assert_eq!(connection.get("fixed.example", "/").status, 403);
    assert_eq!(connection.get("changing.example", "/").status, 200);
    assert_eq!(edge.generation(), before);
    let metrics = edge.metrics();
    let source = [("source", "decisions")];
    assert_eq!(metrics.value("sluis_blocklist_last_reload_successful", &source), Some(0.0));
    assert!(metrics.sum("sluis_blocklist_reloads_total", &[("result", "refused")]) >= 1.0);
    assert_eq!(metrics.value("sluis_blocklist_names", &source), Some(1.0));
    let status = edge.admin_get("/api/v1/status").json();
    assert!(status["sources"][0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{status}");
    edge.wait_for_log("the refusal", |line| {
        line.contains("decisions") && (line.contains("WARN") || line.contains("ERROR"))
    });
    // A good list clears all of it.
    let _ = fs::remove_file(list(&edge)).or_else(|_| fs::remove_dir(list(&edge)));
    fs::write(list(&edge), record("fixed-2", "fixed.example")).unwrap();
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
    assert_eq!(edge.metrics().value("sluis_blocklist_last_reload_successful", &source), Some(1.0));
    assert!(edge.admin_get("/api/v1/status").json()["sources"][0]["error"].is_null());
    assert_eq!(connection.get("fixed.example", "/").header("sluis-decision"), Some("fixed-2"));
}

#[test]
fn p4_half_written_list_changes_nothing() {
    bad_list_changes_nothing(|path| fs::write(path, &record("change-1", "changing.example")[..60]).unwrap());
}

#[test]
fn p4_empty_file_changes_nothing() {
    bad_list_changes_nothing(|path| fs::write(path, "").unwrap());
}

#[test]
fn p4_broken_toml_changes_nothing() {
    bad_list_changes_nothing(|path| fs::write(path, record("change-1", "changing.example") + "[[decision\n").unwrap());
}

#[test]
fn p4_record_with_an_unknown_key_changes_nothing() {
    bad_list_changes_nothing(|path| {
        let text = record("change-1", "changing.example").trim_end().to_owned() + "\neffective_untill = 2099-01-01\n";
        fs::write(path, text).unwrap();
    });
}

#[test]
fn p4_record_that_would_block_a_protected_host_changes_nothing() {
    bad_list_changes_nothing(|path| {
        let text = record("change-1", "changing.example") + &record("wide-1", "www.edge.example");
        fs::write(path, text).unwrap();
    });
}

#[test]
fn p4_list_that_is_not_utf8_changes_nothing() {
    bad_list_changes_nothing(|path| {
        let mut bytes = record("change-1", "changing.example").into_bytes();
        bytes.extend(b"# \xff\xfe\n");
        fs::write(path, bytes).unwrap();
    });
}

#[test]
fn p4_missing_list_changes_nothing() {
    bad_list_changes_nothing(|path| fs::remove_file(path).unwrap());
}

#[test]
fn p4_list_that_cannot_be_read_changes_nothing() {
    // A directory, since the tests may run as root, whom no file mode stops.
    bad_list_changes_nothing(|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    });
}

#[test]
fn p4_feed_that_shrank_too_much_keeps_its_last_good_names_until_it_is_let_through() {
    let origin = Origin::hello();
    let names = |count: usize| (0..count).map(|number| format!("name-{number}.example\n")).collect::<String>();
    let edge = setup(&origin).feed(&names(2_000)).start();
    fs::write(edge.path("feed.txt"), names(800)).unwrap();
    fs::write(list(&edge), record("fixed-2", "fixed.example")).unwrap();
    let answer = edge.admin_post("/api/v1/reload");
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(edge.get("name-1999.example", "/").status, 403, "the feed keeps its last good names");
    assert_eq!(edge.get("fixed.example", "/").header("sluis-decision"), Some("fixed-2"), "other sources go on");
    let metrics = edge.metrics();
    assert_eq!(metrics.value("sluis_blocklist_names", &[("source", "feed")]), Some(2_000.0));
    assert_eq!(metrics.value("sluis_blocklist_last_reload_successful", &[("source", "feed")]), Some(0.0));
    assert_eq!(metrics.value("sluis_blocklist_last_reload_successful", &[("source", "decisions")]), Some(1.0));
    let answer = edge.admin_post("/api/v1/reload?allow_shrink=feed");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["removed"].as_u64(), Some(1_200));
    assert_eq!(edge.get("name-1999.example", "/").status, 200);
    assert_eq!(edge.get("name-799.example", "/").status, 403);
}

/// A time so many seconds from now, as TOML writes it.
fn in_seconds(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}

#[test]
fn decision_starts_and_ends_by_itself() {
    let origin = Origin::hello();
    let times = format!("effective_from = {}\neffective_until = {}\n", in_seconds(3), in_seconds(6));
    let text = record("timed-1", "timed.example").trim_end().to_owned() + "\n" + &times;
    let edge = setup(&origin).records(text).start();
    let started = Instant::now();
    let before = edge.generation();
    assert_eq!(edge.get("timed.example", "/").status, 200);
    eventually("it starts", || edge.get("timed.example", "/").status == 403);
    let begun = started.elapsed();
    edge.wait_generation(before + 1);
    eventually("it ends", || edge.get("timed.example", "/").status == 200);
    let lasted = started.elapsed() - begun;
    edge.wait_generation(before + 2);
    assert!(begun < Duration::from_millis(4_500), "began after {begun:?}; 3 s ahead and within a second");
    assert!((Duration::from_millis(1_500)..Duration::from_millis(4_500)).contains(&lasted), "lasted {lasted:?}");
}

#[test]
fn p3_reload_after_reload_drops_no_connection_and_is_in_force_at_once() {
    let origin = Origin::hello();
    // As many requests as there are, on the connections that there are.
    let edge = setup(&origin).limit("requests_per_connection = 1000000000").start();
    let both = record("a", "one.example") + &record("b", "two.example");
    let none = record("fixed-1", "fixed.example");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = edge.http();
                    let mut count = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let status = connection.get("one.example", "/").status;
                        assert!([200, 403].contains(&status), "{status}");
                        assert_eq!(connection.get("untouched.example", "/").status, 200);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for round in 0..100 {
            let blocked = round % 2 == 0;
            fs::write(list(&edge), if blocked { &both } else { &none }).unwrap();
            assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
            let mut connection: Connection = edge.http();
            let expected = if blocked { 403 } else { 200 };
            assert_eq!(connection.get("one.example", "/").status, expected, "round {round}");
            assert_eq!(connection.get("two.example", "/").status, expected, "round {round}");
        }
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            assert!(client.join().unwrap() > 10, "the clients were served meanwhile");
        }
    });
    assert_eq!(edge.metrics().outcome("failed") + edge.metrics().outcome("aborted"), 0);
}

#[test]
fn source_that_left_the_configuration_is_lifted_at_hangup_and_the_log_says_so() {
    let origin = Origin::hello();
    let edge = setup(&origin).feed("feed.example\nother.example\n").start();
    assert_eq!(edge.get("feed.example", "/").status, 403);
    let text = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    let (before, feed) = text.split_once("[blocklist.source.feed]").unwrap();
    let (_, after) = feed.split_once("[[route]]").unwrap();
    fs::write(edge.path("sluis.toml"), format!("{before}[[route]]{after}")).unwrap();
    edge.signal(Signal::HUP);
    let line = edge.wait_for_log("source lifted", |line| line.contains("source lifted"));
    assert!(line.contains("source=feed") && line.contains("names=2"), "{line}");
    assert_eq!(edge.get("feed.example", "/").status, 200);
    assert!(edge.metrics().value("sluis_blocklist_names", &[("source", "feed")]).is_none());
}

#[test]
fn refusal_is_one_plain_line_in_the_log() {
    let origin = Origin::hello();
    let edge = setup(&origin).start();
    fs::write(edge.path("blocklist.toml"), record("x", ".x.example") + "colour = 1\n").unwrap();
    let line = edge.wait_for_log("source refused", |line| line.contains("source refused"));
    assert!(line.contains(": blocklist.toml:") && line.contains("unknown key `decision.colour`"), "{line}");
    assert!(!line.contains("error:") && !line.contains(" | "), "{line}");
}
