//! The formats of sources: bytes in, a [`ParsedSource`](super::parsed::ParsedSource) out.
//!
//! Inside: one file a format, and what they share. Kept out: reading files, and every guard that looks at more than one
//! line (`max_error_percent`, shrink, `never_block`), which belong to the reload.

pub mod fields;
mod chunks;
mod lines;
mod zone_text;
#[cfg(test)]
mod testing;

pub mod adblock;
pub mod decisions;
pub mod dnsmasq;
pub mod domains;
pub mod hosts;
pub mod rpz;

pub use lines::{FeedInput, place_of_host};
