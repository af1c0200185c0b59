//! One run of a pipeline, stage by stage: an actor that does what the stage asks for and writes down the next one.
//!
//! Invariants: every request to the log has an id that follows from the run and its stage, so doing a stage again, here
//! or on the next leader, changes nothing; a failure that may pass leaves the run where it is.

use covey_state::job::{Job, JobSpec, JobState};
use covey_state::pipeline::{PipelineRun, Stage};
use covey_state::{Command, Rejection};
use ractor::{Actor, ActorProcessingErr, ActorRef, cast};
use tokio::time::Duration;

use super::{deterministic_caller, gate, ranges};
use crate::api::Caller;
use crate::context::Context;
use crate::error::{Failure, chain};
use crate::registry::{self, AliasChange};
use crate::{features, training};

/// How often a job that is training is looked at.
const JOB_LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest reason that is written down, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// The actor.
pub(super) struct Runner;

/// Go on with the run.
pub(super) struct GoOn;

/// What it is started with, and all that it knows: the rest is in the log.
pub(super) struct Running {
    pub(super) context: Context,
    pub(super) pipeline: String,
    pub(super) number: u64,
}

/// What a look at a run leads to.
enum Step {
    /// The next stage.
    Enter(Stage),
    /// Nothing yet.
    Wait,
}

impl Actor for Runner {
    type Msg = GoOn;
    type State = Running;
    type Arguments = Running;

    async fn pre_start(
        &self,
        myself: ActorRef<GoOn>,
        running: Running,
    ) -> Result<Running, ActorProcessingErr> {
        cast!(myself, GoOn)?;
        Ok(running)
    }

    async fn handle(
        &self,
        myself: ActorRef<GoOn>,
        _go_on: GoOn,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match running.go_on().await {
            Ok(true) => {
                myself.send_after(JOB_LOOK_EVERY, || GoOn);
            }
            Ok(false) => myself.stop(None),
            Err(error) => {
                let (pipeline, run) = (&running.pipeline, running.number);
                tracing::warn!(
                    pipeline,
                    run,
                    error = chain(&error),
                    "pipeline run interrupted; it is taken up again"
                );
                myself.stop(None);
            }
        }
        Ok(())
    }
}

impl Running {
    /// Does what the stage asks for. False when the run is over or belongs to another node.
    async fn go_on(&self) -> Result<bool, Failure> {
        let ledger = &self.context.ledger;
        let run = super::run(
            &self.context,
            &Caller::internal("pipeline"),
            &self.pipeline,
            self.number,
        )
        .await?;
        if run.stage.is_final() || !ledger.leads(ledger.group_of_name(&self.pipeline)) {
            return Ok(false);
        }
        let stage = match self.step(&run).await {
            Ok(Step::Wait) => return Ok(true),
            Ok(Step::Enter(stage)) => stage,
            Err(failure) if failure.may_pass() => return Err(failure),
            Err(failure) => {
                let mut reason = chain(&failure);
                reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                Stage::Failed { reason }
            }
        };
        tracing::info!(
            pipeline = self.pipeline,
            run = self.number,
            ?stage,
            "pipeline run moves on"
        );
        self.enter(&run, stage).await
    }

    async fn step(&self, run: &PipelineRun) -> Result<Step, Failure> {
        match &run.stage {
            Stage::Dataset => self.build(run).await,
            Stage::Training { job, .. } => self.train(run, job).await,
            Stage::Gate {
                dataset_version,
                candidate,
            } => self.gate(run, *dataset_version, *candidate).await,
            Stage::Promoted { .. } | Stage::Kept { .. } | Stage::Failed { .. } => Ok(Step::Wait),
        }
    }

    /// Builds what the candidate is trained on, and submits the job.
    async fn build(&self, run: &PipelineRun) -> Result<Step, Failure> {
        let pipeline = &run.pipeline;
        let caller = self.caller(run, "training set");
        let sets = self.sets(run, &caller).await?;
        let dataset = features::dataset::build(&self.context, &caller, sets.training, |_, _| {}).await?;
        let job = format!("{}-{}", pipeline.name, run.number);
        let spec = JobSpec {
            dataset: pipeline.dataset.clone(),
            dataset_version: dataset.version,
            algorithm: pipeline.algorithm.clone(),
            parameters: pipeline.parameters.clone(),
            seed: pipeline.seed,
            exclude: pipeline.exclude.clone(),
            model: pipeline.model.clone(),
            alias: None,
        };
        training::submit(&self.context, &self.caller(run, "job"), &job, spec).await?;
        Ok(Step::Enter(Stage::Training {
            dataset_version: dataset.version,
            job,
        }))
    }

    /// Waits for the job and builds what its result is measured on.
    async fn train(&self, run: &PipelineRun, job: &str) -> Result<Step, Failure> {
        let Job { state, .. } = training::job(&self.context, &Caller::internal("pipeline"), job).await?;
        let candidate = match state {
            JobState::Pending | JobState::Running => return Ok(Step::Wait),
            JobState::Succeeded { version } => version,
            JobState::Failed { reason } => {
                return Err(Failure::invalid("job", format!("`{job}` failed: {reason}")));
            }
            JobState::Cancelled => return Err(Failure::invalid("job", format!("`{job}` was cancelled"))),
        };
        let caller = self.caller(run, "hold-out set");
        let sets = self.sets(run, &caller).await?;
        let holdout = features::dataset::build(&self.context, &caller, sets.holdout, |_, _| {}).await?;
        Ok(Step::Enter(Stage::Gate {
            dataset_version: holdout.version,
            candidate,
        }))
    }

    /// Measures candidate and champion on the hold-out set, and moves the alias if the candidate wins.
    async fn gate(&self, run: &PipelineRun, holdout: u64, candidate: u64) -> Result<Step, Failure> {
        let pipeline = &run.pipeline;
        let caller = self.caller(run, "promotion");
        let name = format!("{}-holdout", pipeline.dataset);
        let holdout = features::dataset::manifest(&self.context, &caller, &name, Some(holdout)).await?;
        let champion = self.champion(&caller, run, candidate).await?;
        let measure = async |number: u64| {
            let version = registry::version(&self.context, &caller, &pipeline.model, number).await?;
            training::evaluate(&self.context, &version, &holdout, 0..holdout.rows).await
        };
        let of_candidate = measure(candidate).await?;
        let of_champion = match champion {
            Some(champion) => Some(measure(champion).await?),
            None => None,
        };
        let outcome = gate::decide(pipeline, &of_candidate, of_champion.as_ref())?;
        if !outcome.promote {
            return Ok(Step::Enter(Stage::Kept {
                candidate,
                evidence: outcome.evidence,
            }));
        }
        let change = AliasChange {
            model: pipeline.model.clone(),
            alias: pipeline.alias.clone(),
            version: Some(candidate),
            expected: Some(champion),
            reason: format!(
                "run {} of pipeline {}: {}",
                run.number, pipeline.name, run.trigger
            ),
        };
        registry::set_alias_as(&self.context, &caller, caller.request_part(0), change).await?;
        Ok(Step::Enter(Stage::Promoted {
            candidate,
            champion,
            evidence: outcome.evidence,
        }))
    }

    /// The version that the candidate is compared with. If an earlier attempt has moved the alias already, the one before.
    async fn champion(
        &self,
        caller: &Caller,
        run: &PipelineRun,
        candidate: u64,
    ) -> Result<Option<u64>, Failure> {
        let (model, alias) = (&run.pipeline.model, &run.pipeline.alias);
        let history = registry::alias_history(&self.context, caller, model, alias).await?;
        let Some(last) = history.last() else {
            return Ok(None);
        };
        Ok(if last.version == Some(candidate) {
            last.previous
        } else {
            last.version
        })
    }

    /// The sets of the run, made like the newest version of the dataset from before the run.
    async fn sets(&self, run: &PipelineRun, caller: &Caller) -> Result<ranges::Sets, Failure> {
        let newest = features::dataset::manifest(&self.context, caller, &run.pipeline.dataset, None).await?;
        ranges::sets(&run.pipeline, &newest.spec, run.as_of)
    }

    async fn enter(&self, run: &PipelineRun, stage: Stage) -> Result<bool, Failure> {
        let goes_on = !stage.is_final();
        let (name, number, from) = (self.pipeline.clone(), self.number, run.stage.rank());
        let ledger = &self.context.ledger;
        let command = Command::AdvancePipeline {
            name,
            number,
            from,
            stage,
        };
        let caller = Caller::internal("pipeline");
        match ledger
            .ask_unique(&caller, ledger.group_of_name(&self.pipeline), command)
            .await
        {
            Ok(_) => Ok(goes_on),
            // Another node has moved the run on.
            Err(Failure::Rejected(Rejection::Conflict { .. } | Rejection::WrongState { .. })) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The caller of one part of a run, the same on every node and every time.
    fn caller(&self, run: &PipelineRun, part: &str) -> Caller {
        deterministic_caller(
            &format!("pipeline {} run {} {part}", run.pipeline.name, run.number),
            "pipeline",
        )
    }
}
