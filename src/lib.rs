//! sluis: a reverse proxy that refuses hosts by decision, and can say why.
//!
//! The program is this library behind a `main` of a few lines. The modules stand in reading order, which is the order of
//! the layers of ARCHITECTURE.md: each imports only from those above it. Start with `proxy::service`, the life of a
//! request on one screen, or with `blocklist::reload`, the life of a list.
//!
//! Inside: the parts and how they are joined. Kept out: a stable interface for other programs; what is public is so for
//! the command line, the benchmarks and the fuzz targets.

// Layer 0: what everything stands on.
pub mod live;
pub mod finding;
pub mod document;
pub mod host;
pub mod telemetry;
pub mod drain;
pub mod large;
pub mod background;
pub mod whole_file;
pub mod kept_copy;
pub mod file_watch;
pub mod trusted_roots;
// Layer 1: what is blocked, and the certificates.
pub mod blocklist;
pub mod tls;
// Layer 2: what the visitor of a blocked host is shown.
pub mod notice;
// Layer 3: from an accepted connection to one recorded outcome a request.
pub mod proxy;
// Layer 4: health, API, status page, metrics.
pub mod admin;
// Layer 5: the configuration file.
pub mod config;
// Layer 6: alone in knowing all parts.
pub mod app;
// Layer 7: one file a command.
pub mod cli;
