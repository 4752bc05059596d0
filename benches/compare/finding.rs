//! What a row found: one metric, all who were measured, and who was not and why.
//!
//! Inside: from rounds to series. Kept out: printing (`report`).

use crate::goals::{Goal, Series};
use crate::run::{Rounds, Sample};

/// One number that a row measures.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Follows the name of the row; empty where the row has only one.
    pub name: &'static str,
    pub unit: &'static str,
    pub goal: Goal,
}

/// Someone who was to be measured.
#[derive(Clone, Debug)]
pub struct Entrant {
    pub name: String,
    /// Whether its failure is a failure of the run.
    pub is_sluis: bool,
    /// Whether the goal is asked of it.
    pub is_judged: bool,
}

#[derive(Clone, Debug)]
pub struct Absent {
    pub name: String,
    pub why: String,
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub row: String,
    pub title: String,
    pub metric: Metric,
    pub series: Vec<Series>,
    pub absent: Vec<Absent>,
    pub repeated: usize,
    pub noisy: usize,
    /// What the values were made of, by series.
    pub samples: Vec<Vec<Sample>>,
}

impl Finding {
    /// With a title that says more.
    pub fn retitled(mut self, old: &str, new: &str) -> Self {
        self.title = self.title.replace(old, new);
        self
    }
}

/// A finding for each metric of the row; second, what failed that must not fail.
pub fn findings(
    (row, title): (&str, &str),
    metrics: &[Metric],
    entrants: &[Entrant],
    rounds: &Rounds,
    absent: &[Absent],
) -> (Vec<Finding>, Vec<String>) {
    let mut absent = absent.to_vec();
    let mut failed = Vec::new();
    for (entrant, failure) in entrants.iter().zip(&rounds.failures) {
        let Some(why) = failure else { continue };
        if entrant.is_sluis {
            failed.push(format!("{row}: {}: {why}", entrant.name));
        }
        absent.push(Absent { name: entrant.name.clone(), why: format!("failed: {why}") });
    }
    let measured = || entrants.iter().zip(&rounds.samples).filter(|(_, samples)| !samples.is_empty());
    let finding = |(at, metric): (usize, &Metric)| Finding {
        row: row.to_owned(),
        title: if metric.name.is_empty() { title.to_owned() } else { format!("{title}, {}", metric.name) },
        metric: *metric,
        series: measured()
            .map(|(entrant, samples)| Series {
                name: entrant.name.clone(),
                is_judged: entrant.is_judged,
                values: samples.iter().filter_map(|sample| sample.values.get(at).copied()).collect(),
            })
            .collect(),
        absent: absent.clone(),
        repeated: rounds.repeated,
        noisy: rounds.noisy,
        samples: measured().map(|(_, samples)| samples.clone()).collect(),
    };
    (metrics.iter().enumerate().map(finding).collect(), failed)
}
