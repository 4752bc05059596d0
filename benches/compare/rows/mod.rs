//! The rows of the comparison: what is measured, and with which goal.
//!
//! Inside: the table of rows. Kept out: how each kind of row measures, which has a file of its own.

mod closed;

use std::io;

use crate::bench::Bench;
use crate::finding::{Finding, Metric};
use crate::goals::Goal;

/// What a row measures and what it is called by.
pub struct Row {
    pub id: &'static str,
    pub title: &'static str,
    pub metrics: &'static [Metric],
    pub measure: fn(&mut Bench, &Row) -> io::Result<Vec<Finding>>,
}

const BEST: &[&str] = &["nginx", "haproxy"];
const CPU: &str = "CPU us/request";

/// All rows, in the order in which they run. The goals are those of the design.
pub const ROWS: &[Row] = &[
    Row {
        id: "forward",
        title: "forward, HTTP/1.1 keep-alive, 1 KiB",
        metrics: &[Metric { name: "", unit: CPU, goal: Goal::OfBest(BEST, 0.80) }],
        measure: closed::forward,
    },
    Row {
        id: "blocked",
        title: "blocked, HTTP/1.1 keep-alive, 100,000 names",
        metrics: &[Metric { name: "", unit: CPU, goal: Goal::OfBest(BEST, 0.92) }],
        measure: closed::blocked,
    },
];
