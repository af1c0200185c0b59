//! Everything that can be asked of a group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{Entity, FeatureService, FeatureView, InstalledView};
use crate::dataset::DatasetManifest;
use crate::deployment::Deployment;
use crate::id::{GroupId, NodeId, Timestamp, ViewId};
use crate::job::JobSpec;
use crate::monitor::{Alert, DriftReport, FlushSource, LoggedPrediction, Monitor, WindowCounts};
use crate::namespace::Policy;
use crate::pipeline::{Pipeline, Stage};
use crate::registry::{VersionId, VersionSpec};
use crate::topology::{NodeState, Placement};
use crate::value::Value;

/// A row on its way in. Nothing about it has been checked yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncomingRow {
    /// The join keys in the entity's order.
    pub key: Vec<Value>,
    /// When the fact was true in the world.
    pub event_time: Timestamp,
    /// When the producer says that it made the row.
    pub created_time: Timestamp,
    /// One value per column of the schema version that the command names.
    pub values: Vec<Value>,
}

/// A node that asks to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Where peers reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub api_addr: String,
    /// Region label.
    pub region: String,
    /// Zone label.
    pub zone: String,
    /// The binary's version.
    pub binary: String,
}

/// A catalog object that can be taken away by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removable {
    /// A feature service that no deployment's model uses.
    Service,
    /// A deployment.
    Deployment,
    /// A monitor.
    Monitor,
    /// A pipeline.
    Pipeline,
}

/// What is asked of a group. Control commands go to group 0, the others to the group of the name or key they carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Control: makes the cluster, once; its first node is `first`.
    InitCluster {
        /// Random identity.
        id: u128,
        /// A name for people.
        name: String,
        /// Data groups, a power of two.
        groups: u64,
        /// Voters per group when there are enough nodes.
        replication_factor: u32,
        /// The node that makes it.
        first: NodeSpec,
    },
    /// Control: gives a joining node its id.
    RegisterNode(NodeSpec),
    /// Control: a known node has new addresses, labels or a new binary.
    UpdateNode(NodeId, NodeSpec),
    /// Control: changes whether a node takes part.
    SetNodeState(NodeId, NodeState),
    /// Control: sets the desired members of a group if its placement is still at `expected` (0 for none).
    SetPlacement {
        /// The group.
        group: GroupId,
        /// The revision that this replaces.
        expected: u64,
        /// The new placement; its revision is set by the decision.
        placement: Placement,
    },
    /// Control: makes a namespace, or changes what its groups are to survive.
    PutNamespace {
        /// Its name.
        name: String,
        /// What its groups are to survive.
        policy: Policy,
        /// Its groups, a power of two; `None` for one, or for as many as there are.
        groups: Option<u64>,
    },
    /// Control: the group has been made by its only voter.
    FoundGroup {
        /// The group.
        group: GroupId,
        /// Who has made it.
        node: NodeId,
    },
    /// Control: declares an entity, or changes its description.
    PutEntity(Entity),
    /// Control: declares a view or a new schema version of it; it is installing until activated.
    PutView(FeatureView),
    /// Control: every data group knows this schema version.
    ActivateView {
        /// The view's name.
        name: String,
        /// The version that has been installed.
        schema_version: u32,
    },
    /// Control: declares or changes a feature service.
    PutService(FeatureService),
    /// Control: declares or changes a deployment.
    PutDeployment(Deployment),
    /// Control: sets where replicas run if the deployment is still at this revision.
    PlaceDeployment {
        /// The deployment's name.
        name: String,
        /// The revision that this replaces.
        expected: u64,
        /// One node per replica.
        placement: Vec<NodeId>,
    },
    /// Control: declares or changes a monitor.
    PutMonitor(Monitor),
    /// Control: declares or changes a pipeline.
    PutPipeline(Pipeline),
    /// Control: takes an object away.
    Remove(Removable, String),

    /// Data: this group learns a view's schema.
    InstallSchema(InstalledView),
    /// Data: rows of one view, all of this group's entities.
    PushRows {
        /// The view.
        view: ViewId,
        /// The schema version that the values follow.
        schema_version: u32,
        /// The rows, each decided by itself.
        rows: Vec<IncomingRow>,
    },
    /// Data: registers a model.
    CreateModel {
        /// Unique name.
        name: String,
        /// What it predicts.
        description: String,
    },
    /// Data: registers a version of a model.
    CreateVersion {
        /// The model's name.
        model: String,
        /// What it is.
        spec: VersionSpec,
    },
    /// Data: moves an alias if it still points to `expected` (`None`: whatever it points to).
    SetAlias {
        /// The model's name.
        model: String,
        /// The alias.
        alias: String,
        /// The version to point to; `None` takes the alias away.
        version: Option<u64>,
        /// What it must point to now: `Some(None)` means nothing.
        expected: Option<Option<u64>>,
        /// Why, for people.
        reason: String,
    },
    /// Data: registers a built dataset; its version and time are set by the decision.
    PutDataset(DatasetManifest),
    /// Data: submits a job.
    SubmitJob {
        /// Unique id.
        id: String,
        /// What to do.
        spec: JobSpec,
    },
    /// Data: a coordinator takes a job over and gets the next epoch.
    ClaimJob {
        /// The job.
        id: String,
        /// The coordinator's node.
        node: NodeId,
    },
    /// Data: commits one iterate.
    AdvanceJob {
        /// The job.
        id: String,
        /// The epoch of the coordinator.
        epoch: u64,
        /// The step that this is: one more than the last.
        step: u64,
        /// The trainer's state after it.
        checkpoint: Vec<u8>,
        /// The loss after it.
        loss: f64,
    },
    /// Data: a job has made a version.
    FinishJob {
        /// The job.
        id: String,
        /// The epoch of the coordinator.
        epoch: u64,
        /// The version it made.
        version: u64,
        /// Metrics by name.
        metrics: BTreeMap<String, f64>,
    },
    /// Data: a job cannot go on.
    FailJob {
        /// The job.
        id: String,
        /// The epoch of the coordinator.
        epoch: u64,
        /// What went wrong.
        reason: String,
    },
    /// Data: stops a job for good.
    CancelJob {
        /// The job.
        id: String,
    },
    /// Data: adds a delta of counters to drift windows.
    FlushDrift {
        /// The deployment.
        deployment: String,
        /// Who counted.
        source: FlushSource,
        /// Counts up per source; a number that is not larger than the last one has been counted already.
        sequence: u64,
        /// The deltas: version, start of window, counters.
        windows: Vec<(VersionId, Timestamp, WindowCounts)>,
        /// Predictions to keep until their labels come.
        predictions: Vec<LoggedPrediction>,
    },
    /// Data: stores the verdict on a window and, if there is one, its alert.
    ReportDrift {
        /// The deployment.
        deployment: String,
        /// The version.
        version: VersionId,
        /// Start of the window.
        window: Timestamp,
        /// The verdict.
        report: DriftReport,
        /// The alert to raise; one per window and version is kept.
        alert: Option<Alert>,
    },
    /// Data: joins labels to predictions by id.
    RecordLabels {
        /// The deployment.
        deployment: String,
        /// Length of the windows that outcomes are kept by, in microseconds.
        window_micros: i64,
        /// Prediction id and label.
        labels: Vec<(String, f64)>,
    },
    /// Data: starts a run unless one is open or the last one is too recent.
    StartPipeline {
        /// The declaration.
        pipeline: Pipeline,
        /// What starts it.
        trigger: String,
        /// The event time it is started at.
        as_of: Timestamp,
    },
    /// Data: moves a run on if it is still at the stage of rank `from`.
    AdvancePipeline {
        /// The pipeline's name.
        name: String,
        /// The run.
        number: u64,
        /// The rank of the stage it leaves.
        from: u8,
        /// The stage it enters.
        stage: Stage,
    },
}
