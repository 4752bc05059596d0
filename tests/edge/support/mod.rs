//! What the tests of the running program share: the edge itself, an origin, clients, certificates, peers.
//!
//! Inside: helpers that read like a sentence in a test. Kept out: expectations, which the tests state.

pub mod certs;
pub mod client;
pub mod edge;
pub mod frames;
pub mod hello;
pub mod http2;
pub mod lists;
pub mod metrics;
pub mod origin;
pub mod peers;
pub mod selftest;
pub mod setup;
pub mod siege;
pub mod traffic;

use std::env;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

pub use client::{Connection, Response};
pub use edge::Edge;
pub use lists::ListServer;
pub use metrics::Metrics;
pub use origin::{Origin, Reply};
pub use setup::Setup;

/// How long a test waits for what must happen: generous, since it is only spent when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at that has no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The number in this variable of the environment, or the one of the suite.
pub fn setting<T: FromStr>(name: &str, usual: T) -> T {
    let given = env::var(name).ok();
    given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Waits until the condition holds and says how long that took; panics with `what` after [`PATIENCE`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
    start.elapsed()
}
