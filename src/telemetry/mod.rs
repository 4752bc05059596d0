//! What the program says about itself: per-worker counters and their exposition, logging, panics.
//!
//! Inside: counting and saying, in the order in which the files build on each other. Kept out: what a number means to
//! anyone, and the endpoint that hands it out (`admin/`).

pub mod counter;
pub mod outcome;

pub mod metrics;
pub mod panics;

pub mod exposition;
pub mod log_queue;
pub mod logging;
