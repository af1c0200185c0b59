//! The placement driver: on the leader of control it gives every deployment's replicas nodes to run on.
//!
//! Invariants: it only proposes what `place` says, against the revision that it has read; a node that has not answered
//! for a few seconds, or that is not active any more, loses its replicas to the others.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_proto::node::v1 as node_v1;
use covey_state::topology::NodeState;
use covey_state::{Command, GroupId, NodeId, Rejection};
use futures::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, cast};
use tokio::time::{Instant, timeout};

use super::place::{self, Eligible};
use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::{Failure, chain};

/// How often nodes are asked whether they live, and placements are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A node that has not answered for this long has lost its replicas.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// The actor.
pub(super) struct Driver;

/// Look whether replicas must be placed.
pub(super) struct Look;

/// What it knows: when each node was last heard of. Empty while this node does not lead control.
pub(super) struct Heard {
    context: Context,
    at: BTreeMap<NodeId, Instant>,
}

impl Actor for Driver {
    type Msg = Look;
    type State = Heard;
    type Arguments = Context;

    async fn pre_start(&self, myself: ActorRef<Look>, context: Context) -> Result<Heard, ActorProcessingErr> {
        cast!(myself, Look)?;
        Ok(Heard {
            context,
            at: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Look>,
        _look: Look,
        heard: &mut Heard,
    ) -> Result<(), ActorProcessingErr> {
        heard.look().await;
        // Only now: looks that take longer than their interval would pile up.
        myself.send_after(LOOK_EVERY, || Look);
        Ok(())
    }
}

impl Heard {
    async fn look(&mut self) {
        if !self.context.ledger.leads(GroupId::CONTROL) {
            self.at.clear();
            return;
        }
        let catalog = self.context.catalog.current();
        if catalog.deployments.is_empty() {
            return;
        }
        self.listen(&catalog).await;
        for (name, expected, placement) in wanted(&catalog, &self.living(&catalog)) {
            self.propose(name, expected, placement).await;
        }
    }

    /// Asks every other active node for a sign of life.
    async fn listen(&mut self, catalog: &CatalogCopy) {
        let context = &self.context;
        let asked = active(catalog).map(async |node| (node, answers(context, node).await));
        let answers: Vec<(NodeId, bool)> = join_all(asked).await;
        let now = Instant::now();
        for (node, answered) in answers {
            // A node that has never been asked before gets the benefit of the doubt.
            let last = self.at.entry(node).or_insert(now);
            if answered {
                *last = now;
            }
        }
    }

    fn living(&self, catalog: &CatalogCopy) -> Vec<NodeId> {
        let now = Instant::now();
        active(catalog)
            .filter(|node| self.at.get(node).is_some_and(|at| now < *at + LOST_AFTER))
            .collect()
    }

    async fn propose(&self, name: String, expected: u64, placement: Vec<NodeId>) {
        let caller = Caller::internal("placement");
        let command = Command::PlaceDeployment {
            name: name.clone(),
            expected,
            placement: placement.clone(),
        };
        match self
            .context
            .ledger
            .ask_unique(&caller, GroupId::CONTROL, command)
            .await
        {
            Ok(_) => tracing::info!(deployment = name, ?placement, "replicas placed"),
            // The copy that this was decided from was old; the next look sees a newer one.
            Err(Failure::Rejected(Rejection::Conflict { .. } | Rejection::NotFound { .. })) => {}
            Err(error) => tracing::warn!(deployment = name, error = chain(&error), "replicas not placed"),
        }
    }
}

/// Whether a node gives a sign of life.
async fn answers(context: &Context, node: NodeId) -> bool {
    if node == context.ledger.node() {
        return true;
    }
    let Ok(mut peer) = context.peers.node_peer(node) else {
        return false;
    };
    let mut request = tonic::Request::new(node_v1::ReportRequest {});
    request.set_timeout(ANSWER_WITHIN);
    timeout(ANSWER_WITHIN, peer.report(request))
        .await
        .is_ok_and(|answer| answer.is_ok())
}

fn active(catalog: &CatalogCopy) -> impl Iterator<Item = NodeId> {
    catalog
        .nodes
        .values()
        .filter(|node| node.state == NodeState::Active)
        .map(|node| node.id)
}

/// The placements that are to be changed: name, revision that is replaced, nodes.
fn wanted(catalog: &CatalogCopy, living: &[NodeId]) -> Vec<(String, u64, Vec<NodeId>)> {
    let mut loads: Eligible = living.iter().map(|node| (*node, 0)).collect();
    for node in catalog.deployments.values().flat_map(|record| &record.placement) {
        loads.entry(*node).and_modify(|load| *load += 1);
    }
    let mut changes = Vec::new();
    for (name, record) in &catalog.deployments {
        for node in &record.placement {
            loads.entry(*node).and_modify(|load| *load -= 1);
        }
        let placement = place::place(record.spec.replicas as usize, &loads, &record.placement);
        for node in &placement {
            loads.entry(*node).and_modify(|load| *load += 1);
        }
        // Without a living node nothing would be gained by taking the replicas away.
        if !placement.is_empty() && !place::same(&placement, &record.placement) {
            changes.push((name.clone(), record.revision, placement));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use covey_state::Timestamp;
    use covey_state::deployment::{Deployment, DeploymentRecord, Target};

    use super::*;

    fn record(name: &str, replicas: u32, placement: &[u64]) -> (String, DeploymentRecord) {
        let spec = Deployment {
            name: name.to_owned(),
            model: "m".to_owned(),
            target: Target::Version(1),
            replicas,
            queue_limit: 1,
            log_predictions: false,
        };
        let placement = placement.iter().copied().map(NodeId::new).collect();
        (
            name.to_owned(),
            DeploymentRecord {
                spec,
                revision: 3,
                placement,
                changed_at: Timestamp::default(),
            },
        )
    }

    #[test]
    fn only_what_must_move_is_proposed_and_deployments_share_the_nodes() {
        let deployments = [record("a", 1, &[1]), record("b", 1, &[]), record("c", 1, &[3])].into();
        let catalog = CatalogCopy {
            deployments,
            ..CatalogCopy::default()
        };
        let living = [NodeId::new(1), NodeId::new(2)];
        let changes = wanted(&catalog, &living);
        assert_eq!(changes[0], ("b".to_owned(), 3, vec![NodeId::new(2)]));
        assert_eq!((changes.len(), changes[1].0.as_str()), (2, "c"));
        assert_eq!(wanted(&catalog, &[]), []);
    }
}
