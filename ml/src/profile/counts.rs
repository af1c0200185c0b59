//! Counters on the frozen bins of a profile: what each serving node gathers and the cluster adds up.
//!
//! Invariants: only integers, so merging is exact, in any order and grouping; for every feature the counters
//! add up to `rows`; the examples of new categories are the first by bytes, so they too merge in any order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::frame::Frame;

use super::{CategoricalShape, FeatureShape, NumericShape, ReferenceProfile};

/// New categories remembered by name, per feature.
pub const NEW_EXAMPLES_MAX: usize = 16;

/// Counts of a number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NumericCounts {
    /// Below the first edge.
    pub under: u64,
    /// Per bin.
    pub bins: Vec<u64>,
    /// Above the last edge, or anywhere when there are no edges.
    pub over: u64,
    /// NaN or infinite.
    pub missing: u64,
}

impl NumericCounts {
    fn zero(shape: &NumericShape) -> NumericCounts {
        NumericCounts {
            bins: vec![0; shape.edges.len().saturating_sub(1)],
            ..NumericCounts::default()
        }
    }

    fn observe(&mut self, edges: &[f64], value: f64) {
        if !value.is_finite() {
            self.missing += 1;
            return;
        }
        let at_or_below = edges.partition_point(|edge| *edge <= value);
        if at_or_below == 0 && !edges.is_empty() {
            self.under += 1;
        } else if at_or_below < edges.len() {
            self.bins[at_or_below - 1] += 1;
        } else if edges.last() == Some(&value) {
            self.bins[at_or_below - 2] += 1;
        } else {
            self.over += 1;
        }
    }

    fn merge(&mut self, other: &NumericCounts) {
        self.under += other.under;
        self.over += other.over;
        self.missing += other.missing;
        add_counts(&mut self.bins, &other.bins);
    }
}

/// Counts of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CategoricalCounts {
    /// Per category of the profile.
    pub categories: Vec<u64>,
    /// Categories that are not kept, when the profile was cut.
    pub other: u64,
    /// Categories that training never had.
    pub new: u64,
    /// Some of their names.
    pub new_examples: BTreeSet<String>,
    /// No value.
    pub missing: u64,
}

impl CategoricalCounts {
    fn zero(shape: &CategoricalShape) -> CategoricalCounts {
        CategoricalCounts {
            categories: vec![0; shape.categories.len()],
            ..CategoricalCounts::default()
        }
    }

    fn observe(&mut self, shape: &CategoricalShape, value: Option<&str>) {
        let Some(value) = value else {
            self.missing += 1;
            return;
        };
        match shape
            .categories
            .binary_search_by(|category| category.as_str().cmp(value))
        {
            Ok(position) => self.categories[position] += 1,
            Err(_) if shape.cut => self.other += 1,
            Err(_) => {
                self.new += 1;
                if !self.new_examples.contains(value) {
                    self.new_examples.insert(value.to_owned());
                    self.trim_examples();
                }
            }
        }
    }

    fn merge(&mut self, other: &CategoricalCounts) {
        self.other += other.other;
        self.new += other.new;
        self.missing += other.missing;
        self.new_examples.extend(other.new_examples.iter().cloned());
        self.trim_examples();
        add_counts(&mut self.categories, &other.categories);
    }

    fn trim_examples(&mut self) {
        while self.new_examples.len() > NEW_EXAMPLES_MAX {
            self.new_examples.pop_last();
        }
    }
}

/// Counts of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureCounts {
    /// Of a number.
    Numeric(NumericCounts),
    /// Of a text.
    Categorical(CategoricalCounts),
}

/// Counts of a set of rows on the bins of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProfileCounts {
    /// Rows counted.
    pub rows: u64,
    /// One entry per feature, in profile order.
    pub features: Vec<FeatureCounts>,
    /// Of the predictions.
    pub prediction: NumericCounts,
}

impl ProfileCounts {
    /// No rows, on the bins of a profile.
    pub fn zero(profile: &ReferenceProfile) -> ProfileCounts {
        let zero = |shape: &FeatureShape| match shape {
            FeatureShape::Numeric(shape) => FeatureCounts::Numeric(NumericCounts::zero(shape)),
            FeatureShape::Categorical(shape) => FeatureCounts::Categorical(CategoricalCounts::zero(shape)),
        };
        ProfileCounts {
            rows: 0,
            features: profile
                .features
                .iter()
                .map(|feature| zero(&feature.shape))
                .collect(),
            prediction: NumericCounts::zero(&profile.prediction),
        }
    }

    /// Counts the rows of a frame with one prediction each. On an error nothing is counted.
    pub fn observe(&mut self, profile: &ReferenceProfile, frame: &Frame, predictions: &[f64]) -> Result<()> {
        if predictions.len() != frame.rows() {
            let (expected, actual) = (frame.rows(), predictions.len());
            return Err(Error::Shape {
                what: "prediction vector",
                expected,
                actual,
            });
        }
        self.check_fits(&profile.reference)?;
        for (position, feature) in profile.features.iter().enumerate() {
            let column = frame.column_near(&feature.name, position)?;
            match &feature.shape {
                FeatureShape::Numeric(_) => column.floats().map(drop)?,
                FeatureShape::Categorical(_) => column.texts().map(drop)?,
            }
        }
        self.rows += frame.rows() as u64;
        for (position, (feature, counts)) in profile.features.iter().zip(&mut self.features).enumerate() {
            let column = frame.column_near(&feature.name, position)?;
            match (&feature.shape, counts) {
                (FeatureShape::Numeric(shape), FeatureCounts::Numeric(counts)) => {
                    column
                        .floats()?
                        .iter()
                        .for_each(|value| counts.observe(&shape.edges, *value));
                }
                (FeatureShape::Categorical(shape), FeatureCounts::Categorical(counts)) => {
                    column
                        .texts()?
                        .iter()
                        .for_each(|value| counts.observe(shape, value.as_deref()));
                }
                (FeatureShape::Numeric(_), FeatureCounts::Categorical(_))
                | (FeatureShape::Categorical(_), FeatureCounts::Numeric(_)) => return Err(other_kind()),
            }
        }
        for prediction in predictions {
            self.prediction.observe(&profile.prediction.edges, *prediction);
        }
        Ok(())
    }

    /// Adds the counts of other rows on the same bins. On an error nothing is added.
    pub fn merge(&mut self, other: &ProfileCounts) -> Result<()> {
        self.check_fits(other)?;
        self.rows += other.rows;
        for (own, more) in self.features.iter_mut().zip(&other.features) {
            match (own, more) {
                (FeatureCounts::Numeric(own), FeatureCounts::Numeric(more)) => own.merge(more),
                (FeatureCounts::Categorical(own), FeatureCounts::Categorical(more)) => own.merge(more),
                (FeatureCounts::Numeric(_), FeatureCounts::Categorical(_))
                | (FeatureCounts::Categorical(_), FeatureCounts::Numeric(_)) => return Err(other_kind()),
            }
        }
        self.prediction.merge(&other.prediction);
        Ok(())
    }

    /// Refuses counts that were made on other bins.
    pub(crate) fn check_fits(&self, other: &ProfileCounts) -> Result<()> {
        same(
            "list of feature counts",
            self.features.len(),
            other.features.len(),
        )?;
        same(
            "list of prediction bins",
            self.prediction.bins.len(),
            other.prediction.bins.len(),
        )?;
        for pair in self.features.iter().zip(&other.features) {
            match pair {
                (FeatureCounts::Numeric(own), FeatureCounts::Numeric(more)) => {
                    same("list of bins", own.bins.len(), more.bins.len())?;
                }
                (FeatureCounts::Categorical(own), FeatureCounts::Categorical(more)) => {
                    same("list of categories", own.categories.len(), more.categories.len())?;
                }
                (FeatureCounts::Numeric(_), FeatureCounts::Categorical(_))
                | (FeatureCounts::Categorical(_), FeatureCounts::Numeric(_)) => return Err(other_kind()),
            }
        }
        Ok(())
    }
}

fn same(what: &'static str, expected: usize, actual: usize) -> Result<()> {
    if expected == actual {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            expected,
            actual,
        })
    }
}

fn other_kind() -> Error {
    let reason = "a feature is counted as another kind".to_owned();
    Error::Artifact {
        what: "profile counts",
        reason,
    }
}

fn add_counts(own: &mut [u64], more: &[u64]) {
    for (count, other) in own.iter_mut().zip(more) {
        *count += other;
    }
}
