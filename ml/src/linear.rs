//! Linear regression by sufficient statistics: ordinary least squares and ridge.
//!
//! Each partition sends its Gram matrix XᵀX and moments Xᵀy once; the coordinator adds them and solves. The
//! objective is ‖y − Xw − b‖² + l2·‖w‖², as in scikit-learn's `Ridge`, with the intercept b not penalised.
//!
//! Invariant: the coefficients depend only on the partitions and their order.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::preprocess::encode::{Design, DesignRow};
use crate::symmetric::PackedSymmetric;

/// One weight per design column and an intercept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coefficients {
    /// One weight per design column.
    pub weights: Vec<f64>,
    /// Added to every inner product.
    pub intercept: f64,
}

impl Coefficients {
    /// Splits a vector whose last element is the intercept.
    pub(crate) fn from_point(point: &[f64]) -> Coefficients {
        let (intercept, weights) = point.split_last().expect("a point holds at least the intercept");
        Coefficients {
            weights: weights.to_vec(),
            intercept: *intercept,
        }
    }

    /// The linear predictor of a row.
    pub fn score(&self, row: DesignRow<'_>) -> f64 {
        row.dot(&self.weights) + self.intercept
    }
}

/// What one partition contributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GramSums {
    /// Rows added.
    pub rows: u64,
    /// XᵀX with the intercept last.
    pub gram: PackedSymmetric,
    /// Xᵀy with the intercept last.
    pub moment: Vec<f64>,
}

impl GramSums {
    /// The sums of one partition; `labels` and `weights` hold one value per row.
    pub fn partial(design: &Design, labels: &[f64], weights: &[f64]) -> Result<GramSums> {
        check_lengths(design, labels, weights)?;
        let order = design.columns() + 1;
        let mut sums = GramSums {
            rows: design.rows() as u64,
            gram: PackedSymmetric::zero(order),
            moment: vec![0.0; order],
        };
        for (position, (label, weight)) in labels.iter().zip(weights).enumerate() {
            let row = design.row(position);
            sums.gram.add_outer(row, *weight);
            add_row(&mut sums.moment, row, weight * label);
        }
        Ok(sums)
    }

    /// Adds the sums of the next partition, in partition order.
    pub fn merge(&mut self, next: &GramSums) -> Result<()> {
        self.gram.add(&next.gram)?;
        self.rows += next.rows;
        add_all(&mut self.moment, &next.moment)
    }

    /// Minimises the objective.
    pub fn solve(mut self, l2: f64) -> Result<Coefficients> {
        self.gram.penalise(l2);
        Ok(Coefficients::from_point(&self.gram.solve(&self.moment)?))
    }
}

/// Adds `factor · (row, 1)` to a vector whose last element belongs to the intercept.
pub(crate) fn add_row(sums: &mut [f64], row: DesignRow<'_>, factor: f64) {
    for (sum, value) in sums.iter_mut().zip(row.numeric) {
        *sum += factor * value;
    }
    for column in row.set {
        sums[*column as usize] += factor;
    }
    if let Some(last) = sums.last_mut() {
        *last += factor;
    }
}

/// Adds one vector to another of the same length.
pub(crate) fn add_all(sums: &mut [f64], more: &[f64]) -> Result<()> {
    if sums.len() != more.len() {
        return Err(Error::Shape {
            what: "vector of sums",
            expected: sums.len(),
            actual: more.len(),
        });
    }
    for (own, other) in sums.iter_mut().zip(more) {
        *own += other;
    }
    Ok(())
}

/// Refuses labels or weights that are not one per row.
pub(crate) fn check_lengths(design: &Design, labels: &[f64], weights: &[f64]) -> Result<()> {
    for (what, actual) in [("label vector", labels.len()), ("weight vector", weights.len())] {
        if actual != design.rows() {
            return Err(Error::Shape {
                what,
                expected: design.rows(),
                actual,
            });
        }
    }
    Ok(())
}
