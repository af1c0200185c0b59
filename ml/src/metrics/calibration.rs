//! Whether probabilities mean what they say: observed against predicted, in ten equal bins of [0, 1].
//!
//! Invariant: the rows of all bins add up to the rows given; a probability of exactly 1 is in the last bin.

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Bins of a calibration table.
pub const CALIBRATION_BINS: usize = 10;

/// One bin.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Rows whose probability falls into the bin.
    pub rows: u64,
    /// Mean probability of these rows; 0 when there are none.
    pub predicted: f64,
    /// Share of label 1 among these rows; 0 when there are none.
    pub observed: f64,
}

/// The ten bins in ascending order of probability.
pub fn table(labels: &[f64], probabilities: &[f64]) -> Result<Vec<CalibrationBin>> {
    super::check(labels, probabilities)?;
    let mut bins = vec![CalibrationBin::default(); CALIBRATION_BINS];
    for (label, probability) in labels.iter().zip(probabilities) {
        let bin = ((probability * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        bins[bin].rows += 1;
        bins[bin].predicted += probability;
        bins[bin].observed += label;
    }
    for bin in bins.iter_mut().filter(|bin| bin.rows > 0) {
        bin.predicted /= bin.rows as f64;
        bin.observed /= bin.rows as f64;
    }
    Ok(bins)
}

/// The mean gap between predicted and observed share, weighted by rows (ECE).
pub fn expected_error(labels: &[f64], probabilities: &[f64]) -> Result<f64> {
    let bins = table(labels, probabilities)?;
    let gap = |bin: &CalibrationBin| bin.rows as f64 * (bin.predicted - bin.observed).abs();
    Ok(bins.iter().map(gap).sum::<f64>() / labels.len() as f64)
}
