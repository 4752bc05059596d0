//! The tables and keys of the configuration, as data.
//!
//! Inside: names, ranges, defaults, purposes. Kept out: how they are read (`raw.rs`) and shown (`reference.rs`).

use super::keys::{Key, Kind, REQUIRED, Section};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
/// Every limit in time: no shorter, since nothing would get through; no default means "no limit".
const TIMEOUT: Kind = Kind::Duration(10, DAY);
/// A size in bytes that is held in memory for each connection or stream.
const WINDOW_MOST: u64 = 2_147_483_647;

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default, about }
}

const fn table(name: &'static str, about: &'static str) -> Key {
    Key { name, kind: Kind::Table, default: "", about }
}

/// Every table of the configuration, in the order of the documentation.
pub(super) const SECTIONS: &[Section] = &[
    TOP,
    SERVER,
    DRAIN,
    OPERATOR,
    LISTENER,
    LISTENER_TLS,
    ADMIN,
    METRICS,
    BLOCKLIST,
    SOURCE,
    NOTICE,
    UPSTREAM,
    ROUTE,
    LOG,
    LIMITS,
];

/// The section of that name. The walker asks for documented sections only.
pub(super) fn section(name: &str) -> &'static Section {
    SECTIONS.iter().find(|section| section.name == name).expect("every table of the walker is in the reference")
}

const TOP: Section = Section {
    name: "",
    about: "",
    keys: &[
        table("server", "The program as a whole."),
        table("operator", "Who runs this edge."),
        table("listener", "The addresses that clients come to."),
        table("admin", "The admin endpoint."),
        table("metrics", "An address for scrapers and load balancers."),
        table("blocklist", "What is blocked."),
        table("notice", "What the visitor of a blocked host is shown."),
        table("upstream", "Named groups of servers."),
        table("route", "Which host goes to which upstream."),
        table("log", "What the program says about itself."),
        table("limits", "Every limit."),
    ],
};

const SERVER: Section = Section {
    name: "server",
    about: "The program as a whole.",
    keys: &[
        key(
            "name",
            Kind::Text,
            "sluis- and 8 hex digits made at start",
            "Pseudonym in `Via` and `Proxy-Status`: a letter, then letters, digits, `.`, `_` and `-`, at most 64. A request that has it in `Via` already is a loop (508).",
        ),
        key("workers", Kind::Integer(0, 1_024), "0", "Threads that serve requests; 0: one per core. Needs a restart."),
        table("drain", "How a stop goes."),
        key(
            "upgrade_timeout",
            Kind::Duration(SECOND, HOUR),
            "\"1m\"",
            "What the new process of an upgrade (USR2) gets to become ready; after that it is killed, and this one serves on.",
        ),
        key(
            "trusted_proxies",
            Kind::Strings,
            "[]",
            "CIDRs of the peers whose `X-Forwarded-*` and `Forwarded` are kept.",
        ),
        key(
            "http1",
            Kind::Choice(&["fast", "hyper"]),
            "\"fast\"",
            "How HTTP/1 is served: by a codec of our own where a request is plain beyond doubt, else by hyper; or by hyper alone.",
        ),
        key(
            "state_directory",
            Kind::Path,
            "none",
            "Where the last good bytes of every source and certificate are kept, for a start when a file is broken.",
        ),
    ],
};

const DRAIN: Section = Section {
    name: "server.drain",
    about: "How a stop goes. Written `drain = { delay = \"0s\", timeout = \"30s\" }` in `[server]`.",
    keys: &[
        key(
            "delay",
            Kind::Duration(0, HOUR),
            "\"0s\"",
            "From the signal to the end of accepting; `/readyz` is 503 meanwhile, so that a load balancer can look away.",
        ),
        key(
            "timeout",
            Kind::Duration(0, DAY),
            "\"30s\"",
            "What requests in flight get after that; those that are left are cut (exit status 3).",
        ),
    ],
};

const OPERATOR: Section = Section {
    name: "operator",
    about: "Who runs this edge; printed on every notice.",
    keys: &[
        key("name", Kind::Text, "required where there is a blocklist", "The name that visitors read."),
        key(
            "url",
            Kind::Text,
            "required where a decision is a court or legal order",
            "A page about your blocking, http or https; `Link: <...>; rel=\"blocked-by\"` (RFC 7725).",
        ),
        key(
            "contact",
            Kind::Text,
            "required where there is a blocklist",
            "Where to object: a `mailto:`, `https:`, `http:` or `tel:` URL.",
        ),
    ],
};

const LISTENER: Section = Section {
    name: "listener.NAME",
    about: "An address that clients come to. At least one. The name is its label in metrics.",
    keys: &[
        key("address", Kind::Text, REQUIRED, "IP address and port. Needs a restart."),
        table("tls", "TLS; without it the listener is plaintext."),
    ],
};

const LISTENER_TLS: Section = Section {
    name: "listener.NAME.tls",
    about: "TLS on a listener; HTTP/2 and HTTP/1.1 by ALPN. Written with dots in `[listener.NAME]`: `tls.certificates = ...`.",
    keys: &[
        key("certificates", Kind::Path, REQUIRED, "A directory of NAME.crt (chain) and NAME.key, PEM; watched."),
        key("default", Kind::Text, "the first by name", "NAME for clients without SNI or with an unknown one."),
        key(
            "sni_mismatch",
            Kind::Choice(&["certificate", "reject", "allow"]),
            "\"certificate\"",
            "When Host and SNI differ and neither is blocked: 421 unless the certificate that was served covers Host; 421 always; or nothing.",
        ),
        key("min_version", Kind::Choice(&["1.2", "1.3"]), "\"1.2\"", "The oldest version of TLS that is spoken."),
        key(
            "client_ca",
            Kind::Path,
            "none",
            "PEM file of the roots that client certificates are checked against; without it they are not asked for. With it, no session is resumed: each connection shows its certificate.",
        ),
    ],
};

const ADMIN: Section = Section {
    name: "admin",
    about: "The admin endpoint: health, status page, API, metrics. Never reachable through a listener.",
    keys: &[key("address", Kind::Text, "\"127.0.0.1:9180\"", "IP address and port. Needs a restart.")],
};

const METRICS: Section = Section {
    name: "metrics",
    about: "Optional: GET and HEAD of `/metrics`, `/livez` and `/readyz` only, for scrapers and load balancers.",
    keys: &[key("address", Kind::Text, REQUIRED, "IP address and port. Needs a restart.")],
};

const BLOCKLIST: Section = Section {
    name: "blocklist",
    about: "How sources are watched, and what is refused on the way in.",
    keys: &[
        key("settle", Kind::Duration(0, HOUR), "\"200ms\"", "Quiet time after a change before a file is read."),
        key("poll", Kind::Duration(100, HOUR), "\"5s\"", "The backstop where no file event arrives."),
        key("never_block", Kind::Strings, "[]", "Host patterns; a decision that would hit one of these is refused."),
        key(
            "max_shrink_percent",
            Kind::Integer(0, 100),
            "50",
            "A feed of 1,000 names or more that loses more than this at once is refused.",
        ),
        key(
            "max_error_percent",
            Kind::Integer(0, 100),
            "1",
            "A feed with more lines than this that are not names is refused.",
        ),
        key(
            "max_memory_mib",
            Kind::Integer(1, 1_048_576),
            "what the system has left",
            "The most that the index may take, the names of all sources included, in MiB. Checked before an index is built: a list that would need more is refused, and the others go on. What the machine, the control group and the resource limits (`ulimit`) have left is looked at in any case.",
        ),
        table("source", "The files that decisions come from."),
    ],
};

const SOURCE: Section = Section {
    name: "blocklist.source.NAME",
    about: "A file or a URL that decisions come from: decision records, or a feed of names under one decision.",
    keys: &[
        key(
            "path",
            Kind::Path,
            "required without url",
            "The file; watched. One that ends in .gz or .zst is decompressed (gzip, zstd), and its format follows from what stands before that.",
        ),
        key(
            "url",
            Kind::Text,
            "required without path",
            "The list is fetched from there, `https://` or `http://`, and kept in `server.state_directory`, which it needs.",
        ),
        key(
            "refresh",
            Kind::Duration(SECOND, 7 * DAY),
            "\"1h\"",
            "How often a `url` is asked whether the list has changed; after failures less often.",
        ),
        key(
            "timeout",
            Kind::Duration(100, HOUR),
            "\"5m\"",
            "The longest that one fetch of a `url` takes. A server that is silent for 30 s is given up before.",
        ),
        key("max_mib", Kind::Integer(1, 1_024), "256", "A list at a `url` with more MiB is refused."),
        key(
            "ca",
            Kind::Path,
            "the platform's roots",
            "PEM file of the roots that the server of a `url` is checked against instead.",
        ),
        key(
            "format",
            Kind::Choice(&["decisions", "domains", "hosts", "adblock", "dnsmasq", "rpz"]),
            "decisions where the path or URL ends in .toml, else required",
            "How to read it.",
        ),
        key(
            "scope",
            Kind::Choice(&["exact", "subtree"]),
            "required for domains and hosts",
            "What a bare name means: that host alone, or that host and all below it. For domains and hosts alone: the other formats say it themselves.",
        ),
        table("decision", "The decision of every name of a feed: every field of a record but `hosts`."),
    ],
};

const NOTICE: Section = Section {
    name: "notice",
    about: "What the visitor of a blocked host is shown.",
    keys: &[key("templates", Kind::Path, "none", "A directory of your own templates, reloaded like a list.")],
};

const UPSTREAM: Section = Section {
    name: "upstream.NAME",
    about: "A named group of servers. Names are resolved at start and every 30 s, never because of a request.",
    keys: &[
        key(
            "servers",
            Kind::Strings,
            REQUIRED,
            "`host:port`, or `https://host:port` for TLS (the certificate must be for that host).",
        ),
        key(
            "ca",
            Kind::Path,
            "the platform's roots",
            "PEM file of the roots that TLS servers are checked against instead.",
        ),
    ],
};

const ROUTE: Section = Section {
    name: "route[]",
    about: "Hosts, and the upstream that they go to; the most specific host wins. A host that no route covers gets 421.",
    keys: &[
        key(
            "hosts",
            Kind::Strings,
            "everything that is not routed elsewhere",
            "Host patterns: `x` is that host alone, `*.x` every host below it, `.x` both.",
        ),
        key("upstream", Kind::Text, REQUIRED, "The NAME of an `[upstream.NAME]`."),
    ],
};

const LOG: Section = Section {
    name: "log",
    about: "What the program says about itself, on standard error.",
    keys: &[
        key(
            "level",
            Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
            "\"info\"",
            "The least important that is written.",
        ),
        key("format", Kind::Choice(&["text", "json"]), "\"text\"", "For people, or one JSON object a line."),
    ],
};

const LIMITS: Section = Section {
    name: "limits",
    about: "Every number that bounds a resource, with the attack that it stops. Only those whose default is 0 can be off.",
    keys: &[
        key(
            "request_head_bytes",
            Kind::Integer(1_024, 1_048_576),
            "32768",
            "A request's head; one that never ends fills memory. Exceeded: 431.",
        ),
        key(
            "request_headers",
            Kind::Integer(1, 1_000),
            "100",
            "Header fields of a request; many small fields cost more than their bytes. Exceeded: 431.",
        ),
        key("request_target_bytes", Kind::Integer(64, 65_534), "8192", "The request target. Exceeded: 414."),
        key(
            "request_head_timeout",
            TIMEOUT,
            "\"10s\"",
            "From accept, or from the first byte of a further request, to a whole head (slow loris). Exceeded: 408 and close, or close in silence where no byte came.",
        ),
        key("tls_handshake_timeout", TIMEOUT, "\"5s\"", "The TLS handshake (half-open handshakes). Exceeded: close."),
        key("keep_alive_timeout", TIMEOUT, "\"60s\"", "An idle connection between requests. Exceeded: close."),
        key(
            "requests_per_connection",
            Kind::Integer(1, 1_000_000_000),
            "10000",
            "Requests on one connection. Reached: close after the answer.",
        ),
        key(
            "connection_age",
            Kind::Duration(SECOND, 7 * DAY),
            "\"1h\"",
            "A connection's age, with jitter (clients that never leave after a drain or a change of address). Reached: close after the answer.",
        ),
        key(
            "request_body_idle_timeout",
            TIMEOUT,
            "\"15s\"",
            "A request body of which not even 1 KiB comes in this time of waiting for it (slow body). Exceeded: 408 or cut.",
        ),
        key(
            "response_write_timeout",
            TIMEOUT,
            "\"30s\"",
            "A response that the client does not read, at least 1 KiB in this time (slow read). Exceeded: cut.",
        ),
        key(
            "request_body_bytes",
            Kind::Integer(0, u64::MAX >> 1),
            "0",
            "A request body; 0: unlimited, since it is streamed. Exceeded: 413.",
        ),
        key("upstream_connect_timeout", TIMEOUT, "\"3s\"", "Connecting to a server of an upstream. Exceeded: 504."),
        key(
            "upstream_response_timeout",
            TIMEOUT,
            "\"60s\"",
            "From the request to the upstream's response head. Exceeded: 504.",
        ),
        key(
            "upstream_body_idle_timeout",
            TIMEOUT,
            "\"60s\"",
            "An upstream's body that makes no progress. Exceeded: the client's response is cut.",
        ),
        key(
            "upstream_pool_idle_timeout",
            TIMEOUT,
            "\"4s\"",
            "A pooled upstream connection (many origins close after 5 s). Exceeded: closed.",
        ),
        key(
            "upgraded_idle_timeout",
            Kind::Duration(10, 7 * DAY),
            "\"1h\"",
            "An upgraded connection without a byte either way. Exceeded: close.",
        ),
        key(
            "connections",
            Kind::Integer(0, 10_000_000),
            "0",
            "Client connections over all workers; 0: half of the file descriptor limit less a reserve. Reached: accepting pauses.",
        ),
        key(
            "connections_per_client",
            Kind::Integer(0, 1_000_000),
            "0",
            "Connections of one client address; 0: off. Exceeded: closed at accept and counted.",
        ),
        key(
            "http2_streams",
            Kind::Integer(1, 10_000),
            "100",
            "Concurrent streams of an HTTP/2 connection. Exceeded: refused.",
        ),
        key(
            "http2_stream_window",
            Kind::Integer(1_024, WINDOW_MOST),
            "65536",
            "Bytes of an HTTP/2 stream's receive window.",
        ),
        key(
            "http2_connection_window",
            Kind::Integer(65_535, WINDOW_MOST),
            "1048576",
            "Bytes of an HTTP/2 connection's receive window.",
        ),
        key(
            "http2_header_list_bytes",
            Kind::Integer(1_024, 1_048_576),
            "16384",
            "Bytes of an HTTP/2 header list, 32 for each field included (HPACK bomb). Exceeded: 431. Clients are told twice as much, so that what is refused up to there is counted.",
        ),
        key(
            "http2_pending_resets",
            Kind::Integer(1, 100_000),
            "20",
            "Resets by the client that wait to be taken up (rapid reset). Exceeded: GOAWAY.",
        ),
        key(
            "http2_local_resets",
            Kind::Integer(1, 100_000),
            "100",
            "Resets that the client made us send (MadeYouReset). Exceeded: GOAWAY.",
        ),
        key(
            "upstream_in_flight",
            Kind::Integer(0, 10_000_000),
            "0",
            "Requests in flight to one upstream, over all workers; 0: off. Exceeded: queued.",
        ),
        key(
            "upstream_queue",
            Kind::Integer(0, 10_000_000),
            "1024",
            "Requests that wait for an upstream. Exceeded: 503 with Retry-After.",
        ),
        key("upstream_queue_timeout", TIMEOUT, "\"1s\"", "How long one waits. Exceeded: 503 with Retry-After."),
    ],
};
