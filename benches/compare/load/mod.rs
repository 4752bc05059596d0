//! What is asked of a proxy, and how often.
//!
//! Inside: counting and checking answers; closed loops and single requests here, the other kinds in files of their own. Kept out:
//! sockets (`engine`), CPU time (`bench`).

pub mod open;
pub mod handshake;
pub mod idle;
pub mod counted;
pub mod h2load;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::engine::client::Answer;
use crate::engine::transport::Security;

/// How long a single answer, a connection or the end of a loop is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Of so many answers, the body of one is compared byte for byte; status and length are of all.
const COMPARED_EVERY: u64 = 256;

/// What a right answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub status: u16,
    pub body: Rc<[u8]>,
}

/// A request that is sent again and again, and its right answer.
#[derive(Clone)]
pub struct Exchange {
    pub to: SocketAddr,
    pub security: Security,
    pub request: Rc<[u8]>,
    pub expected: Expected,
}

impl Exchange {
    /// Whether this answer is the right one.
    pub fn check(&self, answer: &Answer) -> io::Result<()> {
        let Expected { status, body } = &self.expected;
        if answer.status != *status || answer.body_bytes != body.len() as u64 {
            let (expected, got) = ((status, body.len()), (answer.status, answer.body_bytes));
            return Err(io::Error::other(format!("expected status and length {expected:?}, got {got:?}")));
        }
        match &answer.kept {
            Some(kept) if !kept.ends_with(body) => Err(io::Error::other("the body is another one")),
            _ => Ok(()),
        }
    }
}

/// Keep-alive connections on which requests go round: each sends its next one when it was answered.
pub struct ClosedLoop<'a> {
    engine: &'a mut Engine,
    exchange: &'a Exchange,
    keys: Vec<usize>,
    answers: Vec<(usize, Answer)>,
}

impl<'a> ClosedLoop<'a> {
    /// Opens the connections; each has had one answer when this returns, so that what happens once is not measured.
    pub fn open(engine: &'a mut Engine, exchange: &'a Exchange, connections: usize) -> io::Result<Self> {
        engine.close_all();
        let keys = (0..connections)
            .map(|_| engine.connect(exchange.to, &exchange.security))
            .collect::<io::Result<Vec<usize>>>()?;
        let mut this = Self { engine, exchange, keys, answers: Vec::new() };
        this.run(Duration::ZERO)?;
        Ok(this)
    }

    /// Sends on every connection until the time is over, then awaits what is in flight. How many were answered, each of them right.
    pub fn run(&mut self, time: Duration) -> io::Result<u64> {
        let Self { engine, exchange, keys, answers } = self;
        for key in keys.iter() {
            engine.send(*key, &exchange.request, true)?;
        }
        let (mut sent, mut answered) = (keys.len() as u64, 0);
        let started = Instant::now();
        while answered < sent {
            engine.turn(Some(PATIENCE))?;
            let elapsed = started.elapsed();
            if elapsed > time + PATIENCE {
                return Err(io::Error::other(format!("{} requests were not answered", sent - answered)));
            }
            engine.answered(answers);
            for (key, answer) in answers.drain(..) {
                exchange.check(&answer)?;
                answered += 1;
                if elapsed < time {
                    sent += 1;
                    engine.send(key, &exchange.request, sent % COMPARED_EVERY == 0)?;
                }
            }
        }
        Ok(answered)
    }
}

impl Drop for ClosedLoop<'_> {
    fn drop(&mut self) {
        self.engine.close_all();
    }
}

/// One request on a connection of its own, and its answer with head and body.
pub fn fetch(engine: &mut Engine, to: SocketAddr, security: &Security, request: &[u8]) -> io::Result<Answer> {
    engine.close_all();
    let key = engine.connect(to, security)?;
    engine.send(key, &request.into(), true)?;
    let mut answers = Vec::new();
    let until = Instant::now() + PATIENCE;
    while answers.is_empty() {
        engine.turn(Some(Duration::from_millis(100)))?;
        engine.answered(&mut answers);
        if Instant::now() > until {
            return Err(io::Error::other("no answer"));
        }
    }
    engine.close_all();
    answers.pop().map(|(_, answer)| answer).ok_or_else(|| io::Error::other("no answer"))
}
