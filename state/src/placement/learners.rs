//! Who follows without a vote: of a group with a home one node in every region where no voter is, of the control group
//! everybody else.

use std::collections::{BTreeMap, BTreeSet};

use super::Group;
use super::balance::is_worth_it;
use super::fleet::{Fleet, Stance};
use crate::id::{GroupId, NodeId};
use crate::topology::NodeState;

/// The learners of every group.
pub(super) fn assign(
    fleet: &Fleet<'_>,
    groups: &[Group<'_>],
    voters: &[BTreeSet<NodeId>],
) -> Vec<BTreeSet<NodeId>> {
    let mut costs: BTreeMap<NodeId, u64> = BTreeMap::new();
    for (group, voters) in groups.iter().zip(voters) {
        for node in voters {
            *costs.entry(*node).or_default() += group.replica;
        }
    }
    let mut learners: Vec<BTreeSet<NodeId>> = Vec::with_capacity(groups.len());
    for (group, voters) in groups.iter().zip(voters) {
        let chosen = chosen(fleet, group, voters, &costs);
        for node in &chosen {
            *costs.entry(*node).or_default() += group.replica;
        }
        learners.push(chosen);
    }
    while level(fleet, groups, &mut learners, &mut costs) {}
    let control = groups.iter().position(|group| group.id == GroupId::CONTROL);
    if let Some(control) = control {
        let holders = voters.iter().chain(&learners).flatten().copied();
        let holders: BTreeSet<NodeId> = holders.collect();
        learners[control] = followers(fleet, &voters[control], &holders);
    }
    learners
}

/// One node per region without a voter: the one that follows already, else the one with least to do.
fn chosen(
    fleet: &Fleet<'_>,
    group: &Group<'_>,
    voters: &BTreeSet<NodeId>,
    costs: &BTreeMap<NodeId, u64>,
) -> BTreeSet<NodeId> {
    if group.policy.home().is_none() || !group.is_made() || group.id == GroupId::CONTROL {
        return BTreeSet::new();
    }
    let region = |node: &NodeId| fleet.get(*node).map(|node| node.region.as_str());
    let mut covered: BTreeSet<&str> = voters.iter().filter_map(region).collect();
    let mut chosen = BTreeSet::new();
    let stays = |node: &&NodeId| {
        fleet
            .stance(**node)
            .is_some_and(|stance| stance != Stance::Leaves)
    };
    for node in group.before.learners.iter().filter(stays) {
        if region(node).is_some_and(|region| covered.insert(region)) {
            chosen.insert(*node);
        }
    }
    let mut open: Vec<NodeId> = fleet.open().to_vec();
    open.sort_by_key(|node| (costs.get(node).copied().unwrap_or(0), *node));
    for node in open {
        if region(&node).is_some_and(|region| covered.insert(region)) {
            chosen.insert(node);
        }
    }
    chosen
}

/// Moves one learner within its region from an open node to a lighter one, where it is worth it.
fn level(
    fleet: &Fleet<'_>,
    groups: &[Group<'_>],
    learners: &mut [BTreeSet<NodeId>],
    costs: &mut BTreeMap<NodeId, u64>,
) -> bool {
    let region = |node: NodeId| fleet.get(node).map(|node| node.region.as_str());
    for (group, learners) in groups.iter().zip(learners) {
        if group.before.pins.replicas {
            continue;
        }
        for out in learners.iter().copied().filter(|node| fleet.is_open(*node)) {
            let near = fleet
                .open()
                .iter()
                .copied()
                .filter(|node| region(*node) == region(out));
            let cost = |node: NodeId| costs.get(&node).copied().unwrap_or(0);
            let Some(into) = near.min_by_key(|node| (cost(*node), *node)) else {
                continue;
            };
            if is_worth_it(cost(out).saturating_sub(cost(into)), group.replica) && !learners.contains(&into) {
                learners.remove(&out);
                learners.insert(into);
                *costs.entry(out).or_default() -= group.replica;
                *costs.entry(into).or_default() += group.replica;
                return true;
            }
        }
    }
    false
}

/// The learners of the control group: every other node that takes part. A node that leaves still has to hear what is
/// decided about it for as long as it holds replicas.
fn followers(fleet: &Fleet<'_>, voters: &BTreeSet<NodeId>, holders: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let takes_part = |state: NodeState, id: &NodeId| match state {
        NodeState::Active | NodeState::Draining => true,
        NodeState::Decommissioning => holders.contains(id),
        NodeState::Removed => false,
    };
    let others = fleet
        .iter()
        .filter(|node| takes_part(node.state, &node.id) && !voters.contains(&node.id));
    others.map(|node| node.id).collect()
}
