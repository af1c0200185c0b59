//! Where the replicas of groups go: a pure, stable, idempotent planner.
//!
//! Wanted, in this order:
//!
//! 1. A group has the largest odd number of voters that its replication factor and its available nodes allow. Available
//!    are the active nodes, and the draining and decommissioning ones that hold a replica of the group already.
//! 2. A decommissioning node votes only where too few others are available. A draining node keeps its replicas.
//! 3. The voters of a group are in as many regions, then in as many zones, as single exchanges can reach.
//! 4. Active nodes hold equally many replicas, give or take one, as far as the spread allows.
//! 5. What is good enough stays where it is: planning again changes nothing, and a revision moves only with its content.
//! 6. Leaders are active voters, and no chain of exchanges would even them out further.
//! 7. In the control group every other node that takes part follows as a learner.
//!
//! The planner does not look at health: a node that is down is waited for until somebody decommissions it.

mod leaders;
mod voters;

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{GroupId, NodeId};
use crate::topology::{Node, NodeState, Placement};

/// What is to be placed, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// All nodes; removed ones are left out of account.
    pub nodes: Vec<Node>,
    /// Data groups; the control group comes on top.
    pub groups: u64,
    /// Voters per group when there are enough nodes.
    pub replication_factor: u32,
}

/// The members of every group, as seldom different from `previous` as the wanted properties allow.
pub fn place(problem: &Problem, previous: &BTreeMap<GroupId, Placement>) -> BTreeMap<GroupId, Placement> {
    let nodes: BTreeMap<NodeId, &Node> = problem
        .nodes
        .iter()
        .filter(|node| node.state != NodeState::Removed)
        .map(|node| (node.id, node))
        .collect();
    let groups: Vec<GroupId> = (0..=problem.groups).map(GroupId::new).collect();
    let before: Vec<BTreeSet<NodeId>> = groups
        .iter()
        .map(|group| {
            previous
                .get(group)
                .map(|known| known.voters.clone())
                .unwrap_or_default()
        })
        .collect();
    let voters = voters::assign(&nodes, problem.replication_factor as usize, &before);
    let led: Vec<Option<NodeId>> = groups
        .iter()
        .map(|group| previous.get(group).and_then(|known| known.preferred_leader))
        .collect();
    let leaders = leaders::assign(&nodes, &voters, &led);
    let learners = followers(&nodes, &voters);
    let mut placements = BTreeMap::new();
    for (position, group) in groups.into_iter().enumerate() {
        let known = previous.get(&group).cloned().unwrap_or_default();
        let learners = if group == GroupId::CONTROL {
            learners.clone()
        } else {
            BTreeSet::new()
        };
        let wanted = Placement {
            revision: known.revision,
            voters: voters[position].clone(),
            learners,
            preferred_leader: leaders[position],
        };
        let revision = if wanted == known {
            known.revision
        } else {
            known.revision + 1
        };
        placements.insert(group, Placement { revision, ..wanted });
    }
    placements
}

/// The learners of the control group: every other node that takes part. A node that leaves still has to hear what is
/// decided about it for as long as it holds replicas.
fn followers(nodes: &BTreeMap<NodeId, &Node>, voters: &[BTreeSet<NodeId>]) -> BTreeSet<NodeId> {
    let holders: BTreeSet<NodeId> = voters.iter().flatten().copied().collect();
    let takes_part = |node: &Node| match node.state {
        NodeState::Active | NodeState::Draining => true,
        NodeState::Decommissioning => holders.contains(&node.id),
        NodeState::Removed => false,
    };
    let control = voters.first();
    nodes
        .values()
        .filter(|node| takes_part(node) && control.is_none_or(|voters| !voters.contains(&node.id)))
        .map(|node| node.id)
        .collect()
}
