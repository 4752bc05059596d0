//! Rows of HTTP/1.1 on keep-alive connections in a closed loop: CPU time a request, or by the bytes of bodies.
//!
//! Inside: which request each row sends. Kept out: TLS handshakes and HTTP/2 (`tls`).

use std::io;

use super::{Row, each};
use crate::bench::{Bench, closed_loop};
use crate::engine::origin::LARGE_BYTES;
use crate::finding::Finding;
use crate::load::Exchange;
use crate::verify::Verified;

/// Connections on which large bodies go at a time.
const BODY_CONNECTIONS: usize = 8;

pub fn forward(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    requests(bench, row, |verified| Some(&verified.plain.forward))
}

pub fn blocked(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    requests(bench, row, |verified| verified.plain.blocked.as_ref())
}

pub fn tls_forward(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    requests(bench, row, |verified| verified.tls.as_ref().map(|tls| &tls.forward))
}

pub fn body_down(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    bodies(bench, row, |verified| Some(&verified.plain.down))
}

pub fn body_up(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    bodies(bench, row, |verified| Some(&verified.plain.up))
}

pub fn tls_body_down(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    bodies(bench, row, |verified| verified.tls.as_ref().map(|tls| &tls.down))
}

pub fn tls_body_up(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    bodies(bench, row, |verified| verified.tls.as_ref().map(|tls| &tls.up))
}

fn requests(bench: &mut Bench, row: &Row, pick: fn(&Verified) -> Option<&Exchange>) -> io::Result<Vec<Finding>> {
    let rounds = bench.settings.rounds;
    each(bench, row, rounds, pick, |engine, settings, ready, exchange| {
        closed_loop(engine, &ready.running, exchange, settings.connections, settings.slice)
    })
}

fn bodies(bench: &mut Bench, row: &Row, pick: fn(&Verified) -> Option<&Exchange>) -> io::Result<Vec<Finding>> {
    let rounds = bench.settings.rounds;
    each(bench, row, rounds, pick, |engine, settings, ready, exchange| {
        let mut sample = closed_loop(engine, &ready.running, exchange, BODY_CONNECTIONS, settings.slice / 2)?;
        let gibibytes = sample.requests as f64 * LARGE_BYTES as f64 / f64::from(1 << 30);
        sample.values = vec![sample.cpu.nanoseconds as f64 / 1e9 / gibibytes];
        Ok(sample)
    })
}
