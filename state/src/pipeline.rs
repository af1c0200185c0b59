//! Retraining pipelines: dataset, training, gate against the champion, promotion; every step an entry in the log.
//!
//! Invariants: at most one run of a pipeline is open; stages only move forward; a run moved by an older driver is
//! refused because each move names the stage it leaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Timestamp;

/// A pipeline as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Unique name.
    pub name: String,
    /// The model that is retrained.
    pub model: String,
    /// The alias that a better version gets.
    pub alias: String,
    /// The dataset that is built again, by name; its newest spec is used with a new time range.
    pub dataset: String,
    /// How much event time before the trigger the new set covers, in microseconds; `None` for everything.
    pub lookback_micros: Option<i64>,
    /// The algorithm.
    pub algorithm: String,
    /// Hyper-parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// Seeds everything random.
    pub seed: u64,
    /// Features to leave out.
    pub exclude: Vec<String>,
    /// The newest part of the set, in microseconds of event time, that gates candidate against champion.
    pub holdout_micros: i64,
    /// The metric of the gate: `auc` or `log_loss`.
    pub gate_metric: String,
    /// How much better the candidate must be on it; negative tolerates a loss.
    pub gate_margin: f64,
    /// Event time that must pass between two runs, in microseconds.
    pub cooldown_micros: i64,
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    /// Building the dataset.
    Dataset,
    /// Training on it.
    Training {
        /// The dataset's version.
        dataset_version: u64,
        /// The job.
        job: String,
    },
    /// Comparing the new version with the champion.
    Gate {
        /// The dataset's version.
        dataset_version: u64,
        /// The new version.
        candidate: u64,
    },
    /// The new version has the alias.
    Promoted {
        /// The new version.
        candidate: u64,
        /// The version it replaced.
        champion: Option<u64>,
        /// The gate metric of candidate and champion.
        evidence: (f64, f64),
    },
    /// The champion stays.
    Kept {
        /// The version that was not good enough.
        candidate: u64,
        /// The gate metric of candidate and champion.
        evidence: (f64, f64),
    },
    /// The run ended with an error.
    Failed {
        /// What went wrong.
        reason: String,
    },
}

impl Stage {
    /// Position in the order of stages; a run only moves up.
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Dataset => 0,
            Self::Training { .. } => 1,
            Self::Gate { .. } => 2,
            Self::Promoted { .. } | Self::Kept { .. } | Self::Failed { .. } => 3,
        }
    }

    /// Whether the run will never move again.
    pub const fn is_final(&self) -> bool {
        self.rank() == 3
    }
}

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRun {
    /// The pipeline's declaration when the run started.
    pub pipeline: Pipeline,
    /// The run's number, from 1.
    pub number: u64,
    /// What started it, for people.
    pub trigger: String,
    /// The event time it was started at: the new dataset ends here.
    pub as_of: Timestamp,
    /// Where it is.
    pub stage: Stage,
    /// When it was started, by the cluster's clock.
    pub started_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
}
