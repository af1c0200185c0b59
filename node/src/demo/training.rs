//! What the demo asks of the cluster besides rows and predictions: training sets, jobs, deployments, drift, pipelines.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use covey_proto::v1;
use tokio::process::Command;

use super::fleet::Fleet;
use super::tally::Model;

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

/// What came out of a training job.
pub(super) struct Lesson {
    /// Examples of its training set.
    pub(super) rows: u64,
    pub(super) job: v1::Job,
    /// Of the model file.
    pub(super) sha256: String,
}

/// The training job that was applied under an id; it must have succeeded.
pub(super) async fn lesson(fleet: &Fleet, id: &str) -> Result<Lesson> {
    let job = fleet
        .ask(|connection| async move {
            let asked = v1::GetJobRequest { id: id.to_owned() };
            connection.training().get_job(asked).await
        })
        .await
        .with_context(|| format!("reading job {id}"))?
        .into_inner();
    if job.state() != v1::JobState::Succeeded {
        bail!("job {id} ended {:?}: {}", job.state(), job.reason);
    }
    let spec = job.spec.clone().unwrap_or_default();
    let version = version(fleet, &spec.model, job.version).await?;
    let file = version.spec.and_then(|spec| spec.artifacts.into_iter().next());
    Ok(Lesson {
        rows: dataset_rows(fleet, &spec.dataset).await?,
        job,
        sha256: file.context("the version has no model file")?.sha256,
    })
}

/// The examples of a training set's newest version.
async fn dataset_rows(fleet: &Fleet, name: &str) -> Result<u64> {
    let listed = fleet
        .ask(|connection| async move {
            let of = v1::ListDatasetsRequest {
                name: name.to_owned(),
            };
            connection.features().list_datasets(of).await
        })
        .await
        .with_context(|| format!("listing dataset {name}"))?;
    let newest = listed
        .into_inner()
        .datasets
        .into_iter()
        .max_by_key(|manifest| manifest.version);
    Ok(newest
        .with_context(|| format!("dataset {name} is not there"))?
        .rows)
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

/// How the deployment that retrains did in each window, as the cluster knows it from labels that came later.
pub(crate) async fn performance(fleet: &Fleet) -> Result<Vec<v1::Performance>> {
    let request = v1::ListDriftRequest {
        deployment: Model::Retrained.deployment().to_owned(),
    };
    let reply = fleet
        .ask(|connection| {
            let request = request.clone();
            async move { connection.monitoring().get_performance(request).await }
        })
        .await
        .context("reading live performance")?;
    Ok(reply.into_inner().windows)
}

/// A version of a model.
async fn version(fleet: &Fleet, model: &str, number: u64) -> Result<v1::ModelVersion> {
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
