//! Connections that are idle after one request each.
//!
//! Inside: opening them. Kept out: memory (`rows::idle`).

use std::io;
use std::time::{Duration, Instant};

use super::Exchange;
use crate::engine::Engine;

/// Opened at a time.
const CONCURRENT: usize = 32;

/// So much a thousand connections may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens so many more connections, each of which is idle when this returns.
pub fn open(engine: &mut Engine, exchange: &Exchange, more: usize) -> io::Result<()> {
    let (mut begun, mut done) = (0, 0);
    let mut answers = Vec::new();
    let until = Instant::now() + PATIENCE * u32::try_from(more / 1000 + 1).map_err(io::Error::other)?;
    while done < more {
        while begun < more && begun - done < CONCURRENT {
            let key = engine.connect(exchange.to, &exchange.security)?;
            engine.send(key, &exchange.request, false)?;
            begun += 1;
        }
        engine.turn(Some(Duration::from_millis(100)))?;
        engine.answered(&mut answers);
        for (_, answer) in answers.drain(..) {
            exchange.check(&answer)?;
            done += 1;
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("{done} of {more} connections were answered")));
        }
    }
    Ok(())
}

/// Serves what there is to serve for a while, so that all has come to rest.
pub fn rest(engine: &mut Engine, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        engine.turn(Some(time / 10))?;
    }
    Ok(())
}
