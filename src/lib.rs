//! sluis: a reverse proxy that refuses hosts by decision.

pub mod admin;
pub mod app;
pub mod blocklist;
pub mod cli;
pub mod config;
pub mod document;
pub mod drain;
pub mod file_watch;
pub mod finding;
pub mod host;
pub mod kept_copy;
pub mod live;
pub mod notice;
pub mod proxy;
pub mod telemetry;
pub mod tls;
pub mod whole_file;
