//! What holds of jobs and pipeline runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariants::hold;
use crate::job::JobState;
use crate::key::Key;
use crate::record::Record;
use crate::view::MemoryView;

/// A job has had a coordinator exactly if it has an epoch, has one if it runs, and has one loss per step.
pub(super) fn job_epochs(view: &MemoryView) -> Result<(), String> {
    for (_, record) in view.entries() {
        let Record::Job(job) = record else { continue };
        let id = &job.id;
        hold(job.coordinator.is_some() == (job.epoch > 0), || {
            format!("{id}: epoch {} and no node", job.epoch)
        })?;
        let fits = match &job.state {
            JobState::Pending => job.epoch == 0,
            JobState::Running | JobState::Succeeded { .. } | JobState::Failed { .. } => job.epoch > 0,
            JobState::Cancelled => true,
        };
        hold(fits, || format!("{id}: {:?} in epoch {}", job.state, job.epoch))?;
        hold(job.losses.len() as u64 == job.step, || {
            format!("{id}: {} losses after {} steps", job.losses.len(), job.step)
        })?;
    }
    Ok(())
}

/// The runs of a pipeline are numbered without gaps, and only the newest may be open.
pub(super) fn one_open_pipeline_run(view: &MemoryView) -> Result<(), String> {
    let mut before: BTreeMap<&String, (u64, bool)> = BTreeMap::new();
    for (key, record) in view.entries() {
        let (Key::PipelineRun(name, number), Record::PipelineRun(run)) = (key, record) else {
            continue;
        };
        let (last, ended) = before
            .insert(name, (*number, run.stage.is_final()))
            .unwrap_or((0, true));
        hold(*number == last + 1, || {
            format!("{name}: run {number} comes after run {last}")
        })?;
        hold(ended, || {
            format!("{name}: run {last} is open although there is run {number}")
        })?;
    }
    Ok(())
}

/// The jobs and runs that can still move are exactly those in the indexes of open work.
pub(super) fn open_work_is_indexed(view: &MemoryView) -> Result<(), String> {
    let (mut open, mut indexed) = (BTreeSet::new(), BTreeSet::new());
    for (key, record) in view.entries() {
        match (key, record) {
            (Key::Job(id), Record::Job(job)) if !job.state.is_final() => {
                open.insert(Key::OpenJob(id.clone()));
            }
            (Key::PipelineRun(name, number), Record::PipelineRun(run)) if !run.stage.is_final() => {
                open.insert(Key::OpenRun(name.clone(), *number));
            }
            (Key::OpenJob(_) | Key::OpenRun(..), _) => {
                indexed.insert(key.clone());
            }
            (_, _) => {}
        }
    }
    hold(open == indexed, || {
        format!("{open:?} is open, {indexed:?} is indexed")
    })
}
