//! Steady traffic: requests that begin when they are due, whatever became of those before them.
//!
//! Inside: clients with a fixed rate, each on one connection that stays, and how long every request took from when it was
//! due: a stall is seen by all that were due meanwhile. Kept out: which answers are right, which the test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Connection, Response};

/// Traffic to one listener.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    pub address: SocketAddr,
    /// Clients, each with a connection of its own.
    pub clients: u32,
    /// Requests a second of all of them together.
    pub per_second: u32,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    /// When it should have been sent.
    pub due: Instant,
    /// From then until its answer was read.
    pub took: Duration,
}

impl Traffic {
    /// Asks until `done`. `host` says which host the request of a number is for, and `judge` looks at its answer; what
    /// `host` notes beside it when it is sent comes back to `judge`.
    pub fn run<N>(
        &self,
        done: &AtomicBool,
        host: impl Fn(u64) -> (String, N) + Sync,
        judge: impl Fn(&str, N, &Response) + Sync,
    ) -> Vec<Timed> {
        let begun = Instant::now();
        thread::scope(|scope| {
            let clients = (0..self.clients).map(|client| {
                let (host, judge) = (&host, &judge);
                scope.spawn(move || self.ask(begun, client, done, host, judge))
            });
            let clients: Vec<_> = clients.collect();
            let mut all = Vec::new();
            for client in clients {
                match client.join() {
                    Ok(timed) => all.extend(timed),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        })
    }

    fn ask<N>(
        &self,
        begun: Instant,
        client: u32,
        done: &AtomicBool,
        host: &impl Fn(u64) -> (String, N),
        judge: &impl Fn(&str, N, &Response),
    ) -> Vec<Timed> {
        let mut connection = Connection::plain(self.address);
        let mut all = Vec::new();
        for number in (u64::from(client)..).step_by(self.clients as usize) {
            if done.load(Ordering::SeqCst) {
                break;
            }
            let due = begun + Duration::from_secs(1).mul_f64(number as f64 / f64::from(self.per_second));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (asked, note) = host(number);
            let answer = connection.try_get(&asked, "/");
            let took = due.elapsed();
            let answer = answer.unwrap_or_else(|error| panic!("request {number}, for {asked}: {error}"));
            assert!(answer.complete, "request {number}, for {asked}: half an answer");
            judge(&asked, note, &answer);
            all.push(Timed { due, took });
        }
        all
    }
}

/// The time that so many of ten thousand did not exceed, of those that were due in this span.
pub fn percentile(all: &[Timed], from: Instant, until: Instant, of_ten_thousand: usize) -> Duration {
    let due = all.iter().filter(|timed| timed.due >= from && timed.due < until);
    let mut times: Vec<Duration> = due.map(|timed| timed.took).collect();
    times.sort_unstable();
    assert!(!times.is_empty(), "nothing was asked in this span");
    times[(times.len() - 1) * of_ten_thousand / 10_000]
}
