//! Latencies in an open loop: beside nginx, and while a list is rewritten.
//!
//! Inside: the rate, and the rewriting. Kept out: the loop (`load::open`).

use std::fs;
use std::io;
use std::time::Duration;

use super::{QUIET, Row, each, lists};
use crate::bench::{Bench, PROXY_CORE, closed_loop};
use crate::engine::Engine;
use crate::finding::{Entrant, Finding, findings};
use crate::load::{Exchange, PATIENCE, fetch, idle, open};
use crate::proxies::Running;
use crate::proxies::site::feed;
use crate::run::{Sample, Share, interleave};
use crate::statistics::percentile;
use crate::verify::get;

/// Latencies are kept in units of 100 ns.
const UNITS_PER_US: f64 = 10.0;

/// How often nginx's maximum rate is measured; the best counts.
const TRIES: usize = 3;

pub fn forward(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    let rate = half_of_nginx(bench)?;
    let rounds = bench.settings.rounds;
    let title = format!("{} ({rate:.0} requests/s)", row.title);
    let found = each(
        bench,
        row,
        rounds,
        |verified| Some(&verified.plain.forward),
        |engine, settings, ready, exchange| {
            let loaded = Loaded { exchange, connections: settings.connections, rate, time: settings.slice * 2 };
            loaded.sample(engine, &ready.running, &[0.5, 0.99, 0.999])
        },
    )?;
    Ok(found.into_iter().map(|finding| finding.retitled(row.title, &title)).collect())
}

/// Rounds of quiet and of reloading, of each sluis.
pub fn reload(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    let rate = half_of_nginx(bench)?;
    let names = bench.settings.most_names();
    let entrants = [QUIET.concat(), "reloading".to_owned()].map(|name| {
        let is_judged = name == "reloading";
        Entrant { name, is_sluis: true, is_judged }
    });
    let mut found = Vec::new();
    for contender in bench.under_test() {
        let site = lists::another(bench, names)?;
        let ready = bench.ready_on(&site, &contender, (1, PROXY_CORE))?;
        let Bench { settings, engine, failed, .. } = &mut *bench;
        let loaded = Loaded {
            exchange: &ready.verified.plain.forward,
            connections: settings.connections,
            rate,
            time: settings.slice * 2,
        };
        let mut generation = 0;
        let rounds = interleave(&[Share::Every; 2], settings.rounds, |at| {
            if at == 0 {
                return loaded.sample(engine, &ready.running, &[0.99, 0.999]);
            }
            generation += 1;
            let marker = format!("marker-{generation}.example");
            let next = site.folder.join("next.txt");
            fs::write(&next, feed(names, &format!("{marker}\n")))?;
            fs::rename(next, ready.running.folder.join("feed.txt"))?;
            let sample = loaded.sample(engine, &ready.running, &[0.99, 0.999])?;
            await_blocked(engine, &ready.running, &marker)?;
            Ok(sample)
        })?;
        let title = format!("{}, {} ({names} names, {rate:.0} requests/s)", contender.name, row.title);
        let (new, wrong) = findings((row.id, &title), row.metrics, &entrants, &rounds, &[]);
        found.extend(new);
        failed.extend(wrong);
    }
    Ok(found)
}

/// A load in an open loop.
struct Loaded<'a> {
    exchange: &'a Exchange,
    connections: usize,
    rate: f64,
    time: Duration,
}

impl Loaded<'_> {
    /// The percentiles, in microseconds.
    fn sample(&self, engine: &mut Engine, running: &Running, shares: &[f64]) -> io::Result<Sample> {
        let before = running.process.cpu_time()?;
        let mut latencies = open::run(engine, self.exchange, self.connections, self.rate, self.time)?;
        let cpu = running.process.cpu_time()?.since(before);
        latencies.sort_unstable();
        let values: Option<Vec<f64>> =
            shares.iter().map(|share| Some(f64::from(percentile(&latencies, *share)?) / UNITS_PER_US)).collect();
        let values = values.ok_or_else(|| io::Error::other("no latencies"))?;
        Ok(Sample { values, requests: latencies.len() as u64, cpu })
    }
}

/// Half of what nginx answers a second in a closed loop, at its best; of whoever is there, where nginx is not.
fn half_of_nginx(bench: &mut Bench) -> io::Result<f64> {
    let Bench { settings, engine, ready, half_of_nginx, .. } = bench;
    if let Some(rate) = half_of_nginx {
        return Ok(*rate);
    }
    let nginx = ready.iter().find(|ready| ready.contender.name == "nginx").or_else(|| ready.first());
    let nginx = nginx.ok_or_else(|| io::Error::other("no proxy runs"))?;
    let exchange = &nginx.verified.plain.forward;
    let mut most = 0;
    for _ in 0..TRIES {
        let sample = closed_loop(engine, &nginx.running, exchange, settings.connections, settings.slice)?;
        most = most.max(sample.requests);
    }
    let rate = (most as f64 / settings.slice.as_secs_f64() / 2.0).round();
    *half_of_nginx = Some(rate);
    Ok(rate)
}

/// Waits until a host is on the list that is in force.
fn await_blocked(engine: &mut Engine, running: &Running, host: &str) -> io::Result<()> {
    let step = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / step.as_millis() {
        if fetch(engine, running.addresses.http, &None, &get(host, "/"))?.status == 403 {
            return Ok(());
        }
        idle::rest(engine, step)?;
    }
    Err(running.process.failed("did not read the list that was rewritten"))
}
