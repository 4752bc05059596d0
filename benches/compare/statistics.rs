//! Medians, spreads and percentiles of what was measured.
//!
//! Inside: pure functions over numbers. Kept out: where the numbers come from (`run`) and how they are printed (`report`).

/// The middle of the measured values, and how far they were apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// The spread of these values; nothing where there are none, or where one of them is no number.
pub fn spread(values: &[f64]) -> Option<Spread> {
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(Spread { median: f64::midpoint(lower, upper), least: *sorted.first()?, most: *sorted.last()? })
}

/// The ratios of two measurements of the same rounds, round by round: what else the machine did in a round, both felt.
pub fn ratios(values: &[f64], of: &[f64]) -> Vec<f64> {
    values.iter().zip(of).map(|(value, of)| value / of).collect()
}

/// The value below which this share of all values is, by nearest rank. They are sorted.
pub fn percentile(sorted: &[u32], share: f64) -> Option<u32> {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}
