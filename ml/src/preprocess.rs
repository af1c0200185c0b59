//! Fitted preprocessing: what turns a row of features into a row of a design matrix.
//!
//! A numeric feature becomes one standardised column (a missing value becomes the mean, that is 0) and, when
//! the training data had missing values, one 0/1 column that marks them. A categorical feature becomes one
//! 0/1 column per kept category, one for `other` values when categories were cut, and one for missing values
//! when the training data had any. A category never seen in training goes to `other` if there is one and else
//! to no column.
//!
//! Invariants: fitting depends only on the partitions and their order; the columns are the numeric ones
//! first, in feature order, then the 0/1 ones, in feature order.

pub mod encode;
pub mod sums;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::feature::{FeatureKind, FeatureSpec};
use sums::{CategoricalSums, FeatureSums, NumericSums, PreprocessSums};

/// Categories kept per feature; the most frequent win, the rest become `other`.
pub const CATEGORIES_MAX: usize = 1_000;
/// Columns of a design matrix. A Hessian of this order is 16 MB per partition on the wire.
pub const DESIGN_COLUMNS_MAX: usize = 2_048;

/// One feature after fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FittedFeature {
    /// A standardised number.
    Numeric {
        /// The feature.
        name: String,
        /// Mean of the training values; 0 when there were none.
        mean: f64,
        /// Population standard deviation of the training values; 1 when they were constant.
        scale: f64,
        /// Whether a 0/1 column marks missing values.
        missing: bool,
    },
    /// A one-hot encoded text.
    Categorical {
        /// The feature.
        name: String,
        /// The kept categories, sorted by bytes.
        categories: Vec<String>,
        /// Whether a column takes the categories that were cut or never seen.
        other: bool,
        /// Whether a column marks missing values.
        missing: bool,
    },
}

impl FittedFeature {
    /// The feature's name.
    pub fn name(&self) -> &str {
        match self {
            FittedFeature::Numeric { name, .. } | FittedFeature::Categorical { name, .. } => name,
        }
    }

    /// The feature's kind.
    pub fn kind(&self) -> FeatureKind {
        match self {
            FittedFeature::Numeric { .. } => FeatureKind::Numeric,
            FittedFeature::Categorical { .. } => FeatureKind::Categorical,
        }
    }

    /// Number of 0/1 columns this feature makes.
    fn flag_columns(&self) -> usize {
        match self {
            FittedFeature::Numeric { missing, .. } => usize::from(*missing),
            FittedFeature::Categorical {
                categories,
                other,
                missing,
                ..
            } => categories.len() + usize::from(*other) + usize::from(*missing),
        }
    }
}

/// The fitted preprocessing of a model, plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessor {
    /// One entry per feature, in signature order.
    pub features: Vec<FittedFeature>,
}

impl Preprocessor {
    /// Fits from the sums of all partitions, merged in partition order.
    pub fn fit(features: &[FeatureSpec], sums: &PreprocessSums) -> Result<Preprocessor> {
        if sums.features.len() != features.len() {
            let (expected, actual) = (features.len(), sums.features.len());
            return Err(Error::Shape {
                what: "preprocessing sums",
                expected,
                actual,
            });
        }
        let fitted = features
            .iter()
            .zip(&sums.features)
            .map(|(spec, sums)| match sums {
                FeatureSums::Numeric(sums) => fit_numeric(&spec.name, sums),
                FeatureSums::Categorical(sums) => fit_categorical(&spec.name, sums),
            });
        let preprocessor = Preprocessor {
            features: fitted.collect(),
        };
        preprocessor.check()?;
        Ok(preprocessor)
    }

    /// Refuses a design that is too wide or numbers that are not finite.
    pub fn check(&self) -> Result<()> {
        let columns = self.columns();
        if columns > DESIGN_COLUMNS_MAX {
            let what = "number of design columns".to_owned();
            return Err(Error::Limit {
                what,
                actual: columns as u64,
                limit: DESIGN_COLUMNS_MAX as u64,
            });
        }
        for feature in &self.features {
            match feature {
                FittedFeature::Numeric { mean, scale, .. } => {
                    if !mean.is_finite() || !scale.is_finite() || *scale <= 0.0 {
                        return Err(Error::NotFinite {
                            what: "the mean or scale of a feature",
                        });
                    }
                }
                FittedFeature::Categorical { name, categories, .. } => {
                    if !categories.windows(2).all(|pair| pair[0] < pair[1]) {
                        let reason = format!("categories of {name:?} are not sorted");
                        return Err(Error::Artifact {
                            what: "preprocessor",
                            reason,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Number of standardised columns; they come first.
    pub fn numeric_columns(&self) -> usize {
        self.features
            .iter()
            .filter(|feature| feature.kind() == FeatureKind::Numeric)
            .count()
    }

    /// Number of columns, without the intercept.
    pub fn columns(&self) -> usize {
        self.numeric_columns()
            + self
                .features
                .iter()
                .map(FittedFeature::flag_columns)
                .sum::<usize>()
    }

    /// Names of the columns in their order: `distance`, `distance is missing`, `carrier = AA`.
    pub fn column_names(&self) -> Vec<String> {
        let mut numeric = Vec::new();
        let mut flags = Vec::new();
        for feature in &self.features {
            match feature {
                FittedFeature::Numeric { name, missing, .. } => {
                    numeric.push(name.clone());
                    flags.extend(missing.then(|| format!("{name} is missing")));
                }
                FittedFeature::Categorical {
                    name,
                    categories,
                    other,
                    missing,
                } => {
                    flags.extend(categories.iter().map(|category| format!("{name} = {category}")));
                    flags.extend(other.then(|| format!("{name} is another")));
                    flags.extend(missing.then(|| format!("{name} is missing")));
                }
            }
        }
        numeric.append(&mut flags);
        numeric
    }
}

fn fit_numeric(name: &str, sums: &NumericSums) -> FittedFeature {
    let (mean, variance) = (sums.mean, sums.variance());
    // The bound below which scikit-learn calls a variance rounding noise of a constant column.
    let count = sums.count as f64;
    let noise =
        count * f64::EPSILON * variance + (count * mean * f64::EPSILON) * (count * mean * f64::EPSILON);
    let scale = if variance <= noise { 1.0 } else { variance.sqrt() };
    FittedFeature::Numeric {
        name: name.to_owned(),
        mean,
        scale,
        missing: sums.missing > 0,
    }
}

fn fit_categorical(name: &str, sums: &CategoricalSums) -> FittedFeature {
    let (categories, other) = sums.most_frequent(CATEGORIES_MAX);
    FittedFeature::Categorical {
        name: name.to_owned(),
        categories: categories.into_keys().collect(),
        other: other > 0,
        missing: sums.missing > 0,
    }
}
