//! `covey.v1.Serving`: converts, asks serving, converts back.

use covey_proto::v1;
use covey_proto::v1::serving_server::Serving;
use covey_state::deployment::Deployment;
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status};

use super::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::serving::{self, Board};

/// The service.
pub(crate) struct ServingApi {
    context: Context,
    /// Found once, so that a prediction need not ask for it.
    board: OnceCell<Board>,
}

impl ServingApi {
    /// The service over a running node.
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            board: OnceCell::new(),
        }
    }
}

#[tonic::async_trait]
impl Serving for ServingApi {
    async fn apply_deployment(
        &self,
        request: Request<v1::ApplyDeploymentRequest>,
    ) -> Result<Response<v1::Deployment>, Status> {
        let caller = Caller::of(&request);
        let spec = request.into_inner().spec.unwrap_or_default();
        let spec = Deployment::try_from(spec).map_err(Failure::from)?;
        let record = serving::apply(&self.context, &caller, spec).await?;
        Ok(Response::new(record.into()))
    }

    async fn remove_deployment(
        &self,
        request: Request<v1::RemoveDeploymentRequest>,
    ) -> Result<Response<v1::RemoveDeploymentReply>, Status> {
        let caller = Caller::of(&request);
        serving::remove(&self.context, &caller, request.into_inner().name).await?;
        Ok(Response::new(v1::RemoveDeploymentReply {}))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Result<Response<v1::ListDeploymentsReply>, Status> {
        let caller = Caller::of(&request);
        let deployments = serving::list(&self.context, &caller, &request.into_inner().name).await?;
        Ok(Response::new(v1::ListDeploymentsReply { deployments }))
    }

    async fn predict(
        &self,
        request: Request<v1::PredictRequest>,
    ) -> Result<Response<v1::PredictReply>, Status> {
        let caller = Caller::of(&request);
        let board = self
            .board
            .get_or_try_init(|| serving::board(&self.context))
            .await?;
        let reply = serving::predict(&self.context, board, &caller, request.into_inner()).await?;
        Ok(Response::new(reply))
    }
}
