//! A proposal that the leader of its group is asked to carry out, here or elsewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::envelope::Body;
use covey_state::{GroupId, NodeId};
use tokio::time::Instant;

use crate::config::HostConfig;
use crate::forward::{LeaderCall, Outcome};
use crate::machine::Committed;
use crate::replica::Replica;
use crate::service;
use crate::transport::{Priority, Transport};

/// An entry on its way to the leader.
pub(super) struct Proposal {
    pub(super) group: GroupId,
    pub(super) entry: Bytes,
    /// The request that it is part of; empty if nobody has named it.
    pub(super) request: String,
}

impl LeaderCall for Proposal {
    type Answer = Committed;

    const NAME: &'static str = "proposal";

    fn patience(&self, config: &HostConfig) -> Duration {
        config.election_max
    }

    async fn here(&self, replica: Arc<Replica>, _: Instant) -> Outcome<Committed> {
        replica.propose(self.entry.clone()).await
    }

    async fn there(&self, transport: &Transport, to: NodeId, until: Instant) -> Outcome<Committed> {
        // With the consensus messages, not as a call of its own: many proposals then share a frame.
        let request = wire::ProposeRequest {
            entry: self.entry.clone(),
            timeout_ms: service::timeout_ms(until),
            request: self.request.clone(),
        };
        let body = Body::Propose(request);
        match transport.request(to, Priority::Bulk, self.group, body).await {
            Ok(Body::ProposeReply(reply)) => service::propose_outcome(self.group, reply),
            Ok(other) => Outcome::of_other_answer(&other, to, &transport.config),
            Err(error) => Outcome::of_call(error, to, &transport.config),
        }
    }
}
