//! Binary logistic regression with an L2 penalty, by Newton's method (iteratively reweighted least squares).
//!
//! The objective is ½‖w‖² + c · Σ loss, as in scikit-learn's `LogisticRegression(C=c)`, with the intercept
//! not penalised. Each partition sends the loss, gradient and Hessian at a trial point; the coordinator adds
//! them, then either accepts the point and computes the next direction, or halves the step because the
//! objective rose.
//!
//! Convergence: stop when the gradient is below 1e-12 · c · Σ weights in every component, or when the next
//! Newton step is below 1e-10 of the point's size; that last step is still taken, since Newton's error
//! squares with every step (Nocedal and Wright, Numerical Optimization, theorem 3.5).
//!
//! Invariants: a state and sums give one next state, bit for bit (`libm`, fixed order); the accepted
//! objective never rises by more than rounding; labels are 0 or 1.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linear::{Coefficients, add_all, add_row, check_lengths};
use crate::preprocess::encode::Design;
use crate::symmetric::PackedSymmetric;

const GRADIENT_TOLERANCE: f64 = 1e-12;
const STEP_TOLERANCE: f64 = 1e-10;
/// Rise of the objective that is taken for rounding, relative to its size.
const OBJECTIVE_ROUNDING: f64 = 1e-13;
/// Halvings of one step after which the last accepted point is the answer.
const HALVINGS_MAX: u32 = 30;

/// What one partition contributes at a trial point. The penalty is added by the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogisticSums {
    /// Rows added.
    pub rows: u64,
    /// Sum of the row weights.
    pub weight: f64,
    /// Weighted sum of the row losses, in nats.
    pub loss: f64,
    /// Gradient of the loss, the intercept last.
    pub gradient: Vec<f64>,
    /// Hessian of the loss, the intercept last.
    pub hessian: PackedSymmetric,
}

impl LogisticSums {
    /// The sums of one partition at a point (weights, then intercept).
    pub fn partial(design: &Design, labels: &[f64], weights: &[f64], point: &[f64]) -> Result<LogisticSums> {
        check_lengths(design, labels, weights)?;
        let order = design.columns() + 1;
        if point.len() != order {
            return Err(Error::Shape {
                what: "trial point",
                expected: order,
                actual: point.len(),
            });
        }
        let mut sums = LogisticSums {
            rows: design.rows() as u64,
            weight: 0.0,
            loss: 0.0,
            gradient: vec![0.0; order],
            hessian: PackedSymmetric::zero(order),
        };
        for (position, (label, weight)) in labels.iter().zip(weights).enumerate() {
            let row = design.row(position);
            let score = row.dot(&point[..order - 1]) + point[order - 1];
            let (probability, loss) = probability_and_loss(score, *label);
            sums.weight += weight;
            sums.loss += weight * loss;
            add_row(&mut sums.gradient, row, weight * (probability - label));
            sums.hessian
                .add_outer(row, weight * probability * (1.0 - probability));
        }
        Ok(sums)
    }

    /// Adds the sums of the next partition, in partition order.
    pub fn merge(&mut self, next: &LogisticSums) -> Result<()> {
        self.hessian.add(&next.hessian)?;
        self.rows += next.rows;
        self.weight += next.weight;
        self.loss += next.loss;
        add_all(&mut self.gradient, &next.gradient)
    }
}

/// The logistic function.
pub fn probability(score: f64) -> f64 {
    if score >= 0.0 {
        1.0 / (1.0 + libm::exp(-score))
    } else {
        let odds = libm::exp(score);
        odds / (1.0 + odds)
    }
}

/// The probability of label 1 and the loss −ln p(label), from one exponential and without overflow.
fn probability_and_loss(score: f64, label: f64) -> (f64, f64) {
    let small = libm::exp(-score.abs());
    let probability = if score >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    };
    let agrees = (label > 0.5) == (score >= 0.0);
    let loss = libm::log1p(small) + if agrees { 0.0 } else { score.abs() };
    (probability, loss)
}

/// Why the descent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The gradient or the next step is as good as zero.
    Converged,
    /// No shorter step lowers the objective: the point is as good as rounding allows.
    Stalled,
    /// The allowed number of evaluations is used up.
    OutOfIterations,
}

/// The state of the descent between two evaluations; it is all that a successor needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Descent {
    c: f64,
    iterations_max: u32,
    point: Vec<f64>,
    direction: Vec<f64>,
    scale: f64,
    objective: Option<f64>,
    gradient_max: f64,
    iterations: u32,
    halvings: u32,
    ending: Option<Ending>,
}

impl Descent {
    /// Starts at zero, for a design of that many columns.
    pub fn new(c: f64, iterations_max: u32, columns: usize) -> Descent {
        Descent {
            c,
            iterations_max,
            point: vec![0.0; columns + 1],
            direction: vec![0.0; columns + 1],
            scale: 1.0,
            objective: None,
            gradient_max: 0.0,
            iterations: 0,
            halvings: 0,
            ending: None,
        }
    }

    /// The point to evaluate next; after the end, the answer.
    pub fn trial(&self) -> Vec<f64> {
        self.point
            .iter()
            .zip(&self.direction)
            .map(|(start, step)| start + self.scale * step)
            .collect()
    }

    /// Why the descent ended, once it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Evaluations so far.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The objective at the last accepted point.
    pub fn objective(&self) -> Option<f64> {
        self.objective
    }

    /// The greatest component of the gradient at the last accepted point.
    pub fn gradient_max(&self) -> f64 {
        self.gradient_max
    }

    /// The coefficients found.
    pub fn coefficients(&self) -> Coefficients {
        Coefficients::from_point(&self.trial())
    }

    /// Takes in the merged sums at the trial point.
    pub fn step(&mut self, mut sums: LogisticSums) -> Result<()> {
        if sums.gradient.len() != self.point.len() {
            let (expected, actual) = (self.point.len(), sums.gradient.len());
            return Err(Error::Shape {
                what: "gradient",
                expected,
                actual,
            });
        }
        self.iterations += 1;
        let trial = self.trial();
        let weights = &trial[..trial.len() - 1];
        let penalty: f64 = weights.iter().map(|weight| weight * weight).sum::<f64>() / 2.0;
        let objective = self.c * sums.loss + penalty;
        if !objective.is_finite() {
            return Err(Error::NotFinite {
                what: "the logistic objective",
            });
        }
        if self
            .objective
            .is_some_and(|best| objective > best + OBJECTIVE_ROUNDING * best.abs())
        {
            self.halve();
            return Ok(());
        }
        for (slope, weight) in sums.gradient.iter_mut().zip(weights.iter().chain([&0.0])) {
            *slope = self.c * *slope + weight;
        }
        sums.hessian.scale(self.c);
        sums.hessian.penalise(1.0);
        let newton = sums.hessian.solve(&sums.gradient)?;
        self.gradient_max = max_abs(&sums.gradient);
        self.objective = Some(objective);
        self.point = trial;
        self.direction = newton.into_iter().map(|step| -step).collect();
        self.scale = 1.0;
        self.halvings = 0;
        if self.gradient_max <= GRADIENT_TOLERANCE * self.c * sums.weight
            || max_abs(&self.direction) <= STEP_TOLERANCE * (1.0 + max_abs(&self.point))
        {
            self.ending = Some(Ending::Converged);
        } else if self.iterations >= self.iterations_max {
            self.stay(Ending::OutOfIterations);
        }
        Ok(())
    }

    fn halve(&mut self) {
        self.scale /= 2.0;
        self.halvings += 1;
        if self.halvings >= HALVINGS_MAX {
            self.stay(Ending::Stalled);
        } else if self.iterations >= self.iterations_max {
            self.stay(Ending::OutOfIterations);
        }
    }

    /// Ends at the last accepted point.
    fn stay(&mut self, ending: Ending) {
        self.direction.fill(0.0);
        self.ending = Some(ending);
    }
}

fn max_abs(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, value| value.abs().max(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_probability_are_stable_far_out() {
        for (score, label) in [(800.0, 0.0), (-800.0, 1.0), (800.0, 1.0), (0.0, 1.0), (-2.0, 0.0)] {
            let (found, loss) = probability_and_loss(score, label);
            assert!(loss.is_finite() && loss >= 0.0);
            assert_eq!(found, probability(score));
        }
        assert_eq!(probability_and_loss(800.0, 0.0).1, 800.0);
    }

    #[test]
    fn a_step_that_raises_the_objective_is_halved() {
        let mut descent = Descent::new(1.0, 100, 0);
        let mut sums = LogisticSums {
            rows: 2,
            weight: 2.0,
            loss: 1.0,
            gradient: vec![1.0],
            hessian: PackedSymmetric::zero(1),
        };
        sums.hessian.add_outer(
            crate::preprocess::encode::DesignRow {
                numeric: &[],
                set: &[],
            },
            0.25,
        );
        descent.step(sums.clone()).unwrap();
        assert_eq!(descent.trial(), [-4.0]);
        descent.step(LogisticSums { loss: 1.5, ..sums }).unwrap();
        assert_eq!(descent.trial(), [-2.0]);
        assert_eq!((descent.iterations(), descent.ending()), (2, None));
    }
}
