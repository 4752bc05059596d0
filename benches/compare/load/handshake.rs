//! TLS handshakes, one after the other on a few connections at a time.
//!
//! Inside: connecting, awaiting the session ticket, resetting. Kept out: requests; a handshake carries none.

use std::io;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use super::{Exchange, PATIENCE};
use crate::engine::Engine;

/// At a time: few enough that each resumption finds a ticket of the one before it (rustls keeps eight a server).
const CONCURRENT: usize = 4;

/// Handshakes until the time is over; how many there were, all of this kind, and all complete on both sides.
pub fn run(engine: &mut Engine, exchange: &Exchange, kind: HandshakeKind, time: Duration) -> io::Result<u64> {
    for _ in 0..CONCURRENT {
        begin(engine, exchange)?;
    }
    let (mut open, mut done) = (CONCURRENT, 0);
    let mut answers = Vec::new();
    let started = Instant::now();
    while open > 0 {
        engine.turn(Some(PATIENCE))?;
        let elapsed = started.elapsed();
        if elapsed > time + PATIENCE {
            return Err(io::Error::other(format!("{open} handshakes were not finished")));
        }
        engine.answered(&mut answers);
        for (key, _) in answers.drain(..) {
            let tls = engine.client(key)?.transport.tls.as_ref();
            let found = tls.and_then(|tls| tls.handshake_kind());
            if found != Some(kind) {
                return Err(io::Error::other(format!("a handshake was {found:?} and not {kind:?}")));
            }
            engine.close(key);
            open -= 1;
            done += 1;
            if elapsed < time {
                begin(engine, exchange)?;
                open += 1;
            }
        }
    }
    Ok(done)
}

fn begin(engine: &mut Engine, exchange: &Exchange) -> io::Result<()> {
    let key = engine.connect(exchange.to, &exchange.security)?;
    engine.client(key)?.await_ticket();
    Ok(())
}
