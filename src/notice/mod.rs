//! What the visitor of a blocked host is shown.

pub mod config;

mod escape;

pub mod language;

pub mod negotiate;

pub use config::{Config, Operator};
