//! Training jobs. A job's progress is in the log: one entry per iterate, fenced by the epoch of its coordinator.
//!
//! Invariants: the epoch only grows; only the coordinator of the current epoch moves a job; a finished job never moves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Timestamp};

/// What to train, on what, and what to do with the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The dataset's name.
    pub dataset: String,
    /// The dataset's version.
    pub dataset_version: u64,
    /// The algorithm, for instance `logistic_regression`.
    pub algorithm: String,
    /// Hyper-parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// Seeds everything random.
    pub seed: u64,
    /// Features to leave out.
    pub exclude: Vec<String>,
    /// The model that the result becomes a version of.
    pub model: String,
    /// The alias to set on the new version, if any.
    pub alias: Option<String>,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum JobState {
    /// Waiting for a coordinator.
    Pending,
    /// A coordinator is at work.
    Running,
    /// Done: the model version it made.
    Succeeded {
        /// The version's number.
        version: u64,
    },
    /// Ended without a model.
    Failed {
        /// What went wrong.
        reason: String,
    },
    /// Stopped by a person.
    Cancelled,
}

impl JobState {
    /// Whether the job will never move again.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled => true,
        }
    }
}

/// A job as the cluster holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Unique id.
    pub id: String,
    /// What to do.
    pub spec: JobSpec,
    /// Where it is.
    pub state: JobState,
    /// Counts the coordinators it has had; messages of an older one are refused.
    pub epoch: u64,
    /// The node of the current coordinator.
    pub coordinator: Option<NodeId>,
    /// Iterates committed so far.
    pub step: u64,
    /// The trainer's state after `step` iterates, opaque here.
    pub checkpoint: Vec<u8>,
    /// One line per iterate: its number and its loss.
    pub losses: Vec<f64>,
    /// Metrics of the result, by name.
    pub metrics: BTreeMap<String, f64>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// Who submitted it.
    pub submitted_by: String,
}
