//! The coordinator's state machine. One `advance` is one log entry: the state afterwards is small (no row, no
//! sum, no sketch), and a copy of it, read back anywhere, goes on to the same bytes.
//!
//! Stages: preprocess → (gram | gradient … gradient | local) → evaluate → profile → trained.
//!
//! Invariant: partials are merged in the order given, which must be partition order; partials of another task
//! or of another number of partitions are refused and change nothing.

use serde::{Deserialize, Serialize};

use crate::algorithm::Output;
use crate::error::{Error, Result};
use crate::evaluation::EvaluationSums;
use crate::logistic::Descent;
use crate::model::{Artifact, FORMAT_VERSION};
use crate::preprocess::Preprocessor;
use crate::preprocess::sums::{NumericSums, PreprocessSums};
use crate::profile::counts::ProfileCounts;
use crate::profile::{FeatureProfile, NumericShape, ReferenceProfile, prediction_shape, shape_features};

use super::fit::{Fit, Found};
use super::reduce::{merge_in_order, unexpected};
use super::task::{Partial, Task};
use super::{Trained, TrainingSpec};

/// A training job between two rounds of partials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trainer {
    spec: TrainingSpec,
    partitions: usize,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Stage {
    Preprocess,
    Fit {
        preprocessor: Preprocessor,
        shapes: Vec<FeatureProfile>,
        fit: Fit,
    },
    Evaluate {
        artifact: Artifact,
        shapes: Vec<FeatureProfile>,
    },
    Profile {
        artifact: Artifact,
        profile: ReferenceProfile,
    },
    Trained(Trained),
}

/// What one `advance` did, for logs and learning curves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The task that was answered.
    pub task: String,
    /// Evaluations of an iterative objective so far; 0 for the others.
    pub iterations: u32,
    /// The objective at the best point so far, if there is one.
    pub objective: Option<f64>,
    /// The greatest component of the gradient there.
    pub gradient_max: Option<f64>,
    /// Whether the model is trained.
    pub finished: bool,
}

impl Trainer {
    /// A job over that many partitions. An algorithm that is not distributed takes exactly one.
    pub fn new(spec: TrainingSpec, partitions: usize) -> Result<Trainer> {
        spec.check()?;
        if partitions == 0 {
            return Err(Error::TooFew {
                what: "partitions",
                actual: 0,
                needed: 1,
            });
        }
        if partitions > 1 && !spec.algorithm.is_distributed() {
            let what = format!("number of partitions of {}", spec.algorithm.name());
            return Err(Error::Limit {
                what,
                actual: partitions as u64,
                limit: 1,
            });
        }
        Ok(Trainer {
            spec,
            partitions,
            stage: Stage::Preprocess,
        })
    }

    /// What is trained.
    pub fn spec(&self) -> &TrainingSpec {
        &self.spec
    }

    /// Number of partitions that must answer every task.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// The task that every partition must answer next; `None` once trained.
    pub fn next_task(&self) -> Option<Task> {
        let spec = self.spec.clone();
        match &self.stage {
            Stage::Preprocess => Some(Task::Preprocess { spec }),
            Stage::Fit {
                preprocessor, fit, ..
            } => Some(fit.task(spec, preprocessor.clone())),
            Stage::Evaluate { artifact, .. } => Some(Task::Evaluate {
                spec,
                artifact: artifact.clone(),
            }),
            Stage::Profile { artifact, profile } => Some(Task::Profile {
                spec,
                artifact: artifact.clone(),
                profile: profile.clone(),
            }),
            Stage::Trained(_) => None,
        }
    }

    /// The outcome, once there is no next task.
    pub fn trained(&self) -> Option<&Trained> {
        match &self.stage {
            Stage::Trained(trained) => Some(trained),
            Stage::Preprocess | Stage::Fit { .. } | Stage::Evaluate { .. } | Stage::Profile { .. } => None,
        }
    }

    /// The outcome, given away.
    pub fn into_trained(self) -> Option<Trained> {
        match self.stage {
            Stage::Trained(trained) => Some(trained),
            Stage::Preprocess | Stage::Fit { .. } | Stage::Evaluate { .. } | Stage::Profile { .. } => None,
        }
    }

    /// Takes one partial per partition, in partition order, and moves on.
    pub fn advance(&mut self, partials: Vec<Partial>) -> Result<Progress> {
        if partials.len() != self.partitions {
            let (expected, actual) = (self.partitions, partials.len());
            return Err(Error::Shape {
                what: "list of partials",
                expected,
                actual,
            });
        }
        let task = self.task_name();
        let (stage, curve) = match &self.stage {
            Stage::Preprocess => (self.after_preprocess(partials)?, None),
            Stage::Fit {
                preprocessor,
                shapes,
                fit,
            } => {
                let (preprocessor, shapes, mut fit) = (preprocessor.clone(), shapes.clone(), fit.clone());
                let found = fit.step(partials)?;
                let curve = fit.descent().cloned();
                let stage = match found {
                    None => Stage::Fit {
                        preprocessor,
                        shapes,
                        fit,
                    },
                    Some(found) => Stage::Evaluate {
                        artifact: self.artifact(preprocessor, found),
                        shapes,
                    },
                };
                (stage, curve)
            }
            Stage::Evaluate { artifact, shapes } => {
                (after_evaluate(artifact.clone(), shapes.clone(), partials)?, None)
            }
            Stage::Profile { artifact, profile } => {
                (after_profile(artifact.clone(), profile.clone(), partials)?, None)
            }
            Stage::Trained(_) => return Err(unexpected(task, &partials[0])),
        };
        self.stage = stage;
        Ok(Progress {
            task: task.to_owned(),
            iterations: curve.as_ref().map_or(0, Descent::iterations),
            objective: curve.as_ref().and_then(Descent::objective),
            gradient_max: curve.as_ref().map(Descent::gradient_max),
            finished: self.trained().is_some(),
        })
    }

    fn task_name(&self) -> &'static str {
        match &self.stage {
            Stage::Preprocess => "preprocess",
            Stage::Fit { fit, .. } => fit.name(),
            Stage::Evaluate { .. } => "evaluate",
            Stage::Profile { .. } => "profile",
            Stage::Trained(_) => "none",
        }
    }

    fn after_preprocess(&self, partials: Vec<Partial>) -> Result<Stage> {
        let (sums, positives) = merge_in_order(
            partials,
            |partial| match partial {
                Partial::Preprocess { sums, positives } => Ok((sums, positives)),
                other => Err(unexpected("preprocess", &other)),
            },
            |(sums, positives): &mut (PreprocessSums, u64), next| {
                *positives += next.1;
                sums.merge(&next.0)
            },
        )?;
        if sums.rows == 0 {
            return Err(Error::TooFew {
                what: "rows with a label",
                actual: 0,
                needed: 1,
            });
        }
        let one_class = positives == 0 || positives == sums.rows;
        if one_class && self.spec.algorithm.output() == Output::Probability {
            return Err(Error::TooFew {
                what: "classes among the labels",
                actual: 1,
                needed: 2,
            });
        }
        let preprocessor = Preprocessor::fit(&self.spec.features, &sums)?;
        let fit = Fit::new(&self.spec.algorithm, preprocessor.columns());
        Ok(Stage::Fit {
            preprocessor,
            shapes: shape_features(&self.spec.features, &sums),
            fit,
        })
    }

    fn artifact(&self, preprocessor: Preprocessor, found: Found) -> Artifact {
        Artifact {
            format_version: FORMAT_VERSION,
            algorithm: self.spec.algorithm.clone(),
            features: self.spec.features.clone(),
            label: self.spec.label.clone(),
            output: self.spec.algorithm.output(),
            preprocessor,
            parameters: found.parameters,
            metrics: found.metrics,
        }
    }
}

fn after_evaluate(
    mut artifact: Artifact,
    shapes: Vec<FeatureProfile>,
    partials: Vec<Partial>,
) -> Result<Stage> {
    let (sums, predictions) = merge_in_order(
        partials,
        |partial| match partial {
            Partial::Evaluate { sums, predictions } => Ok((sums, predictions)),
            other => Err(unexpected("evaluate", &other)),
        },
        |(sums, predictions): &mut (EvaluationSums, NumericSums), next| {
            predictions.merge(&next.1);
            sums.merge(&next.0)
        },
    )?;
    artifact.metrics.extend(sums.metrics());
    let prediction: NumericShape = prediction_shape(artifact.output, &predictions);
    Ok(Stage::Profile {
        artifact,
        profile: ReferenceProfile::new(shapes, prediction),
    })
}

fn after_profile(artifact: Artifact, mut profile: ReferenceProfile, partials: Vec<Partial>) -> Result<Stage> {
    let take = |partial| match partial {
        Partial::Profile(counts) => Ok(counts),
        other => Err(unexpected("profile", &other)),
    };
    let counts = merge_in_order(partials, take, |counts: &mut ProfileCounts, next| {
        counts.merge(&next)
    })?;
    profile.seal(counts)?;
    Ok(Stage::Trained(Trained { artifact, profile }))
}
