//! The formats of sources: bytes in, a [`ParsedSource`](super::parsed::ParsedSource) out.
//!
//! Inside: one file a format, and what they share. Kept out: reading files, and every guard that looks at more than one
//! line (`max_error_percent`, shrink, `never_block`), which belong to the reload.

pub mod fields;
mod chunks;
mod lines;

pub mod decisions;
pub mod domains;

pub use lines::{FeedInput, place_of_host};
