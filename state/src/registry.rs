//! The model registry: models, immutable versions, aliases moved by compare-and-set, and what an alias pointed to when.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, Timestamp};

/// A registered model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Unique name.
    pub name: String,
    /// What it predicts, for people.
    pub description: String,
    /// The number that the next version gets; versions count from 1 and numbers are never used again.
    pub next_version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A file that belongs to a version, kept as content-addressed chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// File name, for instance `model.json`.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub digest: Digest,
    /// SHA-256 of each chunk, in order.
    pub chunks: Vec<Digest>,
}

/// Whether a feature is a number or a category to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// A number.
    Numeric,
    /// One of a set of names.
    Categorical,
}

/// One input of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureField {
    /// The feature's name as the feature service gives it.
    pub name: String,
    /// How the model reads it.
    pub kind: FeatureKind,
}

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lineage {
    /// The job that trained it, if one did.
    pub job: Option<String>,
    /// The dataset it was trained on, with its version.
    pub dataset: Option<(String, u64)>,
    /// The schema version of each view its features came from.
    pub view_versions: BTreeMap<String, u32>,
}

/// What makes a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionSpec {
    /// The files; the first one is the model itself.
    pub artifacts: Vec<Artifact>,
    /// The algorithm, for instance `logistic_regression`.
    pub algorithm: String,
    /// The inputs in order.
    pub signature: Vec<SignatureField>,
    /// The feature service that yields the inputs, if any.
    pub service: Option<String>,
    /// Where it came from.
    pub lineage: Lineage,
    /// Metrics measured at training, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Digest of the sealed reference profile among `artifacts`, if there is one.
    pub profile: Option<Digest>,
}

/// An immutable version of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model's name.
    pub model: String,
    /// The version's number, from 1.
    pub number: u64,
    /// What it is.
    pub spec: VersionSpec,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Who registered it.
    pub created_by: String,
}

/// A version of a model, as other records name it: numbers alone are not enough, for every model has a version 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct VersionId {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub number: u64,
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model, self.number)
    }
}

/// A movable name for a version, and one entry of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasMove {
    /// The version it points to from here on; `None` when it was taken away.
    pub version: Option<u64>,
    /// The version it pointed to before.
    pub previous: Option<u64>,
    /// When it was moved, by the cluster's clock.
    pub at: Timestamp,
    /// Who moved it.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}
