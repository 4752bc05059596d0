//! Tests of the running program, from outside: sockets, signals, files.
//!
//! Inside: one module for each thing that the program promises (docs/adr, product pages), and `support`. Kept out:
//! what a unit test beside the code can say more cheaply.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on should stop and say so")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` marks what the tests use")]
#![allow(dead_code, reason = "the support is one vocabulary; not every word is used in every issue")]

/// How HTTP/1 is served where a test does not say it itself; `tests/hyper` runs the tests of HTTP/1 the other way.
const HTTP1: &str = "fast";

mod admin;
mod blocking;
mod bypass;
mod bypass_http2;
mod cli;
mod client_faults;
mod connections;
mod crowd;
mod deploy;
mod diff;
mod drain;
mod drain_load;
mod examples;
mod faults;
mod floods;
mod forwarding;
mod hostile_origin;
mod http2;
mod http2_floods;
mod http2_limits;
mod http2_resets;
mod limits;
mod list_faults;
mod list_formats;
mod list_memory;
mod list_reload;
mod lists_page;
mod metrics;
mod notice;
mod process_faults;
mod promises;
mod promises_p1;
mod promises_p3;
mod remote_commands;
mod remote_faults;
mod remote_lists;
mod remote_tls;
mod reload_scale;
mod smuggling;
mod slow_clients;
mod smuggling_http2;
mod soak;
mod streaming;
mod support;
mod tls;
mod tls_faults;
mod tls_reload;
mod tls_sessions;
mod upgrade;
mod upstream_faults;
mod upstream_limits;
mod websocket;
