//! A trained model: a self-describing artifact of plain data, and the same made ready to predict.
//!
//! The artifact's bytes are JSON with the fields in the order of their declaration, maps sorted, and floats
//! in their shortest form that reads back to the same bits. So equal models have equal bytes and equal
//! digests.
//!
//! Invariants: an artifact that was loaded is consistent (`check`), so predicting from it cannot panic; every
//! number in it is finite; `predict` refuses a frame that does not match the signature and names the column.

pub mod parameters;
pub mod tree;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::algorithm::{Algorithm, Output};
use crate::error::{Error, Result};
use crate::feature::{FeatureSpec, check_features};
use crate::frame::Frame;
use crate::preprocess::Preprocessor;
use crate::preprocess::encode::Encoder;
use parameters::Parameters;

/// The format this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Everything a model is, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// The format of this artifact.
    pub format_version: u32,
    /// How it was trained.
    pub algorithm: Algorithm,
    /// The signature: the columns it reads, in order.
    pub features: Vec<FeatureSpec>,
    /// The column it was trained to predict, if any.
    pub label: Option<String>,
    /// What its predictions mean.
    pub output: Output,
    /// From features to design columns.
    pub preprocessor: Preprocessor,
    /// What was learnt, in terms of the design columns.
    pub parameters: Parameters,
    /// What training reported, by name: rows, losses, iterations.
    pub metrics: BTreeMap<String, f64>,
}

impl Artifact {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        let failed = |error: serde_json::Error| Error::Artifact {
            what: "model",
            reason: error.to_string(),
        };
        serde_json::to_vec(self).map_err(failed)
    }

    /// Reads canonical bytes and checks what they say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Artifact> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let failed = |error: serde_json::Error| Error::Artifact {
            what: "model",
            reason: error.to_string(),
        };
        let version: Version = serde_json::from_slice(bytes).map_err(failed)?;
        if version.format_version != FORMAT_VERSION {
            let reason = format!(
                "format version {} is not {FORMAT_VERSION}",
                version.format_version
            );
            return Err(Error::Artifact {
                what: "model",
                reason,
            });
        }
        let artifact: Artifact = serde_json::from_slice(bytes).map_err(failed)?;
        artifact.check()?;
        Ok(artifact)
    }

    /// Refuses an artifact whose parts contradict each other.
    pub fn check(&self) -> Result<()> {
        check_features(&self.features)?;
        self.algorithm.check()?;
        self.preprocessor.check()?;
        let fitted = self
            .preprocessor
            .features
            .iter()
            .map(|feature| (feature.name(), feature.kind()));
        if !fitted.eq(self.features.iter().map(|spec| (spec.name.as_str(), spec.kind))) {
            let reason = "the preprocessor was fitted to other features".to_owned();
            return Err(Error::Artifact {
                what: "model",
                reason,
            });
        }
        if self.parameters.output() != self.output || self.algorithm.output() != self.output {
            let reason = format!("the parameters do not give a {:?}", self.output);
            return Err(Error::Artifact {
                what: "model",
                reason,
            });
        }
        if !self.metrics.values().all(|value| value.is_finite()) {
            return Err(Error::NotFinite {
                what: "a training metric",
            });
        }
        self.parameters.check(self.preprocessor.columns())
    }
}

/// A model ready to predict.
#[derive(Debug, Clone)]
pub struct Model {
    artifact: Artifact,
    encoder: Encoder,
}

impl Model {
    /// Makes an artifact ready.
    pub fn new(artifact: Artifact) -> Result<Model> {
        artifact.check()?;
        let encoder = Encoder::new(&artifact.preprocessor);
        Ok(Model { artifact, encoder })
    }

    /// Loads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model> {
        Model::new(Artifact::from_bytes(bytes)?)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.artifact.to_bytes()
    }

    /// The plain data.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Predicts every row of a frame: a probability, a number or a cluster, as `output` says.
    ///
    /// Columns are found by name; columns the signature does not name are ignored.
    pub fn predict(&self, frame: &Frame) -> Result<Vec<f64>> {
        let design = self.encoder.encode(frame)?;
        let mut scratch = self.artifact.parameters.scratch(design.columns());
        let predict = |row| self.artifact.parameters.predict(design.row(row), &mut scratch);
        Ok((0..design.rows()).map(predict).collect())
    }
}

/// The digest of some bytes, as 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
