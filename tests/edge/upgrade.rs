//! Upgrades: another process takes the sockets over, and whatever is wrong with it, the one that runs serves on.
//!
//! Kept out: upgrades under load, which are in promises_p1.rs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::support::client::tcp;
use crate::support::origin::{Reply, Step};
use crate::support::{Connection, Edge, Origin, PATIENCE, Response, Setup, client, eventually};

/// The number of upgrades that ended like this.
fn upgrades(edge: &Edge, result: &str) -> f64 {
    edge.metrics().sum("sluis_upgrades_total", &[("result", result)])
}

/// Replaces text in the configuration.
fn change(edge: &Edge, from: &str, to: &str) {
    let path = edge.path("sluis.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn slow_origin(seconds: u64) -> Origin {
    Origin::answering(move |_| {
        let mut reply = Reply(vec![Step::Wait(Duration::from_secs(seconds))]);
        reply.0.extend(Reply::ok("whole\n").0);
        reply
    })
}

#[test]
fn new_process_takes_over_every_address_and_the_old_one_ends_with_0() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).more("[metrics]\naddress = \"127.0.0.1:0\"");
    let mut edge = Edge::start_own(&setup);
    let names = ["http", "https", "admin", "metrics"];
    let addresses = names.map(|name| edge.address(name));
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    for (name, address) in names.iter().zip(addresses) {
        let line = format!("listening listener={name} address={address}");
        assert_eq!(edge.log().matches(&line).count(), 2, "{line}: {}", edge.log());
    }
    assert_eq!(edge.get("open.example", "/").status, 200);
    assert_eq!(edge.https("open.example").get("blocked.example", "/").status, 403);
    assert_eq!(edge.admin_get("/readyz").status, 200);
    let metrics = client::get(edge.address("metrics"), "127.0.0.1", "/metrics");
    assert!(metrics.text().contains("sluis_upgrades_total{result=\"succeeded\"} 1"), "{}", metrics.text());
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
    assert!(tcp(addresses[0]).is_err(), "nobody is left who holds the socket");
}

#[test]
fn new_process_that_does_not_become_ready_leaves_the_old_one_serving() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).without_tls().server("upgrade_timeout = \"1s\"");
    let mut edge = Edge::start_own(&setup);
    let good = fs::read_to_string(edge.path("sluis.toml")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("{good}\n[listener.more]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    let mut kept = edge.http();
    type Break<'a> = &'a dyn Fn(&Edge);
    let cases: [(&str, &str, &str, Break<'_>); 7] = [
        ("broken configuration", "failed", "unknown key", &|edge| {
            fs::write(edge.path("sluis.toml"), format!("{good}\nnonsense = 1\n")).unwrap();
        }),
        ("address in use", "failed", "is in use", &|edge| fs::write(edge.path("sluis.toml"), &more).unwrap()),
        ("file gone", "failed", "cannot be started", &|edge| fs::remove_file(edge.path("sluis")).unwrap()),
        ("no program", "failed", "cannot be started", &|edge| fs::write(edge.path("sluis"), "\u{1}").unwrap()),
        ("dies", "failed", "exit status: 7", &|edge| edge.replace_program("exit 7")),
        ("is killed", "failed", "signal: 9", &|edge| edge.replace_program("kill -9 $$")),
        ("hangs", "timeout", "not ready within 1 s", &|edge| edge.replace_program("exec sleep 1000")),
    ];
    let mut ended: [(&str, f64); 2] = [("failed", 0.0), ("timeout", 0.0)];
    for (case, result, said, damage) in cases {
        if case == "no program" {
            fs::remove_file(edge.path("sluis")).unwrap();
        }
        damage(&edge);
        ended.iter_mut().filter(|(name, _)| *name == result).for_each(|(_, count)| *count += 1.0);
        edge.signal(Signal::USR2);
        eventually(case, || ended.iter().all(|(name, count)| upgrades(&edge, name) == *count));
        assert!(edge.log().contains(said), "{case}: {}", edge.log());
        let failures = edge.log().matches("the upgrade failed, this process serves on").count();
        assert_eq!(failures as f64, ended[0].1 + ended[1].1, "{case}");
        assert!(edge.children().is_empty(), "{case}: {:?} is left", edge.children());
        assert_eq!(kept.get("open.example", "/").status, 200, "{case}");
        assert_eq!(edge.get("blocked.example", "/").status, 403, "{case}");
        assert_eq!(edge.admin_get("/readyz").status, 200, "{case}");
        fs::write(edge.path("sluis.toml"), &good).unwrap();
        edge.restore_program();
    }
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    assert_eq!(edge.get("open.example", "/").status, 200, "what was mended is upgraded to");
}

#[test]
fn one_upgrade_at_a_time_and_a_stop_leaves_no_half_started_process() {
    let origin = Origin::hello();
    let mut edge = Edge::start_own(&Setup::new(origin.address()).without_tls());
    edge.replace_program("exec sleep 1000");
    edge.signal(Signal::USR2);
    edge.wait_for_log("the start", |line| line.contains("the program was started anew"));
    let child = edge.children();
    assert_eq!(child.len(), 1);
    edge.signal(Signal::USR2);
    edge.wait_for_log("the second", |line| line.contains("an upgrade is under way; ignored"));
    assert_eq!(upgrades(&edge, "ignored"), 1.0);
    assert_eq!(edge.children(), child);
    assert_eq!(edge.get("open.example", "/").status, 200);
    edge.signal(Signal::TERM);
    edge.wait_for_log("the end of the new one", |line| {
        line.contains("while the new process was starting; it was killed")
    });
    assert_eq!(edge.wait_exit(), 0);
    assert!(!fs::exists(format!("/proc/{}", child[0])).unwrap(), "the half-started process is left");
}

#[test]
fn upgrade_while_stopping_is_ignored_and_told() {
    let origin = slow_origin(1);
    let mut edge = Edge::start_own(&Setup::new(origin.address()).without_tls());
    let mut busy = edge.http();
    busy.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    origin.wait_for(1);
    edge.signal(Signal::TERM);
    eventually("draining shows", || edge.admin_get("/readyz").status == 503);
    edge.signal(Signal::USR2);
    edge.wait_for_log("the refusal", |line| line.contains("told to upgrade while stopping; ignored"));
    assert_eq!(busy.read_response().status, 200);
    assert_eq!(edge.wait_exit(), 0);
    assert_eq!(edge.log().matches(" ready ").count(), 1, "{}", edge.log());
}

#[test]
fn old_process_finishes_its_work_though_the_whole_service_is_told_to_stop() {
    let origin = slow_origin(2);
    let mut edge = Edge::start_own(&Setup::new(origin.address()).without_tls());
    let mut busy = edge.http();
    busy.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    origin.wait_for(1);
    let old = edge.upgrade();
    for _ in 0..20 {
        assert_eq!(edge.admin_get("/readyz").status, 200, "the old process answers nobody any more");
    }
    // As systemd does: both are told.
    let old_pid = rustix::process::Pid::from_raw(old.cast_signed()).unwrap();
    rustix::process::kill_process(old_pid, Signal::TERM).unwrap();
    edge.signal(Signal::TERM);
    let answer = busy.read_response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "whole\n"));
    assert_eq!(edge.wait_exit_of(old), 0);
    eventually("the new process has ended too", || edge.log_has_ended());
}

/// Waits until the process has taken its signals, which is before it reads its configuration.
fn takes(edge: &Edge, signal: Signal) {
    eventually("it takes the signal", || {
        let status = fs::read_to_string(format!("/proc/{}/status", edge.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        // Signals are counted from 1.
        u64::from_str_radix(caught.trim(), 16).unwrap_or_default() >> (signal.as_raw() - 1) & 1 == 1
    });
}

#[test]
fn signals_before_the_configuration_is_read_are_not_lost() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).without_tls();
    // The program waits for what it is to read.
    let mut edge = Edge::start_own_by(&setup, |command| {
        let file = command.get_current_dir().unwrap().join("sluis.toml");
        fs::rename(&file, file.with_extension("real")).unwrap();
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    });
    let first = edge.id();
    // It is taken after HUP.
    takes(&edge, Signal::USR2);
    for signal in [Signal::HUP, Signal::USR2] {
        edge.signal(signal);
    }
    let mut pipe = fs::OpenOptions::new().write(true).open(edge.path("sluis.toml")).unwrap();
    let text = fs::read(edge.path("sluis.real")).unwrap();
    fs::rename(edge.path("sluis.real"), edge.path("sluis.toml")).unwrap();
    pipe.write_all(&text).unwrap();
    drop(pipe);
    edge.follow_upgrade();
    assert_eq!(edge.wait_exit_of(first), 0);
    assert!(edge.log().contains("told to read everything again"), "{}", edge.log());
    assert_eq!(edge.get("open.example", "/").status, 200);
}

#[test]
fn start_that_waits_for_its_configuration_can_be_ended() {
    let origin = Origin::hello();
    let mut edge = Edge::start_own_by(&Setup::new(origin.address()).without_tls(), |command| {
        let file = command.get_current_dir().unwrap().join("sluis.toml");
        fs::remove_file(&file).unwrap();
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    });
    takes(&edge, Signal::USR2);
    edge.signal(Signal::TERM);
    eventually("it ends", || !edge.is_running());
}

#[test]
fn signals_in_any_order_at_any_time_do_no_harm() {
    let origin = Origin::hello();
    let names: String = (0..20_000).map(|number| format!("name-{number}.example\n")).collect();
    let (hup, usr2, term, int) = (Signal::HUP, Signal::USR2, Signal::TERM, Signal::INT);
    let orders = [
        &[term][..],
        &[hup, term],
        &[usr2, term],
        &[term, usr2, hup],
        &[usr2, usr2, hup, int],
        &[hup, usr2, hup, usr2],
        &[usr2, hup],
    ];
    for (number, signals) in orders.iter().enumerate() {
        for during_start in [true, false] {
            let setup = Setup::new(origin.address()).without_tls().feed(&names);
            let mut edge = Edge::start_own_by(&setup, |_| {});
            let first = edge.id();
            if during_start {
                // INT is taken last.
                takes(&edge, Signal::INT);
            } else {
                edge.wait_for_log("ready", |line| line.contains(" ready "));
            }
            for signal in *signals {
                edge.signal(*signal);
                if number.is_multiple_of(2) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            let what = format!("{signals:?}, during the start: {during_start}");
            let stops = signals.iter().any(|signal| [term, int].contains(signal));
            if !stops {
                edge.follow_upgrade();
            }
            assert_eq!(edge.wait_exit_of(first), 0, "{what}: {}", edge.log());
            if !stops {
                assert_eq!(edge.get("name-1.example", "/").status, 403, "{what}");
                edge.signal(term);
            } else if edge.log().contains("another process has taken over") {
                // It was ready before the stop came.
                edge.follow_upgrade();
                edge.signal(term);
            }
            eventually("everything has ended", || edge.log_has_ended());
            assert!(!edge.log().contains("panic"), "{what}: {}", edge.log());
        }
    }
}

/// How many sockets listen on an IPv4 address: each has a queue of its own.
fn queues(address: SocketAddr) -> usize {
    let listening = format!(":{:04X} 00000000:0000 0A", address.port());
    fs::read_to_string("/proc/net/tcp").unwrap().matches(&listening).count()
}

#[test]
fn every_queue_is_served_on_by_fewer_workers_and_by_more() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).without_tls().server("workers = 4");
    let mut edge = Edge::start_own(&setup);
    assert_eq!(queues(edge.address("http")), 4);
    for workers in [1, 3, 4] {
        let before = fs::read_to_string(edge.path("sluis.toml")).unwrap();
        let line = before.lines().find(|line| line.starts_with("workers")).unwrap().to_owned();
        change(&edge, &line, &format!("workers = {workers}"));
        let old = edge.upgrade();
        assert_eq!(edge.wait_exit_of(old), 0);
        assert_eq!(queues(edge.address("http")), 4, "each that there was, and no other");
        for number in 0..64 {
            assert_eq!(edge.get("open.example", "/").status, 200, "{workers} workers, connection {number}");
        }
    }
}

#[test]
fn listeners_come_and_go_with_an_upgrade() {
    let origin = Origin::hello();
    let mut edge = Edge::start_own(&Setup::new(origin.address()).without_tls());
    let kept = edge.address("http");
    change(&edge, "[admin]", "[listener.more]\naddress = \"127.0.0.1:0\"\n[admin]");
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    let more = edge.address("more");
    assert_eq!(client::get(more, "open.example", "/").status, 200);
    change(&edge, "[listener.http]", "[listener.other]");
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    assert!(tcp(kept).is_err(), "an address that is not configured is closed");
    assert_eq!(client::get(more, "open.example", "/").status, 200);
    assert_eq!(client::get(edge.address("other"), "open.example", "/").status, 200);
    assert!(edge.log().contains("a socket was handed over that the configuration does not name"), "{}", edge.log());
}

#[test]
fn link_that_was_moved_leads_to_the_program_that_is_started() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).without_tls();
    let mut edge = Edge::start_own(&setup);
    // The program is started by a link from now on.
    fs::rename(edge.path("sluis"), edge.path("sluis-1")).unwrap();
    symlink(edge.path("sluis-1"), edge.path("sluis")).unwrap();
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    let script = format!("#!/bin/sh\necho the next version >&2\nexec {} \"$@\"\n", edge.path("sluis-1").display());
    fs::write(edge.path("sluis-2"), script).unwrap();
    fs::set_permissions(edge.path("sluis-2"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_file(edge.path("sluis")).unwrap();
    symlink(edge.path("sluis-2"), edge.path("sluis")).unwrap();
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    assert_eq!(edge.log().matches("the next version").count(), 1, "{}", edge.log());
    assert_eq!(edge.get("open.example", "/").status, 200);
}

#[test]
fn new_process_gets_no_descriptor_but_those_that_it_should() {
    let origin = Origin::hello();
    let mut edge = Edge::start_own(&Setup::new(origin.address()).without_tls());
    let sockets = |edge: &Edge| -> usize {
        let entries = fs::read_dir(format!("/proc/{}/fd", edge.id())).unwrap().filter_map(Result::ok);
        let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    let alone = sockets(&edge);
    let mut clients: Vec<_> = (0..20).map(|_| edge.http()).collect();
    for client in &mut clients {
        assert_eq!(client.get("open.example", "/").status, 200);
    }
    assert!(sockets(&edge) >= alone + 20);
    let old = edge.upgrade();
    assert_eq!(edge.wait_exit_of(old), 0);
    assert_eq!(sockets(&edge), alone, "after the start they were {alone}");
    let environment = fs::read(format!("/proc/{}/environ", edge.id())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("LISTEN_FDS=4\0"));
    for client in &mut clients {
        assert!(client.is_closed(), "what the old process had is closed by its end");
    }
}

#[test]
fn list_that_changes_while_two_processes_serve_is_kept_whole() {
    let origin = Origin::hello();
    let setup = Setup::new(origin.address()).without_tls().server("state_directory = \"state\"").feed("a.example\n");
    let mut edge = Edge::start_own(&setup);
    for round in 0..3 {
        let old = edge.upgrade();
        fs::write(edge.path("feed.txt"), format!("round-{round}.example\n")).unwrap();
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
        assert_eq!(edge.wait_exit_of(old), 0);
    }
    // The kept copy is whole: a start takes it where the file is broken.
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
    fs::write(edge.path("feed.txt"), "\0\0").unwrap();
    edge.start_again();
    edge.wait_for_log("ready", |line| line.contains(" ready "));
    assert_eq!(edge.get("round-2.example", "/").status, 403);
}

#[test]
fn systemd_is_told_of_start_reload_upgrade_and_stop() {
    let origin = Origin::hello();
    let place = tempfile::tempdir().unwrap();
    let address = place.path().join("notify");
    let supervisor = UnixDatagram::bind(&address).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut bytes = [0; 512];
        let length = supervisor.recv(&mut bytes).expect("it is told");
        String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
    };
    let setup = Setup::new(origin.address()).without_tls();
    let mut edge = Edge::start_own_by(&setup, |command| {
        command.env("NOTIFY_SOCKET", &address);
    });
    assert_eq!(hear(), "READY=1");
    edge.signal(Signal::HUP);
    let told = hear();
    assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
    assert_eq!(hear(), "READY=1");
    let old = edge.upgrade();
    assert_eq!(hear(), format!("MAINPID={}", edge.id()));
    assert_eq!(edge.wait_exit_of(old), 0);
    edge.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn socket_that_systemd_opened_is_accepted_on() {
    let origin = Origin::hello();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let setup = Setup::new(origin.address()).without_tls().more(&format!("[listener.more]\naddress = \"{address}\""));
    // The first client comes before the program.
    let mut early = Connection::plain(address);
    early.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    let mut edge = Edge::start_own_by(&setup, |command| {
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "sluis.socket");
        let mapping = FdMapping { parent_fd: socket.try_clone().unwrap().into(), child_fd: 3 };
        command.fd_mappings(vec![mapping]).unwrap();
    });
    assert_eq!(early.read_response().status, 200);
    // More at once than one worker would take alone.
    let mut clients: Vec<_> = (0..32).map(|_| Connection::plain(address)).collect();
    assert!(clients.iter_mut().all(|client| client.get("open.example", "/").status == 200));
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn descriptor_that_is_no_listening_socket_is_a_clear_error() {
    let origin = Origin::hello();
    let mut edge = Edge::start_own_by(&Setup::new(origin.address()).without_tls(), |command| {
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "listener.http");
        let file = fs::File::open("/dev/null").unwrap();
        command.fd_mappings(vec![FdMapping { parent_fd: file.into(), child_fd: 3 }]).unwrap();
    });
    assert_eq!(edge.wait_exit(), 1);
    assert!(edge.log().contains("LISTEN_FDS") && edge.log().contains("is not a socket"), "{}", edge.log());
}

#[test]
fn idle_connection_gets_a_last_answer_when_the_request_was_on_its_way() {
    let origin = Origin::hello();
    let mut edge = Edge::start_own(&Setup::new(origin.address()).without_tls());
    let mut idle = edge.http();
    assert_eq!(idle.get("open.example", "/").header("connection"), None);
    let old = edge.upgrade();
    // The new process is ready a moment before the old one's workers are told: answers in between keep the connection.
    let closes = |answer: Response| {
        assert_eq!(answer.status, 200);
        answer.header("connection") == Some("close")
    };
    while !closes(idle.get("open.example", "/")) {}
    let closed = Instant::now();
    assert_eq!(idle.socket().read(&mut [0; 1]).unwrap(), 0, "an end in order");
    assert_eq!(edge.wait_exit_of(old), 0);
    assert!(closed.elapsed() < Duration::from_secs(5), "{:?}", closed.elapsed());
}
