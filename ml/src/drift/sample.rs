//! Statistics of two raw samples: Kolmogorov-Smirnov, Wasserstein and energy distance, as SciPy defines them.
//!
//! Invariant: values that are not finite are left out; a sample without finite values is refused.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

use super::binning::sorted_finite;
use super::kolmogorov;

/// Sample size up to which the two-sample p-value counts lattice paths exactly (SciPy's 'auto').
const EXACT_ROWS_MAX: usize = 10_000;
/// Least standard deviation by which a Wasserstein distance is divided (Evidently).
const DEVIATION_MIN: f64 = 0.001;

/// The outcome of a two-sample Kolmogorov-Smirnov test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KolmogorovSmirnov {
    /// The greatest gap between the two cumulative distributions.
    pub statistic: f64,
    /// The probability of a gap at least as great between two samples of one continuous distribution.
    pub p_value: f64,
}

/// Two-sample, two-sided Kolmogorov-Smirnov test: exact for samples of up to 10,000, else by the one-sample
/// distribution at the effective size, as `scipy.stats.ks_2samp`.
pub fn kolmogorov_smirnov(reference: &[f64], current: &[f64]) -> Result<KolmogorovSmirnov> {
    let (reference, current) = finite(reference, current)?;
    let (rows, others) = (reference.len(), current.len());
    let mut statistic: f64 = 0.0;
    walk(&reference, &current, |_, gap| {
        statistic = statistic.max(gap.abs())
    });
    let exact = rows.max(others) <= EXACT_ROWS_MAX;
    let p_value = exact
        .then(|| exact_p(rows as u64, others as u64, statistic))
        .filter(|p| p.is_finite());
    let p_value = p_value.unwrap_or_else(|| asymptotic_p(rows as u64, others as u64, statistic));
    Ok(KolmogorovSmirnov {
        statistic,
        p_value: p_value.clamp(0.0, 1.0),
    })
}

/// p-value of a two-sample statistic through the one-sample distribution at size mn / (m + n).
pub fn asymptotic_p(rows: u64, others: u64, statistic: f64) -> f64 {
    let (rows, others) = (rows as f64, others as f64);
    let effective = (rows * others / (rows + others)).round_ties_even();
    kolmogorov::survival(effective as u64, statistic)
}

/// Wasserstein distance ∫ |F₁ − F₂|, divided by the population standard deviation of the reference.
pub fn wasserstein(reference: &[f64], current: &[f64]) -> Result<f64> {
    let (reference, current) = finite(reference, current)?;
    let mut distance = 0.0;
    walk(&reference, &current, |width, gap| distance += gap.abs() * width);
    let rows = reference.len() as f64;
    let mean = reference.iter().sum::<f64>() / rows;
    let variance = reference
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f64>()
        / rows;
    Ok(distance / variance.sqrt().max(DEVIATION_MIN))
}

/// Energy distance √(2 ∫ (F₁ − F₂)²).
pub fn energy(reference: &[f64], current: &[f64]) -> Result<f64> {
    let (reference, current) = finite(reference, current)?;
    let mut squared = 0.0;
    walk(&reference, &current, |width, gap| squared += gap * gap * width);
    Ok((2.0 * squared).sqrt())
}

fn finite(reference: &[f64], current: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (reference, current) = (sorted_finite(reference), sorted_finite(current));
    if reference.is_empty() || current.is_empty() {
        return Err(Error::TooFew {
            what: "finite values of a sample",
            actual: 0,
            needed: 1,
        });
    }
    Ok((reference, current))
}

/// Visits every distinct pooled value in ascending order with the way to the next one (0 at the end) and the
/// gap F₁ − F₂ right of it.
fn walk(left: &[f64], right: &[f64], mut visit: impl FnMut(f64, f64)) {
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let next = |i: usize, j: usize| match (left.get(i), right.get(j)) {
            (Some(l), Some(r)) => Some(l.min(*r)),
            (Some(only), None) | (None, Some(only)) => Some(*only),
            (None, None) => None,
        };
        let Some(value) = next(i, j) else { return };
        i += left[i..].iter().take_while(|other| **other == value).count();
        j += right[j..].iter().take_while(|other| **other == value).count();
        let width = next(i, j).map_or(0.0, |following| following - value);
        visit(
            width,
            i as f64 / left.len() as f64 - j as f64 / right.len() as f64,
        );
    }
}

/// Probability that a lattice path from (0, 0) to (rows, others) leaves the band |x/rows − y/others| <
/// statistic.
fn exact_p(rows: u64, others: u64, statistic: f64) -> f64 {
    let divisor = gcd(rows, others);
    let multiple = rows / divisor * others;
    let height = (statistic * multiple as f64).round_ties_even() as u64;
    if height == 0 {
        1.0
    } else if rows == others {
        outside_square(rows, height)
    } else {
        outside_band(rows.max(others), rows.min(others), divisor, height)
    }
}

/// The case of equal sizes in closed form, by reflection (Hodges 1958), summed like a Horner scheme.
fn outside_square(rows: u64, height: u64) -> f64 {
    let mut sum = 0.0;
    for reflection in (0..=rows / height).rev() {
        let reach = reflection * height;
        let factor = (0..height).fold(1.0, |factor, step| {
            (rows as f64 - reach as f64 - step as f64) * factor / (rows + reach + step + 1) as f64
        });
        sum = factor * (1.0 - sum);
    }
    2.0 * sum
}

/// The general case: the share of paths that touched the border, column by column (Viehmann, arXiv
/// 2102.08037).
fn outside_band(rows: u64, others: u64, divisor: u64, height: u64) -> f64 {
    let (rise, run) = (others / divisor, rows / divisor);
    let mut outside = vec![1.0; others as usize + 1];
    let inside_first = height.div_ceil(run).min(others + 1) as usize;
    outside[..inside_first].fill(0.0);
    for column in 1..=rows {
        let centre = rise * column;
        let low = if centre >= height {
            ((centre - height) / run + 1).min(others)
        } else {
            0
        };
        let high = (centre + height).div_ceil(run).min(others + 1);
        if high <= low {
            return 1.0;
        }
        let mut below = if low == 0 { 0.0 } else { 1.0 };
        for (row, share) in (low..high).zip(&mut outside[low as usize..high as usize]) {
            below = (*share * column as f64 + below * row as f64) / (column + row) as f64;
            *share = below;
        }
    }
    outside[others as usize]
}

fn gcd(left: u64, right: u64) -> u64 {
    if right == 0 {
        left
    } else {
        gcd(right, left % right)
    }
}
