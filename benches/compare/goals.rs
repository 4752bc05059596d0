//! The goals, each as a number that a run meets or does not.
//!
//! Inside: kinds of goals and how they are judged. Kept out: which row has which goal (`rows`).

use crate::statistics::{Spread, ratios, spread};

/// What is asked of sluis in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most so much of the best of these, round by round.
    OfBest(&'static [&'static str], f64),
    /// At most so much in the unit of the row.
    AtMost(f64),
    /// Measured and reported.
    None,
}

/// What one proxy, or one build of sluis, was measured with: one value a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    /// Whether it is judged: it is sluis, and not what it is compared with.
    pub is_judged: bool,
    pub values: Vec<f64>,
}

/// How a series stands to its goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// In the unit of the row, or as a ratio to `reference`.
    pub measured: Spread,
    pub reference: Option<String>,
    pub is_met: bool,
}

impl Goal {
    /// Nothing where there is no goal, or where nothing of what it compares with was measured.
    pub fn judge(self, series: &Series, all: &[Series]) -> Option<Verdict> {
        if !series.is_judged {
            return None;
        }
        match self {
            Self::None => None,
            Self::AtMost(most) => {
                let measured = spread(&series.values)?;
                Some(Verdict { measured, reference: None, is_met: measured.median <= most })
            }
            Self::OfBest(names, most) => {
                let best = best(all, names)?;
                let measured = spread(&ratios(&series.values, &best.values))?;
                Some(Verdict { measured, reference: Some(best.name.clone()), is_met: measured.median <= most })
            }
        }
    }

    /// As a person reads it.
    pub fn text(self) -> String {
        match self {
            Self::None => "-".to_owned(),
            Self::AtMost(most) => format!("<= {most}"),
            Self::OfBest([one], most) => format!("<= {most}x {one}"),
            Self::OfBest(names, most) => format!("<= {most}x the best of {}", names.join(", ")),
        }
    }
}

/// The series of these names that has the least median.
fn best<'a>(all: &'a [Series], names: &[&str]) -> Option<&'a Series> {
    let medians = all.iter().filter(|series| names.contains(&series.name.as_str()));
    let medians = medians.filter_map(|series| Some((spread(&series.values)?.median, series)));
    medians.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, series)| series)
}
