//! What each algorithm learns, and how one design row is scored with it. No training library is needed here.
//!
//! Invariant: parameters that passed `check` for a number of columns score every row of that many columns.

use serde::{Deserialize, Serialize};

use crate::algorithm::Output;
use crate::error::{Error, Result};
use crate::linear::Coefficients;
use crate::logistic::probability;
use crate::preprocess::encode::DesignRow;

use super::tree::Tree;

/// One class of a Gaussian naive Bayes model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GaussianClass {
    /// ln prior − ½ Σ ln(2π variance).
    pub constant: f64,
    /// Mean per design column.
    pub means: Vec<f64>,
    /// Variance per design column, above 0.
    pub variances: Vec<f64>,
}

impl GaussianClass {
    fn log_likelihood(&self, dense: &[f64]) -> f64 {
        let columns = dense.iter().zip(&self.means).zip(&self.variances);
        let distance: f64 = columns
            .map(|((x, mean), variance)| (x - mean) * (x - mean) / variance)
            .sum();
        self.constant - distance / 2.0
    }
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Parameters {
    /// Predicts the linear score.
    Linear(Coefficients),
    /// Predicts the logistic function of the linear score.
    Logistic(Coefficients),
    /// Predicts the share of label 1 in the leaf.
    Tree(Tree),
    /// Predicts the mean over trees of the share of label 1 in the leaf.
    Forest(Vec<Tree>),
    /// Predicts the posterior probability of label 1.
    NaiveBayes {
        /// The class of label 0.
        negative: GaussianClass,
        /// The class of label 1.
        positive: GaussianClass,
    },
    /// Predicts the nearest centre; on a tie, the first.
    KMeans {
        /// One centre per cluster, each with one value per design column.
        centres: Vec<Vec<f64>>,
    },
}

impl Parameters {
    /// What a prediction means.
    pub fn output(&self) -> Output {
        match self {
            Parameters::Linear(_) => Output::Number,
            Parameters::Logistic(_)
            | Parameters::Tree(_)
            | Parameters::Forest(_)
            | Parameters::NaiveBayes { .. } => Output::Probability,
            Parameters::KMeans { .. } => Output::Cluster,
        }
    }

    /// The working memory that `predict` needs.
    pub fn scratch(&self, columns: usize) -> Vec<f64> {
        match self {
            Parameters::Linear(_) | Parameters::Logistic(_) => Vec::new(),
            Parameters::Tree(_)
            | Parameters::Forest(_)
            | Parameters::NaiveBayes { .. }
            | Parameters::KMeans { .. } => vec![0.0; columns],
        }
    }

    /// Scores one row; `scratch` is what `scratch()` gave.
    pub fn predict(&self, row: DesignRow<'_>, scratch: &mut [f64]) -> f64 {
        match self {
            Parameters::Linear(coefficients) => coefficients.score(row),
            Parameters::Logistic(coefficients) => probability(coefficients.score(row)),
            Parameters::Tree(tree) => {
                row.write_dense(scratch);
                tree.predict(scratch)
            }
            Parameters::Forest(trees) => {
                row.write_dense(scratch);
                let shares: f64 = trees.iter().map(|tree| tree.predict(scratch)).sum();
                shares / trees.len() as f64
            }
            Parameters::NaiveBayes { negative, positive } => {
                row.write_dense(scratch);
                probability(positive.log_likelihood(scratch) - negative.log_likelihood(scratch))
            }
            Parameters::KMeans { centres } => {
                row.write_dense(scratch);
                nearest(centres, scratch).0 as f64
            }
        }
    }

    /// Refuses parameters that do not fit a design of that many columns or are not finite.
    pub fn check(&self, columns: usize) -> Result<()> {
        match self {
            Parameters::Linear(coefficients) | Parameters::Logistic(coefficients) => {
                check_vector("weight vector", &coefficients.weights, columns)?;
                check_vector("intercept", &[coefficients.intercept], 1)
            }
            Parameters::Tree(tree) => tree.check(columns),
            Parameters::Forest(trees) => {
                if trees.is_empty() {
                    return Err(Error::TooFew {
                        what: "trees of the forest",
                        actual: 0,
                        needed: 1,
                    });
                }
                trees.iter().try_for_each(|tree| tree.check(columns))
            }
            Parameters::NaiveBayes { negative, positive } => {
                for class in [negative, positive] {
                    check_vector("class constant", &[class.constant], 1)?;
                    check_vector("class means", &class.means, columns)?;
                    check_vector("class variances", &class.variances, columns)?;
                    if !class.variances.iter().all(|variance| *variance > 0.0) {
                        return Err(Error::NotFinite {
                            what: "the inverse of a class variance",
                        });
                    }
                }
                Ok(())
            }
            Parameters::KMeans { centres } => {
                if centres.is_empty() {
                    return Err(Error::TooFew {
                        what: "clusters",
                        actual: 0,
                        needed: 1,
                    });
                }
                centres
                    .iter()
                    .try_for_each(|centre| check_vector("centre", centre, columns))
            }
        }
    }
}

/// The position and squared distance of the centre nearest to a dense row; on a tie, the first.
pub(crate) fn nearest(centres: &[Vec<f64>], dense: &[f64]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (position, centre) in centres.iter().enumerate() {
        let distance: f64 = centre.iter().zip(dense).map(|(c, x)| (c - x) * (c - x)).sum();
        if distance < best.1 {
            best = (position, distance);
        }
    }
    best
}

fn check_vector(what: &'static str, values: &[f64], expected: usize) -> Result<()> {
    if values.len() != expected {
        return Err(Error::Shape {
            what,
            expected,
            actual: values.len(),
        });
    }
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::NotFinite { what })
}
