//! The rows of the comparison: what is measured, and with which goal.
//!
//! Inside: the table of rows, and what all of them share. Kept out: how each kind of row measures, which has a file of its own.

mod requests;
mod tls;
mod lists;
mod latency;
mod idle;
mod workers;

use std::io;

use crate::bench::{Bench, Ready};
use crate::engine::Engine;
use crate::finding::{Finding, Metric, findings};
use crate::goals::Goal;
use crate::run::{REPEATED, Sample, interleave};
use crate::settings::Settings;
use crate::verify::Verified;

/// What a row measures and what it is called by.
pub struct Row {
    pub id: &'static str,
    pub title: &'static str,
    pub metrics: &'static [Metric],
    pub measure: fn(&mut Bench, &Self) -> io::Result<Vec<Finding>>,
}

const BEST: &[&str] = &["nginx", "haproxy"];
const NGINX: &[&str] = &["nginx"];
const CPU: &str = "CPU us/request";
const HANDSHAKE: &str = "CPU us/handshake";
const BODY: &str = "CPU s/GiB";
const TIME: &str = "us";
const MEMORY: &str = "KiB/connection";

/// Of what a series of its own row is called that others are compared with.
pub const NONE: &[&str] = &["no list"];
pub const QUIET: &[&str] = &["quiet"];

const fn one(unit: &'static str, goal: Goal) -> [Metric; 1] {
    [Metric { name: "", unit, goal }]
}

/// All rows, in the order in which they run. The goals are those of the design.
pub const ROWS: &[Row] = &[
    Row {
        id: "forward",
        title: "forward, HTTP/1.1 keep-alive, 1 KiB",
        metrics: &one(CPU, Goal::OfBest(BEST, 0.80)),
        measure: requests::forward,
    },
    Row {
        id: "blocked",
        title: "blocked, HTTP/1.1 keep-alive, 100,000 names",
        metrics: &one(CPU, Goal::OfBest(BEST, 0.92)),
        measure: requests::blocked,
    },
    Row {
        id: "tls-forward",
        title: "forward, HTTP/1.1 over TLS",
        metrics: &one(CPU, Goal::None),
        measure: requests::tls_forward,
    },
    Row {
        id: "http2-forward",
        title: "forward, HTTP/2 over TLS",
        metrics: &one(CPU, Goal::OfBest(NGINX, 0.70)),
        measure: tls::http2_forward,
    },
    Row {
        id: "http2-blocked",
        title: "blocked, HTTP/2 over TLS, 100,000 names",
        metrics: &one(CPU, Goal::OfBest(NGINX, 0.85)),
        measure: tls::http2_blocked,
    },
    Row {
        id: "handshake-full",
        title: "full TLS 1.3 handshake",
        metrics: &one(HANDSHAKE, Goal::OfBest(NGINX, 0.55)),
        measure: tls::full,
    },
    Row {
        id: "handshake-resumed",
        title: "resumed TLS 1.3 handshake",
        metrics: &one(HANDSHAKE, Goal::None),
        measure: tls::resumed,
    },
    Row {
        id: "body-down",
        title: "answers of 1 MiB",
        metrics: &one(BODY, Goal::OfBest(BEST, 1.0)),
        measure: requests::body_down,
    },
    Row {
        id: "body-up",
        title: "requests of 1 MiB",
        metrics: &one(BODY, Goal::OfBest(BEST, 1.0)),
        measure: requests::body_up,
    },
    Row {
        id: "tls-body-down",
        title: "answers of 1 MiB over TLS",
        metrics: &one(BODY, Goal::OfBest(BEST, 1.0)),
        measure: requests::tls_body_down,
    },
    Row {
        id: "tls-body-up",
        title: "requests of 1 MiB over TLS",
        metrics: &one(BODY, Goal::OfBest(BEST, 1.0)),
        measure: requests::tls_body_up,
    },
    Row {
        id: "latency",
        title: "latency at half of nginx's maximum rate, open loop",
        metrics: &[
            Metric { name: "p50", unit: TIME, goal: Goal::None },
            Metric { name: "p99", unit: TIME, goal: Goal::OfBest(NGINX, 1.0) },
            Metric { name: "p99.9", unit: TIME, goal: Goal::OfBest(NGINX, 1.0) },
        ],
        measure: latency::forward,
    },
    Row {
        id: "lists",
        title: "by the size of its list",
        metrics: &[
            Metric { name: "forward", unit: CPU, goal: Goal::OfBest(NONE, 1.03) },
            Metric { name: "blocked", unit: CPU, goal: Goal::OfBest(NONE, 1.03) },
        ],
        measure: lists::sizes,
    },
    Row {
        id: "reload",
        title: "latency while its list reloads",
        metrics: &[
            Metric { name: "p99", unit: TIME, goal: Goal::None },
            Metric { name: "p99.9", unit: TIME, goal: Goal::OfBest(QUIET, 1.5) },
        ],
        measure: latency::reload,
    },
    Row {
        id: "idle",
        title: "idle keep-alive connection, HTTP",
        metrics: &one(MEMORY, Goal::AtMost(1.0)),
        measure: idle::plain,
    },
    Row {
        id: "tls-idle",
        title: "idle keep-alive connection, TLS",
        metrics: &one(MEMORY, Goal::AtMost(10.0)),
        measure: idle::tls,
    },
    Row {
        id: "workers",
        title: "two workers on both cores, one of them shared with load and origin",
        metrics: &[
            Metric { name: "CPU", unit: CPU, goal: Goal::None },
            Metric { name: "rate", unit: "requests/s", goal: Goal::None },
        ],
        measure: workers::two,
    },
];

/// Measures every proxy that is ready and for which `pick` finds something, in interleaved rounds.
fn each<T>(
    bench: &mut Bench,
    row: &Row,
    rounds: usize,
    pick: fn(&Verified) -> Option<&T>,
    mut measure: impl FnMut(&mut Engine, &Settings, &Ready, &T) -> io::Result<Sample>,
) -> io::Result<Vec<Finding>> {
    let (entrants, places, absent) = bench.entrants(pick);
    let Bench { settings, engine, ready, failed, .. } = bench;
    let chosen: Vec<_> = places.iter().filter_map(|place| ready.get(*place)).collect();
    let shares: Vec<_> = chosen.iter().map(|ready| ready.contender.kind.share(settings)).collect();
    // Memory does not feel it.
    let repeated = if row.metrics.iter().all(|metric| metric.unit == MEMORY) { 0 } else { REPEATED };
    let rounds = interleave(&shares, (rounds, repeated), |at| {
        let ready = chosen.get(at).ok_or_else(|| io::Error::other("no such contender"))?;
        let picked = pick(&ready.verified).ok_or_else(|| io::Error::other("cannot do this"))?;
        measure(engine, settings, ready, picked)
    })?;
    let (found, new) = findings((row.id, row.title), row.metrics, &entrants, &rounds, &absent);
    failed.extend(new);
    Ok(found)
}
