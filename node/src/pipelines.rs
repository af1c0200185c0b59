//! Retraining pipelines: dataset, training, gate against the champion, promotion. A run is a record of the log that the
//! leader of its group moves on.
//!
//! Invariant: every stage is idempotent, so a run that loses its leader goes on with the next one and ends the same.

mod driver;
mod gate;
mod ranges;
mod run;

use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::answer::Answer;
use covey_state::pipeline::{Pipeline, PipelineRun};
use covey_state::{Command, Digest, GroupId, Key, Record, Timestamp};
use tokio::time::Instant;

use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::Failure;
use crate::serving::warden;

/// How long one part of a run may take before it is tried again.
const PART_LIMIT: Duration = Duration::from_secs(120);

/// Starts this node's part of the pipelines.
pub(crate) async fn spawn(context: &Context) -> Result<(), Failure> {
    let node = context.ledger.node();
    let driver = warden::start(format!("{node}-pipelines"), || driver::Driver, context.clone());
    warden::keep(node, "pipelines", vec![driver]).await
}

/// Declares or changes a pipeline.
pub(crate) async fn apply(
    context: &Context,
    caller: &Caller,
    pipeline: Pipeline,
) -> Result<Pipeline, Failure> {
    let command = Command::PutPipeline(pipeline.clone());
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, command)
        .await?;
    let applied = |catalog: &CatalogCopy| catalog.pipelines.get(&pipeline.name) == Some(&pipeline);
    context.catalog.wait_for(applied, caller.deadline).await?;
    Ok(pipeline)
}

/// All pipelines.
pub(crate) fn list(context: &Context) -> Vec<Pipeline> {
    context.catalog.current().pipelines.values().cloned().collect()
}

/// Starts a run; refused while one is open and within the cool-down.
pub(crate) async fn start(
    context: &Context,
    caller: &Caller,
    name: &str,
    as_of: Timestamp,
    trigger: String,
) -> Result<PipelineRun, Failure> {
    let catalog = context.catalog.current();
    let pipeline = catalog
        .pipelines
        .get(name)
        .ok_or_else(|| Failure::not_found("pipeline", name))?
        .clone();
    let command = Command::StartPipeline {
        pipeline,
        trigger,
        as_of,
    };
    let id = caller.request_part(0);
    let answered = context
        .ledger
        .ask(caller, context.ledger.group_of_name(name), id, command)
        .await?;
    match answered.answer {
        Answer::Number(number) => run(context, caller, name, number).await,
        other => Err(Failure::internal(
            "starting a pipeline",
            format!("unexpected answer {other:?}"),
        )),
    }
}

/// The runs of a pipeline, or of all, newest first.
pub(crate) async fn runs(
    context: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Vec<PipelineRun>, Failure> {
    let from = Key::PipelineRun(name.to_owned(), 0);
    let found = context.ledger.list(caller, from).await?;
    let run = |(_, record)| match record {
        Record::PipelineRun(run) => Some(run),
        _ => None,
    };
    let mut runs: Vec<PipelineRun> = found.into_iter().filter_map(run).collect();
    runs.sort_by(|left, right| {
        right
            .started_at
            .cmp(&left.started_at)
            .then_with(|| right.number.cmp(&left.number))
    });
    Ok(runs)
}

/// A run as it is now.
async fn run(context: &Context, caller: &Caller, name: &str, number: u64) -> Result<PipelineRun, Failure> {
    let (group, key) = (
        context.ledger.group_of_name(name),
        Key::PipelineRun(name.to_owned(), number),
    );
    match context
        .ledger
        .get(caller, group, key, Consistency::Linearizable)
        .await?
    {
        Some(Record::PipelineRun(run)) => Ok(run),
        _ => Err(Failure::not_found("pipeline run", format!("{name}/{number}"))),
    }
}

/// A driver's caller whose request id follows from what it is about, so that whoever does it again repeats the request.
pub(crate) fn deterministic_caller(what: &str, by: &str) -> Caller {
    let digest = Digest::of(what.as_bytes());
    let mut number = [0; 16];
    number.copy_from_slice(&digest.as_bytes()[..16]);
    Caller::new(u128::from_be_bytes(number), by, Instant::now() + PART_LIMIT)
}
