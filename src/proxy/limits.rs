//! Every number that bounds a resource of the proxying path, in one struct.
//!
//! Inside: the limits, their defaults, and the attack that each one stops. Kept out: enforcing them, which
//! each part does where the resource is used. No default means "no limit" but for the fields that say so.

use std::time::Duration;

/// The limits of `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head: a head that never ends fills memory. Exceeded: 431.
    pub request_head_bytes: usize,
    /// Header fields of a request: many small fields cost more than their bytes. Exceeded: 431.
    pub request_headers: usize,
    /// Bytes of the request target. Exceeded: 414.
    pub request_target_bytes: usize,
    /// From accept, or from the first byte of a further request, to a whole head (slow loris). Exceeded: 408
    /// and close where a byte of a head came, else close in silence.
    pub request_head_timeout: Duration,
    /// The TLS handshake. Exceeded: close.
    pub tls_handshake_timeout: Duration,
    /// An idle connection between requests. Exceeded: close.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection. Reached: close after the answer.
    pub requests_per_connection: u64,
    /// A connection's age, with jitter. Reached: close after the answer.
    pub connection_age: Duration,
    /// A request body of which not even 1 KiB comes in this time of waiting for it (slow body). Exceeded: 408 or cut.
    pub request_body_idle_timeout: Duration,
    /// A response that the client does not read, at least 1 KiB in this time (slow read). Exceeded: cut.
    pub response_write_timeout: Duration,
    /// Bytes of a request body; 0 is no limit, since it is streamed. Exceeded: 413.
    pub request_body_bytes: u64,
    /// Connecting to an upstream. Exceeded: 504.
    pub upstream_connect_timeout: Duration,
    /// From the request to the upstream's response head. Exceeded: 504.
    pub upstream_response_timeout: Duration,
    /// An upstream's body that makes no progress. Exceeded: the client's response is cut.
    pub upstream_body_idle_timeout: Duration,
    /// A pooled upstream connection. Exceeded: closed.
    pub upstream_pool_idle_timeout: Duration,
    /// An upgraded connection without a byte either way. Exceeded: close.
    pub upgraded_idle_timeout: Duration,
    /// Client connections over all workers; 0 is half of the file descriptor limit less a reserve. Reached:
    /// accepting pauses.
    pub connections: usize,
    /// Connections of one client address; 0 is off. Exceeded: closed at accept and counted.
    pub connections_per_client: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub http2_streams: u32,
    /// Bytes of an HTTP/2 stream's receive window.
    pub http2_stream_window: u32,
    /// Bytes of an HTTP/2 connection's receive window.
    pub http2_connection_window: u32,
    /// Bytes of an HTTP/2 header list, 32 for each field included (HPACK bomb). Exceeded: 431. Clients are told twice as much,
    /// so that what is refused up to there is counted.
    pub http2_header_list_bytes: u32,
    /// Resets by the client that wait to be taken up (rapid reset). Exceeded: GOAWAY.
    pub http2_pending_resets: usize,
    /// Resets that the client made us send (MadeYouReset). Exceeded: GOAWAY.
    pub http2_local_resets: usize,
    /// Requests in flight to one upstream, over all workers; 0 is off. Exceeded: queued.
    pub upstream_in_flight: usize,
    /// Requests that wait for an upstream. Exceeded: 503 with Retry-After.
    pub upstream_queue: usize,
    /// How long one waits. Exceeded: 503 with Retry-After.
    pub upstream_queue_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head_bytes: 32_768,
            request_headers: 100,
            request_target_bytes: 8_192,
            request_head_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(60),
            requests_per_connection: 10_000,
            connection_age: Duration::from_secs(3_600),
            request_body_idle_timeout: Duration::from_secs(15),
            response_write_timeout: Duration::from_secs(30),
            request_body_bytes: 0,
            upstream_connect_timeout: Duration::from_secs(3),
            upstream_response_timeout: Duration::from_secs(60),
            upstream_body_idle_timeout: Duration::from_secs(60),
            upstream_pool_idle_timeout: Duration::from_secs(4),
            upgraded_idle_timeout: Duration::from_secs(3_600),
            connections: 0,
            connections_per_client: 0,
            http2_streams: 100,
            http2_stream_window: 64 * 1_024,
            http2_connection_window: 1_024 * 1_024,
            http2_header_list_bytes: 16 * 1_024,
            http2_pending_resets: 20,
            http2_local_resets: 100,
            upstream_in_flight: 0,
            upstream_queue: 1_024,
            upstream_queue_timeout: Duration::from_secs(1),
        }
    }
}
