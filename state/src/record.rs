//! The values of a group's replicated map, one variant per kind of key.

use serde::{Deserialize, Serialize};

use crate::catalog::{Entity, FeatureService, InstalledView};
use crate::command::IncomingRow;
use crate::dataset::DatasetManifest;
use crate::deployment::DeploymentRecord;
use crate::id::Timestamp;
use crate::job::Job;
use crate::monitor::{
    Alert, DriftBook, DriftReport, DriftWindow, FlushMark, KeptPrediction, Monitor, Outcome,
};
use crate::namespace::Namespace;
use crate::pipeline::{Pipeline, PipelineRun};
use crate::registry::{AliasMove, Model, ModelVersion};
use crate::request::Remembered;
use crate::row::Row;
use crate::tile::Tile;
use crate::topology::{Cluster, Node, Placement};

/// A row that was refused, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The row as it came.
    pub row: IncomingRow,
    /// Why it was refused, naming field and value.
    pub reason: String,
    /// When it was refused, by the group's clock.
    pub at: Timestamp,
}

/// A value of a group's replicated map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Record {
    /// The key says it all.
    Marker,
    /// A number: a schema version, a sequence number.
    Number(u64),
    /// A moment.
    Time(Timestamp),
    /// See [`crate::Key::Request`].
    Request(Remembered),
    /// See [`crate::Key::Cluster`].
    Cluster(Cluster),
    /// See [`crate::Key::Node`].
    Node(Node),
    /// See [`crate::Key::Placement`].
    Placement(Placement),
    /// See [`crate::Key::Entity`].
    Entity(Entity),
    /// See [`crate::Key::View`] and [`crate::Key::Schema`].
    View(InstalledView),
    /// See [`crate::Key::Service`].
    Service(FeatureService),
    /// See [`crate::Key::Deployment`].
    Deployment(DeploymentRecord),
    /// See [`crate::Key::Monitor`].
    Monitor(Monitor),
    /// See [`crate::Key::Pipeline`].
    Pipeline(Pipeline),
    /// See [`crate::Key::Namespace`].
    Namespace(Namespace),
    /// See [`crate::Key::DeadLetter`].
    DeadLetter(DeadLetter),
    /// See [`crate::Key::Model`].
    Model(Model),
    /// See [`crate::Key::ModelVersion`].
    ModelVersion(ModelVersion),
    /// See [`crate::Key::Alias`] and [`crate::Key::AliasMove`].
    AliasMove(AliasMove),
    /// See [`crate::Key::Dataset`].
    Dataset(DatasetManifest),
    /// See [`crate::Key::Job`].
    Job(Job),
    /// See [`crate::Key::DriftWindow`].
    DriftWindow(DriftWindow),
    /// See [`crate::Key::DriftReport`].
    DriftReport(DriftReport),
    /// See [`crate::Key::Alert`].
    Alert(Alert),
    /// See [`crate::Key::Prediction`].
    Prediction(KeptPrediction),
    /// See [`crate::Key::Outcome`].
    Outcome(Outcome),
    /// See [`crate::Key::PipelineRun`].
    PipelineRun(PipelineRun),
    /// See [`crate::Key::Latest`] and [`crate::Key::History`].
    Row(Row),
    /// See [`crate::Key::Tile`].
    Tile(Tile),
    /// See [`crate::Key::DriftBook`].
    DriftBook(DriftBook),
    /// See [`crate::Key::DriftFlush`].
    DriftFlush(FlushMark),
    /// See [`crate::Key::Plain`].
    Plain(Vec<u8>),
}

/// A record of another kind than its key calls for: the map is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the map holds another kind of record where it should hold a {expected}")]
pub struct WrongKind {
    /// The kind that was called for.
    pub expected: &'static str,
}

macro_rules! kinds {
    ($($variant:ident($inner:ty);)*) => {$(
        impl From<$inner> for Record {
            fn from(inner: $inner) -> Self {
                Self::$variant(inner)
            }
        }

        impl TryFrom<Record> for $inner {
            type Error = WrongKind;

            fn try_from(record: Record) -> Result<Self, WrongKind> {
                if let Record::$variant(inner) = record {
                    Ok(inner)
                } else {
                    Err(WrongKind { expected: stringify!($variant) })
                }
            }
        }
    )*};
}

kinds! {
    Number(u64);
    Time(Timestamp);
    Request(Remembered);
    Cluster(Cluster);
    Node(Node);
    Placement(Placement);
    Entity(Entity);
    View(InstalledView);
    Service(FeatureService);
    Deployment(DeploymentRecord);
    Monitor(Monitor);
    Pipeline(Pipeline);
    Namespace(Namespace);
    DeadLetter(DeadLetter);
    Model(Model);
    ModelVersion(ModelVersion);
    AliasMove(AliasMove);
    Dataset(DatasetManifest);
    Job(Job);
    DriftWindow(DriftWindow);
    DriftReport(DriftReport);
    Alert(Alert);
    Prediction(KeptPrediction);
    DriftBook(DriftBook);
    DriftFlush(FlushMark);
    Outcome(Outcome);
    PipelineRun(PipelineRun);
    Row(Row);
    Tile(Tile);
    Plain(Vec<u8>);
}
