//! Decides training jobs: who coordinates one, how far it is, and how it ended.
//!
//! Invariants: the epoch only grows; only the coordinator of the current epoch moves a job, one step at a time; a
//! finished job never moves; the jobs that can still move are in the index of open jobs.

use std::collections::BTreeMap;

use crate::answer::Answer;
use crate::id::NodeId;
use crate::job::{Job, JobSpec, JobState};
use crate::key::Key;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{
    check_finite, check_name, check_text, check_token, conflict, ensure, within, wrong_state,
};
use crate::plan::registry::check_numbers;
use crate::record::Record;
use crate::rejection::Rejection;

/// The largest trainer state that is kept in the log. It leaves room for the rest of the entry, which holds 16 MiB.
pub const CHECKPOINT_BYTES_MAX: usize = 15 << 20;
/// The most iterates of a job.
pub const STEPS_MAX: u64 = 100_000;
/// The most features that a job leaves out.
const EXCLUDED_MAX: usize = 10_000;

/// Submits a job.
pub(super) fn submit(draft: &mut Draft<'_>, id: &str, spec: &JobSpec) -> Decided {
    check_token("id", id)?;
    check_spec(spec)?;
    let place = Key::Job(id.to_owned());
    if draft.get::<Job>(&place)?.is_some() {
        return Err(Rejection::Exists {
            kind: "job".to_owned(),
            name: id.to_owned(),
        }
        .into());
    }
    let job = Job {
        id: id.to_owned(),
        spec: spec.clone(),
        state: JobState::Pending,
        epoch: 0,
        coordinator: None,
        step: 0,
        checkpoint: Vec::new(),
        losses: Vec::new(),
        metrics: BTreeMap::new(),
        submitted_at: draft.now,
        updated_at: draft.now,
        submitted_by: draft.by.to_owned(),
    };
    draft.put(place, job);
    draft.put(Key::OpenJob(id.to_owned()), Record::Marker);
    Ok(Answer::Done)
}

/// Hands the job to a coordinator, which gets the next epoch.
pub(super) fn claim(draft: &mut Draft<'_>, id: &str, node: NodeId) -> Decided {
    let mut job = unfinished(draft, id)?;
    job.epoch += 1;
    job.coordinator = Some(node);
    job.state = JobState::Running;
    let epoch = job.epoch;
    put(draft, job);
    Ok(Answer::Number(epoch))
}

/// Commits one iterate.
pub(super) fn advance(
    draft: &mut Draft<'_>,
    (id, epoch): (&str, u64),
    step: u64,
    checkpoint: &[u8],
    loss: f64,
) -> Decided {
    let mut job = coordinated(draft, id, epoch)?;
    if step != job.step + 1 {
        let (expected, found) = (
            format!("step {step} to be next"),
            format!("step {} done", job.step),
        );
        return Err(conflict("job", id, expected, found).into());
    }
    if step > STEPS_MAX {
        return Err(Rejection::Limit {
            what: "steps of a job".to_owned(),
            limit: STEPS_MAX,
        }
        .into());
    }
    within(checkpoint.len(), CHECKPOINT_BYTES_MAX, "bytes of a checkpoint")?;
    check_finite("loss", loss)?;
    job.step = step;
    job.checkpoint = checkpoint.to_vec();
    job.losses.push(loss);
    put(draft, job);
    Ok(Answer::Done)
}

/// The job has made a version.
pub(super) fn finish(
    draft: &mut Draft<'_>,
    (id, epoch): (&str, u64),
    version: u64,
    metrics: &BTreeMap<String, f64>,
) -> Decided {
    let mut job = coordinated(draft, id, epoch)?;
    ensure(version > 0, "version", || "versions count from 1".to_owned())?;
    check_numbers("metrics", metrics)?;
    job.state = JobState::Succeeded { version };
    job.metrics.clone_from(metrics);
    put(draft, job);
    Ok(Answer::Done)
}

/// The job cannot go on.
pub(super) fn fail(draft: &mut Draft<'_>, (id, epoch): (&str, u64), reason: &str) -> Decided {
    let mut job = coordinated(draft, id, epoch)?;
    check_text("reason", reason)?;
    job.state = JobState::Failed {
        reason: reason.to_owned(),
    };
    put(draft, job);
    Ok(Answer::Done)
}

/// Somebody stops the job.
pub(super) fn cancel(draft: &mut Draft<'_>, id: &str) -> Decided {
    let mut job = unfinished(draft, id)?;
    job.state = JobState::Cancelled;
    put(draft, job);
    Ok(Answer::Done)
}

fn put(draft: &mut Draft<'_>, mut job: Job) {
    job.updated_at = draft.now;
    if job.state.is_final() {
        draft.delete(Key::OpenJob(job.id.clone()));
    }
    draft.put(Key::Job(job.id.clone()), job);
}

/// The job, if it can still move.
fn unfinished(draft: &Draft<'_>, id: &str) -> Result<Job, Stop> {
    let job: Job = draft.need(&Key::Job(id.to_owned()), "job", id)?;
    let state = match &job.state {
        JobState::Pending | JobState::Running => return Ok(job),
        JobState::Succeeded { version } => format!("finished with version {version}"),
        JobState::Failed { .. } => "failed".to_owned(),
        JobState::Cancelled => "cancelled".to_owned(),
    };
    Err(wrong_state("job", id, state, "submit a new job").into())
}

/// The job, if it can still move and `epoch` is the one that may move it.
fn coordinated(draft: &Draft<'_>, id: &str, epoch: u64) -> Result<Job, Stop> {
    let job = unfinished(draft, id)?;
    if job.epoch != epoch || job.state == JobState::Pending {
        return Err(conflict(
            "job",
            id,
            format!("epoch {epoch}"),
            format!("epoch {}", job.epoch),
        )
        .into());
    }
    Ok(job)
}

fn check_spec(spec: &JobSpec) -> Result<(), Rejection> {
    check_name("dataset", &spec.dataset)?;
    ensure(spec.dataset_version > 0, "dataset_version", || {
        "versions count from 1".to_owned()
    })?;
    check_name("model", &spec.model)?;
    check_token("algorithm", &spec.algorithm)?;
    check_numbers("parameters", &spec.parameters)?;
    within(spec.exclude.len(), EXCLUDED_MAX, "features that a job leaves out")?;
    spec.alias
        .as_ref()
        .map_or(Ok(()), |alias| check_name("alias", alias))
}
