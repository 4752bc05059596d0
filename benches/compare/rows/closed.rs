//! Rows of CPU time a request, on keep-alive connections in a closed loop.
//!
//! Inside: which request each row sends. Kept out: everything that all of them share (`bench`).

use std::io;

use super::Row;
use crate::bench::{Bench, closed_loop};
use crate::finding::{Finding, findings};
use crate::load::Exchange;
use crate::run::interleave;
use crate::verify::Verified;

pub fn forward(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    measure(bench, row, |verified| Some(&verified.plain.forward))
}

pub fn blocked(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    measure(bench, row, |verified| verified.plain.blocked.as_ref())
}

fn measure(bench: &mut Bench, row: &Row, pick: fn(&Verified) -> Option<&Exchange>) -> io::Result<Vec<Finding>> {
    let (entrants, places, absent) = bench.entrants(pick);
    let Bench { settings, engine, ready, failed, .. } = bench;
    let chosen: Vec<_> = places.iter().filter_map(|place| ready.get(*place)).collect();
    let rounds = interleave(chosen.len(), settings.rounds, |at| {
        let proxy = chosen.get(at).ok_or_else(|| io::Error::other("no such contender"))?;
        let exchange = pick(&proxy.verified).ok_or_else(|| io::Error::other("cannot do this"))?;
        closed_loop(engine, settings, &proxy.running, exchange, settings.connections)
    })?;
    let (found, new) = findings((row.id, row.title), row.metrics, &entrants, &rounds, &absent);
    failed.extend(new);
    Ok(found)
}
