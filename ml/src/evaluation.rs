//! How well predictions match labels, as sums that partitions can report and a coordinator can add.
//!
//! The exact figures over gathered rows are in `metrics`; here only the area under the ROC curve is binned:
//! scores that share one of 4,096 bins count as ties, so it differs from the exact one by at most the share
//! of such pairs.
//!
//! Invariant: merging in partition order gives the same bits for any number of workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::algorithm::Output;
use crate::error::{Error, Result};
use crate::metrics;
use crate::preprocess::sums::NumericSums;

/// Score bins of the binned area under the ROC curve.
const SCORE_BINS: usize = 4_096;

/// Sums for a probability against labels of 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbabilitySums {
    rows: u64,
    positives: u64,
    correct: u64,
    loss: f64,
    squared_error: f64,
    negatives_by_score: Vec<u64>,
    positives_by_score: Vec<u64>,
}

/// Sums for a number against numeric labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberSums {
    squared_error: f64,
    absolute_error: f64,
    labels: NumericSums,
}

/// Sums of one kind of output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EvaluationSums {
    /// Of a classifier.
    Probability(ProbabilitySums),
    /// Of a regressor.
    Number(NumberSums),
    /// Of a clustering: rows per cluster.
    Cluster(BTreeMap<u64, u64>),
}

impl EvaluationSums {
    /// The sums of one partition. A clustering needs no labels.
    pub fn of(output: Output, labels: &[f64], predictions: &[f64]) -> Result<EvaluationSums> {
        if output != Output::Cluster && labels.len() != predictions.len() {
            let (expected, actual) = (predictions.len(), labels.len());
            return Err(Error::Shape {
                what: "label vector",
                expected,
                actual,
            });
        }
        Ok(match output {
            Output::Probability => EvaluationSums::Probability(ProbabilitySums::of(labels, predictions)),
            Output::Number => {
                let errors = || {
                    labels
                        .iter()
                        .zip(predictions)
                        .map(|(label, prediction)| label - prediction)
                };
                EvaluationSums::Number(NumberSums {
                    squared_error: errors().map(|error| error * error).sum(),
                    absolute_error: errors().map(f64::abs).sum(),
                    labels: NumericSums::of(labels),
                })
            }
            Output::Cluster => {
                let mut rows = BTreeMap::new();
                for cluster in predictions {
                    *rows.entry(*cluster as u64).or_default() += 1;
                }
                EvaluationSums::Cluster(rows)
            }
        })
    }

    /// Adds the sums of the next partition, in partition order.
    pub fn merge(&mut self, next: &EvaluationSums) -> Result<()> {
        match (self, next) {
            (EvaluationSums::Probability(own), EvaluationSums::Probability(other)) => own.merge(other),
            (EvaluationSums::Number(own), EvaluationSums::Number(other)) => {
                own.squared_error += other.squared_error;
                own.absolute_error += other.absolute_error;
                own.labels.merge(&other.labels);
            }
            (EvaluationSums::Cluster(own), EvaluationSums::Cluster(other)) => {
                for (cluster, rows) in other {
                    *own.entry(*cluster).or_default() += rows;
                }
            }
            (EvaluationSums::Probability(_), EvaluationSums::Number(_) | EvaluationSums::Cluster(_))
            | (EvaluationSums::Number(_), EvaluationSums::Probability(_) | EvaluationSums::Cluster(_))
            | (EvaluationSums::Cluster(_), EvaluationSums::Probability(_) | EvaluationSums::Number(_)) => {
                let reason = "partitions report different outputs".to_owned();
                return Err(Error::Artifact {
                    what: "evaluation sums",
                    reason,
                });
            }
        }
        Ok(())
    }

    /// The metrics by name. A metric that the rows do not define (no rows, one class) is left out.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut named: Vec<(&str, f64)> = Vec::new();
        match self {
            EvaluationSums::Probability(sums) => sums.name_metrics(&mut named),
            EvaluationSums::Number(sums) => {
                let rows = sums.labels.count as f64;
                named.push(("rows", rows));
                named.push(("rmse", (sums.squared_error / rows).sqrt()));
                named.push(("mae", sums.absolute_error / rows));
                named.push(("r2", 1.0 - sums.squared_error / sums.labels.squared_deviations));
            }
            EvaluationSums::Cluster(rows) => {
                named.push(("rows", rows.values().sum::<u64>() as f64));
                named.push(("clusters_used", rows.len() as f64));
            }
        }
        let finite = named.into_iter().filter(|(_, value)| value.is_finite());
        finite.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl ProbabilitySums {
    fn of(labels: &[f64], predictions: &[f64]) -> ProbabilitySums {
        let mut sums = ProbabilitySums {
            rows: labels.len() as u64,
            positives: 0,
            correct: 0,
            loss: 0.0,
            squared_error: 0.0,
            negatives_by_score: vec![0; SCORE_BINS],
            positives_by_score: vec![0; SCORE_BINS],
        };
        for (label, prediction) in labels.iter().zip(predictions) {
            let positive = *label > 0.5;
            let bin = ((prediction * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1);
            if positive {
                sums.positives += 1;
                sums.positives_by_score[bin] += 1;
            } else {
                sums.negatives_by_score[bin] += 1;
            }
            sums.correct += u64::from(positive == (*prediction >= 0.5));
            sums.loss += metrics::row_log_loss(*label, *prediction);
            sums.squared_error += (prediction - label) * (prediction - label);
        }
        sums
    }

    fn merge(&mut self, next: &ProbabilitySums) {
        self.rows += next.rows;
        self.positives += next.positives;
        self.correct += next.correct;
        self.loss += next.loss;
        self.squared_error += next.squared_error;
        for (own, other) in self.negatives_by_score.iter_mut().zip(&next.negatives_by_score) {
            *own += other;
        }
        for (own, other) in self.positives_by_score.iter_mut().zip(&next.positives_by_score) {
            *own += other;
        }
    }

    fn name_metrics(&self, named: &mut Vec<(&str, f64)>) {
        let rows = self.rows as f64;
        named.push(("rows", rows));
        named.push(("positive_share", self.positives as f64 / rows));
        named.push(("accuracy", self.correct as f64 / rows));
        named.push(("log_loss", self.loss / rows));
        named.push(("brier", self.squared_error / rows));
        named.push(("auc_binned", self.auc()));
    }

    /// The share of (positive, negative) pairs in the right order, ties half; NaN with one class.
    fn auc(&self) -> f64 {
        let mut negatives_below: u128 = 0;
        let mut twice_ordered: u128 = 0;
        for (negatives, positives) in self.negatives_by_score.iter().zip(&self.positives_by_score) {
            let (negatives, positives) = (u128::from(*negatives), u128::from(*positives));
            twice_ordered += positives * (2 * negatives_below + negatives);
            negatives_below += negatives;
        }
        twice_ordered as f64 / 2.0 / (self.positives as f64 * negatives_below as f64)
    }
}
