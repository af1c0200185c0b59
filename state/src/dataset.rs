//! Point-in-time training sets: what one is built from, and the manifest that lets anybody build it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, GroupId, Timestamp};
use crate::registry::Artifact;

/// The rows that a training set is built around: one per example, with entity keys, a time and a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spine {
    /// The history of a view whose columns hold the join keys, the time and the label.
    View {
        /// The view's name.
        view: String,
        /// The timestamp column whose value features are read as of; `None` for the row's own event time.
        timestamp: Option<String>,
        /// Rows with that time before this are left out.
        from: Timestamp,
        /// Rows with that time at or after this are left out.
        until: Timestamp,
    },
    /// A Parquet file that the caller has uploaded.
    File {
        /// The file's chunks in the artifact store.
        artifact: Artifact,
        /// The timestamp column.
        timestamp: String,
    },
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// The dataset's name; each build is a new version of it.
    pub name: String,
    /// The feature service whose features are joined to the spine.
    pub service: String,
    /// The examples.
    pub spine: Spine,
    /// The label column of the spine; `None` for a set without labels.
    pub label: Option<String>,
}

/// A built training set. `partitions` are fixed here, for every later job on any number of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetManifest {
    /// What was built.
    pub spec: DatasetSpec,
    /// The version, from 1.
    pub version: u64,
    /// For each data group the log index that everything was read as of.
    pub log_indexes: BTreeMap<GroupId, u64>,
    /// The schema version of each view that was read.
    pub view_versions: BTreeMap<String, u32>,
    /// The Parquet file.
    pub artifact: Artifact,
    /// Rows in the file.
    pub rows: u64,
    /// Column names in file order.
    pub columns: Vec<String>,
    /// Rows of each logical partition, in file order; they add up to `rows`.
    pub partitions: Vec<u64>,
    /// SHA-256 of the file, the dataset's content hash.
    pub content: Digest,
    /// When it was registered.
    pub created_at: Timestamp,
}
