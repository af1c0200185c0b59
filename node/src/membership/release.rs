//! A node erases the replicas that are no longer its own, after the group's leader has said so.

use std::collections::BTreeSet;
use std::time::Duration;

use covey_cluster::Wipe;
use covey_proto::node::v1 as node_v1;
use covey_state::topology::{NodeState, Placement};
use covey_state::{GroupId, NodeId};
use tokio::time::{Instant, sleep};

use super::{Membership, Part};
use crate::api::Caller;
use crate::error::{Failure, chain};

/// How often a node looks for replicas that are no longer its own.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a leader gets to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);

impl Membership {
    /// Looks for replicas that are no longer this node's own, again and again.
    pub(super) async fn release_strangers(self) {
        loop {
            // sleep: the leaders' answers come without an event here.
            sleep(LOOK_EVERY).await;
            for group in self
                .context
                .ledger
                .host()
                .groups()
                .into_iter()
                .map(|status| status.group)
            {
                if let Err(failure) = self.release(group).await {
                    tracing::warn!(%group, reason = chain(&failure), "a replica that is not needed could not be erased");
                }
            }
        }
    }

    async fn release(&self, group: GroupId) -> Result<(), Failure> {
        let node = self.context.ledger.node();
        match self.desired(group) {
            Some(desired) if !desired.holds(node) => {
                // Held from the question to the end, so that a leader that adds this node again waits for a clean start.
                let _held = self.replicas.lock().await;
                if self.ask_leader(group, &desired).await == Part::Stranger {
                    return self.erase(group).await;
                }
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn erase(&self, group: GroupId) -> Result<(), Failure> {
        if group == GroupId::CONTROL {
            // Without a replica of the control group there is no node, so it stays. But a node that is no member any
            // more hears of its own removal only if it asks.
            return if self.is_leaving() {
                self.announce_once().await
            } else {
                Ok(())
            };
        }
        tracing::info!(%group, "the group has moved away; erasing the replica");
        fault!("move::erasing");
        self.context.ledger.host().close_group(group, Wipe::Erase).await?;
        fault!("move::erased");
        Ok(())
    }

    fn is_leaving(&self) -> bool {
        let copy = self.context.catalog.current();
        let state = copy.nodes.get(&self.context.ledger.node()).map(|node| node.state);
        matches!(state, Some(NodeState::Decommissioning | NodeState::Removed))
    }

    /// Asks everybody who might lead the group, until one does.
    async fn ask_leader(&self, group: GroupId, desired: &Placement) -> Part {
        let here = self.context.ledger.node();
        let leader = self.context.ledger.leader(group);
        let candidates: BTreeSet<NodeId> = desired.voters.iter().copied().chain(leader).collect();
        for candidate in candidates.into_iter().filter(|candidate| *candidate != here) {
            match self.ask(candidate, group).await {
                Ok(Part::Unknown) | Err(_) => {}
                Ok(part) => return part,
            }
        }
        Part::Unknown
    }

    async fn ask(&self, candidate: NodeId, group: GroupId) -> Result<Part, Failure> {
        let caller = Caller::internal("release").by_deadline(Instant::now() + ASK_LIMIT);
        let node = self.context.ledger.node().to_string();
        let request = caller.request(node_v1::IsMemberRequest {
            group: group.get(),
            node,
        });
        let asked = self.context.peers.node_peer(candidate)?.is_member(request).await;
        let reply = asked
            .map_err(|status| Failure::from_peer(candidate, status))?
            .into_inner();
        Ok(match (reply.known, reply.member) {
            (false, _) => Part::Unknown,
            (true, true) => Part::Member,
            (true, false) => Part::Stranger,
        })
    }
}
