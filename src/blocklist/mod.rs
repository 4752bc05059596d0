//! What the blocklist is made of and how it is reloaded: decisions, their sources, the index that answers for one host.

pub mod decision;
pub mod pattern;

pub mod config;
mod records;
pub mod names;
mod packs;
pub mod objection;
pub mod parsed;

pub mod format;
pub mod index;

mod memory;
mod source;
pub mod guard;
pub mod status;
pub mod store;
pub mod versions;

pub mod reload;

pub use source::compression::decompressed_within;
