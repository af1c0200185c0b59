//! What the nodes say about their replicas, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covey_cluster::{GroupStatus, Members, Role};
use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_proto::v1::list_groups_reply::Replica;
use covey_state::topology::{Node, NodeState, Placement};
use covey_state::{GroupId, NodeId};
use futures::future::join_all;
use tokio::time::Instant;

use super::census::Observed;
use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;

/// A shorter silence is only the time between two questions.
const UNHEARD_MIN: Duration = Duration::from_secs(4);

/// Every reachable node's replicas.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    by_node: BTreeMap<NodeId, Vec<Replica>>,
    clocks: BTreeMap<NodeId, FoundClock>,
    /// What the leader of the control group knows.
    census: Option<Observed>,
}

/// What a node says of its own clock.
#[derive(Debug, Clone, Copy)]
struct FoundClock {
    ahead_ms: i64,
    doubted: bool,
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
        let mut reports = Self::of([(here, replicas_here(context))]);
        reports.census = context.census.observed();
        let judged = context.clock.judgement();
        let clock = FoundClock {
            ahead_ms: judged.ahead_micros / 1_000,
            doubted: judged.is_doubted(),
        };
        reports.clocks.insert(here, clock);
        for (node, reply) in join_all(asked).await.into_iter().flatten() {
            let clock = FoundClock {
                ahead_ms: reply.clock_ahead_ms,
                doubted: reply.clock_doubted,
            };
            reports.clocks.insert(node, clock);
            reports.by_node.insert(node, reply.groups);
            reports.census = reports.census.or(reply.census.map(Observed::of_wire));
        }
        reports
    }

    /// The replicas that nodes have told of.
    pub fn of(by_node: impl IntoIterator<Item = (NodeId, Vec<Replica>)>) -> Self {
        Self {
            by_node: by_node.into_iter().collect(),
            ..Self::default()
        }
    }

    /// What the leader of the control group knows, if it has answered.
    pub fn census(&self) -> Option<Observed> {
        self.census.clone()
    }

    /// All replicas with the nodes that they are on.
    pub fn replicas(&self) -> impl Iterator<Item = (NodeId, &Replica)> {
        self.by_node
            .iter()
            .flat_map(|(node, replicas)| replicas.iter().map(|replica| (*node, replica)))
    }

    /// Members that groups should have, and those of them that have nearly the whole log.
    pub fn progress(&self, placements: &BTreeMap<GroupId, Placement>) -> (u64, u64) {
        let leaders = self.leaders();
        let (mut wanted, mut there) = (0, 0);
        for (group, placement) in placements {
            for node in placement.members() {
                wanted += 1;
                let ready = |leader: &&Replica| leader.caught_up.contains(&node.to_string());
                there += u64::from(leaders.get(group).is_some_and(ready));
            }
        }
        (wanted, there)
    }

    /// Whether the node has answered.
    pub fn has(&self, node: NodeId) -> bool {
        self.by_node.contains_key(&node)
    }

    /// Nodes whose clocks are doubted.
    pub fn doubted(&self) -> impl Iterator<Item = NodeId> {
        let doubted = self.clocks.iter().filter(|(_, clock)| clock.doubted);
        doubted.map(|(node, _)| *node)
    }

    /// Whether the node has answered and does not doubt its own clock.
    pub fn may_lead(&self, node: NodeId) -> bool {
        self.has(node) && !self.doubted().any(|doubted| doubted == node)
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
        let census = self.census.as_ref();
        let unheard = census.and_then(|census| census.unheard.get(&node.id)).copied();
        let unheard = unheard
            .filter(|unheard| *unheard >= UNHEARD_MIN)
            .unwrap_or_default();
        let clock = self.clocks.get(&node.id);
        v1::Node {
            clock_ahead_ms: clock.map_or(0, |clock| clock.ahead_ms),
            clock_doubted: clock.is_some_and(|clock| clock.doubted),
            unheard_ms: u64::try_from(unheard.as_millis()).unwrap_or(u64::MAX),
            dead: census.is_some_and(|census| census.dead.contains(&node.id)),
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
    same(&leader.voters, &placement.voters) && same(&leader.learners, &placement.learners) && !leader.joint
}

/// The replicas on this node.
pub fn replicas_here(context: &Context) -> Vec<Replica> {
    let host = context.ledger.host();
    let node = context.ledger.node();
    let statuses = host.groups();
    let replicas = statuses.iter().map(|status| Replica {
        bytes: context.ledger.statedb().group(status.group).bytes_in_files(),
        reads: context.ledger.reads(status.group),
        ..replica(node, status)
    });
    replicas.collect()
}

async fn ask(
    context: &Context,
    caller: &Caller,
    node: NodeId,
    limit: Duration,
) -> Option<(NodeId, node_v1::ReportReply)> {
    let mut peer = context.peers.node_peer(node).ok()?;
    let request = caller.request(node_v1::ReportRequest {});
    let asked = Instant::now();
    let reply = tokio::time::timeout(limit, peer.report(request))
        .await
        .ok()?
        .ok()?;
    context.peers.took(node, asked.elapsed());
    Some((node, reply.into_inner()))
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
        damaged: status.damaged.clone().unwrap_or_default(),
        joint: status.joint,
        bytes: 0,
        reads: 0,
        caught_up: match status.role {
            Role::Leader => Members::of(node, status)
                .caught_up
                .iter()
                .map(NodeId::to_string)
                .collect(),
            Role::Follower | Role::Learner | Role::Candidate | Role::Stopped => Vec::new(),
        },
    }
}
