//! Promise P3: once the API has said that a reload is done, no request that starts later is judged by the old list.
//!
//! Kept out: reloads by file events, which nobody waits for (list_reload.rs).

use std::fs;

use crate::support::http2::Http2;
use crate::support::setup::{RECORDS, record};
use crate::support::{Connection, Origin, Setup};

/// Connections that are open throughout: enough that every worker has some of them.
const OPEN: usize = 12;

#[test]
fn p3_after_the_reload_api_answers_no_request_uses_the_old_list() {
    let origin = Origin::hello();
    // The watch must not get there first.
    let setup = Setup::new(origin.address()).server("workers = 3").blocklist("settle = \"1h\"\npoll = \"1h\"");
    let edge = setup.limit("requests_per_connection = 1000000").start();
    let mut open: Vec<Connection> = (0..OPEN).map(|_| edge.http()).collect();
    let mut open_tls: Vec<Connection> = (0..OPEN / 2).map(|_| edge.https("open.example")).collect();
    let mut http2: Vec<Http2> = (0..4).map(|_| Http2::connect(edge.address("https"), Some("open.example"))).collect();
    let lists = [RECORDS.to_owned(), RECORDS.to_owned() + &record("flip", "open.example")];
    for round in 0..60 {
        let is_listed = round % 2 == 0;
        let expected = if is_listed { 403 } else { 200 };
        fs::write(edge.path("blocklist.toml"), &lists[usize::from(is_listed)]).unwrap();
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        for (number, connection) in open.iter_mut().chain(&mut open_tls).enumerate() {
            assert_eq!(connection.get("open.example", "/").status, expected, "round {round}, open {number}");
        }
        for (number, connection) in http2.iter_mut().enumerate() {
            let status = connection.get("open.example", "/").status;
            assert_eq!(status, expected, "round {round}, HTTP/2 connection {number}");
        }
        for number in 0..3 {
            assert_eq!(edge.get("open.example", "/").status, expected, "round {round}, new {number}");
        }
    }
}
