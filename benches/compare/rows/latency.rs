//! Latencies in an open loop: beside nginx, and while a list is rewritten.
//!
//! Inside: the rate, the rewriting, and what is taken of the latencies: where a machine stops for some ten milliseconds now and then,
//! percentiles of all tell of nothing else, so that these are of tenths of a second, and a round has the median of each. Kept out: the
//! loop (`load::open`).

use std::fs;
use std::io;
use std::time::Duration;

use super::{QUIET, Row, each, lists};
use crate::bench::{Bench, PROXY_CORE, closed_loop};
use crate::engine::Engine;
use crate::finding::{Entrant, Finding, findings};
use crate::load::{Exchange, fetch, open};
use crate::proxies::Running;
use crate::proxies::site::feed;
use crate::run::{REPEATED, Sample, Share, interleave};
use crate::statistics::{percentile, spread};
use crate::verify::get;

/// Latencies are kept in units of 100 ns.
const UNITS_PER_US: f64 = 10.0;

/// Of so much time each percentile is.
const PIECE: Duration = Duration::from_millis(100);

/// How often the load is put on while a list is read, at most.
const LOADS: usize = 20;

/// How often nginx's maximum rate is measured; the best counts.
const TRIES: usize = 3;

pub fn forward(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    let rate = half_of_nginx(bench)?;
    // Short ones and many, since a stall of the machine decides a whole one.
    let rounds = bench.settings.rounds * 2;
    let title = format!("{} ({rate:.0} requests/s)", row.title);
    let found = each(
        bench,
        row,
        rounds,
        |verified| Some(&verified.plain.forward),
        |engine, settings, ready, exchange| {
            let loaded = Loaded { exchange, connections: settings.connections, rate, time: settings.slice };
            loaded.sample(engine, &ready.running, &[0.5, 0.99, 0.999], |_| Ok(true))
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
            time: settings.slice,
        };
        let mut generation = 0;
        let rounds = interleave(&[Share::Every; 2], (settings.rounds, REPEATED), |at| {
            let shares = [0.99, 0.999];
            if at == 0 {
                return loaded.sample(engine, &ready.running, &shares, |_| Ok(true));
            }
            generation += 1;
            let marker = format!("marker-{generation}.example");
            let next = site.folder.join("next.txt");
            fs::write(&next, feed(names, &format!("{marker}\n")))?;
            fs::rename(next, ready.running.folder.join("feed.txt"))?;
            loaded.sample(engine, &ready.running, &shares, |engine| is_blocked(engine, &ready.running, &marker))
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
    /// The percentiles, in microseconds, of the load that is put on until this `is_over`.
    fn sample(
        &self,
        engine: &mut Engine,
        running: &Running,
        shares: &[f64],
        mut is_over: impl FnMut(&mut Engine) -> io::Result<bool>,
    ) -> io::Result<Sample> {
        let before = running.process.cpu_time()?;
        let (mut pieces, mut loads) = (Vec::new(), 0);
        while loads == 0 || !is_over(engine)? {
            if loads == LOADS {
                return Err(running.process.failed("did not read the list that was rewritten"));
            }
            pieces.extend(open::run(engine, self.exchange, self.connections, self.rate, (self.time, PIECE))?);
            loads += 1;
        }
        let cpu = running.process.cpu_time()?.since(before);
        pieces.iter_mut().for_each(|latencies| latencies.sort_unstable());
        let median = |share: &f64| {
            let values: Vec<f64> = pieces
                .iter()
                .filter_map(|latencies| Some(f64::from(percentile(latencies, *share)?) / UNITS_PER_US))
                .collect();
            Some(spread(&values)?.median)
        };
        let values =
            shares.iter().map(median).collect::<Option<_>>().ok_or_else(|| io::Error::other("no latencies"))?;
        Ok(Sample { values, requests: pieces.iter().map(|latencies| latencies.len() as u64).sum(), cpu })
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

/// Whether a host is on the list that is in force.
fn is_blocked(engine: &mut Engine, running: &Running, host: &str) -> io::Result<bool> {
    Ok(fetch(engine, running.addresses.http, &None, &get(host, "/"))?.status == 403)
}
