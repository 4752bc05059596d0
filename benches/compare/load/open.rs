//! An open loop: requests at a fixed rate, whether or not the ones before them were answered.
//!
//! Inside: the schedule and the latencies. Each latency counts from when its request was to be sent, so that a proxy that stalls
//! is charged for all that waited (no coordinated omission). Kept out: percentiles (`statistics`).

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::{Exchange, PATIENCE};
use crate::engine::Engine;

/// Latencies in units of 100 nanoseconds, in no order, of the requests of each `piece` of the time.
pub fn run(
    engine: &mut Engine,
    exchange: &Exchange,
    connections: usize,
    per_second: f64,
    (time, piece): (Duration, Duration),
) -> io::Result<Vec<Vec<u32>>> {
    engine.close_all();
    let mut idle = connect(engine, exchange, connections)?;
    let total = (per_second * time.as_secs_f64()) as usize;
    let mut latencies: Vec<Vec<u32>> = Vec::new();
    let mut answered = 0;
    let mut waiting = VecDeque::new();
    let mut scheduled = vec![Duration::ZERO; idle.iter().max().map_or(0, |key| key + 1)];
    let (mut next, mut answers) = (0, Vec::new());
    let started = Instant::now();
    while answered < total {
        let now = started.elapsed();
        while next < total && due(next, per_second) <= now {
            waiting.push_back(due(next, per_second));
            next += 1;
        }
        while !waiting.is_empty() && !idle.is_empty() {
            let (Some(at), Some(key)) = (waiting.pop_front(), idle.pop()) else { break };
            scheduled.get_mut(key).into_iter().for_each(|slot| *slot = at);
            engine.send(key, &exchange.request, false)?;
        }
        // Never waits: epoll's timeout is coarser than the schedule, and this core has nothing else to do.
        engine.turn(Some(Duration::ZERO))?;
        engine.answered(&mut answers);
        for (key, answer) in answers.drain(..) {
            exchange.check(&answer)?;
            let at = scheduled.get(key).copied().unwrap_or_default();
            let latency = started.elapsed().saturating_sub(at);
            let place = at.div_duration_f64(piece) as usize;
            latencies.resize_with(latencies.len().max(place + 1), Vec::new);
            latencies[place].push(u32::try_from(latency.as_nanos() / 100).unwrap_or(u32::MAX));
            answered += 1;
            idle.push(key);
        }
        if now > time + PATIENCE {
            return Err(io::Error::other(format!("{answered} of {total} requests were answered in time")));
        }
    }
    engine.close_all();
    Ok(latencies)
}

/// Connections that have had one answer each.
fn connect(engine: &mut Engine, exchange: &Exchange, connections: usize) -> io::Result<Vec<usize>> {
    let mut answers = Vec::new();
    for _ in 0..connections {
        let key = engine.connect(exchange.to, &exchange.security)?;
        engine.send(key, &exchange.request, false)?;
    }
    let until = Instant::now() + PATIENCE;
    while answers.len() < connections {
        engine.turn(Some(Duration::from_millis(100)))?;
        engine.answered(&mut answers);
        if Instant::now() > until {
            return Err(io::Error::other("connections were not answered"));
        }
    }
    answers.iter().try_for_each(|(_, answer)| exchange.check(answer))?;
    Ok(answers.into_iter().map(|(key, _)| key).collect())
}

fn due(request: usize, per_second: f64) -> Duration {
    Duration::from_secs_f64(request as f64 / per_second)
}
