//! What the nodes say about their replicas, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covey_cluster::GroupStatus;
use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_proto::v1::list_groups_reply::Replica;
use covey_state::topology::{Node, NodeState, Placement};
use covey_state::{GroupId, NodeId};
use futures::future::join_all;
use tokio::time::Instant;

use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;

/// Every reachable node's replicas.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    by_node: BTreeMap<NodeId, Vec<Replica>>,
}

impl Reports {
    /// Asks every node of the catalog at once; a node that does not answer within `limit` is left out.
    pub async fn gather(context: &Context, caller: &Caller, copy: &CatalogCopy, limit: Duration) -> Self {
        let here = context.ledger.node();
        let caller = caller.clone().by_deadline(Instant::now() + limit);
        let others = copy
            .nodes
            .values()
            .filter(|node| node.state != NodeState::Removed && node.id != here);
        let asked = others.map(|node| ask(context, &caller, node.id, limit));
        let mut by_node: BTreeMap<_, _> = join_all(asked).await.into_iter().flatten().collect();
        by_node.insert(here, replicas_here(context));
        Self { by_node }
    }

    /// Whether the node has answered.
    pub fn has(&self, node: NodeId) -> bool {
        self.by_node.contains_key(&node)
    }

    /// All replicas, by node and group.
    pub fn into_replicas(self) -> Vec<Replica> {
        self.by_node.into_values().flatten().collect()
    }

    /// The leader's report of every group that has one; of two that claim to lead, the one of the later term.
    pub fn leaders(&self) -> BTreeMap<GroupId, &Replica> {
        let mut leaders: BTreeMap<GroupId, &Replica> = BTreeMap::new();
        for replica in self
            .by_node
            .values()
            .flatten()
            .filter(|replica| replica.role == "leader")
        {
            let known = leaders.entry(GroupId::new(replica.group)).or_insert(replica);
            if known.term < replica.term {
                *known = replica;
            }
        }
        leaders
    }

    /// The node with what was found out about it.
    pub fn describe(&self, node: &Node) -> v1::Node {
        let leaders = self.leaders();
        let id = node.id.to_string();
        let votes = leaders
            .values()
            .filter(|leader| leader.voters.contains(&id))
            .count();
        let leads = leaders.values().filter(|leader| leader.node == id).count();
        v1::Node {
            reachable: self.has(node.id),
            replicas: votes as u64,
            leaders: leads as u64,
            ..node.clone().into()
        }
    }

    /// The groups of which a node is still a member, as far as their leaders say.
    pub fn groups_of(&self, node: NodeId) -> Vec<GroupId> {
        let id = node.to_string();
        let leaders = self.leaders().into_iter();
        let holding =
            leaders.filter(|(_, leader)| leader.voters.contains(&id) || leader.learners.contains(&id));
        holding.map(|(group, _)| group).collect()
    }
}

/// Whether a group's members are as desired.
pub fn is_settled(leader: &Replica, placement: &Placement) -> bool {
    let same = |found: &[String], desired: &BTreeSet<NodeId>| {
        found.iter().cloned().collect::<BTreeSet<_>>() == desired.iter().map(NodeId::to_string).collect()
    };
    same(&leader.voters, &placement.voters) && same(&leader.learners, &placement.learners)
}

/// The replicas on this node.
pub fn replicas_here(context: &Context) -> Vec<Replica> {
    let host = context.ledger.host();
    let node = context.ledger.node();
    host.groups().iter().map(|status| replica(node, status)).collect()
}

async fn ask(
    context: &Context,
    caller: &Caller,
    node: NodeId,
    limit: Duration,
) -> Option<(NodeId, Vec<Replica>)> {
    let mut peer = context.peers.node_peer(node).ok()?;
    let request = caller.request(node_v1::ReportRequest {});
    let reply = tokio::time::timeout(limit, peer.report(request))
        .await
        .ok()?
        .ok()?;
    Some((node, reply.into_inner().groups))
}

fn replica(node: NodeId, status: &GroupStatus) -> Replica {
    let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect();
    Replica {
        group: status.group.get(),
        node: node.to_string(),
        role: status.role.to_string(),
        term: status.term,
        leader: status.leader.map(|leader| leader.to_string()).unwrap_or_default(),
        voters: names(&status.voters),
        learners: names(&status.learners),
        last_log_index: status.last_log_index.unwrap_or(0),
        applied_index: status.applied_index.unwrap_or(0),
        snapshot_index: status.snapshot_index.unwrap_or(0),
        fault: status.fault.clone().unwrap_or_default(),
    }
}
