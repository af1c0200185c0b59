//! Algorithms of linfa, fitted on one node over the whole training set, and turned into our own parameters.
//!
//! What linfa 0.8 does not promise, and how it is met here:
//! - class counts are summed in f32, exact only to 2²⁴ rows: more rows are refused;
//! - trees and forests break ties between equally frequent classes by hash order, which differs between
//!   processes, so **their bytes are not claimed to be reproducible**. Labels are only 0 and 1, sums over two
//!   classes do not depend on their order, so ties in a node are the only cause. Leaf values are counted by
//!   ourselves, and a forest averages them instead of voting, so prediction has no ties;
//! - a tree scans all rows for every column at every node, and considers a cut only where the last row before
//!   it lies in the node: it suits some 10⁴ rows and continuous columns best;
//! - k-means starts from centres we draw, because linfa's own start depends on the number of threads. The
//!   rounds then depend on nothing else, so naive Bayes and k-means give the same bytes for the same rows in
//!   the same order.
//!
//! Invariant: no type of linfa leaves this module; a fitted model predicts without linfa.

mod clusters;
mod naive_bayes;
mod trees;

use std::collections::BTreeMap;

use linfa::Dataset;
use ndarray::{Array1, Array2, Ix1};
use serde::{Deserialize, Serialize};

use crate::algorithm::Algorithm;
use crate::error::{Error, Result};
use crate::model::parameters::Parameters;
use crate::preprocess::encode::Design;

/// Rows above which f32 class counts stop being exact.
pub const LOCAL_ROWS_MAX: usize = 1 << 24;
/// Elements of the dense design matrix: 2 GiB.
pub const LOCAL_ELEMENTS_MAX: usize = 1 << 28;

/// What a library fit gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalFit {
    /// What was learnt.
    pub parameters: Parameters,
    /// What the fit reports, by name.
    pub metrics: BTreeMap<String, f64>,
}

/// Fits an algorithm that is not distributed. `labels` holds 0 or 1 per row, or nothing for a clustering.
pub fn fit(algorithm: &Algorithm, design: &Design, labels: &[f64]) -> Result<LocalFit> {
    limit("number of rows of a local fit", design.rows(), LOCAL_ROWS_MAX)?;
    limit(
        "size of the dense design",
        design.rows() * design.columns(),
        LOCAL_ELEMENTS_MAX,
    )?;
    let (parameters, metrics) = match algorithm {
        Algorithm::DecisionTree {
            depth_max,
            leaf_rows_min,
        } => (
            trees::fit_tree(&labelled(design, labels)?, *depth_max, *leaf_rows_min)?,
            BTreeMap::new(),
        ),
        Algorithm::RandomForest {
            trees,
            depth_max,
            row_share,
            column_share,
            seed,
        } => {
            let draw = trees::Draw {
                row_share: *row_share,
                column_share: *column_share,
                seed: *seed,
            };
            (
                trees::fit_forest(&labelled(design, labels)?, *trees, *depth_max, draw)?,
                BTreeMap::new(),
            )
        }
        Algorithm::NaiveBayes { variance_smoothing } => (
            naive_bayes::fit(&labelled(design, labels)?, *variance_smoothing)?,
            BTreeMap::new(),
        ),
        Algorithm::KMeans {
            clusters,
            iterations_max,
            seed,
        } => clusters::fit(dense(design), *clusters as usize, *iterations_max, *seed)?,
        Algorithm::LinearRegression { .. } | Algorithm::LogisticRegression { .. } => {
            let expected = "must be one that is fitted on one node";
            return Err(Error::Setting {
                name: "algorithm",
                value: algorithm.name().to_owned(),
                expected,
            });
        }
    };
    Ok(LocalFit { parameters, metrics })
}

fn limit(what: &str, actual: usize, limit: usize) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        actual: actual as u64,
        limit: limit as u64,
    })
}

fn dense(design: &Design) -> Array2<f64> {
    let mut records = Array2::zeros((design.rows(), design.columns()));
    for (position, mut row) in records.rows_mut().into_iter().enumerate() {
        design
            .row(position)
            .write_dense(row.as_slice_mut().expect("a row of a fresh matrix is contiguous"));
    }
    records
}

/// A dense dataset with labels `false` and `true`.
type Labelled = Dataset<f64, bool, Ix1>;

fn labelled(design: &Design, labels: &[f64]) -> Result<Labelled> {
    if labels.len() != design.rows() {
        return Err(Error::Shape {
            what: "label vector",
            expected: design.rows(),
            actual: labels.len(),
        });
    }
    let targets: Array1<bool> = labels.iter().map(|label| *label > 0.5).collect();
    Ok(Dataset::new(dense(design), targets))
}
