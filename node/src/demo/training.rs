//! What the demo asks of the cluster besides rows and predictions: training sets, jobs, deployments, drift, pipelines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use covey_proto::v1;
use tokio::process::Command;

use super::fleet::Fleet;
use super::tally::Model;
use super::timeline::month_start;

/// A deployment must be ready, and a pipeline's run final, by then.
const DONE_WITHIN: Duration = Duration::from_secs(120);
/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Applies a file of definitions with the command that users would use.
pub(crate) async fn apply(endpoint: &str, file: &Path) -> Result<()> {
    let binary = std::env::current_exe()?;
    let output = Command::new(binary)
        .args(["apply", "--endpoint", endpoint, "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        bail!(
            "`covey apply -f {}` failed: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Builds a training set and waits for it.
pub(crate) async fn build_dataset(fleet: &Fleet, spec: v1::DatasetSpec) -> Result<v1::DatasetManifest> {
    let name = spec.name.clone();
    fleet
        .ask(|connection| {
            let request = v1::BuildDatasetRequest {
                spec: Some(spec.clone()),
            };
            async move {
                let mut progress = connection
                    .features()
                    .build_dataset(long(request))
                    .await?
                    .into_inner();
                let mut manifest = None;
                while let Some(step) = progress.message().await? {
                    manifest = step.manifest.or(manifest);
                }
                Ok(manifest)
            }
        })
        .await
        .with_context(|| format!("building dataset {name}"))?
        .ok_or_else(|| anyhow!("dataset {name} was built without a manifest"))
}

/// A first model, trained on everything from New Year until `until`.
pub(super) struct FirstModel {
    pub(super) rows: u64,
    pub(super) job: v1::Job,
    pub(super) sha256: String,
}

/// Builds a training set with the feature service of that name and trains the first version of the model.
pub(super) async fn first_model(fleet: &Fleet, model: &str, until: i64) -> Result<FirstModel> {
    let spine = v1::spine::ViewSpine {
        view: "flight_outcomes".to_owned(),
        timestamp: "scheduled_departure".to_owned(),
        from_micros: month_start(1),
        until_micros: until,
    };
    let spec = v1::DatasetSpec {
        name: model.to_owned(),
        service: model.to_owned(),
        spine: Some(v1::Spine {
            kind: Some(v1::spine::Kind::View(spine)),
        }),
        label: "late".to_owned(),
    };
    let dataset = build_dataset(fleet, spec).await?;
    let spec = v1::JobSpec {
        dataset: model.to_owned(),
        dataset_version: dataset.version,
        algorithm: "logistic_regression".to_owned(),
        parameters: BTreeMap::from([("c".to_owned(), 1.0)]),
        seed: 2013,
        model: model.to_owned(),
        alias: "champion".to_owned(),
        ..v1::JobSpec::default()
    };
    let job = train(fleet, &format!("{model}-first"), spec).await?;
    let version = version(fleet, model, job.version).await?;
    let file = version.spec.and_then(|spec| spec.artifacts.into_iter().next());
    let sha256 = file.context("the version has no model file")?.sha256;
    Ok(FirstModel {
        rows: dataset.rows,
        job,
        sha256,
    })
}

/// Submits a job and waits for its model.
pub(crate) async fn train(fleet: &Fleet, id: &str, spec: v1::JobSpec) -> Result<v1::Job> {
    let job = fleet
        .ask(|connection| {
            let submit = v1::SubmitJobRequest {
                id: id.to_owned(),
                spec: Some(spec.clone()),
            };
            async move {
                let mut training = connection.training();
                training.submit_job(submit).await?;
                let watch = v1::GetJobRequest { id: id.to_owned() };
                let mut moves = training.watch_job(long(watch)).await?.into_inner();
                let mut last = v1::Job::default();
                while let Some(job) = moves.message().await? {
                    last = job;
                }
                Ok(last)
            }
        })
        .await
        .with_context(|| format!("training job {id}"))?;
    match job.state() {
        v1::JobState::Succeeded => Ok(job),
        state => bail!("job {id} ended {state:?}: {}", job.reason),
    }
}

/// Waits until every replica of every deployment of the demo is ready.
pub(crate) async fn deployments_ready(fleet: &Fleet) -> Result<()> {
    let started = Instant::now();
    loop {
        let request = v1::ListDeploymentsRequest { name: String::new() };
        let reply = fleet
            .ask(|connection| {
                let request = request.clone();
                async move { connection.serving().list_deployments(request).await }
            })
            .await?
            .into_inner();
        let ready = |deployment: &v1::Deployment| {
            !deployment.replicas.is_empty()
                && deployment.replicas.iter().all(|replica| replica.state == "ready")
        };
        if reply.deployments.len() >= Model::ALL.len() && reply.deployments.iter().all(ready) {
            return Ok(());
        }
        if started.elapsed() > DONE_WITHIN {
            bail!(
                "deployments are not ready after {DONE_WITHIN:?}: {:?}",
                reply.deployments
            );
        }
        // sleep: replicas take time to load; asking more often would not speed them up.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Sends all counters through the log, has the windows scored, and waits for the run that an alert may have started.
/// Gives all runs so far.
pub(crate) async fn check_drift(fleet: &Fleet) -> Result<Vec<v1::PipelineRun>> {
    let flush = v1::FlushDriftRequest {
        deployment: Model::Retrained.deployment().to_owned(),
    };
    fleet
        .ask(|connection| {
            let flush = flush.clone();
            async move { connection.monitoring().flush_drift(flush).await }
        })
        .await
        .context("flushing drift counters")?;
    let started = Instant::now();
    loop {
        let runs = pipeline_runs(fleet).await?;
        if runs
            .iter()
            .all(|run| ["promoted", "kept", "failed"].contains(&run.stage.as_str()))
        {
            return Ok(runs);
        }
        if started.elapsed() > DONE_WITHIN {
            bail!(
                "the pipeline is not done after {DONE_WITHIN:?}: {:?}",
                runs.last()
            );
        }
        // sleep: training takes time; asking more often would not speed it up.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// All runs, oldest first.
pub(crate) async fn pipeline_runs(fleet: &Fleet) -> Result<Vec<v1::PipelineRun>> {
    let reply = fleet
        .ask(|connection| async move {
            let all = v1::ListPipelineRunsRequest {
                pipeline: String::new(),
            };
            connection.monitoring().list_pipeline_runs(all).await
        })
        .await
        .context("listing pipeline runs")?;
    let mut runs = reply.into_inner().runs;
    runs.sort_by_key(|run| run.number);
    Ok(runs)
}

/// The verdicts and the alerts on the deployment that retrains.
pub(crate) async fn drift(fleet: &Fleet) -> Result<(Vec<v1::DriftReport>, Vec<v1::Alert>)> {
    let request = v1::ListDriftRequest {
        deployment: Model::Retrained.deployment().to_owned(),
    };
    let both = fleet
        .ask(|connection| {
            let request = request.clone();
            async move {
                let mut monitoring = connection.monitoring();
                let reports = monitoring.list_drift(request.clone()).await?.into_inner().reports;
                let alerts = monitoring.list_alerts(request).await?.into_inner().alerts;
                Ok((reports, alerts))
            }
        })
        .await
        .context("reading drift")?;
    Ok(both)
}

/// A version of a model.
pub(crate) async fn version(fleet: &Fleet, model: &str, number: u64) -> Result<v1::ModelVersion> {
    let which = Some(v1::get_version_request::Which::Number(number));
    let request = v1::GetVersionRequest {
        model: model.to_owned(),
        which,
    };
    let reply = fleet
        .ask(|connection| {
            let request = request.clone();
            async move { connection.registry().get_version(request).await }
        })
        .await
        .with_context(|| format!("reading {model}@{number}"))?;
    Ok(reply.into_inner())
}

/// A request that may take longer than most.
fn long<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(DONE_WITHIN);
    request
}
