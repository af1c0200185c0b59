//! What holds of the cluster, its nodes and what is placed on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{GroupId, NodeId};
use crate::invariants::hold;
use crate::key::Key;
use crate::record::Record;
use crate::slot::Span;
use crate::topology::{Cluster, Node, NodeState, Placement};
use crate::view::MemoryView;

/// No node has the id that the next node gets, or a later one.
pub(super) fn node_ids_below_next(view: &MemoryView) -> Result<(), String> {
    let next = cluster(view).map_or(0, |cluster| cluster.next_node);
    nodes(view)
        .keys()
        .try_for_each(|id| hold(id.get() < next, || format!("{id} exists, the next is {next}")))
}

/// No two nodes that take part have one peer address.
pub(super) fn peer_addresses_are_unique(view: &MemoryView) -> Result<(), String> {
    let mut addresses = BTreeSet::new();
    for node in nodes(view)
        .values()
        .filter(|node| node.state != NodeState::Removed)
    {
        hold(addresses.insert(&node.peer_addr), || {
            format!("{} is there twice", node.peer_addr)
        })?;
    }
    Ok(())
}

/// Members of a group exist and are not removed; voters are an odd number, no learners, and one of them should lead.
pub(super) fn placements_hold_present_nodes(view: &MemoryView) -> Result<(), String> {
    let nodes = nodes(view);
    for (group, placement) in placements(view) {
        for id in placement.voters.iter().chain(&placement.learners) {
            let present = nodes.get(id).is_some_and(|node| node.state != NodeState::Removed);
            hold(present, || format!("{group} holds {id}, which is not there"))?;
        }
        hold(placement.voters.len() % 2 == 1, || {
            format!("{group} has {} voters", placement.voters.len())
        })?;
        hold(placement.voters.is_disjoint(&placement.learners), || {
            format!("{group} has a voter that learns")
        })?;
        let leader = placement.preferred_leader;
        hold(
            leader.is_none_or(|leader| placement.voters.contains(&leader)),
            || format!("{group} should be led by {leader:?}, which does not vote"),
        )?;
    }
    Ok(())
}

/// A group that has not been made yet has one voter.
pub(super) fn unmade_groups_have_one_voter(view: &MemoryView) -> Result<(), String> {
    let mut unmade = placements(view).filter(|(_, placement)| !placement.is_made());
    unmade.try_for_each(|(group, placement)| {
        hold(placement.voters.len() == 1, || {
            format!("{group} is not made and has {} voters", placement.voters.len())
        })
    })
}

/// The spans of the namespaces lie side by side, from group 1 to the last.
pub(super) fn namespaces_share_out_the_groups(view: &MemoryView) -> Result<(), String> {
    let Some(cluster) = cluster(view) else {
        return Ok(());
    };
    let mut spans: Vec<Span> = Vec::new();
    for (_, record) in view.entries() {
        if let Record::Namespace(namespace) = record {
            spans.push(namespace.span);
        }
    }
    spans.sort_by_key(|span| span.first);
    let mut next = 1;
    for span in spans {
        hold(span.first == next, || {
            format!("a span begins at {} and not at {next}", span.first)
        })?;
        next = span.end();
    }
    hold(next == cluster.next_group, || {
        format!("the last span ends before {next}")
    })
}

/// The control group and every data group have a placement, and no others.
pub(super) fn every_group_is_placed(view: &MemoryView) -> Result<(), String> {
    let groups = cluster(view).map_or(0, |cluster| cluster.next_group);
    let placed = placements(view).map(|(group, _)| group.get());
    hold(placed.eq(0..groups), || {
        format!("not every one of {groups} groups is placed once")
    })
}

/// A deployment has at most as many placed replicas as it wants, on nodes that exist.
pub(super) fn deployments_fit_their_replicas(view: &MemoryView) -> Result<(), String> {
    let nodes = nodes(view);
    for (key, record) in view.entries() {
        if let (Key::Deployment(name), Record::Deployment(deployment)) = (key, record) {
            let placed = deployment.placement.len();
            hold(placed <= deployment.spec.replicas as usize, || {
                format!("{name} has {placed} replicas")
            })?;
            let lost = deployment.placement.iter().find(|node| !nodes.contains_key(node));
            hold(lost.is_none(), || format!("{name} has a replica on {lost:?}"))?;
        }
    }
    Ok(())
}

/// The cluster, if this is the control group's map.
pub(super) fn cluster(view: &MemoryView) -> Option<&Cluster> {
    view.entries().find_map(|(_, record)| {
        if let Record::Cluster(cluster) = record {
            Some(cluster)
        } else {
            None
        }
    })
}

fn nodes(view: &MemoryView) -> BTreeMap<NodeId, &Node> {
    let mut nodes = BTreeMap::new();
    for (key, record) in view.entries() {
        if let (Key::Node(id), Record::Node(node)) = (key, record) {
            nodes.insert(*id, node);
        }
    }
    nodes
}

fn placements(view: &MemoryView) -> impl Iterator<Item = (GroupId, &Placement)> {
    view.entries().filter_map(|(key, record)| {
        if let (Key::Placement(group), Record::Placement(placement)) = (key, record) {
            return Some((*group, placement));
        }
        None
    })
}
