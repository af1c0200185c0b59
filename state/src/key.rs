//! The keys of a group's replicated map.
//!
//! Invariant: the derived order of keys is the order of their stored bytes, so a scan means the same in memory and on
//! disk. Variants are therefore never reordered, only appended.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::entity::EntityKey;
use crate::id::{GroupId, NodeId, Timestamp, ViewId};
use crate::registry::VersionId;
use crate::request::RequestId;
use crate::row::RowVersion;
use crate::window::Hop;

/// The column family of a key: rows, history and tiles are kept apart from everything small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Everything small.
    Records,
    /// The current row per entity and view.
    Latest,
    /// Every row, newest first.
    History,
    /// Window tiles.
    Tiles,
}

/// A key of a group's replicated map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// The group's own clock: the largest time any entry has carried.
    Clock,
    /// The answer that a request got.
    Request(RequestId),
    /// Requests in the order in which they may be forgotten.
    RequestAge(Timestamp, RequestId),
    /// Per producer, the largest sequence number that has been forgotten.
    ProducerFloor(String),
    /// Control: the cluster.
    Cluster,
    /// Control: a node.
    Node(NodeId),
    /// Control: the desired members of a group.
    Placement(GroupId),
    /// Control: an entity.
    Entity(String),
    /// Control: a feature view.
    View(String),
    /// Control: a feature service.
    Service(String),
    /// Control: a deployment.
    Deployment(String),
    /// Control: a monitor.
    Monitor(String),
    /// Control: a pipeline.
    Pipeline(String),
    /// Control: a namespace.
    Namespace(String),
    /// Data: a view's schema, as this group knows it, at one schema version.
    Schema(ViewId, u32),
    /// Data: the newest schema version of a view that this group knows.
    SchemaHead(ViewId),
    /// Data: a row that was refused: view, log index, position in the entry.
    DeadLetter(ViewId, u64, u32),
    /// Data: a model.
    Model(String),
    /// Data: a version of a model.
    ModelVersion(String, u64),
    /// Data: where an alias points now.
    Alias(String, String),
    /// Data: each move of an alias, by log index.
    AliasMove(String, String, u64),
    /// Data: a version of a dataset.
    Dataset(String, u64),
    /// Data: a job.
    Job(String),
    /// Data: a drift window: deployment, start, version that was serving.
    DriftWindow(String, Timestamp, VersionId),
    /// Data: the last flush of a node: deployment, node.
    DriftFlush(String, NodeId),
    /// Data: the verdict on a window.
    DriftReport(String, Timestamp, VersionId),
    /// Data: an alert on a window.
    Alert(String, Timestamp, VersionId),
    /// Data: a prediction by its id: deployment, id.
    Prediction(String, String),
    /// Data: a prediction with its label: deployment, start of the window, id.
    Outcome(String, Timestamp, String),
    /// Data: a run of a pipeline.
    PipelineRun(String, u64),
    /// Data: the current row of an entity in a view.
    Latest(EntityKey, ViewId),
    /// Data: one row of an entity in a view, newest first.
    History(EntityKey, ViewId, Reverse<RowVersion>),
    /// Data: one tile of an entity in a view, oldest first.
    Tile(EntityKey, ViewId, Hop, Timestamp),
    /// Data: what is kept of a deployment's drift, in numbers.
    DriftBook(String),
    /// Data: a drift window that has rows which no verdict covers.
    DriftOpen(String, Timestamp, VersionId),
    /// Data: predictions in the order in which they may be forgotten: deployment, event time, id.
    PredictionAge(String, Timestamp, String),
    /// Data: a job that has not ended.
    OpenJob(String),
    /// Data: a run of a pipeline that has not ended.
    OpenRun(String, u64),
    /// Bytes under bytes: for another database on the same host. Covey itself has none.
    Plain(Vec<u8>),
}

impl Key {
    /// The column family it belongs to.
    pub const fn table(&self) -> Table {
        match self {
            Self::Clock
            | Self::Request(_)
            | Self::RequestAge(..)
            | Self::ProducerFloor(_)
            | Self::Cluster
            | Self::Node(_)
            | Self::Placement(_)
            | Self::Entity(_)
            | Self::View(_)
            | Self::Service(_)
            | Self::Deployment(_)
            | Self::Monitor(_)
            | Self::Pipeline(_)
            | Self::Namespace(_)
            | Self::Schema(..)
            | Self::SchemaHead(_)
            | Self::DeadLetter(..)
            | Self::Model(_)
            | Self::ModelVersion(..)
            | Self::Alias(..)
            | Self::AliasMove(..)
            | Self::Dataset(..)
            | Self::Job(_)
            | Self::DriftWindow(..)
            | Self::DriftFlush(..)
            | Self::DriftReport(..)
            | Self::Alert(..)
            | Self::Prediction(..)
            | Self::Outcome(..)
            | Self::PipelineRun(..)
            | Self::DriftBook(_)
            | Self::DriftOpen(..)
            | Self::PredictionAge(..)
            | Self::OpenJob(_)
            | Self::OpenRun(..)
            | Self::Plain(_) => Table::Records,
            Self::Latest(..) => Table::Latest,
            Self::History(..) => Table::History,
            Self::Tile(..) => Table::Tiles,
        }
    }

    /// The name of what the record belongs to, where that is what the key begins with: a model, a deployment, a view.
    pub const fn name(&self) -> Option<&String> {
        match self {
            Self::ProducerFloor(name)
            | Self::Entity(name)
            | Self::View(name)
            | Self::Service(name)
            | Self::Deployment(name)
            | Self::Monitor(name)
            | Self::Pipeline(name)
            | Self::Namespace(name)
            | Self::Model(name)
            | Self::ModelVersion(name, _)
            | Self::Alias(name, _)
            | Self::AliasMove(name, ..)
            | Self::Dataset(name, _)
            | Self::Job(name)
            | Self::DriftWindow(name, ..)
            | Self::DriftFlush(name, _)
            | Self::DriftReport(name, ..)
            | Self::Alert(name, ..)
            | Self::Prediction(name, _)
            | Self::Outcome(name, ..)
            | Self::PipelineRun(name, _)
            | Self::DriftBook(name)
            | Self::DriftOpen(name, ..)
            | Self::PredictionAge(name, ..)
            | Self::OpenJob(name)
            | Self::OpenRun(name, _) => Some(name),
            Self::Clock
            | Self::Request(_)
            | Self::RequestAge(..)
            | Self::Cluster
            | Self::Node(_)
            | Self::Placement(_)
            | Self::Schema(..)
            | Self::SchemaHead(_)
            | Self::DeadLetter(..)
            | Self::Latest(..)
            | Self::History(..)
            | Self::Tile(..)
            | Self::Plain(_) => None,
        }
    }

    /// The newest possible history key of an entity in a view at or before `at`: where an as-of read begins.
    pub fn history_from(entity: EntityKey, view: ViewId, at: Timestamp) -> Self {
        let newest = RowVersion {
            event_time: at,
            created_time: Timestamp::MAX,
            log_index: u64::MAX,
            ordinal: u32::MAX,
        };
        Self::History(entity, view, Reverse(newest))
    }
}
