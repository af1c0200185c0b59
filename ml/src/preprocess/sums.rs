//! What each partition reports so that preprocessing can be fitted: counts, means and squared deviations.
//!
//! Invariants: a partition's sums depend on its rows alone; merging is done in partition order, so the result
//! is the same for any number of workers. Counts are exact; means use the pairwise update of Chan, Golub and
//! LeVeque (1979).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::feature::{FeatureKind, FeatureSpec};
use crate::frame::Frame;
use crate::sketch::QuantileSketch;

/// Distinct categories that one feature may have while sums are gathered.
pub const DISTINCT_MAX: usize = 100_000;

/// Sums of one numeric feature over its finite values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NumericSums {
    /// Finite values.
    pub count: u64,
    /// Values that are NaN or infinite.
    pub missing: u64,
    /// Mean of the values; 0 when there are none.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub squared_deviations: f64,
    /// Least value; 0 when there are none.
    pub min: f64,
    /// Greatest value; 0 when there are none.
    pub max: f64,
    /// Approximate quantiles, from which the bins of the reference profile are cut.
    pub sketch: QuantileSketch,
}

impl NumericSums {
    /// Sums of a column of numbers.
    pub fn of(values: &[f64]) -> NumericSums {
        let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let missing = (values.len() - finite.len()) as u64;
        if finite.is_empty() {
            return NumericSums {
                missing,
                ..NumericSums::default()
            };
        }
        let count = finite.len() as f64;
        let mean = finite.iter().sum::<f64>() / count;
        let squared_deviations = finite.iter().map(|value| (value - mean) * (value - mean)).sum();
        finite.sort_unstable_by(f64::total_cmp);
        NumericSums {
            count: finite.len() as u64,
            missing,
            mean,
            squared_deviations,
            min: finite[0],
            max: finite[finite.len() - 1],
            sketch: QuantileSketch::of_sorted(&finite),
        }
    }

    /// Population variance; 0 when there are no values.
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.squared_deviations / self.count as f64
        }
    }

    /// Adds the sums of the next partition.
    pub fn merge(&mut self, next: &NumericSums) {
        let missing = self.missing + next.missing;
        if self.count == 0 {
            *self = next.clone();
        } else if next.count > 0 {
            let (own, other) = (self.count as f64, next.count as f64);
            let shift = next.mean - self.mean;
            self.mean += shift * (other / (own + other));
            self.squared_deviations +=
                next.squared_deviations + shift * shift * (own * other / (own + other));
            self.count += next.count;
            self.min = self.min.min(next.min);
            self.max = self.max.max(next.max);
            self.sketch.merge(&next.sketch);
        }
        self.missing = missing;
    }
}

/// Counts of one categorical feature.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CategoricalSums {
    /// Rows per category.
    pub counts: BTreeMap<String, u64>,
    /// Rows without a value.
    pub missing: u64,
}

impl CategoricalSums {
    /// Counts of a column of texts.
    pub fn of(name: &str, values: &[Option<String>]) -> Result<CategoricalSums> {
        let mut sums = CategoricalSums::default();
        for value in values {
            match value {
                None => sums.missing += 1,
                Some(category) => match sums.counts.get_mut(category) {
                    Some(count) => *count += 1,
                    None => {
                        sums.counts.insert(category.clone(), 1);
                    }
                },
            }
        }
        sums.check(name)?;
        Ok(sums)
    }

    /// Adds the counts of another partition. Any order gives the same counts.
    pub fn merge(&mut self, next: &CategoricalSums) {
        for (category, count) in &next.counts {
            *self.counts.entry(category.clone()).or_default() += count;
        }
        self.missing += next.missing;
    }

    /// The `limit` most frequent categories (ties: the first by bytes), and the rows of all others.
    pub fn most_frequent(&self, limit: usize) -> (BTreeMap<String, u64>, u64) {
        let mut ranked: Vec<(&String, u64)> =
            self.counts.iter().map(|(name, count)| (name, *count)).collect();
        ranked.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
        let other = ranked.iter().skip(limit).map(|(_, count)| count).sum();
        let kept = ranked
            .into_iter()
            .take(limit)
            .map(|(name, count)| (name.clone(), count));
        (kept.collect(), other)
    }

    fn check(&self, name: &str) -> Result<()> {
        if self.counts.len() <= DISTINCT_MAX {
            return Ok(());
        }
        let what = format!("number of distinct values of {name:?}");
        Err(Error::Limit {
            what,
            actual: self.counts.len() as u64,
            limit: DISTINCT_MAX as u64,
        })
    }
}

/// Sums of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FeatureSums {
    /// Of a numeric feature.
    Numeric(NumericSums),
    /// Of a categorical feature.
    Categorical(CategoricalSums),
}

/// Sums of every feature over the rows of some partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreprocessSums {
    /// Rows seen.
    pub rows: u64,
    /// One entry per feature, in signature order.
    pub features: Vec<FeatureSums>,
}

impl PreprocessSums {
    /// Sums of one partition.
    pub fn of(features: &[FeatureSpec], frame: &Frame) -> Result<PreprocessSums> {
        let sum = |(position, spec): (usize, &FeatureSpec)| {
            let column = frame.column_near(&spec.name, position)?;
            Ok(match spec.kind {
                FeatureKind::Numeric => FeatureSums::Numeric(NumericSums::of(column.floats()?)),
                FeatureKind::Categorical => {
                    FeatureSums::Categorical(CategoricalSums::of(&spec.name, column.texts()?)?)
                }
            })
        };
        let features = features.iter().enumerate().map(sum).collect::<Result<_>>()?;
        Ok(PreprocessSums {
            rows: frame.rows() as u64,
            features,
        })
    }

    /// Adds the sums of the next partition, in partition order.
    pub fn merge(&mut self, next: &PreprocessSums) -> Result<()> {
        let (expected, actual) = (self.features.len(), next.features.len());
        if expected != actual {
            return Err(Error::Shape {
                what: "preprocessing sums",
                expected,
                actual,
            });
        }
        self.rows += next.rows;
        for (position, (own, other)) in self.features.iter_mut().zip(&next.features).enumerate() {
            match (own, other) {
                (FeatureSums::Numeric(own), FeatureSums::Numeric(other)) => own.merge(other),
                (FeatureSums::Categorical(own), FeatureSums::Categorical(other)) => {
                    own.merge(other);
                    own.check(&format!("feature {position}"))?;
                }
                (FeatureSums::Numeric(_), FeatureSums::Categorical(_))
                | (FeatureSums::Categorical(_), FeatureSums::Numeric(_)) => {
                    let reason = format!("feature {position} is of another kind in another partition");
                    return Err(Error::Artifact {
                        what: "preprocessing sums",
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_moments_match_the_whole() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37) - 5.0).collect();
        let whole = NumericSums::of(&values);
        let mut merged = NumericSums::of(&values[..13]);
        merged.merge(&NumericSums::of(&[f64::NAN]));
        merged.merge(&NumericSums::of(&values[13..]));
        assert!((whole.mean - merged.mean).abs() < 1e-12);
        assert!((whole.variance() - merged.variance()).abs() < 1e-11);
        assert_eq!(
            (merged.count, merged.missing, merged.min, merged.max),
            (100, 1, whole.min, whole.max)
        );
    }

    #[test]
    fn the_rarest_categories_become_other() {
        let column: Vec<_> = ["b", "a", "b", "c", "a", "d"]
            .iter()
            .map(|c| Some((*c).to_owned()))
            .collect();
        let (kept, other) = CategoricalSums::of("c", &column).unwrap().most_frequent(3);
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(other, 1);
    }
}
