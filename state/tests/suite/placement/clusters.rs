//! Generated clusters: nodes in regions and zones, groups with policies and weights, over some moments.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use covey_state::id::{GroupId, NodeId, Timestamp};
use covey_state::namespace::Policy;
use covey_state::placement::{Demand, Problem};
use covey_state::topology::{Node, NodeState, Placement, Weight};

pub(crate) type Placements = BTreeMap<GroupId, Placement>;

pub(crate) fn node(id: u64, state: NodeState, region: u8, zone: u8) -> Node {
    Node {
        id: NodeId::new(id),
        peer_addr: format!("10.0.0.{id}:7401"),
        api_addr: format!("10.0.0.{id}:7400"),
        region: format!("r{region}"),
        zone: format!("z{zone}"),
        binary: "0.1.0".to_owned(),
        state,
        joined_at: Timestamp::default(),
    }
}

/// A cluster of active nodes in one zone, with groups that weigh nothing.
pub(crate) fn plain(nodes: u64, groups: u64) -> Problem {
    Problem {
        nodes: (1..=nodes).map(|id| node(id, NodeState::Active, 0, 0)).collect(),
        silent: BTreeSet::new(),
        dead: BTreeSet::new(),
        groups: (0..=groups)
            .map(|group| (GroupId::new(group), Demand::default()))
            .collect(),
        replication_factor: 3,
    }
}

/// The same with one more active node.
pub(crate) fn grown(mut problem: Problem) -> Problem {
    let id = problem.nodes.len() as u64 + 1;
    problem.nodes.push(node(id, NodeState::Active, 0, 0));
    problem
}

pub(crate) fn state() -> impl Strategy<Value = NodeState> {
    prop_oneof![
        6 => Just(NodeState::Active),
        1 => Just(NodeState::Draining),
        1 => Just(NodeState::Decommissioning),
        1 => Just(NodeState::Removed),
    ]
}

/// A cluster's nodes at one moment, and which of them are silent and dead; the first is always active and heard.
fn nodes(labels: u8) -> impl Strategy<Value = (Vec<Node>, BTreeSet<NodeId>, BTreeSet<NodeId>)> {
    let health = prop_oneof![8 => Just(0), 1 => Just(1), 1 => Just(2)];
    prop::collection::vec((state(), health, 0..labels, 0..labels), 1..10).prop_map(|nodes| {
        let (mut silent, mut dead) = (BTreeSet::new(), BTreeSet::new());
        let mut there = Vec::new();
        for (id, (state, health, region, zone)) in (1..).zip(nodes) {
            let state = if id == 1 { NodeState::Active } else { state };
            there.push(node(id, state, region, zone));
            if health > 0 && id > 1 {
                silent.insert(NodeId::new(id));
            }
            if health > 1 && id > 1 {
                dead.insert(NodeId::new(id));
            }
        }
        (there, silent, dead)
    })
}

fn policy(labels: u8) -> impl Strategy<Value = Policy> {
    let home = move || (0..labels).prop_map(|region| format!("r{region}"));
    prop_oneof![
        3 => Just(Policy::Anywhere),
        2 => home().prop_map(|home| Policy::SurviveZone { home }),
        2 => home().prop_map(|home| Policy::SurviveRegion { home }),
    ]
}

/// Weights from nothing over equal ones to a few groups that have nearly everything.
fn weights() -> impl Strategy<Value = Vec<Weight>> {
    let bytes = prop_oneof![3 => Just(0), 2 => 0u64..(1 << 28), 1 => (1u64 << 30)..(1 << 36)];
    let load = prop_oneof![3 => Just(0), 2 => 0u64..500, 1 => 1_000u64..100_000];
    let weight = (bytes, load).prop_map(|(bytes, load)| Weight { bytes, load });
    prop_oneof![
        1 => Just(vec![Weight::default(); 33]),
        2 => prop::collection::vec(weight, 33),
    ]
}

/// A cluster over time: data groups and voters, and its nodes, policies and weights at one moment after another.
pub(crate) fn history() -> impl Strategy<Value = Vec<Problem>> {
    let groups = (0u32..6).prop_map(|power| 1u64 << power);
    let factor = (0u32..4).prop_map(|half| 2 * half + 1);
    let moment = |labels| (nodes(labels), policy(labels), weights());
    let moments = (1u8..5).prop_flat_map(move |labels| prop::collection::vec(moment(labels), 1..5));
    (groups, factor, moments).prop_map(|(groups, replication_factor, moments)| {
        let problem = |((nodes, silent, dead), policy, weights): (_, Policy, Vec<Weight>)| {
            let demand = |(group, weight): (u64, Weight)| {
                // Half of the data groups are at home, the other half and the control group are not.
                let policy = if group % 2 == 1 {
                    policy.clone()
                } else {
                    Policy::Anywhere
                };
                (GroupId::new(group), Demand { policy, weight })
            };
            let groups = (0..=groups).zip(weights).map(demand).collect();
            Problem {
                nodes,
                silent,
                dead,
                groups,
                replication_factor,
            }
        };
        moments.into_iter().map(problem).collect()
    })
}
