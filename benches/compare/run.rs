//! Rounds: all contenders of a row in each, in random order, so that what else the machine does hits all alike.
//!
//! Inside: order, steal, failures. Kept out: what is measured, which the row gives as a function.

use std::io;

use crate::accounting::{self, CpuTime};

/// More steal than this share of a round, and the round is repeated.
const STEAL: f64 = 0.01;

/// What one measurement gave: a value for each metric of the row, and what they were made of.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub values: Vec<f64>,
    pub requests: u64,
    pub cpu: CpuTime,
}

/// All rounds of a row.
#[derive(Debug, Default)]
pub struct Rounds {
    /// By contender, then by round. Empty for a contender that failed.
    pub samples: Vec<Vec<Sample>>,
    pub failures: Vec<Option<String>>,
    /// Rounds that were thrown away for steal and repeated, and those that were kept although there was steal, since enough were repeated.
    pub repeated: usize,
    pub noisy: usize,
}

/// Rounds of a row of times that are repeated for steal, at most: where it does not end, nor would the comparison.
pub const REPEATED: usize = 3;

/// Who takes part in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Every,
    /// The first and each third after it.
    Third,
}

impl Share {
    fn has(self, round: usize) -> bool {
        self == Self::Every || round.is_multiple_of(3)
    }
}

/// Runs so many rounds of contenders, of which so many are repeated for steal at most.
pub fn interleave(
    contenders: &[Share],
    (rounds, repeated): (usize, usize),
    mut measure: impl FnMut(usize) -> io::Result<Sample>,
) -> io::Result<Rounds> {
    let mut all = Rounds {
        samples: vec![Vec::new(); contenders.len()],
        failures: vec![None; contenders.len()],
        ..Rounds::default()
    };
    let mut done = 0;
    while done < rounds {
        let before = accounting::machine()?;
        let mut order: Vec<usize> =
            contenders.iter().enumerate().filter(|(_, share)| share.has(done)).map(|(at, _)| at).collect();
        fastrand::shuffle(&mut order);
        let mut round = Vec::new();
        for at in order {
            let Some(failure) = all.failures.get_mut(at).filter(|failure| failure.is_none()) else { continue };
            match measure(at) {
                Ok(sample) => round.push((at, sample)),
                Err(error) => *failure = Some(error.to_string()),
            }
        }
        let is_stolen = accounting::machine()?.steal_since(before) > STEAL;
        if is_stolen && all.repeated < repeated {
            all.repeated += 1;
            continue;
        }
        all.noisy += usize::from(is_stolen);
        for (at, sample) in round {
            all.samples.get_mut(at).into_iter().for_each(|samples| samples.push(sample.clone()));
        }
        done += 1;
    }
    for (samples, failure) in all.samples.iter_mut().zip(&all.failures) {
        if failure.is_some() {
            samples.clear();
        }
    }
    Ok(all)
}
