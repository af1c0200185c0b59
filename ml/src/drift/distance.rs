//! Distances between two distributions given as shares of the same bins.
//!
//! Invariant: both slices have one share per bin, none negative, and each adds up to about 1 unless said
//! otherwise. Bins of one slice without a partner in the other are left out, so slices of one length must be
//! given.

/// Share that stands in for 0 when every other share is larger (Evidently).
const EMPTY_SHARE: f64 = 0.0001;

/// The shares of some counts; all 0 when nothing was counted.
pub fn shares(counts: &[u64]) -> Vec<f64> {
    let total: u64 = counts.iter().sum();
    counts
        .iter()
        .map(|count| {
            if total == 0 {
                0.0
            } else {
                *count as f64 / total as f64
            }
        })
        .collect()
}

/// Replaces shares of 0 as Evidently does, so that logarithms stay finite: by 0.0001, or by a millionth of
/// the least share when that is no larger than 0.0001. The shares are not normalised again.
pub fn fill_empty(shares: &[f64]) -> Vec<f64> {
    let least = shares
        .iter()
        .copied()
        .filter(|share| *share > 0.0)
        .fold(f64::INFINITY, f64::min);
    let fill = if least <= EMPTY_SHARE {
        least / 1e6
    } else {
        EMPTY_SHARE
    };
    shares
        .iter()
        .map(|share| if *share == 0.0 { fill } else { *share })
        .collect()
}

/// Population stability index Σ (r − c) ln(r / c), empty bins filled.
pub fn psi(reference: &[f64], current: &[f64]) -> f64 {
    let (reference, current) = (fill_empty(reference), fill_empty(current));
    pairs(&reference, &current)
        .map(|(r, c)| (r - c) * libm::log(r / c))
        .sum()
}

/// Kullback-Leibler divergence Σ r ln(r / c) in nats, empty bins filled and both sides then normalised.
pub fn kullback_leibler(reference: &[f64], current: &[f64]) -> f64 {
    let (reference, current) = (fill_empty(reference), fill_empty(current));
    relative_entropy(&normalised(&reference), &normalised(&current))
}

/// Jensen-Shannon distance √((KL(r, m) + KL(c, m)) / 2), m the mean, in natural logarithms; at most √(ln 2).
pub fn jensen_shannon(reference: &[f64], current: &[f64]) -> f64 {
    let (reference, current) = (normalised(reference), normalised(current));
    let mean: Vec<f64> = pairs(&reference, &current).map(|(r, c)| (r + c) / 2.0).collect();
    let divergence = relative_entropy(&reference, &mean) + relative_entropy(&current, &mean);
    (divergence / 2.0).max(0.0).sqrt()
}

/// Hellinger distance √(1 − Σ √(r c)), in [0, 1].
pub fn hellinger(reference: &[f64], current: &[f64]) -> f64 {
    let overlap: f64 = pairs(reference, current).map(|(r, c)| (r * c).sqrt()).sum();
    (1.0 - overlap.clamp(0.0, 1.0)).sqrt()
}

fn pairs<'a>(left: &'a [f64], right: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    left.iter().copied().zip(right.iter().copied())
}

fn normalised(shares: &[f64]) -> Vec<f64> {
    let total: f64 = shares.iter().sum();
    shares
        .iter()
        .map(|share| if total > 0.0 { share / total } else { 0.0 })
        .collect()
}

fn relative_entropy(left: &[f64], right: &[f64]) -> f64 {
    pairs(left, right)
        .map(|(l, r)| if l == 0.0 { 0.0 } else { l * libm::log(l / r) })
        .sum()
}
