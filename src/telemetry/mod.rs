//! What the program says about itself: per-worker counters and their exposition, logging, panics.

pub mod counter;
pub mod metrics;
pub mod outcome;
