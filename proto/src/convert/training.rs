//! Training jobs.

use covey_state::job::{Job, JobSpec, JobState};

use super::non_empty;
use crate::v1;

impl From<v1::JobSpec> for JobSpec {
    fn from(spec: v1::JobSpec) -> Self {
        Self {
            dataset: spec.dataset,
            dataset_version: spec.dataset_version,
            algorithm: spec.algorithm,
            parameters: spec.parameters,
            seed: spec.seed,
            exclude: spec.exclude,
            model: spec.model,
            alias: non_empty(spec.alias),
        }
    }
}

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        Self {
            dataset: spec.dataset,
            dataset_version: spec.dataset_version,
            algorithm: spec.algorithm,
            parameters: spec.parameters,
            seed: spec.seed,
            exclude: spec.exclude,
            model: spec.model,
            alias: spec.alias.unwrap_or_default(),
        }
    }
}

impl From<Job> for v1::Job {
    fn from(job: Job) -> Self {
        let (state, version, reason) = match job.state {
            JobState::Pending => (v1::JobState::Pending, 0, String::new()),
            JobState::Running => (v1::JobState::Running, 0, String::new()),
            JobState::Succeeded { version } => (v1::JobState::Succeeded, version, String::new()),
            JobState::Failed { reason } => (v1::JobState::Failed, 0, reason),
            JobState::Cancelled => (v1::JobState::Cancelled, 0, String::new()),
        };
        Self {
            id: job.id,
            spec: Some(job.spec.into()),
            state: state.into(),
            reason,
            version,
            epoch: job.epoch,
            coordinator: job.coordinator.map(|node| node.to_string()).unwrap_or_default(),
            step: job.step,
            losses: job.losses,
            metrics: job.metrics,
            submitted_at_micros: job.submitted_at.micros(),
            updated_at_micros: job.updated_at.micros(),
            submitted_by: job.submitted_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_survive_the_way_to_the_wire_and_back() {
        for alias in [None, Some("champion".to_owned())] {
            let spec = JobSpec {
                dataset: "flights".to_owned(),
                dataset_version: 1,
                algorithm: "random_forest".to_owned(),
                parameters: [("trees".to_owned(), 50.0)].into(),
                seed: 7,
                exclude: vec!["hour".to_owned()],
                model: "delay".to_owned(),
                alias,
            };
            assert_eq!(JobSpec::from(v1::JobSpec::from(spec.clone())), spec);
        }
    }
}
