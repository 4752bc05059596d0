//! Tests of the running program, from outside: sockets, signals, files.
//!
//! Inside: one module for each thing that the program promises (docs/adr, product pages), and `support`. Kept out:
//! what a unit test beside the code can say more cheaply.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on should stop and say so")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` marks what the tests use")]
#![allow(dead_code, reason = "the support is one vocabulary; not every word is used in every issue")]

mod admin;
mod blocking;
mod bypass;
mod cli;
mod client_faults;
mod connections;
mod deploy;
mod drain;
mod drain_load;
mod examples;
mod faults;
mod forwarding;
mod http2;
mod http2_floods;
mod http2_limits;
mod http2_resets;
mod limits;
mod list_faults;
mod list_reload;
mod metrics;
mod notice;
mod process_faults;
mod smuggling;
mod slow_clients;
mod soak;
mod streaming;
mod support;
mod tls_faults;
mod tls_reload;
mod upstream_faults;
mod upstream_limits;
mod websocket;
