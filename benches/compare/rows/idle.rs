//! Memory of idle connections: the slope of resident memory between a thousand and ten thousand of them.
//!
//! Inside: a fresh process a measurement. Kept out: the kernel's memory for sockets, which is the same for all.

use std::io;
use std::time::Duration;

use super::{Row, each};
use crate::bench::{Bench, PROXY_CORE};
use crate::finding::Finding;
use crate::load::{Exchange, idle};
use crate::proxies::Terms;
use crate::run::Sample;
use crate::settings::{Extent, Settings};
use crate::verify::Verified;

/// Memory hardly varies, and a fresh process takes its time, with TLS more of it; so these are enough where no number is asked for.
const MOST_ROUNDS: usize = 2;
const MOST_ROUNDS_TLS: usize = 1;

const REST: Duration = Duration::from_millis(300);

pub fn plain(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    slope(bench, row, MOST_ROUNDS, |verified| Some(&verified.plain.forward))
}

pub fn tls(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    slope(bench, row, MOST_ROUNDS_TLS, |verified| verified.tls.as_ref().map(|tls| &tls.forward))
}

fn slope(
    bench: &mut Bench,
    row: &Row,
    rounds: usize,
    pick: fn(&Verified) -> Option<&Exchange>,
) -> io::Result<Vec<Finding>> {
    let (few, many) = match bench.settings.extent {
        Extent::Full => (1_000, 10_000),
        Extent::Quick => (100, 1_000),
        Extent::Test => (10, 50),
    };
    let Settings { rounds: asked, rounds_are_asked_for, .. } = bench.settings;
    let rounds = if rounds_are_asked_for { asked } else { asked.min(rounds) };
    let site = bench.site.clone();
    each(bench, row, rounds, pick, |engine, _, ready, exchange| {
        let running = ready.contender.start(Terms { site: &site, workers: 1, cores: PROXY_CORE })?;
        running.process.await_rest()?;
        let is_plain = exchange.security.is_none();
        let to = if is_plain { running.addresses.http } else { running.addresses.https };
        let exchange = Exchange { to, ..exchange.clone() };
        engine.close_all();
        let mut resident = |more| {
            idle::open(engine, &exchange, more)?;
            idle::rest(engine, REST)?;
            running.process.resident_bytes()
        };
        let (first, second) = (resident(few)?, resident(many - few)?);
        engine.close_all();
        let slope = (second as f64 - first as f64) / (many - few) as f64 / 1024.0;
        Ok(Sample { values: vec![slope], requests: many as u64, ..Sample::default() })
    })
}
