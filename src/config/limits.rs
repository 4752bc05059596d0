//! `[limits]`: every key of the reference into the one struct.
//!
//! Inside: which key is which field. Kept out: ranges and purposes (`sections.rs`), defaults
//! (`proxy::Limits`), and enforcing them.

use std::time::Duration;

use crate::proxy::Limits;

use super::reader::Reader;

/// Reads `[limits]`; what is left out, or is wrong and reported, has its default.
pub(super) fn limits(table: Reader<'_>) -> Limits {
    let defaults = Limits::default();
    let time = |key: &'static str, default: Duration| table.duration(key).map_or(default, |found| found.value);
    let count = |key: &'static str, default: u64| table.integer(key).map_or(default, |found| found.value);
    let size = |key: &'static str, default: usize| {
        table.integer(key).and_then(|found| usize::try_from(found.value).ok()).unwrap_or(default)
    };
    let small = |key: &'static str, default: u32| {
        table.integer(key).and_then(|found| u32::try_from(found.value).ok()).unwrap_or(default)
    };
    let target = table.integer("request_target_bytes");
    let limits = Limits {
        request_head_bytes: size("request_head_bytes", defaults.request_head_bytes),
        request_headers: size("request_headers", defaults.request_headers),
        request_target_bytes: target
            .as_ref()
            .and_then(|found| usize::try_from(found.value).ok())
            .unwrap_or(defaults.request_target_bytes),
        request_head_timeout: time("request_head_timeout", defaults.request_head_timeout),
        tls_handshake_timeout: time("tls_handshake_timeout", defaults.tls_handshake_timeout),
        keep_alive_timeout: time("keep_alive_timeout", defaults.keep_alive_timeout),
        requests_per_connection: count("requests_per_connection", defaults.requests_per_connection),
        connection_age: time("connection_age", defaults.connection_age),
        request_body_idle_timeout: time("request_body_idle_timeout", defaults.request_body_idle_timeout),
        response_write_timeout: time("response_write_timeout", defaults.response_write_timeout),
        request_body_bytes: count("request_body_bytes", defaults.request_body_bytes),
        upstream_connect_timeout: time("upstream_connect_timeout", defaults.upstream_connect_timeout),
        upstream_response_timeout: time("upstream_response_timeout", defaults.upstream_response_timeout),
        upstream_body_idle_timeout: time("upstream_body_idle_timeout", defaults.upstream_body_idle_timeout),
        upstream_pool_idle_timeout: time("upstream_pool_idle_timeout", defaults.upstream_pool_idle_timeout),
        upgraded_idle_timeout: time("upgraded_idle_timeout", defaults.upgraded_idle_timeout),
        connections: size("connections", defaults.connections),
        connections_per_client: size("connections_per_client", defaults.connections_per_client),
        http2_streams: small("http2_streams", defaults.http2_streams),
        http2_stream_window: small("http2_stream_window", defaults.http2_stream_window),
        http2_connection_window: small("http2_connection_window", defaults.http2_connection_window),
        http2_header_list_bytes: small("http2_header_list_bytes", defaults.http2_header_list_bytes),
        http2_pending_resets: size("http2_pending_resets", defaults.http2_pending_resets),
        http2_local_resets: size("http2_local_resets", defaults.http2_local_resets),
        upstream_in_flight: size("upstream_in_flight", defaults.upstream_in_flight),
        upstream_queue: size("upstream_queue", defaults.upstream_queue),
        upstream_queue_timeout: time("upstream_queue_timeout", defaults.upstream_queue_timeout),
    };
    if limits.request_target_bytes >= limits.request_head_bytes
        && let Some(target) = target
    {
        let message = "`limits.request_target_bytes` is never reached: `limits.request_head_bytes` is smaller";
        table.table().report().warning(&target.span, message);
    }
    table.finish();
    limits
}
