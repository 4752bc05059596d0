//! Counters that a worker adds to without sharing a cache line, summed when they are read.
//!
//! Inside: counter, gauge and histogram with one padded cell a worker, each with a single writer.
//! Kept out: names, labels and the exposition, which are in `metrics.rs` and `exposition.rs`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

/// Which worker counts; the index of its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId(pub usize);

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    cells: Box<[CachePadded<AtomicU64>]>,
}

impl Counter {
    /// A counter with a cell for each of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { cells: cells(workers) }
    }

    /// Adds to the worker's own cell. Only that worker may call it with its id.
    pub fn add(&self, worker: WorkerId, amount: u64) {
        if let Some(cell) = self.cells.get(worker.0) {
            // A single writer needs no read-modify-write.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// Adds one.
    pub fn increment(&self, worker: WorkerId) {
        self.add(worker, 1);
    }

    /// The sum over all workers.
    pub fn sum(&self) -> u64 {
        self.cells.iter().map(|cell| cell.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// A number that goes up and down.
#[derive(Debug)]
pub struct Gauge {
    cells: Box<[CachePadded<AtomicI64>]>,
}

impl Gauge {
    /// A gauge with a cell for each of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { cells: cells(workers) }
    }

    /// Adds to (or takes from) the worker's own cell. Only that worker may call it with its id.
    pub fn add(&self, worker: WorkerId, amount: i64) {
        if let Some(cell) = self.cells.get(worker.0) {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// The sum over all workers.
    pub fn sum(&self) -> i64 {
        self.cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}

/// The upper bounds of every duration histogram, in seconds.
pub const DURATION_BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

const BUCKETS: usize = DURATION_BOUNDS.len() + 1;

/// Durations in fixed buckets.
#[derive(Debug)]
pub struct Histogram {
    cells: Box<[CachePadded<HistogramCell>]>,
}

#[derive(Debug, Default)]
struct HistogramCell {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// What a [`Histogram`] holds, summed over the workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistogramSum {
    /// How many durations fell into each bucket, not cumulative; the last has no upper bound.
    pub buckets: [u64; BUCKETS],
    /// The sum of all durations.
    pub sum_seconds: f64,
}

impl Histogram {
    /// A histogram with a cell for each of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { cells: cells(workers) }
    }

    /// Counts a duration in the worker's own cell. Only that worker may call it with its id.
    pub fn observe(&self, worker: WorkerId, duration: Duration) {
        let Some(cell) = self.cells.get(worker.0) else { return };
        let seconds = duration.as_secs_f64();
        let index = DURATION_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS - 1);
        if let Some(bucket) = cell.buckets.get(index) {
            bucket.store(bucket.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        cell.sum_ns.store(cell.sum_ns.load(Ordering::Relaxed).wrapping_add(nanoseconds), Ordering::Relaxed);
    }

    /// The sum over all workers.
    pub fn sum(&self) -> HistogramSum {
        let mut total = HistogramSum { buckets: [0; BUCKETS], sum_seconds: 0.0 };
        for cell in &self.cells {
            for (sum, bucket) in total.buckets.iter_mut().zip(&cell.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            total.sum_seconds += Duration::from_nanos(cell.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        }
        total
    }
}

fn cells<T: Default>(workers: usize) -> Box<[CachePadded<T>]> {
    (0..workers).map(|_| CachePadded::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_summed() {
        let (counter, gauge) = (Counter::new(2), Gauge::new(2));
        counter.add(WorkerId(0), 3);
        counter.increment(WorkerId(1));
        gauge.add(WorkerId(0), 5);
        gauge.add(WorkerId(1), -2);
        assert_eq!((counter.sum(), gauge.sum()), (4, 3));
    }

    #[test]
    fn a_duration_falls_into_the_bucket_of_its_upper_bound() {
        let histogram = Histogram::new(1);
        for milliseconds in [1, 2, 60_000] {
            histogram.observe(WorkerId(0), Duration::from_millis(milliseconds));
        }
        let sum = histogram.sum();
        assert_eq!((sum.buckets[3], sum.buckets[4], sum.buckets[BUCKETS - 1]), (1, 1, 1));
        assert!((sum.sum_seconds - 60.003).abs() < 1e-9);
    }
}
