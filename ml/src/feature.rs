//! What a model reads: the named, typed inputs in their order. This list is the signature of a model.
//!
//! Invariant: a `Numeric` feature is read from a float column and a `Categorical` one from a text column,
//! never converted silently.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::frame::ValueKind;

/// How a feature is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureKind {
    /// A number: standardised.
    Numeric,
    /// A text: one-hot encoded.
    Categorical,
}

impl FeatureKind {
    /// The kind of column this feature is read from.
    pub fn values(self) -> ValueKind {
        match self {
            FeatureKind::Numeric => ValueKind::Float,
            FeatureKind::Categorical => ValueKind::Text,
        }
    }
}

/// One input of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSpec {
    /// The column it is read from.
    pub name: String,
    /// How it is treated.
    pub kind: FeatureKind,
}

impl FeatureSpec {
    /// A numeric feature.
    pub fn numeric(name: impl Into<String>) -> FeatureSpec {
        FeatureSpec {
            name: name.into(),
            kind: FeatureKind::Numeric,
        }
    }

    /// A categorical feature.
    pub fn categorical(name: impl Into<String>) -> FeatureSpec {
        FeatureSpec {
            name: name.into(),
            kind: FeatureKind::Categorical,
        }
    }
}

/// Refuses an empty list and repeated names.
pub(crate) fn check_features(features: &[FeatureSpec]) -> Result<()> {
    if features.is_empty() {
        return Err(Error::TooFew {
            what: "features",
            actual: 0,
            needed: 1,
        });
    }
    for (position, feature) in features.iter().enumerate() {
        if features[..position]
            .iter()
            .any(|earlier| earlier.name == feature.name)
        {
            return Err(Error::DuplicateColumn {
                name: feature.name.clone(),
            });
        }
    }
    Ok(())
}
