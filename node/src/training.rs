//! Training jobs: submitting them, and driving them to a model version on the leader of each job's group.
//!
//! A job's progress is in the log: a coordinator actor reduces the partial sums that worker actors on all nodes send,
//! in partition order, and commits every step. Whoever leads the job's group next goes on from there.
//!
//! Invariants: one epoch, one coordinator; an older one is refused by the state machine and stops. What a job makes
//! depends on its specification and its dataset only.

mod columns;
mod coordinator;
mod evaluate;
mod fan_out;
mod finish;
mod order;
mod settings;
mod supervisor;
mod worker;

use std::collections::BTreeMap;

use covey_cluster::Consistency;
use covey_state::job::{Job, JobSpec};
use covey_state::registry::FeatureKind;
use covey_state::{Command, DataType, Key, Record};

use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::Failure;
use crate::{features, registry};

pub use evaluate::evaluate;
pub(crate) use supervisor::spawn;
pub use worker::train;

/// The parts of a request that submits a job. They are fixed: a repeat that finds the model made must not take its part for
/// the job's.
const MODEL_PART: u32 = 0;
const JOB_PART: u32 = 1;

/// Checks and submits a job; the id of a job that is there already is answered with that job.
pub async fn submit(context: &Context, caller: &Caller, id: &str, mut spec: JobSpec) -> Result<Job, Failure> {
    if let Ok(known) = job(context, caller, id).await {
        return Ok(known);
    }
    settings::algorithm(&spec)?;
    let newest = (spec.dataset_version > 0).then_some(spec.dataset_version);
    let dataset = features::dataset::manifest(context, caller, &spec.dataset, newest).await?;
    spec.dataset_version = dataset.version;
    columns::features(&context.catalog.current(), &dataset, &spec.exclude)?;
    registry::create_model_as(
        context,
        caller,
        caller.request_part(MODEL_PART),
        (&spec.model, ""),
    )
    .await?;
    let command = Command::SubmitJob {
        id: id.to_owned(),
        spec,
    };
    let (ledger, part) = (&context.ledger, caller.request_part(JOB_PART));
    ledger
        .ask(caller, ledger.group_of_name(id), part, command)
        .await?;
    job(context, caller, id).await
}

/// A job as it is now.
pub async fn job(context: &Context, caller: &Caller, id: &str) -> Result<Job, Failure> {
    let group = context.ledger.group_of_name(id);
    let found = context
        .ledger
        .get(caller, group, Key::Job(id.to_owned()), Consistency::Linearizable)
        .await?;
    match found {
        Some(Record::Job(job)) => Ok(job),
        _ => Err(Failure::not_found("job", id)),
    }
}

/// All jobs, newest first.
pub async fn jobs(context: &Context, caller: &Caller) -> Result<Vec<Job>, Failure> {
    let from = Key::Job(String::new());
    let found = context.ledger.list(caller, from).await?;
    let mut jobs: Vec<Job> = found
        .into_iter()
        .filter_map(|(_, record)| job_of(record))
        .collect();
    jobs.sort_by(|a, b| b.submitted_at.cmp(&a.submitted_at).then_with(|| a.id.cmp(&b.id)));
    Ok(jobs)
}

/// Stops a job for good.
pub async fn cancel(context: &Context, caller: &Caller, id: &str) -> Result<Job, Failure> {
    let command = Command::CancelJob { id: id.to_owned() };
    context
        .ledger
        .ask_unique(caller, context.ledger.group_of_name(id), command)
        .await?;
    job(context, caller, id).await
}

/// The features that a service yields and how a model reads them.
pub fn service_signature(
    catalog: &CatalogCopy,
    service: &str,
) -> Result<BTreeMap<String, FeatureKind>, Failure> {
    let kind = |data_type: DataType| match data_type {
        DataType::String => FeatureKind::Categorical,
        DataType::Bool | DataType::Int64 | DataType::Float64 | DataType::Timestamp => FeatureKind::Numeric,
    };
    let features = columns::service_features(catalog, service)?;
    Ok(features
        .into_iter()
        .map(|(name, data_type)| (name, kind(data_type)))
        .collect())
}

fn job_of(record: Record) -> Option<Job> {
    match record {
        Record::Job(job) => Some(job),
        _ => None,
    }
}
