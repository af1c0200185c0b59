//! Evidently's binning of two raw samples, quirks included, for figures that match its own.
//!
//! A reference with more than 20 distinct values is cut into equal bins over both samples together, as many
//! as NumPy's "sturges" rule gives; otherwise every distinct value is a bin. Profiles do not use this: their
//! bins are frozen.
//!
//! Invariant: both histograms are over the same bins, in ascending order.

use super::distance::shares;

/// Distinct reference values up to which every value is a bin.
const DISTINCT_VALUES_MAX: usize = 20;

/// The finite values in ascending order.
pub fn sorted_finite(values: &[f64]) -> Vec<f64> {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_unstable_by(f64::total_cmp);
    finite
}

/// Shares of reference and current on common bins.
pub fn common_shares(reference: &[f64], current: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (reference, current) = (sorted_finite(reference), sorted_finite(current));
    if distinct(&reference).len() > DISTINCT_VALUES_MAX {
        let edges = sturges_edges(&merged(&reference, &current));
        return (
            shares(&histogram(&reference, &edges)),
            shares(&histogram(&current, &edges)),
        );
    }
    let values = distinct(&merged(&reference, &current));
    (
        shares(&value_counts(&reference, &values)),
        shares(&value_counts(&current, &values)),
    )
}

/// Shares on Evidently's bins for the Hellinger distance: "sturges" over the distinct values of both samples.
pub fn distinct_shares(reference: &[f64], current: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (reference, current) = (sorted_finite(reference), sorted_finite(current));
    let edges = sturges_edges(&distinct(&merged(&reference, &current)));
    (
        shares(&histogram(&reference, &edges)),
        shares(&histogram(&current, &edges)),
    )
}

/// Equal bins as NumPy's `histogram_bin_edges(values, bins="sturges")`, for sorted values.
pub fn sturges_edges(sorted: &[f64]) -> Vec<f64> {
    let (Some(first), Some(last)) = (sorted.first().copied(), sorted.last().copied()) else {
        return vec![0.0, 1.0];
    };
    if first == last {
        return vec![first - 0.5, last + 0.5];
    }
    let width = (last - first) / (libm::log2(sorted.len() as f64) + 1.0);
    let bins = ((last - first) / width).ceil().max(1.0);
    let step = (last - first) / bins;
    let mut edges: Vec<f64> = (0..bins as u64).map(|edge| first + edge as f64 * step).collect();
    edges.push(last);
    edges
}

/// Counts of sorted values per bin `[edge, next edge)`, the last one closed; values outside are left out.
pub fn histogram(sorted: &[f64], edges: &[f64]) -> Vec<u64> {
    let last = edges.len() - 1;
    let below = |position: usize| {
        let edge = edges[position];
        sorted.partition_point(|value| {
            if position == last {
                *value <= edge
            } else {
                *value < edge
            }
        }) as u64
    };
    (0..last).map(|bin| below(bin + 1) - below(bin)).collect()
}

fn value_counts(sorted: &[f64], values: &[f64]) -> Vec<u64> {
    let upto = |value: &f64| sorted.partition_point(|other| other <= value);
    let below = |value: &f64| sorted.partition_point(|other| other < value);
    values
        .iter()
        .map(|value| (upto(value) - below(value)) as u64)
        .collect()
}

fn merged(left: &[f64], right: &[f64]) -> Vec<f64> {
    let mut all = [left, right].concat();
    all.sort_unstable_by(f64::total_cmp);
    all
}

fn distinct(sorted: &[f64]) -> Vec<f64> {
    let mut values = sorted.to_vec();
    values.dedup();
    values
}
