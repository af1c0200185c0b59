//! Exact quality metrics over gathered rows, defined as in scikit-learn.
//!
//! Invariant: every function refuses vectors of different lengths and no rows at all.

pub mod calibration;

use crate::error::{Error, Result};

/// −ln of the probability given to the label, the probability clipped to [ε, 1 − ε] as scikit-learn does for
/// f64.
pub(crate) fn row_log_loss(label: f64, prediction: f64) -> f64 {
    let clipped = prediction.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    -libm::log(if label > 0.5 { clipped } else { 1.0 - clipped })
}

/// Area under the ROC curve: the share of (positive, negative) pairs that the scores order rightly, ties
/// half.
pub fn auc(labels: &[f64], scores: &[f64]) -> Result<f64> {
    check(labels, scores)?;
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|left, right| scores[*left].total_cmp(&scores[*right]));
    let (mut negatives, mut twice_ordered, mut start): (u128, u128, usize) = (0, 0, 0);
    while start < order.len() {
        let score = scores[order[start]];
        let tied = order[start..]
            .iter()
            .take_while(|row| scores[**row] == score)
            .count()
            .max(1);
        let positives = order[start..start + tied]
            .iter()
            .filter(|row| labels[**row] > 0.5)
            .count() as u128;
        let tied_negatives = tied as u128 - positives;
        twice_ordered += positives * (2 * negatives + tied_negatives);
        negatives += tied_negatives;
        start += tied;
    }
    let positives = labels.len() as u128 - negatives;
    if positives == 0 || negatives == 0 {
        return Err(Error::TooFew {
            what: "classes among the labels",
            actual: 1,
            needed: 2,
        });
    }
    Ok(twice_ordered as f64 / 2.0 / (positives * negatives) as f64)
}

/// Mean −ln probability of the label, in nats.
pub fn log_loss(labels: &[f64], probabilities: &[f64]) -> Result<f64> {
    mean(labels, probabilities, row_log_loss)
}

/// Mean squared difference between probability and label.
pub fn brier(labels: &[f64], probabilities: &[f64]) -> Result<f64> {
    mean(labels, probabilities, |label, probability| {
        (probability - label) * (probability - label)
    })
}

/// Share of rows where a probability of at least ½ meets label 1, and a lower one label 0.
pub fn accuracy(labels: &[f64], probabilities: &[f64]) -> Result<f64> {
    let right = |label: f64, probability: f64| f64::from(u8::from((label > 0.5) == (probability >= 0.5)));
    mean(labels, probabilities, right)
}

/// Root of the mean squared error.
pub fn rmse(labels: &[f64], predictions: &[f64]) -> Result<f64> {
    let squared = mean(labels, predictions, |label, prediction| {
        (label - prediction) * (label - prediction)
    })?;
    Ok(squared.sqrt())
}

/// Mean absolute error.
pub fn mae(labels: &[f64], predictions: &[f64]) -> Result<f64> {
    mean(labels, predictions, |label, prediction| {
        (label - prediction).abs()
    })
}

fn mean(labels: &[f64], predictions: &[f64], of_row: impl Fn(f64, f64) -> f64) -> Result<f64> {
    check(labels, predictions)?;
    let rows = labels.iter().zip(predictions);
    Ok(rows
        .map(|(label, prediction)| of_row(*label, *prediction))
        .sum::<f64>()
        / labels.len() as f64)
}

fn check(labels: &[f64], predictions: &[f64]) -> Result<()> {
    if labels.len() != predictions.len() {
        let (expected, actual) = (labels.len(), predictions.len());
        return Err(Error::Shape {
            what: "prediction vector",
            expected,
            actual,
        });
    }
    if labels.is_empty() {
        return Err(Error::TooFew {
            what: "rows",
            actual: 0,
            needed: 1,
        });
    }
    if labels.iter().chain(predictions).all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::NotFinite {
        what: "a label or prediction",
    })
}
