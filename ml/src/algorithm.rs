//! The algorithms and their hyper-parameters, checked once before any work begins.
//!
//! Invariant: an algorithm that passed `check` cannot make a trainer loop without end or a library panic.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Depth of a decision tree: linfa recurses once per level.
pub const TREE_DEPTH_MAX: u32 = 32;
/// Trees of a forest.
pub const FOREST_TREES_MAX: u32 = 1_000;
/// Clusters of k-means.
pub const CLUSTERS_MAX: u32 = 1_000;
/// Iterations of an iterative algorithm.
pub const ITERATIONS_MAX: u32 = 1_000;

/// What the numbers of a prediction mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// The probability of label 1, in [0, 1].
    Probability,
    /// A number on the label's own scale.
    Number,
    /// The position of the nearest cluster, counted from 0.
    Cluster,
}

/// An algorithm with its hyper-parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Least squares, with a ridge penalty when `l2` is above 0.
    LinearRegression {
        /// Weight of ‖w‖² against the sum of squared errors.
        l2: f64,
    },
    /// Binary logistic regression with an L2 penalty.
    LogisticRegression {
        /// Weight of the loss against ½‖w‖², as scikit-learn's `C`.
        c: f64,
        /// Evaluations of the objective allowed.
        iterations_max: u32,
    },
    /// A binary classification tree (linfa-trees, Gini).
    DecisionTree {
        /// Levels of splits.
        depth_max: u32,
        /// Rows that a leaf must hold.
        leaf_rows_min: u32,
    },
    /// Bagged classification trees (linfa-ensemble).
    RandomForest {
        /// Number of trees.
        trees: u32,
        /// Levels of splits in each tree.
        depth_max: u32,
        /// Share of the rows drawn, with replacement, for each tree.
        row_share: f64,
        /// Share of the columns drawn, with replacement, for each tree.
        column_share: f64,
        /// Seed of the draws.
        seed: u64,
    },
    /// Gaussian naive Bayes (linfa-bayes) for a binary label.
    NaiveBayes {
        /// Share of the greatest column variance added to every variance.
        variance_smoothing: f64,
    },
    /// k-means (linfa-clustering) started by k-means++ of our own.
    KMeans {
        /// Number of clusters.
        clusters: u32,
        /// Rounds allowed.
        iterations_max: u32,
        /// Seed of the first centres.
        seed: u64,
    },
}

impl Algorithm {
    /// The name used in messages and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Algorithm::LinearRegression { .. } => "linear_regression",
            Algorithm::LogisticRegression { .. } => "logistic_regression",
            Algorithm::DecisionTree { .. } => "decision_tree",
            Algorithm::RandomForest { .. } => "random_forest",
            Algorithm::NaiveBayes { .. } => "naive_bayes",
            Algorithm::KMeans { .. } => "k_means",
        }
    }

    /// What its predictions mean.
    pub fn output(&self) -> Output {
        match self {
            Algorithm::LinearRegression { .. } => Output::Number,
            Algorithm::LogisticRegression { .. }
            | Algorithm::DecisionTree { .. }
            | Algorithm::RandomForest { .. }
            | Algorithm::NaiveBayes { .. } => Output::Probability,
            Algorithm::KMeans { .. } => Output::Cluster,
        }
    }

    /// Whether partitions can be worked on apart. If not, the whole training set must be given as one
    /// partition.
    pub fn is_distributed(&self) -> bool {
        match self {
            Algorithm::LinearRegression { .. } | Algorithm::LogisticRegression { .. } => true,
            Algorithm::DecisionTree { .. }
            | Algorithm::RandomForest { .. }
            | Algorithm::NaiveBayes { .. }
            | Algorithm::KMeans { .. } => false,
        }
    }

    /// Refuses hyper-parameters outside their range.
    pub fn check(&self) -> Result<()> {
        match self {
            Algorithm::LinearRegression { l2 } => within("l2", *l2, *l2 >= 0.0, "must be 0 or above"),
            Algorithm::LogisticRegression { c, iterations_max } => {
                within("c", *c, *c > 0.0, "must be above 0")?;
                count("iterations_max", *iterations_max, ITERATIONS_MAX)
            }
            Algorithm::DecisionTree {
                depth_max,
                leaf_rows_min,
            } => {
                count("depth_max", *depth_max, TREE_DEPTH_MAX)?;
                count("leaf_rows_min", *leaf_rows_min, u32::MAX)
            }
            Algorithm::RandomForest {
                trees,
                depth_max,
                row_share,
                column_share,
                seed: _,
            } => {
                count("trees", *trees, FOREST_TREES_MAX)?;
                count("depth_max", *depth_max, TREE_DEPTH_MAX)?;
                share("row_share", *row_share)?;
                share("column_share", *column_share)
            }
            Algorithm::NaiveBayes { variance_smoothing } => within(
                "variance_smoothing",
                *variance_smoothing,
                *variance_smoothing > 0.0,
                "must be above 0, so that no variance is 0",
            ),
            Algorithm::KMeans {
                clusters,
                iterations_max,
                seed: _,
            } => {
                count("clusters", *clusters, CLUSTERS_MAX)?;
                count("iterations_max", *iterations_max, ITERATIONS_MAX)
            }
        }
    }
}

fn within(name: &'static str, value: f64, allowed: bool, expected: &'static str) -> Result<()> {
    if allowed && value.is_finite() {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value: value.to_string(),
        expected,
    })
}

fn share(name: &'static str, value: f64) -> Result<()> {
    within(
        name,
        value,
        value > 0.0 && value <= 1.0,
        "must be above 0 and at most 1",
    )
}

fn count(name: &'static str, value: u32, limit: u32) -> Result<()> {
    if value == 0 {
        return Err(Error::Setting {
            name,
            value: value.to_string(),
            expected: "must be at least 1",
        });
    }
    if value > limit {
        return Err(Error::Limit {
            what: name.to_owned(),
            actual: value.into(),
            limit: limit.into(),
        });
    }
    Ok(())
}
