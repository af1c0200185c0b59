//! Declarations and commands that the tests share.

use std::collections::{BTreeMap, BTreeSet};

use covey_state::catalog::{
    Column, Entity, FeatureService, FeatureView, InstalledView, JoinKey, Phase, RequestFeature, Rule,
    ViewSelection,
};
use covey_state::command::{IncomingRow, NodeSpec};
use covey_state::dataset::{DatasetManifest, DatasetSpec, Spine};
use covey_state::deployment::{Deployment, Target};
use covey_state::id::{Digest, ViewId};
use covey_state::job::JobSpec;
use covey_state::monitor::Monitor;
use covey_state::pipeline::Pipeline;
use covey_state::registry::{Artifact, FeatureKind, Lineage, SignatureField, VersionId, VersionSpec};
use covey_state::slot::Span;
use covey_state::window::{Aggregate, DAY, Function, HOUR, MINUTE};
use covey_state::{Command, DataType, Timestamp, Value};

use crate::world::START;

pub(crate) const VIEW: ViewId = ViewId::new(1);

pub(crate) fn node(number: u64) -> NodeSpec {
    NodeSpec {
        peer_addr: format!("10.0.0.{number}:7401"),
        api_addr: format!("10.0.0.{number}:7400"),
        region: "eu".to_owned(),
        zone: format!("eu-{}", number % 3),
        binary: "0.1.0".to_owned(),
    }
}

pub(crate) fn init() -> Command {
    Command::InitCluster {
        id: 7,
        name: "birds".to_owned(),
        groups: 2,
        replication_factor: 3,
        first: node(1),
    }
}

pub(crate) fn card() -> Entity {
    Entity {
        name: "card".to_owned(),
        description: "a payment card".to_owned(),
        join_keys: vec![JoinKey {
            name: "card_id".to_owned(),
            data_type: DataType::String,
        }],
        namespace: "default".to_owned(),
    }
}

fn column(name: &str, data_type: DataType, nullable: bool, rules: Vec<Rule>) -> Column {
    Column {
        name: name.to_owned(),
        data_type,
        nullable,
        rules,
    }
}

pub(crate) fn aggregate(column: &str, function: Function, window_micros: i64) -> Aggregate {
    Aggregate {
        column: column.to_owned(),
        function,
        window_micros,
    }
}

/// A view with a column of every kind, rules, and windows in all three hops.
pub(crate) fn payments() -> FeatureView {
    FeatureView {
        name: "payments".to_owned(),
        description: String::new(),
        entity: "card".to_owned(),
        columns: vec![
            column("amount", DataType::Float64, false, vec![Rule::Max(1e6)]),
            column("count", DataType::Int64, true, vec![Rule::Min(0.0)]),
            column(
                "country",
                DataType::String,
                true,
                vec![Rule::OneOf(vec![
                    Value::String("de".to_owned()),
                    Value::String("fr".to_owned()),
                ])],
            ),
            column("present", DataType::Bool, true, Vec::new()),
            column("seen_at", DataType::Timestamp, true, Vec::new()),
        ],
        ttl_micros: Some(30 * DAY),
        future_tolerance_micros: MINUTE,
        aggregates: vec![
            aggregate("amount", Function::Sum, 10 * MINUTE),
            aggregate("amount", Function::Mean, 24 * HOUR),
            aggregate("count", Function::Max, 30 * DAY),
        ],
    }
}

pub(crate) fn installed(definition: FeatureView, schema_version: u32) -> InstalledView {
    InstalledView {
        id: VIEW,
        schema_version,
        phase: Phase::Installing,
        join_keys: card().join_keys,
        span: Span::initial(2),
        definition,
        changed_at: START,
    }
}

pub(crate) fn payment(card: &str, seconds: i64, amount: f64) -> IncomingRow {
    let at = START.plus_micros(seconds * 1_000_000);
    IncomingRow {
        key: vec![Value::String(card.to_owned())],
        event_time: at,
        created_time: at,
        values: vec![
            Value::Float64(amount),
            Value::Int64(1),
            Value::String("de".to_owned()),
            Value::Bool(true),
            Value::Null,
        ],
    }
}

pub(crate) fn push(rows: Vec<IncomingRow>) -> Command {
    Command::PushRows {
        view: VIEW,
        schema_version: 1,
        rows,
    }
}

pub(crate) fn service() -> FeatureService {
    FeatureService {
        name: "fraud".to_owned(),
        description: String::new(),
        views: vec![ViewSelection {
            view: "payments".to_owned(),
            features: vec!["amount".to_owned(), "amount_mean_1d".to_owned()],
        }],
        request: vec![RequestFeature {
            name: "basket".to_owned(),
            data_type: DataType::Float64,
        }],
    }
}

/// A cluster with an entity, an active view and its schema, as one map that plays control and data group at once.
pub(crate) fn catalog() -> Vec<Command> {
    vec![
        init(),
        Command::PutEntity(card()),
        Command::PutView(payments()),
        Command::InstallSchema(installed(payments(), 1)),
        Command::ActivateView {
            name: "payments".to_owned(),
            schema_version: 1,
        },
        Command::PutService(service()),
    ]
}

pub(crate) fn artifact(name: &str) -> Artifact {
    let digest = Digest::of(name.as_bytes());
    Artifact {
        name: name.to_owned(),
        bytes: 9,
        digest,
        chunks: vec![digest],
    }
}

pub(crate) fn version() -> VersionSpec {
    VersionSpec {
        artifacts: vec![artifact("model.json")],
        algorithm: "logistic_regression".to_owned(),
        signature: vec![SignatureField {
            name: "payments__amount".to_owned(),
            kind: FeatureKind::Numeric,
        }],
        service: Some("fraud".to_owned()),
        lineage: Lineage::default(),
        metrics: BTreeMap::from([("auc".to_owned(), 0.75)]),
        profile: None,
    }
}

/// A version of the model.
pub(crate) fn version_id(number: u64) -> VersionId {
    VersionId {
        model: "fraud".to_owned(),
        number,
    }
}

pub(crate) fn create_model() -> Command {
    Command::CreateModel {
        name: "fraud".to_owned(),
        description: "is it fraud".to_owned(),
    }
}

pub(crate) fn create_version() -> Command {
    Command::CreateVersion {
        model: "fraud".to_owned(),
        spec: version(),
    }
}

pub(crate) fn set_alias(version: Option<u64>, expected: Option<Option<u64>>) -> Command {
    Command::SetAlias {
        model: "fraud".to_owned(),
        alias: "champion".to_owned(),
        version,
        expected,
        reason: "better".to_owned(),
    }
}

pub(crate) fn dataset() -> DatasetManifest {
    let artifact = artifact("part.parquet");
    DatasetManifest {
        spec: DatasetSpec {
            name: "fraud-set".to_owned(),
            service: "fraud".to_owned(),
            spine: Spine::View {
                view: "payments".to_owned(),
                timestamp: None,
                from: Timestamp::MIN,
                until: START,
            },
            label: Some("present".to_owned()),
        },
        version: 0,
        log_indexes: BTreeMap::new(),
        view_versions: BTreeMap::from([("payments".to_owned(), 1)]),
        content: artifact.digest,
        artifact,
        rows: 5,
        columns: vec!["payments__amount".to_owned(), "present".to_owned()],
        partitions: vec![3, 2],
        created_at: START,
    }
}

pub(crate) fn job() -> JobSpec {
    JobSpec {
        dataset: "fraud-set".to_owned(),
        dataset_version: 1,
        algorithm: "logistic_regression".to_owned(),
        parameters: BTreeMap::from([("l2".to_owned(), 0.5)]),
        seed: 1,
        exclude: Vec::new(),
        model: "fraud".to_owned(),
        alias: None,
    }
}

pub(crate) fn submit_job() -> Command {
    Command::SubmitJob {
        id: "job-1".to_owned(),
        spec: job(),
    }
}

pub(crate) fn advance_job(epoch: u64, step: u64) -> Command {
    Command::AdvanceJob {
        id: "job-1".to_owned(),
        epoch,
        step,
        checkpoint: vec![1, 2],
        loss: 0.5,
    }
}

pub(crate) fn deployment(replicas: u32) -> Deployment {
    Deployment {
        name: "fraud-live".to_owned(),
        model: "fraud".to_owned(),
        target: Target::Alias("champion".to_owned()),
        replicas,
        queue_limit: 100,
        log_predictions: true,
    }
}

pub(crate) fn monitor() -> Monitor {
    Monitor {
        name: "fraud-drift".to_owned(),
        deployment: "fraud-live".to_owned(),
        window_micros: HOUR,
        rows_min: 10,
        psi_threshold: 0.2,
        js_threshold: 0.1,
        ks_threshold: None,
        new_category_share: None,
        drift_share: 0.5,
        watch: BTreeSet::from(["payments__amount".to_owned()])
            .into_iter()
            .collect(),
        pipeline: Some("retrain".to_owned()),
    }
}

pub(crate) fn pipeline() -> Pipeline {
    Pipeline {
        name: "retrain".to_owned(),
        model: "fraud".to_owned(),
        alias: "champion".to_owned(),
        dataset: "fraud-set".to_owned(),
        lookback_micros: Some(30 * DAY),
        algorithm: "logistic_regression".to_owned(),
        parameters: BTreeMap::new(),
        seed: 1,
        exclude: Vec::new(),
        holdout_micros: DAY,
        gate_metric: "auc".to_owned(),
        gate_margin: 0.0,
        cooldown_micros: HOUR,
    }
}

pub(crate) fn start_pipeline(minutes: i64) -> Command {
    let as_of = START.plus_micros(minutes * MINUTE);
    Command::StartPipeline {
        pipeline: pipeline(),
        trigger: "by hand".to_owned(),
        as_of,
    }
}
