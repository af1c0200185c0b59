//! The exact distribution of the one-sample, two-sided Kolmogorov-Smirnov statistic.
//!
//! The method is chosen by size and statistic as Simard and L'Ecuyer (2011, J. Stat. Software 39/11) propose
//! and SciPy's `kstwo` does: closed forms at both ends, twice the one-sided tail where that is exact or as
//! good as exact, the matrix of Durbin (Marsaglia, Tsang and Wang 2003) near the centre of small samples, and
//! the series of Pelz and Good (1976) near the centre of large ones. The result has ten or more digits,
//! except that one-sided tails beyond 10⁶ rows use the approximation of Maag and Dicaire (1971), good to
//! about 1/n.
//!
//! Invariant: the result is in [0, 1] and falls as the statistic grows.

use std::f64::consts::PI;

/// Sample size up to which the one-sided tail is summed term by term.
const SUMMED_ROWS_MAX: u64 = 1_000_000;
/// Scaling that keeps the Durbin matrix within the range of f64.
const BIG: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;
const BIG_EXPONENT: i32 = 128;

/// The probability that the statistic of a sample of `rows` is at least `statistic`.
pub fn survival(rows: u64, statistic: f64) -> f64 {
    let n = rows as f64;
    let t = n * statistic;
    let squared = t * statistic;
    let probability = if rows == 0 || t <= 0.5 || statistic.is_nan() {
        1.0
    } else if statistic >= 1.0 || (rows > 140 && squared >= 370.0) {
        0.0
    } else if t <= 1.0 {
        1.0 - libm::exp(libm::lgamma(n + 1.0) + n * libm::log((2.0 * t - 1.0) / n))
    } else if t >= n - 1.0 {
        2.0 * libm::pow(1.0 - statistic, n)
    } else if statistic >= 0.5 || squared > (if rows <= 140 { 4.0 } else { 2.2 }) {
        2.0 * one_sided(rows, statistic)
    } else if rows <= 140 || (rows <= 100_000 && n * libm::pow(statistic, 1.5) <= 1.4) {
        1.0 - durbin(rows, statistic)
    } else {
        1.0 - pelz_good(n, statistic)
    };
    probability.clamp(0.0, 1.0)
}

/// P(D⁺ ≥ d) = d Σ C(n, j) (d + j/n)^(j−1) (1 − d − j/n)^(n−j) over j ≤ n(1 − d) (Birnbaum and Tingey 1951).
/// Every term is positive, so nothing cancels.
fn one_sided(rows: u64, d: f64) -> f64 {
    let n = rows as f64;
    if rows > SUMMED_ROWS_MAX {
        let shifted = 6.0 * n * d + 1.0;
        return libm::exp(-shifted * shifted / 18.0 / n);
    }
    let all = libm::lgamma(n + 1.0);
    let mut sum = 0.0;
    for term in 0..=(n * (1.0 - d)).floor() as u64 {
        let j = term as f64;
        let up = d + j / n;
        let down = 1.0 - up;
        if down <= 0.0 {
            break;
        }
        let choose = all - libm::lgamma(j + 1.0) - libm::lgamma(n - j + 1.0);
        sum += libm::exp(choose + (j - 1.0) * libm::log(up) + (n - j) * libm::log(down));
    }
    d * sum
}

/// P(D < d) as an element of the n-th power of a small matrix.
fn durbin(rows: u64, d: f64) -> f64 {
    let n = rows as f64;
    let k = (n * d).ceil() as usize;
    let order = 2 * k - 1;
    let mut base = Scaled {
        matrix: durbin_matrix(order, k as f64 - n * d),
        order,
        exponent: 0,
    };
    let mut power = Scaled::identity(order);
    let mut left = rows;
    while left > 0 {
        if left % 2 == 1 {
            power = power.times(&base);
        }
        base = base.times(&base);
        base.rescale((k - 1) * order + k - 1);
        left /= 2;
    }
    let mut probability = power.matrix[(k - 1) * order + k - 1];
    let mut exponent = power.exponent;
    for row in 1..=rows {
        probability *= row as f64 / n;
        if probability.abs() < 1.0 / BIG {
            probability *= BIG;
            exponent -= BIG_EXPONENT;
        }
    }
    libm::ldexp(probability, exponent)
}

fn durbin_matrix(order: usize, h: f64) -> Vec<f64> {
    let mut matrix = vec![0.0; order * order];
    let mut inverse_factorial = vec![1.0; order + 1];
    for i in 1..=order {
        inverse_factorial[i] = inverse_factorial[i - 1] / i as f64;
    }
    for row in 0..order {
        for column in 1..order.min(row + 2) {
            matrix[row * order + column] = inverse_factorial[row + 1 - column];
        }
    }
    for row in 0..order {
        let edge = (1.0 - libm::pow(h, (row + 1) as f64)) * inverse_factorial[row + 1];
        matrix[row * order] = edge;
        matrix[order * order - 1 - row] = edge;
    }
    let power = order as f64;
    let corner = 1.0 - 2.0 * libm::pow(h, power) + libm::pow((2.0 * h - 1.0).max(0.0), power);
    matrix[(order - 1) * order] = corner * inverse_factorial[order];
    matrix
}

/// A square matrix times a power of two.
struct Scaled {
    matrix: Vec<f64>,
    order: usize,
    exponent: i32,
}

impl Scaled {
    fn identity(order: usize) -> Scaled {
        let mut matrix = vec![0.0; order * order];
        matrix
            .iter_mut()
            .step_by(order + 1)
            .for_each(|element| *element = 1.0);
        Scaled {
            matrix,
            order,
            exponent: 0,
        }
    }

    fn times(&self, other: &Scaled) -> Scaled {
        let order = self.order;
        let mut matrix = vec![0.0; order * order];
        for (line, product) in self.matrix.chunks(order).zip(matrix.chunks_mut(order)) {
            for (factor, other_line) in line.iter().zip(other.matrix.chunks(order)) {
                for (sum, element) in product.iter_mut().zip(other_line) {
                    *sum += factor * element;
                }
            }
        }
        Scaled {
            matrix,
            order,
            exponent: self.exponent + other.exponent,
        }
    }

    fn rescale(&mut self, watched: usize) {
        if self.matrix[watched].abs() > BIG {
            self.matrix.iter_mut().for_each(|element| *element /= BIG);
            self.exponent += BIG_EXPONENT;
        }
    }
}

/// P(D < d) ≈ K₀ + K₁/√n + K₂/n + K₃/n^{3/2} at z = d√n, each K a theta series that converges fast for small
/// z.
fn pelz_good(n: f64, d: f64) -> f64 {
    let z = n.sqrt() * d;
    let (z2, pi2) = (z * z, PI * PI);
    let (z4, z6, pi4, pi6) = (z2 * z2, z2 * z2 * z2, pi2 * pi2, pi2 * pi2 * pi2);
    let terms = (16.0 * z / PI).ceil() as u32;
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    let (mut extra2, mut extra3) = (0.0, 0.0);
    for term in (1..=terms).rev() {
        let odd = f64::from(2 * term - 1);
        let (m2, m4) = (odd * odd, odd * odd * odd * odd);
        let weight = libm::exp(-pi2 * m2 / (8.0 * z2));
        k0 += weight;
        k1 += weight * (pi2 / 4.0 * m2 - z2);
        k2 += weight
            * (6.0 * z6
                + 2.0 * z4
                + (2.0 * z4 - 5.0 * z2) * pi2 / 4.0 * m2
                + pi4 * (1.0 - 2.0 * z2) / 16.0 * m4);
        k3 += weight
            * (-30.0 * z6 - 90.0 * z4 * z4
                + pi2 * (135.0 * z4 - 96.0 * z6) / 4.0 * m2
                + pi4 * (212.0 * z4 - 60.0 * z2) / 16.0 * m4
                + pi6 * (5.0 - 30.0 * z2) / 64.0 * m4 * m2);
        let k = f64::from(term);
        let weight = libm::exp(-pi2 * k * k / (2.0 * z2));
        extra2 += weight * k * k;
        extra3 += weight * k * k * (3.0 * z2 - pi2 * k * k);
    }
    let root = (2.0 * PI).sqrt();
    k0 *= root / z;
    k1 *= root / (6.0 * z4);
    k2 = k2 * root / (72.0 * z6 * z) - extra2 * pi2 * root / (36.0 * z2 * z);
    k3 = k3 * root / (6480.0 * z6 * z4) + extra3 * pi2 * root / (216.0 * z6);
    k0 + k1 / n.sqrt() + k2 / n + k3 / (n * n.sqrt())
}
