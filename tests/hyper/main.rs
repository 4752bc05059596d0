//! The tests of HTTP/1 in `tests/edge` again, with `server.http1 = "hyper"`: what the fast path promises, hyper behind the gate
//! promises too.
//!
//! Inside: which tests those are. Kept out: the tests.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on should stop and say so")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` marks what the tests use")]
#![allow(unused_imports, dead_code, reason = "the support is one vocabulary; not every word is used here")]

/// How HTTP/1 is served where a test does not say it itself.
const HTTP1: &str = "hyper";

#[path = "../edge/bypass.rs"]
mod bypass;
#[path = "../edge/client_faults.rs"]
mod client_faults;
#[path = "../edge/connections.rs"]
mod connections;
#[path = "../edge/drain.rs"]
mod drain;
#[path = "../edge/faults.rs"]
mod faults;
#[path = "../edge/floods.rs"]
mod floods;
#[path = "../edge/forwarding.rs"]
mod forwarding;
#[path = "../edge/hostile_origin.rs"]
mod hostile_origin;
#[path = "../edge/limits.rs"]
mod limits;
#[path = "../edge/promises.rs"]
mod promises;
#[path = "../edge/promises_p1.rs"]
mod promises_p1;
#[path = "../edge/promises_p3.rs"]
mod promises_p3;
#[path = "../edge/slow_clients.rs"]
mod slow_clients;
#[path = "../edge/smuggling.rs"]
mod smuggling;
#[path = "../edge/streaming.rs"]
mod streaming;
#[path = "../edge/upstream_faults.rs"]
mod upstream_faults;
#[path = "../edge/upstream_limits.rs"]
mod upstream_limits;
#[path = "../edge/websocket.rs"]
mod websocket;
#[path = "../edge/support/mod.rs"]
mod support;
