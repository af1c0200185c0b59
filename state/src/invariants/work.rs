//! What holds of jobs, pipeline runs and drift windows.

use std::collections::BTreeMap;

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

/// A verdict or an alert is about a window that exists, and no more rows are scored than it has.
pub(super) fn reports_have_windows(view: &MemoryView) -> Result<(), String> {
    let mut windows = BTreeMap::new();
    for (key, record) in view.entries() {
        match (key, record) {
            (Key::DriftWindow(deployment, start, version), Record::DriftWindow(window)) => {
                let rows = window.counts.rows;
                hold(window.scored_rows <= rows, || {
                    format!("{key:?}: {} of {rows} rows", window.scored_rows)
                })?;
                windows.insert((deployment, *start, version), rows);
            }
            (Key::DriftReport(deployment, start, version), Record::DriftReport(_)) => {
                let exists = windows.contains_key(&(deployment, *start, version));
                hold(exists, || format!("{key:?} is about no window"))?;
            }
            (Key::Alert(deployment, start, version), Record::Alert(alert)) => {
                let exists = windows.contains_key(&(deployment, *start, version));
                let same = (alert.window, &alert.version) == (*start, version);
                hold(exists && same, || format!("{key:?} is about another window"))?;
            }
            (_, _) => {}
        }
    }
    Ok(())
}
