//! Tests of counts: Pearson's chi-squared and the pooled two-proportion z-test.
//!
//! Invariant: p-values are in [0, 1]; nothing counted on one side gives a p-value of 1, for there is no
//! evidence.

use crate::error::{Error, Result};

/// Terms after which the incomplete gamma function has converged for every argument in use.
const TERMS_MAX: u32 = 100_000;

/// Chi-squared p-value of current counts against the reference's shares, as `scipy.stats.chisquare` on
/// expected counts `reference · n_current / n_reference`, with one degree of freedom less than categories. A
/// category that the reference never had and the current rows have makes it 0.
pub fn chi_squared_p(reference: &[u64], current: &[u64]) -> Result<f64> {
    if reference.len() != current.len() {
        let (expected, actual) = (reference.len(), current.len());
        return Err(Error::Shape {
            what: "list of current counts",
            expected,
            actual,
        });
    }
    let (rows, others) = (
        reference.iter().sum::<u64>() as f64,
        current.iter().sum::<u64>() as f64,
    );
    if rows == 0.0 || others == 0.0 {
        return Ok(1.0);
    }
    let (mut statistic, mut categories) = (0.0, 0_u32);
    for (before, now) in reference
        .iter()
        .zip(current)
        .filter(|(before, now)| **before + **now > 0)
    {
        let expected = *before as f64 * (others / rows);
        let gap = *now as f64 - expected;
        statistic += gap * gap / expected;
        categories += 1;
    }
    if categories < 2 {
        return Ok(1.0);
    }
    Ok(chi_squared_survival(categories - 1, statistic))
}

/// The probability that a chi-squared variable of that many degrees of freedom is at least `statistic`.
pub fn chi_squared_survival(freedom: u32, statistic: f64) -> f64 {
    upper_gamma(f64::from(freedom) / 2.0, statistic / 2.0)
}

/// Two-sided p-value of a pooled two-proportion z-test.
pub fn two_proportion_p(hits: u64, rows: u64, other_hits: u64, other_rows: u64) -> f64 {
    let (n, m) = (rows as f64, other_rows as f64);
    let pooled = (hits + other_hits) as f64 / (n + m);
    let spread = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if rows == 0 || other_rows == 0 || spread == 0.0 {
        return 1.0;
    }
    let z = (hits as f64 / n - other_hits as f64 / m) / spread;
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The regularised upper incomplete gamma function Q(a, x): by its series below a + 1, else by Lentz's
/// continued fraction (Press et al., Numerical Recipes, §6.2).
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if !x.is_finite() {
        return 0.0;
    }
    let front = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..TERMS_MAX {
            term *= x / (a + f64::from(step));
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let mut c = f64::MAX;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for step in 1..TERMS_MAX {
        let i = f64::from(step);
        let factor = i * (a - i);
        b += 2.0;
        d = 1.0 / (factor * d + b);
        c = b + factor / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}
