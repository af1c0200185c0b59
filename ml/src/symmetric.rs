//! A symmetric matrix kept as its packed upper triangle, filled by sparse rows and solved by Cholesky.
//!
//! Small and our own so that every operation happens in one written order: no threads, no BLAS, the same bits
//! on every machine.
//!
//! Invariant: element (i, j), i ≤ j, lies at `start(i) + j - i`; the last row and column belong to the
//! intercept.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::preprocess::encode::DesignRow;

/// A pivot smaller than this share of its diagonal element marks a column that earlier columns already
/// explain.
const ALIASED_PIVOT: f64 = 1e-11;

/// A symmetric matrix of sums over rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackedSymmetric {
    order: usize,
    upper: Vec<f64>,
}

impl PackedSymmetric {
    /// The zero matrix.
    pub fn zero(order: usize) -> PackedSymmetric {
        PackedSymmetric {
            order,
            upper: vec![0.0; order * (order + 1) / 2],
        }
    }

    /// Number of rows, which is the number of columns.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The element (row, column) with row ≤ column.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        self.upper[self.start(row) + column - row]
    }

    fn start(&self, row: usize) -> usize {
        row * self.order - row * row.saturating_sub(1) / 2
    }

    /// Adds `weight · x xᵀ`, where x is the row followed by a 1 for the intercept.
    pub fn add_outer(&mut self, row: DesignRow<'_>, weight: f64) {
        let intercept = self.order - 1;
        for (first, value) in row.numeric.iter().enumerate() {
            let scaled = weight * value;
            let start = self.start(first);
            let line = &mut self.upper[start..start + self.order - first];
            for (sum, other) in line.iter_mut().zip(&row.numeric[first..]) {
                *sum += scaled * other;
            }
            for column in row.set {
                line[*column as usize - first] += scaled;
            }
            line[intercept - first] += scaled;
        }
        for (position, first) in row.set.iter().enumerate() {
            let first = *first as usize;
            let start = self.start(first);
            let line = &mut self.upper[start..start + self.order - first];
            for column in &row.set[position..] {
                line[*column as usize - first] += weight;
            }
            line[intercept - first] += weight;
        }
        let last = self.upper.len() - 1;
        self.upper[last] += weight;
    }

    /// Adds another matrix of the same order.
    pub fn add(&mut self, other: &PackedSymmetric) -> Result<()> {
        if other.upper.len() != self.upper.len() {
            return Err(Error::Shape {
                what: "matrix",
                expected: self.order,
                actual: other.order,
            });
        }
        for (own, more) in self.upper.iter_mut().zip(&other.upper) {
            *own += more;
        }
        Ok(())
    }

    /// Multiplies every element.
    pub fn scale(&mut self, factor: f64) {
        for element in &mut self.upper {
            *element *= factor;
        }
    }

    /// Adds a penalty to the diagonal, except for the intercept.
    pub fn penalise(&mut self, penalty: f64) {
        for row in 0..self.order - 1 {
            let start = self.start(row);
            self.upper[start] += penalty;
        }
    }

    /// Solves `A x = b` for a positive semidefinite matrix.
    ///
    /// A column that earlier ones explain (its pivot vanishes) gets the coefficient 0, as R does for aliased
    /// terms, so least squares with a full one-hot encoding and no penalty still has one defined answer.
    pub fn solve(&self, right: &[f64]) -> Result<Vec<f64>> {
        if right.len() != self.order {
            return Err(Error::Shape {
                what: "right-hand side",
                expected: self.order,
                actual: right.len(),
            });
        }
        let lower = self.cholesky();
        let order = self.order;
        let mut solution = right.to_vec();
        for row in 0..order {
            let line = &lower[row * order..row * order + row];
            let sum: f64 = line
                .iter()
                .zip(&solution)
                .map(|(factor, value)| factor * value)
                .sum();
            let pivot = lower[row * order + row];
            solution[row] = if pivot == 0.0 {
                0.0
            } else {
                (solution[row] - sum) / pivot
            };
        }
        for row in (0..order).rev() {
            let pivot = lower[row * order + row];
            let value = if pivot == 0.0 { 0.0 } else { solution[row] / pivot };
            solution[row] = value;
            for column in 0..row {
                solution[column] -= lower[row * order + column] * value;
            }
        }
        if solution.iter().all(|value| value.is_finite()) {
            return Ok(solution);
        }
        Err(Error::NotFinite {
            what: "the solution of the normal equations",
        })
    }

    /// The lower factor, row by row, dense; an aliased column is left at zero.
    fn cholesky(&self) -> Vec<f64> {
        let order = self.order;
        let mut lower = vec![0.0; order * order];
        for row in 0..order {
            let (done, rest) = lower.split_at_mut(row * order);
            let line = &mut rest[..order];
            for column in 0..row {
                let above = &done[column * order..column * order + column + 1];
                let pivot = above[column];
                if pivot != 0.0 {
                    let sum: f64 = line[..column]
                        .iter()
                        .zip(above)
                        .map(|(left, right)| left * right)
                        .sum();
                    line[column] = (self.get(column, row) - sum) / pivot;
                }
            }
            let diagonal = self.get(row, row);
            let left: f64 = diagonal - line[..row].iter().map(|factor| factor * factor).sum::<f64>();
            line[row] = if left > ALIASED_PIVOT * diagonal {
                left.sqrt()
            } else {
                0.0
            };
        }
        lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_rows_add_up_and_solve() {
        let mut matrix = PackedSymmetric::zero(4);
        let mut moment = vec![0.0; 4];
        let rows: [(&[f64], &[u32], f64); 4] = [
            (&[1.0], &[1], 3.0),
            (&[2.0], &[2], 1.0),
            (&[-1.0], &[], 4.0),
            (&[0.5], &[1, 2], 2.0),
        ];
        let truth = [2.0, -1.0, 0.5, 3.0];
        for (numeric, set, weight) in rows {
            let row = DesignRow { numeric, set };
            matrix.add_outer(row, weight);
            let label = row.dot(&truth) + truth[3];
            moment[0] += weight * numeric[0] * label;
            for column in set {
                moment[*column as usize] += weight * label;
            }
            moment[3] += weight * label;
        }
        assert_eq!(matrix.get(3, 3), 10.0);
        assert_eq!(matrix.get(1, 2), 2.0);
        let solved = matrix.solve(&moment).unwrap();
        assert!(
            solved
                .iter()
                .zip(&truth)
                .all(|(found, wanted)| (found - wanted).abs() < 1e-12)
        );
    }

    #[test]
    fn an_explained_column_gets_coefficient_zero() {
        let mut matrix = PackedSymmetric::zero(3);
        matrix.add_outer(
            DesignRow {
                numeric: &[],
                set: &[0],
            },
            1.0,
        );
        matrix.add_outer(
            DesignRow {
                numeric: &[],
                set: &[1],
            },
            1.0,
        );
        assert_eq!(matrix.solve(&[5.0, 7.0, 12.0]).unwrap(), [5.0, 7.0, 0.0]);
    }
}
