//! Connections to nowhere, for tests.

use std::cell::RefCell;
use std::sync::Arc;

use crate::host::HostName;
use crate::proxy::{ServerConfig, UpstreamConfig};
use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::Metrics;

use super::Upstream;
use super::connection::{Connection, Duplex, Stream};

/// An upstream with one server, where nobody is.
pub(super) fn upstream() -> Arc<Upstream> {
    let host = HostName::parse(b"192.0.2.1").expect("a host");
    let servers = vec![ServerConfig { host, port: 80, tls: false }];
    let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: None };
    Arc::new(Upstream::build(&config, &Metrics::new(1, []), None).expect("an upstream"))
}

/// A connection to it over this stream.
pub(super) fn connection(upstream: &Upstream, stream: Stream) -> Connection {
    Connection::new(stream, &upstream.servers()[0], upstream, WorkerId(0))
}

/// The same over a stream in memory.
pub(in crate::proxy) fn in_memory(io: impl Duplex + 'static) -> Connection {
    connection(&upstream(), Stream::Other(RefCell::new(Box::new(io))))
}
