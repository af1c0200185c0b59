//! `covey.v1.Training`: converts, asks the training jobs, converts back.

use std::time::Duration;

use covey_proto::v1;
use covey_proto::v1::training_server::Training;
use covey_state::job::{Job, JobSpec};
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::training;

/// How often a watched job is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// The service.
pub struct TrainingApi {
    context: Context,
}

impl TrainingApi {
    /// The service over a running node.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl Training for TrainingApi {
    async fn submit_job(&self, request: Request<v1::SubmitJobRequest>) -> Result<Response<v1::Job>, Status> {
        let caller = Caller::of(&request);
        let v1::SubmitJobRequest { id, spec } = request.into_inner();
        let id = if id.is_empty() {
            // A repeat of the request finds it under the same name.
            format!("job-{:032x}", caller.request_id)
        } else {
            id
        };
        let spec = JobSpec::from(spec.unwrap_or_default());
        let job = training::submit(&self.context, &caller, &id, spec).await?;
        Ok(Response::new(job.into()))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::Job>, Status> {
        let caller = Caller::of(&request);
        let job = training::job(&self.context, &caller, &request.into_inner().id).await?;
        Ok(Response::new(job.into()))
    }

    type WatchJobStream = BoxStream<'static, Result<v1::Job, Status>>;

    async fn watch_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let id = request.into_inner().id;
        let first = training::job(&self.context, &Caller::internal("watch"), &id).await?;
        let watch = Watch {
            context: self.context.clone(),
            id,
            next: Some(first),
            last: None,
        };
        let moves = futures::stream::unfold(watch, |mut watch| async move {
            let job = watch.moved().await?;
            Some((job.map(v1::Job::from).map_err(Status::from), watch))
        });
        Ok(Response::new(Box::pin(moves)))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsReply>, Status> {
        let jobs = training::jobs(&self.context, &Caller::of(&request)).await?;
        let jobs = jobs.into_iter().map(v1::Job::from).collect();
        Ok(Response::new(v1::ListJobsReply { jobs }))
    }

    async fn cancel_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::Job>, Status> {
        let caller = Caller::of(&request);
        let job = training::cancel(&self.context, &caller, &request.into_inner().id).await?;
        Ok(Response::new(job.into()))
    }
}

/// A job that somebody watches.
struct Watch {
    context: Context,
    id: String,
    next: Option<Job>,
    last: Option<Job>,
}

impl Watch {
    /// The job when it has moved; `None` once it is final and that has been said.
    async fn moved(&mut self) -> Option<Result<Job, Failure>> {
        if let Some(first) = self.next.take() {
            return Some(Ok(self.last.insert(first).clone()));
        }
        let mut looks = tokio::time::interval(WATCH_EVERY);
        while self.last.as_ref().is_some_and(|job| !job.state.is_final()) {
            looks.tick().await;
            match training::job(&self.context, &Caller::internal("watch"), &self.id).await {
                Ok(job) if self.last.as_ref() != Some(&job) => {
                    return Some(Ok(self.last.insert(job).clone()));
                }
                Ok(_) | Err(Failure::Unavailable { .. } | Failure::DeadlineExceeded { .. }) => {}
                Err(error) => {
                    self.last = None;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
