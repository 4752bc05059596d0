//! Upstreams: named groups of servers, and the connections to them.
//! (Contract stub, filled by the upstream part.)

/// A named group of servers.
#[derive(Debug)]
pub struct Upstream {}

/// The idle upstream connections of one worker.
#[derive(Debug, Default)]
pub struct Pools {}
