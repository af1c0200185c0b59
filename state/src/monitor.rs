//! Drift monitoring: windows of counters that nodes flush through the log, their scores, alerts, and labels joined late.
//!
//! Invariant: a window's counters are the sum over sources of the deltas with distinct sequence numbers, so a flush that
//! is sent twice counts once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Timestamp};
use crate::registry::VersionId;

/// What to watch on a deployment, as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Unique name.
    pub name: String,
    /// The deployment.
    pub deployment: String,
    /// Length of a window of event time, in microseconds.
    pub window_micros: i64,
    /// Fewer rows than this in a window give no verdict.
    pub rows_min: u64,
    /// A feature has drifted when its population stability index reaches this.
    pub psi_threshold: f64,
    /// A feature has drifted when its Jensen-Shannon distance reaches this.
    pub js_threshold: f64,
    /// A number has drifted when its Kolmogorov-Smirnov statistic reaches this; `None`: whatever it is.
    pub ks_threshold: Option<f64>,
    /// A category has drifted when this share of the rows has names that training has not seen; `None`: whatever it is.
    pub new_category_share: Option<f64>,
    /// The window has drifted when this share of the features has.
    pub drift_share: f64,
    /// Features of which any single one is enough.
    pub watch: Vec<String>,
    /// The pipeline that an alert starts, if any.
    pub pipeline: Option<String>,
}

/// Counters of one feature, or of the predictions, on the version's frozen edges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeatureCounts {
    /// Rows per bin.
    pub bins: Vec<u64>,
    /// Rows per name, for categories.
    pub named: BTreeMap<String, u64>,
    /// Rows without a value.
    pub missing: u64,
    /// Rows whose name did not fit into `named` any more.
    pub other: u64,
}

/// Counters of a window: one entry per feature in signature order, then one for the predictions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Rows counted.
    pub rows: u64,
    /// Per feature.
    pub features: Vec<FeatureCounts>,
}

/// At most this many distinct names are counted per feature and window.
pub const NAMED_MAX: usize = 1_000;

impl WindowCounts {
    /// Adds every counter of `delta`.
    pub fn merge(&mut self, delta: &Self) {
        self.rows = self.rows.saturating_add(delta.rows);
        if self.features.len() < delta.features.len() {
            self.features
                .resize(delta.features.len(), FeatureCounts::default());
        }
        for (mine, theirs) in self.features.iter_mut().zip(&delta.features) {
            mine.merge(theirs);
        }
    }
}

impl FeatureCounts {
    fn merge(&mut self, delta: &Self) {
        if self.bins.len() < delta.bins.len() {
            self.bins.resize(delta.bins.len(), 0);
        }
        for (mine, theirs) in self.bins.iter_mut().zip(&delta.bins) {
            *mine = mine.saturating_add(*theirs);
        }
        for (name, count) in &delta.named {
            if let Some(known) = self.named.get_mut(name) {
                *known = known.saturating_add(*count);
            } else if self.named.len() < NAMED_MAX {
                self.named.insert(name.clone(), *count);
            } else {
                self.other = self.other.saturating_add(*count);
            }
        }
        self.missing = self.missing.saturating_add(delta.missing);
        self.other = self.other.saturating_add(delta.other);
    }
}

/// Who sent a delta: sequence numbers count up within one run of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlushSource {
    /// The node.
    pub node: NodeId,
    /// Counts the starts of the node.
    pub incarnation: u64,
}

/// The last flush of a node that has been counted. A flush that is not larger has been, or comes from an earlier life of
/// the node, whose counters are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FlushMark {
    /// The life of the node.
    pub incarnation: u64,
    /// The number of the flush within it.
    pub sequence: u64,
}

/// What is kept of a deployment's drift, in numbers. What is kept is bounded; the oldest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DriftBook {
    /// Flushes that have been counted.
    pub flushes: u64,
    /// Start of the newest window that has been seen.
    pub newest: Timestamp,
    /// Windows that are kept.
    pub windows: u64,
    /// Predictions that are kept, with or without a label.
    pub predictions: u64,
    /// Outcomes that are kept.
    pub outcomes: u64,
}

/// The merged counters of one window of one version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DriftWindow {
    /// The merged counters.
    pub counts: WindowCounts,
    /// Rows that the last verdict covers; with more the window is open.
    pub scored_rows: u64,
}

/// The score of one feature in one window against the version's reference profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureScore {
    /// The feature's name, or `prediction`.
    pub feature: String,
    /// Population stability index.
    pub psi: f64,
    /// Jensen-Shannon distance, natural logarithm.
    pub js: f64,
    /// Kolmogorov-Smirnov statistic over the bins; `None` for categories.
    pub ks: Option<f64>,
    /// Share of rows with a category that the reference has not seen.
    pub new_categories: f64,
    /// Whether a threshold was reached.
    pub drifted: bool,
}

/// The verdict on one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Rows scored.
    pub rows: u64,
    /// Per feature.
    pub scores: Vec<FeatureScore>,
    /// Whether the window as a whole has drifted.
    pub drifted: bool,
    /// When it was scored.
    pub scored_at: Timestamp,
}

/// An alert raised on a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The monitor that raised it.
    pub monitor: String,
    /// The version that was serving.
    pub version: VersionId,
    /// Start of the window.
    pub window: Timestamp,
    /// The features that drifted, worst first.
    pub features: Vec<String>,
    /// When it was raised.
    pub at: Timestamp,
}

/// A prediction kept until its label comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedPrediction {
    /// The caller's id of the prediction, unique within the deployment.
    pub id: String,
    /// The version that made it.
    pub version: VersionId,
    /// The predicted probability or value.
    pub score: f64,
    /// The event time it was made for.
    pub at: Timestamp,
}

/// What is kept under the id of a prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum KeptPrediction {
    /// It waits for its label.
    Waiting(LoggedPrediction),
    /// Its label has come. The id stays taken, so that neither comes again under it.
    Labelled,
}

/// A prediction together with the label that came later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The version that made the prediction.
    pub version: VersionId,
    /// The predicted probability or value.
    pub score: f64,
    /// What happened: 0 or 1 for classes, else the value.
    pub label: f64,
}
