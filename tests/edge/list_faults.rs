//! What can happen to a list's file, its directory, its watcher and its kept copy, on one machine.
//!
//! Kept out: contents that are wrong and ordinary ways of writing, which are in list_reload.rs.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::list_reload::bad_list_changes_nothing;
use crate::support::setup::record;
use crate::support::{Edge, Origin, Setup, eventually};

fn setup(origin: &Origin) -> Setup {
    Setup::new(origin.address()).without_tls().records(record("fixed-1", "fixed.example"))
}

fn names(tag: &str) -> String {
    format!("always.example\n{tag}.example\n")
}

/// An edge whose feed is `lists/feed.txt`, and which blocks `old.example` by it.
fn with_feed_in_a_directory(origin: &Origin, blocklist: &str) -> Setup {
    setup(origin).blocklist(blocklist).file("lists/feed.txt", names("old")).more(
        "[blocklist.source.feed]\npath = \"lists/feed.txt\"\nformat = \"domains\"\nscope = \"exact\"\ndecision = { id = \
         \"feed-1\", basis = \"security\", decided_by = \"abuse desk\", decided_at = 2026-01-01 }",
    )
}

fn comes_into_force(edge: &Edge, tag: &str) {
    eventually(&format!("{tag} is in force"), || edge.get(&format!("{tag}.example"), "/").status == 403);
    assert_eq!(edge.get("always.example", "/").status, 403);
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn p4_odd_bytes_in_a_list_are_read_as_meant_or_refuse_it_whole() {
    let origin = Origin::hello();
    let edge = with_feed_in_a_directory(&origin, "").start();
    let feed = edge.path("lists/feed.txt");
    let new = b"always.example\nnew.example\n".as_slice();
    let long = vec![b'a'; 10 << 20];
    // Whether it comes into force, and the names that it has then.
    let cases: [(&str, Vec<u8>, Option<u64>); 10] = [
        ("byte order mark", [b"\xef\xbb\xbf", new].concat(), Some(2)),
        ("CRLF", b"always.example\r\nnew.example\r\n".to_vec(), Some(2)),
        ("no newline at the end", b"always.example\nnew.example".to_vec(), Some(2)),
        ("the same names again and again", new.repeat(1_000), Some(2)),
        ("comments between", b"# one\nalways.example\n\n# two\nnew.example # three\n".to_vec(), Some(2)),
        ("NUL", [new, b"a\0b.example\n"].concat(), None),
        ("no UTF-8", [new, b"\xff\xfe.example\n"].concat(), None),
        ("UTF-16", new.iter().flat_map(|byte| [*byte, 0]).collect(), None),
        ("a line of 10 MB", [new, &long, b".example\n"].concat(), None),
        ("comments alone", b"# nothing\n\n# here\n".to_vec(), None),
    ];
    for (what, bytes, names_then) in cases {
        fs::write(&feed, names("old")).unwrap();
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200, "{what}");
        let generation = edge.generation();
        fs::write(&feed, bytes).unwrap();
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, if names_then.is_some() { 200 } else { 422 }, "{what}: {}", answer.text());
        let blocked = ["always", "new", "old"].map(|name| edge.get(&format!("{name}.example"), "/").status == 403);
        assert_eq!(blocked, [true, names_then.is_some(), names_then.is_none()], "{what}");
        assert_eq!(edge.generation() == generation, names_then.is_none(), "{what}");
        let status = edge.admin_get("/api/v1/status").json();
        let sources = status["sources"].as_array().unwrap();
        let source = sources.iter().find(|source| source["name"] == "feed").unwrap();
        assert_eq!(source["error"].is_null(), names_then.is_some(), "{what}: {source}");
        assert_eq!(source["names"], names_then.unwrap_or(2), "{what}: {source}");
    }
    assert!(edge.log().lines().all(|line| line.len() < 4_096), "a line of a list is not copied into the log");
}

#[test]
fn p4_what_is_no_file_changes_nothing() {
    let spoils: [fn(&Path); 6] = [
        |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        |path| symlink("nowhere", path).unwrap(),
        |path| symlink("blocklist.toml", path).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| symlink("/dev/tty", path).unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ];
    for spoil in spoils {
        bad_list_changes_nothing(|path| {
            fs::remove_file(path).unwrap();
            spoil(path);
        });
    }
}

#[test]
fn p4_sparse_file_of_a_tebibyte_changes_nothing() {
    bad_list_changes_nothing(|path| File::create(path).unwrap().set_len(1 << 40).unwrap());
}

#[test]
fn p4_sparse_file_within_the_limit_is_refused_and_its_memory_given_back() {
    let origin = Origin::hello();
    let edge = setup(&origin).feed(&names("old")).start();
    let before = edge.rss_bytes();
    for _ in 0..3 {
        File::create(edge.path("feed.txt")).unwrap().set_len(32 << 20).unwrap();
        assert_eq!(edge.admin_post("/api/v1/reload").status, 422);
    }
    assert_eq!(edge.get("old.example", "/").status, 403);
    let held = edge.rss_bytes().saturating_sub(before);
    assert!(held < 16 << 20, "{held} bytes held of a file that was refused");
}

#[test]
fn p4_every_fault_shows_without_a_request_and_a_good_file_is_taken_up_after_it() {
    let origin = Origin::hello();
    let edge = setup(&origin).feed(&names("old")).start();
    let feed = edge.path("feed.txt");
    let faults: [fn(&Path); 4] = [
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            symlink("nowhere", path).unwrap();
        },
    ];
    let successful =
        || edge.metrics().value("sluis_blocklist_last_reload_successful", &[("source", "feed")]) == Some(1.0);
    for (number, fault) in faults.into_iter().enumerate() {
        fault(&feed);
        eventually(&format!("fault {number} shows"), || !successful());
        comes_into_force(&edge, if number == 0 { "old".to_owned() } else { format!("new-{}", number - 1) }.as_str());
        let _ = fs::remove_dir(&feed);
        replace(&feed, &names(&format!("new-{number}")));
        comes_into_force(&edge, &format!("new-{number}"));
        eventually("all is well", successful);
    }
}

#[test]
fn p4_directory_that_is_renamed_away_and_back_or_replaced_is_followed() {
    let origin = Origin::hello();
    // No poll to help: events alone find all of it.
    let edge = with_feed_in_a_directory(&origin, "poll = \"1h\"").start();
    let (lists, away) = (edge.path("lists"), edge.path("away"));
    for round in 0..5 {
        fs::rename(&lists, &away).unwrap();
        thread::sleep(Duration::from_millis(100 * (round % 3)));
        fs::rename(&away, &lists).unwrap();
        let tag = format!("back-{round}");
        replace(&lists.join("feed.txt"), &names(&tag));
        comes_into_force(&edge, &tag);
        let next = edge.path("next");
        let tag = format!("replaced-{round}");
        fs::create_dir(&next).unwrap();
        fs::write(next.join("feed.txt"), names(&tag)).unwrap();
        fs::rename(&lists, &away).unwrap();
        fs::rename(&next, &lists).unwrap();
        comes_into_force(&edge, &tag);
        fs::remove_dir_all(&away).unwrap();
        fs::remove_dir_all(&lists).unwrap();
        thread::sleep(Duration::from_millis(50));
        fs::create_dir(&lists).unwrap();
        let tag = format!("made-{round}");
        fs::write(lists.join("feed.txt"), names(&tag)).unwrap();
        comes_into_force(&edge, &tag);
    }
}

#[test]
fn p4_directory_that_is_a_link_is_followed_where_it_leads() {
    let origin = Origin::hello();
    let edge = with_feed_in_a_directory(&origin, "poll = \"1h\"").start();
    fs::rename(edge.path("lists"), edge.path("v0")).unwrap();
    symlink("v0", edge.path("lists")).unwrap();
    for round in 1..=5 {
        let (version, tag) = (format!("v{round}"), format!("version-{round}"));
        fs::create_dir(edge.path(&version)).unwrap();
        fs::write(edge.path(&version).join("feed.txt"), names(&tag)).unwrap();
        symlink(&version, edge.path("link")).unwrap();
        fs::rename(edge.path("link"), edge.path("lists")).unwrap();
        comes_into_force(&edge, &tag);
        // What is behind the link changes in place, where only the target's directory tells.
        let tag = format!("behind-{round}");
        replace(&edge.path(&version).join("feed.txt"), &names(&tag));
        comes_into_force(&edge, &tag);
    }
}

#[test]
fn p4_hard_link_over_the_list_is_a_change() {
    let origin = Origin::hello();
    let edge = setup(&origin).blocklist("poll = \"1h\"").feed(&names("old")).start();
    for round in 0..3 {
        let tag = format!("linked-{round}");
        let other = edge.path(&tag);
        fs::write(&other, names(&tag)).unwrap();
        fs::hard_link(&other, edge.path("link")).unwrap();
        fs::rename(edge.path("link"), edge.path("feed.txt")).unwrap();
        comes_into_force(&edge, &tag);
    }
}

#[test]
fn p4_flood_of_events_loses_no_change() {
    let origin = Origin::hello();
    let edge = setup(&origin).blocklist("poll = \"1h\"").feed(&names("old")).start();
    let directory = edge.path("feed.txt").parent().unwrap().to_owned();
    for round in 0..2 {
        edge.signal(Signal::STOP);
        // More than the system's queue holds (16,384), while nobody takes any: the rest is dropped.
        for number in 0..9_000 {
            let other = directory.join(format!("noise-{number}"));
            File::create(&other).unwrap();
            fs::remove_file(&other).unwrap();
        }
        let tag = format!("flooded-{round}");
        replace(&edge.path("feed.txt"), &names(&tag));
        edge.signal(Signal::CONT);
        comes_into_force(&edge, &tag);
    }
}

/// Whether a name space of our own may be made, in which limits and mounts are ours to set.
fn can_unshare() -> bool {
    let made = Command::new("unshare").args(["-Urm", "true"]).output().is_ok_and(|output| output.status.success());
    if !made {
        eprintln!("skipped: this system gives no name space of its own");
    }
    made
}

#[test]
fn p4_without_file_events_the_poll_alone_finds_every_change() {
    if !can_unshare() {
        return;
    }
    let origin = Origin::hello();
    let setup = with_feed_in_a_directory(&origin, "poll = \"300ms\"");
    let no_inotify = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
    let edge = Edge::start_under(&setup, &["unshare", "-Ur", "sh", "-c", no_inotify, "sh"]);
    edge.wait_for_log("the loss", |line| line.contains("WARN") && line.contains("polling only"));
    let lists = edge.path("lists");
    replace(&lists.join("feed.txt"), &names("renamed"));
    comes_into_force(&edge, "renamed");
    fs::write(lists.join("feed.txt"), names("written")).unwrap();
    comes_into_force(&edge, "written");
    fs::rename(&lists, edge.path("away")).unwrap();
    fs::create_dir(&lists).unwrap();
    fs::write(lists.join("feed.txt"), names("made")).unwrap();
    comes_into_force(&edge, "made");
}

#[test]
fn p4_without_a_watch_the_poll_alone_finds_every_change() {
    if !can_unshare() {
        return;
    }
    let origin = Origin::hello();
    let setup = with_feed_in_a_directory(&origin, "poll = \"300ms\"");
    let no_watches = "echo 0 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let edge = Edge::start_under(&setup, &["unshare", "-Ur", "sh", "-c", no_watches, "sh"]);
    replace(&edge.path("lists").join("feed.txt"), &names("renamed"));
    comes_into_force(&edge, "renamed");
    let warnings = edge.log().lines().filter(|line| line.contains("it is polled only")).count();
    assert!((1..=6).contains(&warnings), "told once a directory, not at every look: {warnings}");
}

#[test]
fn p3_hundred_reloads_at_once_are_all_answered() {
    let origin = Origin::hello();
    let edge = setup(&origin).feed(&names("old")).start();
    for round in 0..3 {
        let tag = format!("storm-{round}");
        let (before, mut answered) = (edge.generation(), 0);
        replace(&edge.path("feed.txt"), &names(&tag));
        thread::scope(|scope| {
            let posts: Vec<_> = (0..100).map(|_| scope.spawn(|| edge.admin_post("/api/v1/reload"))).collect();
            for post in posts {
                let answer = post.join().unwrap();
                // The admin endpoint takes so many connections and tells the others to come back.
                if answer.status != 503 {
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert_eq!(answer.json()["generation"].as_u64(), Some(before + 1), "{}", answer.text());
                    answered += 1;
                }
            }
        });
        assert!(answered >= 32, "{answered} of 100 were answered");
        assert_eq!(edge.get(&format!("{tag}.example"), "/").status, 403);
    }
}

#[test]
fn p4_two_writers_end_with_what_was_written_last() {
    let origin = Origin::hello();
    let edge = setup(&origin).feed(&names("old")).start();
    let (feed, stop) = (edge.path("feed.txt"), AtomicBool::new(false));
    thread::scope(|scope| {
        for writer in ["one", "two"] {
            let (feed, stop) = (&feed, &stop);
            scope.spawn(move || {
                let new = feed.with_extension(writer);
                for round in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    fs::write(&new, names(&format!("{writer}-{}", round % 7))).unwrap();
                    fs::rename(&new, feed).unwrap();
                    thread::sleep(Duration::from_millis(3));
                }
            });
        }
        let mut connection = edge.http();
        for _ in 0..150 {
            assert_eq!(connection.get("always.example", "/").status, 403);
            let posted = edge.admin_post("/api/v1/reload");
            assert!([200, 422].contains(&posted.status), "{}", posted.text());
        }
        stop.store(true, Ordering::SeqCst);
    });
    replace(&feed, &names("last"));
    comes_into_force(&edge, "last");
    assert!(!edge.log().contains("not a name"), "a mixture was read");
}

#[test]
fn p4_file_that_may_not_be_read_changes_nothing() {
    let origin = Origin::hello();
    let nobody: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    // No mode stops root.
    let wrapper = if rustix::process::geteuid().is_root() { nobody } else { &[] };
    let edge = Edge::start_under(&setup(&origin).feed(&names("old")), wrapper);
    let feed = edge.path("feed.txt");
    let (none, all) = (Permissions::from_mode(0o000), Permissions::from_mode(0o644));
    fs::set_permissions(&feed, none.clone()).unwrap();
    eventually("it shows", || {
        edge.metrics().value("sluis_blocklist_last_reload_successful", &[("source", "feed")]) == Some(0.0)
    });
    assert_eq!(edge.get("old.example", "/").status, 403);
    edge.wait_for_log("why", |line| line.contains("Permission denied"));
    fs::set_permissions(&feed, all).unwrap();
    eventually("it is well again", || {
        edge.metrics().value("sluis_blocklist_last_reload_successful", &[("source", "feed")]) == Some(1.0)
    });
    fs::set_permissions(feed.parent().unwrap(), none).unwrap();
    let refused = edge.admin_post("/api/v1/reload");
    fs::set_permissions(feed.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(refused.status, 422);
    assert_eq!(edge.get("old.example", "/").status, 403);
    assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
}
