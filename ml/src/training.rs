//! Training as a dialogue: a coordinator asks for partial sums, workers answer per partition, and every round
//! of answers moves the coordinator's state by one step that can be logged, copied and resumed anywhere.
//!
//! Invariant: the trained bytes depend only on the spec, the partitions and their order; not on who worked on
//! which partition, nor on how often the coordinator was moved. Trees and forests are excepted (see `local`).

mod fit;
mod reduce;
pub mod task;
pub mod trainer;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::algorithm::{Algorithm, Output};
use crate::error::{Error, Result};
use crate::feature::{FeatureSpec, check_features};
use crate::frame::Frame;
use crate::model::Artifact;
use crate::profile::ReferenceProfile;
use trainer::Trainer;

/// What to train, on which columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    /// The algorithm and its hyper-parameters.
    pub algorithm: Algorithm,
    /// The inputs, in signature order.
    pub features: Vec<FeatureSpec>,
    /// The float column to predict; `None` for a clustering and only then.
    pub label: Option<String>,
    /// A float column of row weights of 0 or more, for linear and logistic regression.
    pub weight: Option<String>,
}

impl TrainingSpec {
    /// Refuses a spec that cannot be trained.
    pub fn check(&self) -> Result<()> {
        self.algorithm.check()?;
        check_features(&self.features)?;
        let clustering = self.algorithm.output() == Output::Cluster;
        if self.label.is_none() != clustering {
            let expected = "must name a column, except for a clustering, which has none";
            return Err(Error::Setting {
                name: "label",
                value: format!("{:?}", self.label),
                expected,
            });
        }
        if self.weight.is_some() && !self.algorithm.is_distributed() {
            let expected = "must be absent: only linear and logistic regression weigh rows";
            return Err(Error::Setting {
                name: "weight",
                value: format!("{:?}", self.weight),
                expected,
            });
        }
        for column in [&self.label, &self.weight].into_iter().flatten() {
            if self.features.iter().any(|feature| feature.name == *column) {
                return Err(Error::DuplicateColumn { name: column.clone() });
            }
        }
        Ok(())
    }

    /// The rows of a partition that can be trained on: those whose label is not missing.
    pub(crate) fn rows<'a>(&self, partition: &'a Frame) -> Result<TrainingRows<'a>> {
        let frame = match &self.label {
            None => Cow::Borrowed(partition),
            Some(label) => {
                let labelled: Vec<bool> = partition
                    .floats(label)?
                    .iter()
                    .map(|value| !value.is_nan())
                    .collect();
                partition.keep(&labelled)?
            }
        };
        let labels = match &self.label {
            None => Vec::new(),
            Some(label) => self.labels(label, frame.floats(label)?)?,
        };
        let weights = match &self.weight {
            None => vec![1.0; frame.rows()],
            Some(weight) => check_weights(weight, frame.floats(weight)?)?,
        };
        Ok(TrainingRows {
            frame,
            labels,
            weights,
        })
    }

    fn labels(&self, name: &str, values: &[f64]) -> Result<Vec<f64>> {
        let (allowed, expected): (fn(f64) -> bool, _) = match self.algorithm.output() {
            Output::Probability => (|value| value == 0.0 || value == 1.0, "a label must be 0 or 1"),
            Output::Number | Output::Cluster => (f64::is_finite, "a label must be finite"),
        };
        match values.iter().position(|value| !allowed(*value)) {
            None => Ok(values.to_vec()),
            Some(row) => Err(Error::Value {
                name: name.to_owned(),
                row,
                value: values[row],
                expected,
            }),
        }
    }
}

fn check_weights(name: &str, values: &[f64]) -> Result<Vec<f64>> {
    match values
        .iter()
        .position(|value| !(*value >= 0.0 && value.is_finite()))
    {
        None => Ok(values.to_vec()),
        Some(row) => {
            let expected = "a weight must be 0 or above and finite";
            Err(Error::Value {
                name: name.to_owned(),
                row,
                value: values[row],
                expected,
            })
        }
    }
}

/// The rows of one partition that training uses.
pub(crate) struct TrainingRows<'a> {
    /// The rows with all their columns.
    pub(crate) frame: Cow<'a, Frame>,
    /// One label per row; empty for a clustering.
    pub(crate) labels: Vec<f64>,
    /// One weight per row.
    pub(crate) weights: Vec<f64>,
}

/// The outcome of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The model.
    pub artifact: Artifact,
    /// The distributions it was trained on, against which drift is measured.
    pub profile: ReferenceProfile,
}

/// Trains in this process, partition by partition: the reference for every distributed run.
///
/// An algorithm that is not distributed is given all partitions joined into one.
pub fn train(spec: &TrainingSpec, partitions: &[Frame]) -> Result<Trained> {
    let joined;
    let partitions = if spec.algorithm.is_distributed() {
        partitions
    } else {
        joined = [Frame::concat(partitions)?];
        &joined
    };
    let mut trainer = Trainer::new(spec.clone(), partitions.len())?;
    while let Some(task) = trainer.next_task() {
        let partials = partitions.iter().map(|partition| task.execute(partition));
        trainer.advance(partials.collect::<Result<_>>()?)?;
    }
    Ok(trainer
        .into_trained()
        .expect("a trainer without a next task has trained"))
}
