//! The wanted properties of a placement, over clusters that grow, drain, lose nodes and change their minds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use covey_state::id::{GroupId, NodeId, Timestamp};
use covey_state::placement::{Problem, place};
use covey_state::topology::{Node, NodeState, Placement};

type Placements = BTreeMap<GroupId, Placement>;

fn node(id: u64, state: NodeState, region: u8, zone: u8) -> Node {
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

fn state() -> impl Strategy<Value = NodeState> {
    prop_oneof![
        6 => Just(NodeState::Active),
        1 => Just(NodeState::Draining),
        1 => Just(NodeState::Decommissioning),
        1 => Just(NodeState::Removed),
    ]
}

/// A cluster's nodes at one moment; the first is always active.
fn nodes(labels: u8) -> impl Strategy<Value = Vec<Node>> {
    prop::collection::vec((state(), 0..labels, 0..labels), 1..9).prop_map(|nodes| {
        let mut nodes: Vec<Node> = (1..)
            .zip(nodes)
            .map(|(id, (state, region, zone))| node(id, state, region, zone))
            .collect();
        nodes[0].state = NodeState::Active;
        nodes
    })
}

/// A cluster over time: data groups, voters, and its nodes at one moment after another.
fn history() -> impl Strategy<Value = Vec<Problem>> {
    let groups = (0u32..6).prop_map(|power| 1u64 << power);
    let factor = (0u32..4).prop_map(|half| 2 * half + 1);
    let moments = (1u8..4).prop_flat_map(|labels| prop::collection::vec(nodes(labels), 1..5));
    (groups, factor, moments).prop_map(|(groups, replication_factor, moments)| {
        moments
            .into_iter()
            .map(|nodes| Problem {
                nodes,
                groups,
                replication_factor,
            })
            .collect()
    })
}

fn in_state(problem: &Problem, states: &[NodeState]) -> BTreeSet<NodeId> {
    problem
        .nodes
        .iter()
        .filter(|node| states.contains(&node.state))
        .map(|node| node.id)
        .collect()
}

fn active(problem: &Problem) -> BTreeSet<NodeId> {
    in_state(problem, &[NodeState::Active])
}

fn spread(problem: &Problem, voters: &BTreeSet<NodeId>) -> (usize, usize) {
    let places = || problem.nodes.iter().filter(|node| voters.contains(&node.id));
    let regions: BTreeSet<&String> = places().map(|node| &node.region).collect();
    let zones: BTreeSet<(&String, &String)> = places().map(|node| (&node.region, &node.zone)).collect();
    (regions.len(), zones.len())
}

fn exchanged(voters: &BTreeSet<NodeId>, out: NodeId, into: NodeId) -> BTreeSet<NodeId> {
    voters
        .iter()
        .copied()
        .filter(|node| *node != out)
        .chain([into])
        .collect()
}

fn loads(problem: &Problem, placements: &Placements) -> BTreeMap<NodeId, usize> {
    let load = |node| {
        placements
            .values()
            .filter(|placement| placement.voters.contains(&node))
            .count()
    };
    active(problem)
        .into_iter()
        .map(|node| (node, load(node)))
        .collect()
}

fn voters_are_as_many_as_there_can_be(
    problem: &Problem,
    before: &Placements,
    after: &Placements,
) -> Result<(), TestCaseError> {
    let staying = in_state(problem, &[NodeState::Draining, NodeState::Decommissioning]);
    for (group, placement) in after {
        let held = before
            .get(group)
            .map(|known| known.voters.clone())
            .unwrap_or_default();
        let available = active(problem).len() + held.intersection(&staying).count();
        let limit = available.min(problem.replication_factor as usize);
        let odd = if limit.is_multiple_of(2) { limit - 1 } else { limit };
        prop_assert_eq!(
            placement.voters.len(),
            odd,
            "{} of {} available",
            group,
            available
        );
        let strangers = placement
            .voters
            .iter()
            .find(|node| !active(problem).contains(node) && !held.contains(node));
        prop_assert_eq!(strangers, None, "{} got a voter that is not active", group);
    }
    Ok(())
}

fn leaving_nodes_vote_only_as_a_last_resort(
    problem: &Problem,
    after: &Placements,
) -> Result<(), TestCaseError> {
    let leaving = in_state(problem, &[NodeState::Decommissioning]);
    for (group, placement) in after {
        let spare = active(problem)
            .into_iter()
            .find(|node| !placement.voters.contains(node));
        if !placement.voters.is_disjoint(&leaving) {
            prop_assert_eq!(
                spare,
                None,
                "{} keeps a leaving node although another could vote",
                group
            );
        }
    }
    Ok(())
}

fn draining_nodes_keep_their_replicas(
    problem: &Problem,
    before: &Placements,
    after: &Placements,
) -> Result<(), TestCaseError> {
    let draining = in_state(problem, &[NodeState::Draining]);
    for (group, known) in before {
        let kept = known
            .voters
            .intersection(&draining)
            .filter(|node| after[group].voters.contains(node))
            .count();
        // Only a group that has to shrink may let one go.
        let has_shrunk = after[group].voters.len() < known.voters.len();
        prop_assert!(
            has_shrunk || kept == known.voters.intersection(&draining).count(),
            "{group} left a drained node"
        );
    }
    Ok(())
}

fn no_exchange_helps(problem: &Problem, after: &Placements) -> Result<(), TestCaseError> {
    let loads = loads(problem, after);
    for (group, placement) in after {
        let now = spread(problem, &placement.voters);
        for out in placement.voters.iter().filter(|node| loads.contains_key(node)) {
            for into in loads.keys().filter(|node| !placement.voters.contains(node)) {
                let then = spread(problem, &exchanged(&placement.voters, *out, *into));
                prop_assert!(
                    then <= now,
                    "{} could be spread wider: {} for {}",
                    group,
                    into,
                    out
                );
                let evens_out = loads[out] >= loads[into] + 2;
                prop_assert!(
                    then < now || !evens_out,
                    "{} could move from {} to {}",
                    group,
                    out,
                    into
                );
            }
        }
    }
    Ok(())
}

fn leaders_are_active_voters_and_even(problem: &Problem, after: &Placements) -> Result<(), TestCaseError> {
    let active = active(problem);
    let mut led: BTreeMap<NodeId, usize> = active.iter().map(|node| (*node, 0)).collect();
    for (group, placement) in after {
        let eligible: Vec<_> = placement.voters.intersection(&active).collect();
        match placement.preferred_leader {
            Some(leader) => {
                prop_assert!(
                    eligible.contains(&&leader),
                    "{} is to be led by {}",
                    group,
                    leader
                );
                *led.entry(leader).or_default() += 1;
            }
            None => prop_assert!(eligible.is_empty(), "{} has no leader", group),
        }
    }
    for placement in after.values() {
        for voter in placement.voters.intersection(&active) {
            let leader = placement.preferred_leader.unwrap_or(*voter);
            prop_assert!(led[&leader] <= led[voter] + 1, "{} leads {:?}", leader, led);
        }
    }
    Ok(())
}

fn the_control_group_reaches_everybody(problem: &Problem, after: &Placements) -> Result<(), TestCaseError> {
    let control = &after[&GroupId::CONTROL];
    prop_assert!(control.voters.is_disjoint(&control.learners));
    let reached: BTreeSet<NodeId> = control.voters.union(&control.learners).copied().collect();
    let taking_part = in_state(problem, &[NodeState::Active, NodeState::Draining]);
    prop_assert!(
        reached.is_superset(&taking_part),
        "{reached:?} of {taking_part:?}"
    );
    let holders: BTreeSet<NodeId> = after
        .values()
        .flat_map(|placement| placement.voters.clone())
        .collect();
    prop_assert!(reached.is_superset(&holders), "{reached:?} of {holders:?}");
    let others = after.iter().filter(|(group, _)| **group != GroupId::CONTROL);
    for (group, placement) in others {
        prop_assert!(placement.learners.is_empty(), "{} has learners", group);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_placement_has_every_wanted_property(history in history()) {
        let mut before = Placements::new();
        for problem in history {
            let after = place(&problem, &before);
            prop_assert_eq!(after.len() as u64, problem.groups + 1);
            voters_are_as_many_as_there_can_be(&problem, &before, &after)?;
            leaving_nodes_vote_only_as_a_last_resort(&problem, &after)?;
            draining_nodes_keep_their_replicas(&problem, &before, &after)?;
            no_exchange_helps(&problem, &after)?;
            leaders_are_active_voters_and_even(&problem, &after)?;
            the_control_group_reaches_everybody(&problem, &after)?;
            before = after;
        }
    }

    #[test]
    fn planning_again_changes_nothing_and_revisions_move_only_with_content(history in history()) {
        let mut before = Placements::new();
        for problem in history {
            let after = place(&problem, &before);
            prop_assert_eq!(&place(&problem, &after), &after);
            for (group, placement) in &after {
                let known = before.get(group).cloned().unwrap_or_default();
                let same = Placement { revision: known.revision, ..placement.clone() } == known;
                prop_assert_eq!(placement.revision, known.revision + u64::from(!same));
            }
            before = after;
        }
    }

    #[test]
    fn without_labels_the_load_differs_by_one_at_most(
        states in prop::collection::vec(state(), 0..8),
        power in 0u32..7,
        joins in 1u64..4,
    ) {
        let mut problem = Problem { nodes: vec![node(1, NodeState::Active, 0, 0)], groups: 1 << power, replication_factor: 3 };
        problem.nodes.extend((2..).zip(states).map(|(id, state)| node(id, state, 0, 0)));
        let mut placements = place(&problem, &Placements::new());
        for _ in 0..joins {
            let loads = loads(&problem, &placements);
            let (least, most) = (loads.values().min().copied(), loads.values().max().copied());
            prop_assert!(most <= least.map(|least| least + 1), "{loads:?}");
            let id = problem.nodes.len() as u64 + 1;
            problem.nodes.push(node(id, NodeState::Active, 0, 0));
            placements = place(&problem, &placements);
        }
    }

    #[test]
    fn a_node_that_joins_gets_its_share_and_nothing_else_moves(count in 3u64..8, power in 0u32..6) {
        let mut problem = Problem { nodes: Vec::new(), groups: 1 << power, replication_factor: 3 };
        problem.nodes.extend((1..=count).map(|id| node(id, NodeState::Active, 0, 0)));
        let before = place(&problem, &Placements::new());
        let newcomer = NodeId::new(count + 1);
        problem.nodes.push(node(count + 1, NodeState::Active, 0, 0));
        let after = place(&problem, &before);
        for (group, placement) in &after {
            let others: BTreeSet<NodeId> = placement.voters.iter().copied().filter(|id| *id != newcomer).collect();
            prop_assert!(others.is_subset(&before[group].voters), "{} moved between old nodes", group);
        }
    }

    #[test]
    fn a_node_that_leaves_gives_up_its_replicas_and_little_else_moves(count in 4u64..8, power in 0u32..6) {
        let mut problem = Problem { nodes: Vec::new(), groups: 1 << power, replication_factor: 3 };
        problem.nodes.extend((1..=count).map(|id| node(id, NodeState::Active, 0, 0)));
        let before = place(&problem, &Placements::new());
        problem.nodes[0].state = NodeState::Decommissioning;
        let after = place(&problem, &before);
        let moved = |group: &GroupId| before[group].voters.difference(&after[group].voters).count();
        let held = before.values().filter(|placement| placement.voters.contains(&NodeId::new(1))).count();
        // Evening out may take one more move per node: replicas are placed group by group, not by an optimum over all.
        prop_assert!(after.keys().map(moved).sum::<usize>() <= held + count as usize, "{held} had to move");
    }
}

#[test]
fn three_zones_get_one_voter_each_also_when_one_of_them_joins_late() {
    let mut problem = Problem {
        nodes: Vec::new(),
        groups: 8,
        replication_factor: 3,
    };
    problem
        .nodes
        .extend((1..=4).map(|id| node(id, NodeState::Active, 0, (id % 2) as u8)));
    let before = place(&problem, &Placements::new());
    problem.nodes.push(node(5, NodeState::Active, 0, 2));
    for (group, placement) in place(&problem, &before) {
        assert_eq!(
            spread(&problem, &placement.voters),
            (1, 3),
            "{group}: {:?}",
            placement.voters
        );
    }
}

#[test]
fn the_only_node_keeps_everything_while_it_drains_or_leaves() {
    let mut problem = Problem {
        nodes: vec![node(1, NodeState::Active, 0, 0)],
        groups: 2,
        replication_factor: 3,
    };
    let before = place(&problem, &Placements::new());
    for state in [NodeState::Draining, NodeState::Decommissioning] {
        problem.nodes[0].state = state;
        for placement in place(&problem, &before).values() {
            assert_eq!(placement.voters, BTreeSet::from([NodeId::new(1)]));
            assert_eq!(placement.preferred_leader, None);
        }
    }
}
