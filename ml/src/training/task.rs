//! What a coordinator asks of a partition, and the answer. A task carries all that its execution needs, so
//! any worker that holds the partition's rows can answer it, again if need be.
//!
//! Invariant: `execute` is a pure function of the task and the partition.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::evaluation::EvaluationSums;
use crate::frame::Frame;
use crate::linear::GramSums;
use crate::local::{self, LocalFit};
use crate::logistic::LogisticSums;
use crate::model::{Artifact, Model};
use crate::preprocess::Preprocessor;
use crate::preprocess::encode::Encoder;
use crate::preprocess::sums::{NumericSums, PreprocessSums};
use crate::profile::ReferenceProfile;
use crate::profile::counts::ProfileCounts;

use super::TrainingSpec;

/// A question to every partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// How are the features distributed?
    Preprocess {
        /// What is trained.
        spec: TrainingSpec,
    },
    /// What are the Gram matrix and moments?
    Gram {
        /// What is trained.
        spec: TrainingSpec,
        /// From features to design columns.
        preprocessor: Preprocessor,
    },
    /// What are the loss, gradient and Hessian at this point?
    Gradient {
        /// What is trained.
        spec: TrainingSpec,
        /// From features to design columns.
        preprocessor: Preprocessor,
        /// Evaluations made before this one.
        round: u32,
        /// One weight per design column, then the intercept.
        point: Vec<f64>,
    },
    /// Which parameters does a library algorithm find? Asked only when there is one partition.
    Local {
        /// What is trained.
        spec: TrainingSpec,
        /// From features to design columns.
        preprocessor: Preprocessor,
    },
    /// How well does the model predict its training rows, and how are its predictions distributed?
    Evaluate {
        /// What is trained.
        spec: TrainingSpec,
        /// The model.
        artifact: Artifact,
    },
    /// How many rows fall into each bin of the reference profile?
    Profile {
        /// What is trained.
        spec: TrainingSpec,
        /// The model.
        artifact: Artifact,
        /// The profile with its edges frozen.
        profile: ReferenceProfile,
    },
}

/// The answer of one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Partial {
    /// To `Task::Preprocess`.
    Preprocess {
        /// Sums of the features.
        sums: PreprocessSums,
        /// Rows whose label is above 0.
        positives: u64,
    },
    /// To `Task::Gram`.
    Gram(GramSums),
    /// To `Task::Gradient`.
    Gradient {
        /// The task's round, so that a late answer is not taken for one at a later point.
        round: u32,
        /// Loss, gradient and Hessian.
        sums: LogisticSums,
    },
    /// To `Task::Local`.
    Local(LocalFit),
    /// To `Task::Evaluate`.
    Evaluate {
        /// Sums of losses and errors.
        sums: EvaluationSums,
        /// Sums of the predictions.
        predictions: NumericSums,
    },
    /// To `Task::Profile`.
    Profile(ProfileCounts),
}

impl Task {
    /// The name used in progress and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Task::Preprocess { .. } => "preprocess",
            Task::Gram { .. } => "gram",
            Task::Gradient { .. } => "gradient",
            Task::Local { .. } => "local",
            Task::Evaluate { .. } => "evaluate",
            Task::Profile { .. } => "profile",
        }
    }

    /// Answers for one partition.
    pub fn execute(&self, partition: &Frame) -> Result<Partial> {
        match self {
            Task::Preprocess { spec } => {
                let rows = spec.rows(partition)?;
                Ok(Partial::Preprocess {
                    sums: PreprocessSums::of(&spec.features, &rows.frame)?,
                    positives: rows.labels.iter().filter(|label| **label > 0.0).count() as u64,
                })
            }
            Task::Gram { spec, preprocessor } => {
                let rows = spec.rows(partition)?;
                let design = Encoder::new(preprocessor).encode(&rows.frame)?;
                Ok(Partial::Gram(GramSums::partial(
                    &design,
                    &rows.labels,
                    &rows.weights,
                )?))
            }
            Task::Gradient {
                spec,
                preprocessor,
                round,
                point,
            } => {
                let rows = spec.rows(partition)?;
                let design = Encoder::new(preprocessor).encode(&rows.frame)?;
                let sums = LogisticSums::partial(&design, &rows.labels, &rows.weights, point)?;
                Ok(Partial::Gradient { round: *round, sums })
            }
            Task::Local { spec, preprocessor } => {
                let rows = spec.rows(partition)?;
                let design = Encoder::new(preprocessor).encode(&rows.frame)?;
                Ok(Partial::Local(local::fit(
                    &spec.algorithm,
                    &design,
                    &rows.labels,
                )?))
            }
            Task::Evaluate { spec, artifact } => {
                let rows = spec.rows(partition)?;
                let predictions = Model::new(artifact.clone())?.predict(&rows.frame)?;
                Ok(Partial::Evaluate {
                    sums: EvaluationSums::of(artifact.output, &rows.labels, &predictions)?,
                    predictions: NumericSums::of(&predictions),
                })
            }
            Task::Profile {
                spec,
                artifact,
                profile,
            } => {
                let rows = spec.rows(partition)?;
                let predictions = Model::new(artifact.clone())?.predict(&rows.frame)?;
                let mut counts = ProfileCounts::zero(profile);
                counts.observe(profile, &rows.frame, &predictions)?;
                Ok(Partial::Profile(counts))
            }
        }
    }
}

impl Partial {
    /// The name of the task it answers.
    pub fn name(&self) -> &'static str {
        match self {
            Partial::Preprocess { .. } => "preprocess",
            Partial::Gram(_) => "gram",
            Partial::Gradient { .. } => "gradient",
            Partial::Local(_) => "local",
            Partial::Evaluate { .. } => "evaluate",
            Partial::Profile(_) => "profile",
        }
    }
}
