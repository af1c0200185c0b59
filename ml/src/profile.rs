//! The reference profile of a model: how its inputs and predictions were distributed in training, on bins
//! frozen for good. It travels with the model version; serving nodes count on its bins, and counts add up
//! exactly.
//!
//! Invariants: edges ascend strictly; a bin is `[edge, next edge)`, the last one closed; categories are
//! sorted; the reference counts have the shape of the profile.

pub mod counts;

use serde::{Deserialize, Serialize};

use crate::algorithm::Output;
use crate::error::{Error, Result};
use crate::feature::FeatureSpec;
use crate::frame::Frame;
use crate::preprocess::CATEGORIES_MAX;
use crate::preprocess::sums::{CategoricalSums, FeatureSums, NumericSums, PreprocessSums};
use counts::ProfileCounts;

/// Bins of a numeric feature.
pub const NUMERIC_BINS_MAX: usize = 32;
/// Bins of a probability.
pub const PROBABILITY_BINS: u32 = 20;

/// The frozen shape of a numeric distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumericShape {
    /// Ascending bin edges; empty when training saw no value.
    pub edges: Vec<f64>,
    /// Values in training.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub standard_deviation: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl NumericShape {
    fn of(sums: &NumericSums, edges: Vec<f64>) -> NumericShape {
        NumericShape {
            edges,
            count: sums.count,
            mean: sums.mean,
            standard_deviation: sums.variance().sqrt(),
            min: sums.min,
            max: sums.max,
        }
    }

    fn check(&self, name: &str) -> Result<()> {
        let numbers = [self.mean, self.standard_deviation, self.min, self.max];
        if !self.edges.iter().chain(&numbers).all(|number| number.is_finite()) {
            return Err(Error::NotFinite {
                what: "a number of a profile",
            });
        }
        let ascending = self.edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.edges.len() == 1 {
            return Err(broken(format!("edges of {name:?} do not bound bins")));
        }
        Ok(())
    }

    fn by_quantiles(sums: &NumericSums) -> NumericShape {
        NumericShape::of(sums, sums.sketch.edges(NUMERIC_BINS_MAX, sums.min, sums.max))
    }
}

/// The frozen shape of a categorical distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoricalShape {
    /// The kept categories, sorted by bytes.
    pub categories: Vec<String>,
    /// Whether training had more categories than are kept. If so, a category not kept cannot be told from a
    /// new one.
    pub cut: bool,
}

impl CategoricalShape {
    fn of(sums: &CategoricalSums) -> CategoricalShape {
        let (kept, other) = sums.most_frequent(CATEGORIES_MAX);
        CategoricalShape {
            categories: kept.into_keys().collect(),
            cut: other > 0,
        }
    }
}

/// The frozen shape of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FeatureShape {
    /// Of a number.
    Numeric(NumericShape),
    /// Of a text.
    Categorical(CategoricalShape),
}

/// One feature of a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureProfile {
    /// The feature, and the column it is read from.
    pub name: String,
    /// Its bins.
    pub shape: FeatureShape,
}

/// The profile: shapes and the counts of the training rows on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceProfile {
    /// One entry per feature, in signature order.
    pub features: Vec<FeatureProfile>,
    /// The bins of the predictions.
    pub prediction: NumericShape,
    /// The counts of the training rows.
    pub reference: ProfileCounts,
}

impl ReferenceProfile {
    /// A profile with its bins frozen and nothing counted yet.
    pub fn new(features: Vec<FeatureProfile>, prediction: NumericShape) -> ReferenceProfile {
        let reference = ProfileCounts::default();
        let mut profile = ReferenceProfile {
            features,
            prediction,
            reference,
        };
        profile.reference = ProfileCounts::zero(&profile);
        profile
    }

    /// Adds the counts of the reference rows.
    pub fn seal(&mut self, counts: ProfileCounts) -> Result<()> {
        self.reference.merge(&counts)
    }

    /// The canonical bytes: JSON, like those of a model.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        serde_json::to_vec(self).map_err(|error| broken(error.to_string()))
    }

    /// Reads canonical bytes and checks what they say.
    pub fn from_bytes(bytes: &[u8]) -> Result<ReferenceProfile> {
        let profile: ReferenceProfile =
            serde_json::from_slice(bytes).map_err(|error| broken(error.to_string()))?;
        profile.check()?;
        Ok(profile)
    }

    /// Refuses a profile whose parts contradict each other.
    pub fn check(&self) -> Result<()> {
        self.prediction.check("prediction")?;
        for feature in &self.features {
            match &feature.shape {
                FeatureShape::Numeric(shape) => shape.check(&feature.name)?,
                FeatureShape::Categorical(shape) => {
                    if !shape.categories.windows(2).all(|pair| pair[0] < pair[1]) {
                        return Err(broken(format!("categories of {:?} are not sorted", feature.name)));
                    }
                }
            }
        }
        ProfileCounts::zero(self).check_fits(&self.reference)
    }

    /// Profiles gathered rows in one go, for a model that was trained elsewhere.
    pub fn build(
        features: &[FeatureSpec],
        frame: &Frame,
        output: Output,
        predictions: &[f64],
    ) -> Result<ReferenceProfile> {
        let shapes = shape_features(features, &PreprocessSums::of(features, frame)?);
        let prediction = prediction_shape(output, &NumericSums::of(predictions));
        let mut profile = ReferenceProfile::new(shapes, prediction);
        let mut counts = ProfileCounts::zero(&profile);
        counts.observe(&profile, frame, predictions)?;
        profile.seal(counts)?;
        Ok(profile)
    }
}

fn broken(reason: String) -> Error {
    Error::Artifact {
        what: "reference profile",
        reason,
    }
}

/// Freezes the bins of every feature.
pub fn shape_features(features: &[FeatureSpec], sums: &PreprocessSums) -> Vec<FeatureProfile> {
    let shape = |(spec, sums): (&FeatureSpec, &FeatureSums)| FeatureProfile {
        name: spec.name.clone(),
        shape: match sums {
            FeatureSums::Numeric(sums) => FeatureShape::Numeric(NumericShape::by_quantiles(sums)),
            FeatureSums::Categorical(sums) => FeatureShape::Categorical(CategoricalShape::of(sums)),
        },
    };
    features.iter().zip(&sums.features).map(shape).collect()
}

/// Freezes the bins of the predictions: equal ones for probabilities, quantiles for the others.
pub fn prediction_shape(output: Output, predictions: &NumericSums) -> NumericShape {
    match output {
        Output::Probability => {
            let edges = (0..=PROBABILITY_BINS).map(|edge| f64::from(edge) / f64::from(PROBABILITY_BINS));
            NumericShape::of(predictions, edges.collect())
        }
        Output::Number | Output::Cluster => NumericShape::by_quantiles(predictions),
    }
}
