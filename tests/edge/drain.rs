//! Starting and stopping: what was begun is finished, and what cannot start says why.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::client::tcp;
use crate::support::edge::{Finished, program};
use crate::support::origin::{Reply, Step};
use crate::support::{Edge, Origin, Setup, eventually};

fn slow_origin(milliseconds: u64) -> Origin {
    Origin::answering(move |_| {
        Reply(vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n".to_vec()),
            Step::Wait(Duration::from_millis(milliseconds)),
            Step::Send(b"whole\n".to_vec()),
        ])
    })
}

#[test]
fn p6_term_finishes_what_was_begun_and_exits_0() {
    let origin = slow_origin(800);
    let mut edge = Setup::new(origin.address()).start();
    let mut idle = edge.http();
    assert_eq!(idle.get("blocked.example", "/").status, 403);
    let mut busy: Vec<_> = (0..8).map(|_| edge.http()).collect();
    for connection in &mut busy {
        connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    }
    origin.wait_for(8);
    let address = edge.address("http");
    edge.signal(Signal::TERM);
    assert!(idle.is_closed(), "an idle connection is closed");
    for mut connection in busy {
        let response = connection.read_response();
        assert_eq!((response.status, response.text().as_str(), response.complete), (200, "whole\n", true));
        assert!(connection.is_closed());
    }
    assert_eq!(edge.wait_exit(), 0);
    assert!(tcp(address).is_err(), "the port is free again");
}

#[test]
fn second_term_exits_3_at_once() {
    let origin = slow_origin(10_000);
    let mut edge = Setup::new(origin.address()).start();
    let mut connection = edge.http();
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    origin.wait_for(1);
    edge.signal(Signal::TERM);
    eventually("draining shows", || edge.admin_get("/readyz").status == 503);
    assert!(edge.is_running());
    edge.signal(Signal::INT);
    assert_eq!(edge.wait_exit(), 3);
}

#[test]
fn p6_drain_that_runs_out_of_time_exits_3() {
    let origin = slow_origin(10_000);
    let mut edge = Setup::new(origin.address()).server("drain = { delay = \"0s\", timeout = \"300ms\" }").start();
    let mut connection = edge.http();
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    origin.wait_for(1);
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 3);
    assert!(!connection.read_response().complete, "what was cut does not look whole");
}

#[test]
fn p6_during_the_delay_the_edge_is_unready_and_serves_on() {
    let origin = Origin::hello();
    let mut edge = Setup::new(origin.address()).server("drain = { delay = \"1s\", timeout = \"5s\" }").start();
    assert_eq!(edge.admin_get("/readyz").status, 200);
    edge.signal(Signal::TERM);
    eventually("it is unready", || edge.admin_get("/readyz").status == 503);
    assert_eq!(edge.admin_get("/livez").status, 200);
    let response = edge.get("open.example", "/");
    assert_eq!(response.status, 200, "a load balancer that has not noticed yet is served");
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn term_under_load_refuses_no_request_that_was_accepted() {
    let origin = Origin::hello();
    let mut edge = Setup::new(origin.address()).start();
    let address = edge.address("http");
    let clients: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let (mut whole, mut broken) = (0, 0);
                while let Ok(stream) = tcp(address) {
                    let mut connection = crate::support::Connection::over(Box::new(stream));
                    match connection.try_get("open.example", "/") {
                        Ok(response) if response.status == 200 && response.complete => whole += 1,
                        _ => broken += 1,
                    }
                }
                (whole, broken)
            })
        })
        .collect();
    eventually("load is on", || origin.requests().len() > 50);
    edge.signal(Signal::TERM);
    let (whole, broken) = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(edge.wait_exit(), 0);
    // Between the last accept and the close of the socket the kernel may complete a handshake that nobody takes.
    assert!(broken <= 4 && whole > 50, "{whole} whole, {broken} broken");
}

#[test]
fn p5_port_in_use_is_a_clear_error_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let origin = Origin::hello();
    for listener in ["listener.http", "admin"] {
        let directory = TempDir::new().unwrap();
        Setup::new(origin.address()).without_tls().write(directory.path());
        let path = directory.path().join("sluis.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let table = format!("[{listener}]\naddress = ");
        let text = text.replace(&format!("{table}\"127.0.0.1:0\""), &format!("{table}\"{address}\""));
        std::fs::write(&path, text).unwrap();
        let mut edge = Edge::start_in(directory);
        assert_eq!(edge.wait_exit(), 1, "{listener}");
        let log = edge.log();
        assert!(log.contains(&address.to_string()), "{listener}: {log}");
        assert!(!log.contains("panicked") && !log.contains("Os {"), "{listener}: {log}");
    }
}

#[test]
fn p5_two_edges_do_not_share_a_port_by_accident() {
    let origin = Origin::hello();
    let first = Setup::new(origin.address()).without_tls().start();
    let directory = TempDir::new().unwrap();
    Setup::new(origin.address()).without_tls().write(directory.path());
    let path = directory.path().join("sluis.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let taken = format!("[listener.http]\naddress = \"{}\"", first.address("http"));
    std::fs::write(&path, text.replace("[listener.http]\naddress = \"127.0.0.1:0\"", &taken)).unwrap();
    let mut second = Edge::start_in(directory);
    assert_eq!(second.wait_exit(), 1);
    assert_eq!(first.get("open.example", "/").status, 200);
}

#[test]
fn wrong_usage_exits_2_and_a_missing_configuration_78() {
    let directory = TempDir::new().unwrap();
    for (arguments, code) in [
        (&["frobnicate"][..], 2),
        (&["serve", "--no-such-option"], 2),
        (&["lookup", "--config", "sluis.toml"], 2),
        (&["serve", "--config", "absent.toml"], 78),
        (&["check", "--config", "absent.toml"], 78),
    ] {
        let finished = Finished::of(program().args(arguments).current_dir(directory.path()));
        assert_eq!(finished.code, code, "{arguments:?}: {}", finished.stderr);
        assert!(!finished.stderr.is_empty() && !finished.stderr.contains("panicked"), "{}", finished.stderr);
    }
}

#[test]
fn p5_start_without_a_valid_list_exits_78_and_names_the_line() {
    let origin = Origin::hello();
    let mut edge =
        Setup::new(origin.address()).records("[[decision]]\nid = \"x\"\nhost = [\"a.example\"]\n").start_unready();
    assert_eq!(edge.wait_exit(), 78);
    assert!(edge.log().contains("blocklist.toml:3"), "{}", edge.log());
}

#[test]
fn p5_start_with_a_broken_list_takes_the_stored_copy_and_says_so() {
    let origin = Origin::hello();
    let state = TempDir::new().unwrap();
    let line = format!("state_directory = \"{}\"", state.path().display());
    let mut edge = Setup::new(origin.address()).without_tls().server(&line).start();
    assert_eq!(edge.get("blocked.example", "/").status, 403);
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
    let edge = Setup::new(origin.address()).without_tls().server(&line).records("broken").start();
    assert_eq!(edge.get("blocked.example", "/").status, 403);
    let metric = edge.metrics().value("sluis_blocklist_last_reload_successful", &[("source", "decisions")]);
    assert_eq!(metric, Some(0.0));
    assert!(!edge.admin_get("/api/v1/status").json()["sources"][0]["error"].is_null());
}

#[test]
fn p4_hangup_with_a_wrong_configuration_changes_nothing() {
    let origin = Origin::hello();
    let other = Origin::hello();
    let edge = Setup::new(origin.address()).without_tls().start();
    let path = edge.path("sluis.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let (old, new) = (origin.address().to_string(), other.address().to_string());
    std::fs::write(&path, good.replace(&old, &new) + "\nunknown_key = 1\n").unwrap();
    edge.signal(Signal::HUP);
    edge.wait_for_log("the error", |line| line.contains("unknown_key"));
    assert_eq!(edge.get("open.example", "/").status, 200);
    assert_eq!((origin.requests().len(), other.requests().len()), (1, 0));
    std::fs::write(&path, good.replace(&old, &new)).unwrap();
    edge.signal(Signal::HUP);
    eventually("the new configuration is in force", || {
        assert_eq!(edge.get("open.example", "/").status, 200);
        !other.requests().is_empty()
    });
}
