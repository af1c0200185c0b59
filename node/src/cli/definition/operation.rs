//! Datasets, training jobs, pipelines, deployments and monitors as they are written in YAML.

use std::collections::BTreeMap;

use covey_proto::v1;
use covey_proto::v1::deployment_spec::Target;
use covey_proto::v1::spine;
use covey_state::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::cell;
use crate::cli::length::Length;

/// A moment in RFC 3339, or a civil date, which is then UTC.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Moment(Timestamp);

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        cell::moment_option(&text).map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpineDefinition {
    view: String,
    timestamp: Option<String>,
    from: Moment,
    until: Moment,
}

/// `kind: Dataset`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    service: String,
    spine: SpineDefinition,
    label: Option<String>,
}

impl From<DatasetDefinition> for v1::DatasetSpec {
    fn from(dataset: DatasetDefinition) -> Self {
        let view = spine::ViewSpine {
            view: dataset.spine.view,
            timestamp: dataset.spine.timestamp.unwrap_or_default(),
            from_micros: dataset.spine.from.0.micros(),
            until_micros: dataset.spine.until.0.micros(),
        };
        Self {
            name: dataset.name,
            service: dataset.service,
            spine: Some(v1::Spine {
                kind: Some(spine::Kind::View(view)),
            }),
            label: dataset.label.unwrap_or_default(),
        }
    }
}

/// `kind: Training`. The id makes applying it again harmless.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainingDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// The job's id.
    pub(super) id: String,
    dataset: String,
    #[serde(default)]
    dataset_version: u64,
    algorithm: String,
    #[serde(default)]
    parameters: BTreeMap<String, f64>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    exclude: Vec<String>,
    model: String,
    #[serde(default)]
    alias: String,
}

impl From<TrainingDefinition> for v1::JobSpec {
    fn from(training: TrainingDefinition) -> Self {
        Self {
            dataset: training.dataset,
            dataset_version: training.dataset_version,
            algorithm: training.algorithm,
            parameters: training.parameters,
            seed: training.seed,
            exclude: training.exclude,
            model: training.model,
            alias: training.alias,
        }
    }
}

/// The metric that decides between candidate and champion.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GateMetric {
    Auc,
    LogLoss,
}

impl GateMetric {
    const fn name(self) -> &'static str {
        match self {
            Self::Auc => "auc",
            Self::LogLoss => "log_loss",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GateDefinition {
    metric: GateMetric,
    #[serde(default)]
    margin: f64,
}

/// `kind: Pipeline`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PipelineDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    model: String,
    alias: String,
    dataset: String,
    lookback: Option<Length>,
    algorithm: String,
    #[serde(default)]
    parameters: BTreeMap<String, f64>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    exclude: Vec<String>,
    holdout: Length,
    gate: GateDefinition,
    cooldown: Length,
}

impl From<PipelineDefinition> for v1::Pipeline {
    fn from(pipeline: PipelineDefinition) -> Self {
        Self {
            name: pipeline.name,
            model: pipeline.model,
            alias: pipeline.alias,
            dataset: pipeline.dataset,
            lookback_micros: pipeline.lookback.map_or(0, Length::micros),
            algorithm: pipeline.algorithm,
            parameters: pipeline.parameters,
            seed: pipeline.seed,
            exclude: pipeline.exclude,
            holdout_micros: pipeline.holdout.micros(),
            gate_metric: pipeline.gate.metric.name().to_owned(),
            gate_margin: pipeline.gate.margin,
            cooldown_micros: pipeline.cooldown.micros(),
        }
    }
}

/// `kind: Deployment`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeploymentDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    model: String,
    alias: Option<String>,
    version: Option<u64>,
    replicas: Option<u32>,
    queue_limit: Option<u32>,
    #[serde(default)]
    log_predictions: bool,
}

impl TryFrom<DeploymentDefinition> for v1::DeploymentSpec {
    type Error = String;

    fn try_from(deployment: DeploymentDefinition) -> Result<Self, String> {
        let target = match (deployment.alias, deployment.version) {
            (Some(alias), None) => Target::Alias(alias),
            (None, Some(version)) => Target::Version(version),
            (None, None) => return Err("one of the fields `alias` and `version` is needed".to_owned()),
            (Some(_), Some(_)) => {
                return Err("only one of the fields `alias` and `version` may be given".to_owned());
            }
        };
        Ok(Self {
            name: deployment.name,
            model: deployment.model,
            target: Some(target),
            replicas: deployment.replicas.unwrap_or(1),
            queue_limit: deployment.queue_limit.unwrap_or(1024),
            log_predictions: deployment.log_predictions,
        })
    }
}

/// `kind: Monitor`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MonitorDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    deployment: String,
    window: Length,
    #[serde(default = "rows_min_default")]
    rows_min: u64,
    #[serde(default = "psi_default")]
    psi_threshold: f64,
    #[serde(default = "js_default")]
    js_threshold: f64,
    ks_threshold: Option<f64>,
    new_category_share: Option<f64>,
    #[serde(default = "share_default")]
    drift_share: f64,
    #[serde(default)]
    watch: Vec<String>,
    pipeline: Option<String>,
}

/// Fewer rows than this say little about a distribution of ten bins.
const fn rows_min_default() -> u64 {
    200
}

/// The usual line between a moderate and a large shift.
const fn psi_default() -> f64 {
    0.25
}

/// The usual threshold on a distance between 0 and 0.83.
const fn js_default() -> f64 {
    0.2
}

const fn share_default() -> f64 {
    0.5
}

impl From<MonitorDefinition> for v1::Monitor {
    fn from(monitor: MonitorDefinition) -> Self {
        Self {
            name: monitor.name,
            deployment: monitor.deployment,
            window_micros: monitor.window.micros(),
            rows_min: monitor.rows_min,
            psi_threshold: monitor.psi_threshold,
            js_threshold: monitor.js_threshold,
            ks_threshold: monitor.ks_threshold,
            new_category_share: monitor.new_category_share,
            drift_share: monitor.drift_share,
            watch: monitor.watch,
            pipeline: monitor.pipeline.unwrap_or_default(),
        }
    }
}
