//! The coordinator of a job: an actor that moves it one step per message until it is done, fails, or belongs to another.

use covey_ml::training::TrainingSpec;
use covey_ml::training::trainer::Trainer;
use covey_state::answer::Answer;
use covey_state::dataset::DatasetManifest;
use covey_state::job::Job;
use covey_state::{Command, Rejection};
use ractor::{Actor, ActorProcessingErr, ActorRef, cast};

use super::order::Order;
use super::{columns, fan_out, finish, settings};
use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features;

/// The actor.
pub(super) struct Coordinator;

/// What it is started with.
pub(super) struct Start {
    pub(super) context: Context,
    pub(super) job: String,
}

/// The only thing that can be asked of it: to go on.
pub(super) struct GoOn;

/// A job under this coordinator's epoch.
pub(super) struct Claimed {
    context: Context,
    job: Job,
    dataset: DatasetManifest,
    trainer: Trainer,
}

impl Actor for Coordinator {
    type Msg = GoOn;
    type State = Option<Claimed>;
    type Arguments = Start;

    async fn pre_start(
        &self,
        myself: ActorRef<GoOn>,
        start: Start,
    ) -> Result<Self::State, ActorProcessingErr> {
        let claimed = match Claimed::claim(start).await {
            Ok(claimed) => Some(claimed),
            Err(error) => {
                tracing::warn!(%error, "job not taken over");
                None
            }
        };
        cast!(myself, GoOn)?;
        Ok(claimed)
    }

    async fn handle(
        &self,
        myself: ActorRef<GoOn>,
        _go_on: GoOn,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(claimed) = state else {
            myself.stop(None);
            return Ok(());
        };
        match claimed.step().await {
            Ok(true) => cast!(myself, GoOn)?,
            Ok(false) => myself.stop(None),
            Err(error) => {
                claimed.give_up(error).await;
                myself.stop(None);
            }
        }
        Ok(())
    }
}

impl Claimed {
    /// Takes the job over: the next epoch is ours, and it goes on from its last committed step.
    async fn claim(Start { context, job: id }: Start) -> Result<Self, Failure> {
        let caller = Caller::internal("training coordinator");
        let group = context.ledger.group_of_name(&id);
        let claim = Command::ClaimJob {
            id: id.clone(),
            node: context.ledger.node(),
        };
        let answered = context.ledger.ask_unique(&caller, group, claim).await?;
        let mut job = super::job(&context, &caller, &id).await?;
        if let Answer::Number(epoch) = answered.answer {
            job.epoch = epoch;
        }
        match Self::prepare(&context, &caller, &job).await {
            Ok((dataset, trainer)) => {
                tracing::info!(
                    job = id,
                    epoch = job.epoch,
                    step = job.step,
                    "coordinating training"
                );
                Ok(Self {
                    context,
                    job,
                    dataset,
                    trainer,
                })
            }
            Err(error) => {
                fail(&context, &job, &error).await;
                Err(error)
            }
        }
    }

    async fn prepare(
        context: &Context,
        caller: &Caller,
        job: &Job,
    ) -> Result<(DatasetManifest, Trainer), Failure> {
        let version = Some(job.spec.dataset_version);
        let dataset = features::dataset::manifest(context, caller, &job.spec.dataset, version).await?;
        let trainer = if job.checkpoint.is_empty() {
            let algorithm = settings::algorithm(&job.spec)?;
            let partitions = if algorithm.is_distributed() {
                dataset.partitions.len()
            } else {
                1
            };
            let features = columns::features(&context.catalog.current(), &dataset, &job.spec.exclude)?;
            let clusters = matches!(algorithm.output(), covey_ml::algorithm::Output::Cluster);
            let label = if clusters {
                None
            } else {
                dataset.spec.label.clone()
            };
            let spec = TrainingSpec {
                algorithm,
                features,
                label,
                weight: None,
            };
            Trainer::new(spec, partitions).map_err(|error| Failure::invalid("job", error.to_string()))?
        } else {
            postcard::from_bytes(&job.checkpoint)
                .map_err(|error| Failure::internal("reading the job's checkpoint", error))?
        };
        Ok((dataset, trainer))
    }

    /// One round: a task, its partial sums, the next iterate in the log. False when the job is done.
    async fn step(&mut self) -> Result<bool, Failure> {
        let Some(task) = self.trainer.next_task() else {
            self.finish().await?;
            return Ok(false);
        };
        let whole = !self.trainer.spec().algorithm.is_distributed();
        let order = Order {
            dataset: self.dataset.clone(),
            whole,
            task,
        };
        let partials = fan_out::gather(&self.context, &self.job.id, self.job.epoch, &order).await?;
        let mut trainer = self.trainer.clone();
        let advanced = self
            .context
            .compute
            .run(move || trainer.advance(partials).map(|progress| (trainer, progress)))
            .await;
        let (trainer, progress) =
            advanced.map_err(|error| Failure::invalid("training data", error.to_string()))?;
        let checkpoint = postcard::to_stdvec(&trainer)
            .map_err(|error| Failure::internal("writing a checkpoint", error))?;
        let advance = Command::AdvanceJob {
            id: self.job.id.clone(),
            epoch: self.job.epoch,
            step: self.job.step + 1,
            checkpoint,
            loss: progress.objective.unwrap_or(0.0),
        };
        self.ask(advance).await?;
        self.job.step += 1;
        self.trainer = trainer;
        Ok(true)
    }

    async fn finish(&self) -> Result<(), Failure> {
        let Some(trained) = self.trainer.trained() else {
            return Ok(());
        };
        let caller = Caller::internal(&self.job.submitted_by);
        let (version, metrics) =
            finish::register(&self.context, &caller, (&self.job, &self.dataset), trained).await?;
        let (id, epoch) = (self.job.id.clone(), self.job.epoch);
        self.ask(Command::FinishJob {
            id,
            epoch,
            version: version.number,
            metrics,
        })
        .await?;
        tracing::info!(
            job = self.job.id,
            model = version.model,
            version = version.number,
            "training done"
        );
        Ok(())
    }

    async fn ask(&self, command: Command) -> Result<(), Failure> {
        let caller = Caller::internal("training coordinator");
        let group = self.context.ledger.group_of_name(&self.job.id);
        self.context
            .ledger
            .ask_unique(&caller, group, command)
            .await
            .map(|_| ())
    }

    /// Ends the job if the error would come again; leaves it to the next coordinator if it may pass.
    async fn give_up(&self, error: Failure) {
        fail(&self.context, &self.job, &error).await;
    }
}

async fn fail(context: &Context, job: &Job, error: &Failure) {
    match error {
        Failure::Rejected(Rejection::Conflict { .. } | Rejection::WrongState { .. }) => {
            tracing::info!(job = job.id, %error, "another coordinator has the job");
        }
        error if error.may_pass() => {
            tracing::warn!(job = job.id, %error, "training interrupted; it will be taken up again");
        }
        error => {
            let caller = Caller::internal("training coordinator");
            let reason = error.to_string();
            let command = Command::FailJob {
                id: job.id.clone(),
                epoch: job.epoch,
                reason,
            };
            let group = context.ledger.group_of_name(&job.id);
            if let Err(second) = context.ledger.ask_unique(&caller, group, command).await {
                tracing::warn!(job = job.id, %error, %second, "failed job could not be marked as failed");
            }
        }
    }
}
