//! What this node does for its peers: a thin service that hands every call to its owner.

mod records;

use covey_cluster::Probation;
use covey_proto::node::v1 as node_v1;
use covey_proto::node::v1::node_peer_server::{NodePeer, NodePeerServer};
use covey_proto::v1;
use covey_state::{Digest, GroupId};
use tonic::{Request, Response, Status};

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::membership::{Membership, Part, report};
use crate::peers::MESSAGE_BYTES_MAX;
use crate::{drift, features, serving, training};

/// The service.
#[derive(Clone)]
pub struct NodePeerApi {
    context: Context,
    membership: Membership,
}

impl NodePeerApi {
    /// The service of the node that `context` belongs to.
    pub fn server(context: Context, membership: Membership) -> NodePeerServer<Self> {
        NodePeerServer::new(Self { context, membership })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl NodePeer for NodePeerApi {
    async fn put_chunk(
        &self,
        request: Request<node_v1::PutChunkRequest>,
    ) -> Result<Response<node_v1::PutChunkReply>, Status> {
        let digest = self
            .context
            .artifacts
            .put_local(request.into_inner().data)
            .await?;
        Ok(Response::new(node_v1::PutChunkReply {
            digest: bytes::Bytes::copy_from_slice(digest.as_bytes()),
        }))
    }

    async fn get_chunk(
        &self,
        request: Request<node_v1::GetChunkRequest>,
    ) -> Result<Response<node_v1::GetChunkReply>, Status> {
        let bytes: [u8; 32] = (*request.into_inner().digest)
            .try_into()
            .map_err(|_| Failure::invalid("digest", "it has not 32 bytes"))?;
        let data = self.context.artifacts.local(Digest::new(bytes)).await?;
        Ok(Response::new(node_v1::GetChunkReply { data }))
    }

    async fn read_records(
        &self,
        request: Request<node_v1::ReadRecordsRequest>,
    ) -> Result<Response<node_v1::ReadRecordsReply>, Status> {
        let caller = Caller::of(&request);
        let reply = records::read(&self.context.ledger, &caller, request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn read_features(
        &self,
        request: Request<node_v1::ReadFeaturesRequest>,
    ) -> Result<Response<node_v1::ReadFeaturesReply>, Status> {
        let caller = Caller::of(&request);
        let reply = features::group::serve(&self.context, &caller, request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn train(
        &self,
        request: Request<node_v1::TrainRequest>,
    ) -> Result<Response<node_v1::TrainReply>, Status> {
        Ok(Response::new(
            training::train(&self.context, request.into_inner()).await?,
        ))
    }

    async fn flush_drift(
        &self,
        request: Request<node_v1::FlushDriftRequest>,
    ) -> Result<Response<node_v1::FlushDriftReply>, Status> {
        Ok(Response::new(
            drift::flush_here(&self.context, request.into_inner()).await?,
        ))
    }

    async fn predict(
        &self,
        request: Request<v1::PredictRequest>,
    ) -> Result<Response<v1::PredictReply>, Status> {
        let caller = Caller::of(&request);
        let reply = serving::predict_here(&self.context, &caller, request.into_inner()).await?;
        Ok(Response::new(reply))
    }

    async fn tell_time(
        &self,
        _: Request<node_v1::TellTimeRequest>,
    ) -> Result<Response<node_v1::TellTimeReply>, Status> {
        let micros = self.context.clock.now().micros();
        Ok(Response::new(node_v1::TellTimeReply { micros }))
    }

    async fn report(
        &self,
        _: Request<node_v1::ReportRequest>,
    ) -> Result<Response<node_v1::ReportReply>, Status> {
        let groups = report::replicas_here(&self.context);
        let deployments = serving::report(&self.context).await.unwrap_or_default();
        let census = self.context.census.observed();
        let clock = self.context.clock.judgement();
        Ok(Response::new(node_v1::ReportReply {
            clock_ahead_ms: clock.ahead_micros / 1_000,
            clock_doubted: clock.is_doubted(),
            deployments,
            groups,
            census: census.map(|observed| observed.to_wire()),
        }))
    }

    async fn open_replica(
        &self,
        request: Request<node_v1::OpenReplicaRequest>,
    ) -> Result<Response<node_v1::OpenReplicaReply>, Status> {
        let request = request.into_inner();
        let probation = Probation {
            term: request.term,
            index: request.last_log_index,
        };
        self.membership
            .open_replica(GroupId::new(request.group), probation)
            .await?;
        Ok(Response::new(node_v1::OpenReplicaReply {}))
    }

    async fn is_member(
        &self,
        request: Request<node_v1::IsMemberRequest>,
    ) -> Result<Response<node_v1::IsMemberReply>, Status> {
        let caller = Caller::of(&request);
        let asked = request.into_inner();
        let node = asked
            .node
            .parse()
            .map_err(|_| Failure::invalid("node", format!("`{}` is no node", asked.node)))?;
        let part = self
            .membership
            .part_of(GroupId::new(asked.group), node, caller.deadline)
            .await;
        let (known, member) = (part != Part::Unknown, part == Part::Member);
        Ok(Response::new(node_v1::IsMemberReply { known, member }))
    }

    async fn dismiss(
        &self,
        request: Request<node_v1::DismissRequest>,
    ) -> Result<Response<node_v1::DismissReply>, Status> {
        let caller = Caller::of(&request);
        let node_v1::DismissRequest { group, node } = request.into_inner();
        let id = node
            .parse()
            .map_err(|_| Failure::invalid("node", format!("`{node}` is no node")))?;
        self.membership
            .dismiss(GroupId::new(group), id, caller.deadline)
            .await?;
        Ok(Response::new(node_v1::DismissReply {}))
    }

    async fn condemn(
        &self,
        request: Request<node_v1::CondemnRequest>,
    ) -> Result<Response<node_v1::CondemnReply>, Status> {
        let node_v1::CondemnRequest { group, reason } = request.into_inner();
        self.context
            .ledger
            .host()
            .found_damaged(GroupId::new(group), &reason);
        Ok(Response::new(node_v1::CondemnReply {}))
    }
}
