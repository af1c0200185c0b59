//! `covey job`: training jobs.

use covey_proto::v1;
use serde_json::{Map, Value as Json};
use tokio::time::{Duration, Instant, sleep};

use super::client::{Access, Client};
use super::output::{Card, Listing, Output, measure, moment, version};
use super::progress;
use super::trouble::Trouble;

/// How long a job that nobody can be asked about is still believed in.
const LOST_LIMIT: Duration = Duration::from_secs(60);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(500);

/// Verbs of `covey job`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Job {
    /// List the jobs
    #[command(after_help = "Examples:\n  covey job list\n  covey job list --output json")]
    List,
    /// Show a job: state, metrics, losses
    #[command(after_help = "Examples:\n  covey job show 0198c1d2")]
    Show {
        /// The job's id
        id: String,
    },
    /// Follow a job until it has ended
    #[command(after_help = "Examples:\n  covey job watch 0198c1d2")]
    Watch {
        /// The job's id
        id: String,
    },
    /// Stop a job for good
    #[command(after_help = "Examples:\n  covey job cancel 0198c1d2")]
    Cancel {
        /// The job's id
        id: String,
    },
}

impl Job {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List => {
                let reply = client
                    .training()
                    .list_jobs(client.request(v1::ListJobsRequest {}))
                    .await?
                    .into_inner();
                listing(&reply.jobs).print(access.output);
            }
            Self::Show { id } => {
                let job = client
                    .training()
                    .get_job(client.request(v1::GetJobRequest { id }))
                    .await?
                    .into_inner();
                card(&job, access.output).print(access.output);
            }
            Self::Watch { id } => return watch(&client, &id, access.output).await,
            Self::Cancel { id } => {
                let job = client
                    .training()
                    .cancel_job(client.request(v1::GetJobRequest { id }))
                    .await?
                    .into_inner();
                card(&job, access.output).print(access.output);
            }
        }
        Ok(())
    }
}

/// Follows a job until it has ended, prints it, and fails if it did.
pub(super) async fn watch(client: &Client, id: &str, output: Output) -> Result<(), Trouble> {
    let job = wait_ended(client, id).await?;
    card(&job, output).print(output);
    match job.state() {
        v1::JobState::Failed => Err(Trouble::refused(
            format!("job `{id}` failed: {}", job.reason),
            "correct what it names and train again; no version was made",
        )),
        v1::JobState::Cancelled => Err(Trouble::refused(
            format!("job `{id}` was cancelled"),
            "train again if need be",
        )),
        _ => Ok(()),
    }
}

/// The job once it has ended. A node that goes away meanwhile is no reason to stop: the job goes on elsewhere.
pub(super) async fn wait_ended(client: &Client, id: &str) -> Result<v1::Job, Trouble> {
    let spinner = progress::spinner(&format!("job {id}"));
    let mut heard = Instant::now();
    loop {
        match follow(client, id, |job| {
            heard = Instant::now();
            spinner.set_message(progress_text(job));
        })
        .await
        {
            Ok(Some(job)) => {
                spinner.finish_and_clear();
                return Ok(job);
            }
            Ok(None) => {}
            Err(trouble) if trouble.is_unavailable() && heard.elapsed() < LOST_LIMIT => {}
            Err(trouble) => return Err(trouble),
        }
        // sleep: the node may be restarting; asking at once again would only add load.
        sleep(PAUSE).await;
    }
}

/// Listens to a job until it has ended or the stream has.
async fn follow(
    client: &Client,
    id: &str,
    mut heard: impl FnMut(&v1::Job),
) -> Result<Option<v1::Job>, Trouble> {
    let request = client.long_request(v1::GetJobRequest { id: id.to_owned() });
    let mut moves = client.training().watch_job(request).await?.into_inner();
    while let Some(job) = moves.message().await? {
        heard(&job);
        if is_final(&job) {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

fn is_final(job: &v1::Job) -> bool {
    match job.state() {
        v1::JobState::Unspecified | v1::JobState::Pending | v1::JobState::Running => false,
        v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled => true,
    }
}

fn progress_text(job: &v1::Job) -> String {
    let loss = job
        .losses
        .last()
        .map(|loss| format!(", loss {loss:.6}"))
        .unwrap_or_default();
    format!("job {}: {}, step {}{loss}", job.id, state_text(job), job.step)
}

fn state_text(job: &v1::Job) -> &'static str {
    match job.state() {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Pending => "pending",
        v1::JobState::Running => "running",
        v1::JobState::Succeeded => "succeeded",
        v1::JobState::Failed => "failed",
        v1::JobState::Cancelled => "cancelled",
    }
}

fn listing(jobs: &[v1::Job]) -> Listing {
    let mut listing = Listing::new(&[
        "job",
        "state",
        "model",
        "version",
        "algorithm",
        "dataset",
        "step",
        "submitted",
        "by",
    ]);
    for job in jobs {
        let spec = job.spec.clone().unwrap_or_default();
        listing.row([
            job.id.clone().into(),
            state_text(job).into(),
            spec.model.into(),
            version(job.version),
            spec.algorithm.into(),
            format!("{}@{}", spec.dataset, spec.dataset_version).into(),
            job.step.into(),
            moment(job.submitted_at_micros),
            job.submitted_by.clone().into(),
        ]);
    }
    listing
}

/// A job's facts.
pub(super) fn card(job: &v1::Job, output: Output) -> Card {
    let spec = job.spec.clone().unwrap_or_default();
    let numbers = |numbers: &std::collections::BTreeMap<String, f64>| -> Map<String, Json> {
        numbers
            .iter()
            .map(|(name, value)| (name.clone(), measure(*value, output)))
            .collect()
    };
    let losses: Vec<Json> = job.losses.iter().map(|loss| measure(*loss, output)).collect();
    Card::default()
        .with("job", job.id.clone())
        .with("state", state_text(job))
        .with("reason", job.reason.clone())
        .with("model", spec.model)
        .with("version", version(job.version))
        .with("alias", spec.alias)
        .with("algorithm", spec.algorithm)
        .with("parameters", numbers(&spec.parameters))
        .with("seed", spec.seed)
        .with("exclude", spec.exclude)
        .with("dataset", format!("{}@{}", spec.dataset, spec.dataset_version))
        .with("coordinator", job.coordinator.clone())
        .with("epoch", job.epoch)
        .with("step", job.step)
        .with("metrics", numbers(&job.metrics))
        .with("losses", losses)
        .with("submitted", moment(job.submitted_at_micros))
        .with("updated", moment(job.updated_at_micros))
        .with("submitted by", job.submitted_by.clone())
}
