//! A small mergeable summary of a distribution, without coin flips: the same values give the same points.
//!
//! It is only used to choose bin edges; everything that is compared or reported is counted exactly on those
//! edges. A partition keeps at most `POINTS_MAX` weighted points, each the median of an equal share of its
//! sorted values, so a rank read from one partition is wrong by at most half a share (0.2 %). Up to
//! `POINTS_MAX` distinct values are exact.
//!
//! Invariants: points are sorted and distinct, weights are positive and add up to the number of values.

use serde::{Deserialize, Serialize};

/// Points kept for one partition.
pub const POINTS_MAX: usize = 256;
/// Points kept after merging; above this the points are cut down again.
const MERGED_POINTS_MAX: usize = 32_768;

/// A value and how many values it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    value: f64,
    weight: u64,
}

/// Approximate quantiles of a set of finite numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QuantileSketch {
    points: Vec<Point>,
}

impl QuantileSketch {
    /// Summarises finite values sorted in ascending order.
    pub fn of_sorted(values: &[f64]) -> QuantileSketch {
        let points = distinct(values.iter().map(|value| Point {
            value: *value,
            weight: 1,
        }));
        QuantileSketch {
            points: shrink(points, POINTS_MAX),
        }
    }

    /// Summarises numbers in any order, leaving out those that are not finite.
    pub fn of(values: &[f64]) -> QuantileSketch {
        let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        finite.sort_unstable_by(f64::total_cmp);
        QuantileSketch::of_sorted(&finite)
    }

    /// Number of values summarised.
    pub fn count(&self) -> u64 {
        self.points.iter().map(|point| point.weight).sum()
    }

    /// Adds the values of another summary.
    pub fn merge(&mut self, other: &QuantileSketch) {
        let mut all: Vec<Point> = self.points.iter().chain(&other.points).copied().collect();
        all.sort_by(|left, right| left.value.total_cmp(&right.value));
        self.points = distinct(all.into_iter());
        if self.points.len() > MERGED_POINTS_MAX {
            self.points = shrink(std::mem::take(&mut self.points), MERGED_POINTS_MAX / 2);
        }
    }

    /// Ascending edges of at most `bins` bins that hold about equally many values, from `min` to `max`.
    ///
    /// With at most `bins` distinct values every value gets a bin of its own, cut halfway between neighbours.
    /// A bin is `[edge, next edge)`, the last one closed, so a constant gets one narrow bin. No values: no
    /// edges.
    pub fn edges(&self, bins: usize, min: f64, max: f64) -> Vec<f64> {
        if self.points.is_empty() {
            return Vec::new();
        }
        let inner: Vec<f64> = if self.points.len() <= bins {
            self.points
                .windows(2)
                .map(|pair| pair[0].value / 2.0 + pair[1].value / 2.0)
                .collect()
        } else {
            (1..bins).map(|bin| self.quantile(bin, bins)).collect()
        };
        let mut edges = vec![min];
        for edge in inner.into_iter().chain([max]) {
            if edge > edges[edges.len() - 1] {
                edges.push(edge);
            }
        }
        if edges.len() == 1 {
            edges.push(min.next_up());
        }
        edges
    }

    /// The value below which `numerator / denominator` of the values lie.
    fn quantile(&self, numerator: usize, denominator: usize) -> f64 {
        let rank = u128::from(self.count()) * numerator as u128;
        let mut below: u128 = 0;
        for point in &self.points {
            below += u128::from(point.weight);
            if below * denominator as u128 >= rank {
                return point.value;
            }
        }
        self.points[self.points.len() - 1].value
    }
}

/// Joins neighbours of equal value.
fn distinct(sorted: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for point in sorted {
        match points.last_mut() {
            Some(last) if last.value == point.value => last.weight += point.weight,
            Some(_) | None => points.push(point),
        }
    }
    points
}

/// At most `limit` points, each the median of an equal share of the weight.
fn shrink(points: Vec<Point>, limit: usize) -> Vec<Point> {
    if points.len() <= limit {
        return points;
    }
    let total: u64 = points.iter().map(|point| point.weight).sum();
    let mut kept = Vec::with_capacity(limit);
    let (mut position, mut below) = (0, 0);
    for share in 0..limit as u64 {
        let start = share_start(total, share, limit);
        let end = share_start(total, share + 1, limit);
        let middle = start + (end - start) / 2;
        while below + points[position].weight <= middle {
            below += points[position].weight;
            position += 1;
        }
        kept.push(Point {
            value: points[position].value,
            weight: end - start,
        });
    }
    distinct(kept.into_iter().filter(|point| point.weight > 0))
}

fn share_start(total: u64, share: u64, shares: usize) -> u64 {
    let start = u128::from(total) * u128::from(share) / shares as u128;
    u64::try_from(start).expect("a share of a u64 is a u64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_get_a_bin_each() {
        let sketch = QuantileSketch::of(&[3.0, 1.0, 1.0, 2.0]);
        assert_eq!(sketch.edges(32, 1.0, 3.0), [1.0, 1.5, 2.5, 3.0]);
        assert_eq!(
            QuantileSketch::of(&[5.0; 9]).edges(32, 5.0, 5.0),
            [5.0, 5.0_f64.next_up()]
        );
        assert!(QuantileSketch::default().edges(32, 0.0, 0.0).is_empty());
    }

    #[test]
    fn merged_quantiles_stay_within_the_stated_error() {
        let values: Vec<f64> = (0..40_000).map(|i| f64::from(i * 7919 % 40_000)).collect();
        let mut merged = QuantileSketch::default();
        for part in values.chunks(5_000) {
            merged.merge(&QuantileSketch::of(part));
        }
        assert_eq!(merged.count(), 40_000);
        let edges = merged.edges(32, 0.0, 39_999.0);
        assert_eq!(edges.len(), 33);
        for (bin, edge) in edges.iter().enumerate() {
            let exact = 40_000.0 * bin as f64 / 32.0;
            assert!(
                (edge - exact).abs() <= 200.0,
                "edge {bin} is {edge}, not near {exact}"
            );
        }
    }
}
