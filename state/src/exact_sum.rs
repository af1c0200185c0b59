//! Exact sums of floating-point numbers, so that a window is the same number whatever order its rows came in.
//!
//! The method is Shewchuk's (Adaptive Precision Floating-Point Arithmetic, 1997): the sum is kept as a short list of
//! non-overlapping parts whose mathematical sum is exact, and is rounded once, half to even, when it is read.
//!
//! Invariant: [`ExactSum::value`] is the correctly rounded sum of everything added, so adding and merging commute.

use serde::{Deserialize, Serialize};

/// An exact running sum of finite numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExactSum {
    /// Non-overlapping parts in increasing magnitude.
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds one finite number.
    pub fn add(&mut self, number: f64) {
        let mut carried = number;
        let mut kept = 0;
        for position in 0..self.parts.len() {
            let (high, low) = two_sum(carried, self.parts[position]);
            if low != 0.0 {
                self.parts[kept] = low;
                kept += 1;
            }
            carried = high;
        }
        self.parts.truncate(kept);
        if carried != 0.0 {
            self.parts.push(carried);
        }
    }

    /// Adds everything that `other` has added.
    pub fn merge(&mut self, other: &Self) {
        for part in &other.parts {
            self.add(*part);
        }
    }

    /// The sum, rounded once to the nearest number, ties to even. An empty sum is zero.
    pub fn value(&self) -> f64 {
        let Some((&largest, rest)) = self.parts.split_last() else {
            return 0.0;
        };
        let mut high = largest;
        let mut low = 0.0;
        let mut below = rest.len();
        while below > 0 && low == 0.0 {
            below -= 1;
            (high, low) = two_sum(high, rest[below]);
        }
        // Exactly half a unit left over: the parts further down decide which way the tie goes.
        if below > 0 && low != 0.0 && (low < 0.0) == (rest[below - 1] < 0.0) {
            let doubled = low * 2.0;
            let rounded = high + doubled;
            if doubled == rounded - high {
                high = rounded;
            }
        }
        high
    }
}

/// The rounded sum and the exact error of it (Knuth's two-sum).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum_of(numbers: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|number| sum.add(*number));
        sum
    }

    #[test]
    fn small_terms_survive_a_large_one_that_cancels() {
        assert_eq!(sum_of(&[1e100, 1.0, -1e100, 1e-3]).value(), 1.001);
        assert_eq!(sum_of(&[0.1; 10]).value(), 1.0);
    }

    #[test]
    fn a_tie_is_broken_by_the_parts_below_it() {
        assert_eq!(sum_of(&[1e16, 1.0, 1e-16]).value(), 10_000_000_000_000_002.0);
        assert_eq!(sum_of(&[1e16, 1.0]).value(), 1e16);
    }

    proptest! {
        #[test]
        fn the_order_of_the_terms_does_not_matter(
            numbers in prop::collection::vec(-1e12f64..1e12, 0..60),
            cut in 0usize..60,
        ) {
            let forwards = sum_of(&numbers);
            let mut reversed = numbers.clone();
            reversed.reverse();
            prop_assert_eq!(forwards.value().to_bits(), sum_of(&reversed).value().to_bits());
            let (left, right) = numbers.split_at(cut.min(numbers.len()));
            let mut merged = sum_of(right);
            merged.merge(&sum_of(left));
            prop_assert_eq!(forwards.value().to_bits(), merged.value().to_bits());
        }
    }
}
