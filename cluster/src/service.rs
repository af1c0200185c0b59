//! The service on the peer port: what other nodes may ask of this one.

mod exchange;
mod outcome;
mod receiver;
mod sums;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::peer_service_server::PeerService;
use covey_state::{GroupId, NodeId};
use futures::Stream;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::forward::Outcome;
use crate::host::Inner;
use crate::members;
use crate::replica::Replica;

pub(crate) use outcome::{change_members_outcome, failed, propose_outcome, read_index_outcome};
pub(crate) use receiver::Partial;
pub(crate) use sums::sum;

/// The service of one host.
pub struct PeerEndpoint {
    inner: Arc<Inner>,
}

impl PeerEndpoint {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// The caller, if the call is meant for this node and this node still serves.
    fn admit<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        if self.inner.is_closing() {
            return Err(Status::unavailable("this node is shutting down"));
        }
        self.inner.gate.admit(request.metadata())
    }

    /// Has the replica do something, within the caller's time.
    async fn with_replica<T, R>(&self, group: u64, timeout_ms: u64, work: R) -> Outcome<T>
    where
        R: AsyncFnOnce(Arc<Replica>, Instant) -> Outcome<T>,
    {
        let Some(replica) = self.inner.replica(GroupId::new(group)) else {
            return Outcome::NotHosted;
        };
        let until = end_of(timeout_ms);
        within(until, work(replica, until)).await
    }
}

/// When the time of a request is over.
fn end_of(timeout_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms).min(TIMEOUT_MAX)
}

/// Waits for an outcome, but not longer than the caller does.
async fn within<T>(until: Instant, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let worked = tokio::time::timeout_at(until, work).await;
    worked.unwrap_or_else(|_| Outcome::Unavailable("the time of the request is over".to_owned()))
}

/// The longest time that a forwarded request may claim.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The time until `until`, for a request.
pub(crate) fn timeout_ms(until: Instant) -> u64 {
    u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
}

type FrameStream = Pin<Box<dyn Stream<Item = Result<wire::Frame, Status>> + Send>>;

#[tonic::async_trait]
impl PeerService for PeerEndpoint {
    type ExchangeStream = FrameStream;
    type InstallSnapshotStream = ReceiverStream<Result<wire::SnapshotReply, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<FrameStream>, Status> {
        let from = self.admit(&request)?;
        let frames = exchange::start(Arc::clone(&self.inner), from, request.into_inner());
        Ok(Response::new(Box::pin(frames)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPart>>,
    ) -> Result<Response<Self::InstallSnapshotStream>, Status> {
        let from = self.admit(&request)?;
        let replies = receiver::receive(Arc::clone(&self.inner), from, request.into_inner());
        Ok(Response::new(replies))
    }

    async fn change_members(
        &self,
        request: Request<wire::ChangeMembersRequest>,
    ) -> Result<Response<wire::ChangeMembersReply>, Status> {
        self.admit(&request)?;
        let wire::ChangeMembersRequest {
            group,
            timeout_ms,
            change,
        } = request.into_inner();
        let change =
            members::from_wire(change).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let lag_max = self.inner.config.promote_lag_max;
        let make =
            async |replica: Arc<Replica>, until| members::make(&replica, change, lag_max, until, None).await;
        let outcome = self.with_replica(group, timeout_ms, make).await;
        Ok(Response::new(outcome::change_members_reply(outcome)))
    }

    async fn mark(
        &self,
        request: Request<wire::MarkRequest>,
    ) -> Result<Response<wire::ProposeReply>, Status> {
        self.admit(&request)?;
        let wire::MarkRequest { group, timeout_ms } = request.into_inner();
        let mark = async |replica: Arc<Replica>, _| replica.mark().await;
        let outcome = self.with_replica(group, timeout_ms, mark).await;
        Ok(Response::new(outcome::propose_reply(outcome)))
    }

    async fn sum(&self, request: Request<wire::SumRequest>) -> Result<Response<wire::SumReply>, Status> {
        self.admit(&request)?;
        Ok(Response::new(sum(&self.inner, request.into_inner()).await))
    }
}
