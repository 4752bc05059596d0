//! Rows of TLS handshakes, and of HTTP/2.
//!
//! Inside: how many at a time, and of which kind. Kept out: HTTP/1.1 over TLS (`requests`).

use std::io;
use std::time::Duration;

use rustls::HandshakeKind;

use super::{Row, each};
use crate::accounting::CpuTime;
use crate::bench::Bench;
use crate::finding::Finding;
use crate::load::{Exchange, h2load, handshake};
use crate::proxies::site::{BLOCKED, PASS};
use crate::run::Sample;
use crate::settings::Extent;
use crate::verify::Verified;

/// Requests of the first run, which says how many fill the time.
const FIRST_REQUESTS: u64 = 1_000;

pub fn full(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    handshakes(bench, row, HandshakeKind::Full)
}

pub fn resumed(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    handshakes(bench, row, HandshakeKind::Resumed)
}

pub fn http2_forward(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    http2(bench, row, PASS, forward_over_tls)
}

pub fn http2_blocked(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    http2(bench, row, BLOCKED, |verified| verified.tls.as_ref().and_then(|tls| tls.blocked.as_ref()))
}

fn handshakes(bench: &mut Bench, row: &Row, kind: HandshakeKind) -> io::Result<Vec<Finding>> {
    let resumes = kind == HandshakeKind::Resumed;
    let site = bench.site.clone();
    let rounds = bench.settings.rounds;
    each(bench, row, rounds, forward_over_tls, |engine, settings, ready, exchange| {
        engine.close_all();
        let mut exchange = exchange.clone();
        if resumes {
            exchange.security = site.security(PASS, true)?;
            handshake::run(engine, &exchange, HandshakeKind::Full, Duration::ZERO)?;
        }
        let before = ready.running.process.cpu_time()?;
        let requests = handshake::run(engine, &exchange, kind, settings.slice / 2)?;
        Ok(a_piece(ready.running.process.cpu_time()?.since(before), requests))
    })
}

fn http2(
    bench: &mut Bench,
    row: &Row,
    host: &'static str,
    pick: fn(&Verified) -> Option<&Exchange>,
) -> io::Result<Vec<Finding>> {
    let folder = bench.site.folder.clone();
    let rounds = bench.settings.rounds;
    let first = if bench.settings.extent == Extent::Test { FIRST_REQUESTS / 10 } else { FIRST_REQUESTS };
    each(bench, row, rounds, pick, |engine, settings, ready, exchange| {
        engine.close_all();
        let mut load = |requests| h2load::run(engine, &folder, exchange.to, host, requests, &exchange.expected);
        let took = load(first)?;
        let requests = first as f64 * settings.slice.as_secs_f64() / took.as_secs_f64();
        let requests = (requests as u64).max(first);
        let before = ready.running.process.cpu_time()?;
        load(requests)?;
        Ok(a_piece(ready.running.process.cpu_time()?.since(before), requests))
    })
}

fn forward_over_tls(verified: &Verified) -> Option<&Exchange> {
    verified.tls.as_ref().map(|tls| &tls.forward)
}

/// CPU time by what was done in it, in microseconds.
fn a_piece(cpu: CpuTime, requests: u64) -> Sample {
    Sample { values: vec![cpu.nanoseconds as f64 / requests as f64 / 1000.0], requests, cpu }
}
