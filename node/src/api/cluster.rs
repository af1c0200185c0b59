//! The `Cluster` and `Admin` services: thin, they convert, ask and convert.

use covey_proto::v1;
use covey_proto::v1::admin_server::{Admin, AdminServer};
use covey_proto::v1::cluster_server::{Cluster, ClusterServer};
use futures::stream::BoxStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::Caller;
use crate::context::Context;
use crate::membership::{groups, namespaces, operate, report};
use crate::verify;

/// Reports of progress that wait for the caller.
const PROGRESS_MAX: usize = 16;

/// Both services.
#[derive(Clone)]
pub struct ClusterApi {
    context: Context,
}

impl ClusterApi {
    /// The services of the node that `context` belongs to.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    /// The `Cluster` service.
    pub fn cluster(&self) -> ClusterServer<Self> {
        ClusterServer::new(self.clone())
    }

    /// The `Admin` service.
    pub fn admin(&self) -> AdminServer<Self> {
        AdminServer::new(self.clone())
    }
}

#[tonic::async_trait]
impl Cluster for ClusterApi {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::ClusterStatus>, Status> {
        let status = operate::status(&self.context, &Caller::of(&request)).await?;
        Ok(Response::new(status))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        let caller = Caller::of(&request);
        let reply = operate::admit(&self.context, &caller, request.into_inner().into()).await?;
        Ok(Response::new(reply))
    }

    async fn set_node_state(
        &self,
        request: Request<v1::SetNodeStateRequest>,
    ) -> Result<Response<v1::SetNodeStateReply>, Status> {
        let caller = Caller::of(&request);
        let node = operate::set_node_state(&self.context, &caller, request.into_inner()).await?;
        Ok(Response::new(v1::SetNodeStateReply { node: Some(node) }))
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsReply>, Status> {
        let caller = Caller::of(&request);
        let replicas = match request.into_inner().all_nodes {
            true => operate::replicas_everywhere(&self.context, &caller).await,
            false => report::replicas_here(&self.context),
        };
        Ok(Response::new(v1::ListGroupsReply { replicas }))
    }

    async fn get_group(
        &self,
        request: Request<v1::GetGroupRequest>,
    ) -> Result<Response<v1::GroupDetail>, Status> {
        let caller = Caller::of(&request);
        let group = covey_state::GroupId::new(request.into_inner().group);
        Ok(Response::new(groups::show(&self.context, &caller, group).await?))
    }

    async fn move_replica(
        &self,
        request: Request<v1::MoveReplicaRequest>,
    ) -> Result<Response<v1::GroupDetail>, Status> {
        let caller = Caller::of(&request);
        let detail = groups::move_replica(&self.context, &caller, request.into_inner()).await?;
        Ok(Response::new(detail))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::GroupDetail>, Status> {
        let caller = Caller::of(&request);
        let detail = groups::transfer_leader(&self.context, &caller, request.into_inner()).await?;
        Ok(Response::new(detail))
    }

    async fn rebalance(
        &self,
        request: Request<v1::RebalanceRequest>,
    ) -> Result<Response<v1::RebalanceReply>, Status> {
        let caller = Caller::of(&request);
        let reply = groups::rebalance(&self.context, &caller, request.into_inner().dry_run).await?;
        Ok(Response::new(reply))
    }

    type VerifyGroupStream = BoxStream<'static, Result<v1::VerifyGroupReply, Status>>;

    async fn verify_group(
        &self,
        request: Request<v1::VerifyGroupRequest>,
    ) -> Result<Response<Self::VerifyGroupStream>, Status> {
        let (caller, context) = (Caller::of(&request), self.context.clone());
        let (replies, receiver) = tokio::sync::mpsc::channel(PROGRESS_MAX);
        let verifying = async move {
            let last = tokio::select! {
                last = verify::verify(&context, &caller, request.into_inner(), &replies) => last,
                // Nobody waits for the answer.
                () = replies.closed() => return,
            };
            // A caller that has gone away needs no answer.
            let _ = replies.send(last.map_err(Status::from)).await;
        };
        tokio::spawn(verifying.in_current_span());
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_namespaces(
        &self,
        request: Request<v1::ListNamespacesRequest>,
    ) -> Result<Response<v1::ListNamespacesReply>, Status> {
        let reply = namespaces::list(&self.context, &Caller::of(&request)).await?;
        Ok(Response::new(reply))
    }

    async fn put_namespace(
        &self,
        request: Request<v1::PutNamespaceRequest>,
    ) -> Result<Response<v1::PutNamespaceReply>, Status> {
        let caller = Caller::of(&request);
        let namespace = namespaces::put(&self.context, &caller, request.into_inner()).await?;
        Ok(Response::new(v1::PutNamespaceReply {
            namespace: Some(namespace),
        }))
    }
}

#[tonic::async_trait]
impl Admin for ClusterApi {
    async fn get_node(&self, _: Request<v1::GetNodeRequest>) -> Result<Response<v1::GetNodeReply>, Status> {
        Ok(Response::new(operate::describe(&self.context)))
    }

    async fn take_snapshot(
        &self,
        request: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<v1::TakeSnapshotReply>, Status> {
        let group = covey_state::GroupId::new(request.into_inner().group);
        let index = operate::take_snapshot(&self.context, group).await?;
        Ok(Response::new(v1::TakeSnapshotReply { index }))
    }
}
