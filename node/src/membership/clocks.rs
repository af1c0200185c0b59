//! The nodes ask each other for the time, and one whose clock is doubted hands over what it leads.

use std::time::Duration;

use covey_proto::node::v1 as node_v1;
use covey_state::topology::NodeState;
use covey_state::{NodeId, Timestamp};
use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Membership, hand_over, peer_of};
use crate::api::Caller;

/// How often everybody is asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long a node gets to answer.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// How long handing over may take; what is left is tried again at the next pass.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

impl Membership {
    /// Compares this node's clock with those of all others, again and again.
    pub(super) async fn keep_clocks_compared(self) {
        let mut copies = self.context.catalog.changes();
        // Before it knows the cluster it knows nobody to ask.
        if copies.wait_for(|copy| copy.cluster.is_some()).await.is_err() {
            return;
        }
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_doubted = false;
        loop {
            ticks.tick().await;
            self.ask_for_the_time().await;
            let clock = &self.context.clock;
            clock.compared();
            let judgement = clock.judgement();
            let doubted = judgement.is_doubted();
            self.context.metrics.clocks.show(&clock.offsets(), doubted);
            let (ahead_micros, differing, heard) =
                (judgement.ahead_micros, judgement.differing, judgement.heard);
            match (was_doubted, doubted) {
                (false, true) => {
                    tracing::error!(
                        ahead_micros,
                        differing,
                        heard,
                        "the clocks of other nodes differ from this node's; it writes nothing until they agree"
                    );
                }
                (true, false) => {
                    tracing::info!(ahead_micros, "this node's clock agrees with the others again")
                }
                (false, false) | (true, true) => {}
            }
            was_doubted = doubted;
            if doubted {
                hand_over(&self.context, HAND_OVER_LIMIT).await;
            }
        }
    }

    async fn ask_for_the_time(&self) {
        let copy = self.context.catalog.current();
        let here = self.context.ledger.node();
        let others = copy.nodes.values();
        let others = others.filter(|node| node.state != NodeState::Removed && node.id != here);
        let asked = others.map(|node| {
            // Just after a start nobody may have said where it is. An address that is not usable is told of elsewhere.
            let known = self.context.ledger.host().knows(peer_of(node)).is_ok();
            async move {
                if known {
                    self.ask_one(node.id).await;
                }
            }
        });
        join_all(asked).await;
    }

    /// A node that does not answer is left out.
    async fn ask_one(&self, node: NodeId) {
        let Ok(mut peer) = self.context.peers.node_peer(node) else {
            return;
        };
        let caller = Caller::internal("clocks").by_deadline(Instant::now() + ASK_LIMIT);
        let request = caller.request(node_v1::TellTimeRequest {});
        let asked = Instant::now();
        if let Ok(Ok(reply)) = timeout(ASK_LIMIT, peer.tell_time(request)).await {
            let said = Timestamp::from_micros(reply.into_inner().micros);
            self.context.clock.heard(node, said, asked);
        }
    }
}
