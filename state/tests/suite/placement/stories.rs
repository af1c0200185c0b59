//! Placements of clusters that are told one by one.

use std::collections::{BTreeMap, BTreeSet};

use covey_state::id::{GroupId, NodeId};
use covey_state::namespace::Policy;
use covey_state::placement::{Problem, Why, feasible, moves, place};
use covey_state::topology::{NodeState, Pins, Placement, Weight};

use super::clusters::{Placements, node, plain};

/// Three regions of three nodes each, one per zone; every data group has this policy.
fn regions(policy: &Policy) -> Problem {
    let mut problem = plain(0, 8);
    let nodes = (0..9u8).map(|id| node(u64::from(id) + 1, NodeState::Active, id / 3, id % 3));
    problem.nodes.extend(nodes);
    for (group, demand) in &mut problem.groups {
        if *group != GroupId::CONTROL {
            demand.policy = policy.clone();
        }
    }
    problem
}

fn home() -> String {
    "r0".to_owned()
}

/// Voters and learners per region, of every data group.
fn members(problem: &Problem, placements: &Placements) -> BTreeSet<(Vec<usize>, Vec<usize>)> {
    let count = |ids: &BTreeSet<NodeId>| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in &problem.nodes {
            *counts.entry(&node.region).or_default() += usize::from(ids.contains(&node.id));
        }
        counts.into_values().collect()
    };
    let data = placements.iter().filter(|(group, _)| **group != GroupId::CONTROL);
    data.map(|(_, placed)| (count(&placed.voters), count(&placed.learners)))
        .collect()
}

#[test]
fn a_home_that_survives_a_zone_has_its_voters_and_the_other_regions_a_learner_each() {
    let problem = regions(&Policy::SurviveZone { home: home() });
    let placed = place(&problem, &Placements::new());
    assert_eq!(
        members(&problem, &placed),
        BTreeSet::from([(vec![3, 0, 0], vec![0, 1, 1])])
    );
}

#[test]
fn a_home_that_survives_a_region_has_two_voters_and_leads() {
    let problem = regions(&Policy::SurviveRegion { home: home() });
    let placed = place(&problem, &Placements::new());
    let shapes = members(&problem, &placed);
    let two_two_one = [(vec![2, 2, 1], vec![0; 3]), (vec![2, 1, 2], vec![0; 3])];
    assert!(shapes.is_subset(&BTreeSet::from(two_two_one)), "{shapes:?}");
    for (group, placement) in placed.iter().filter(|(group, _)| **group != GroupId::CONTROL) {
        let leader = placement.preferred_leader.expect("somebody leads");
        assert!(leader.get() <= 3, "{group} is led by {leader}, away from home");
    }
}

#[test]
fn leaders_fail_over_from_a_silent_home_and_come_back_without_a_replica_moving() {
    let mut problem = regions(&Policy::SurviveRegion { home: home() });
    let placed = place(&problem, &Placements::new());
    problem.silent = (1..=3).map(NodeId::new).collect();
    let without_home = place(&problem, &placed);
    for (group, placement) in &without_home {
        assert_eq!(placement.voters, placed[group].voters);
        assert!(placement.preferred_leader.is_some_and(|leader| leader.get() > 3));
    }
    problem.silent.clear();
    for (group, placement) in place(&problem, &without_home) {
        assert_eq!(placement.voters, placed[&group].voters);
        let leads_at_home = placement.preferred_leader.is_some_and(|leader| leader.get() <= 3);
        assert!(leads_at_home || group == GroupId::CONTROL);
    }
}

#[test]
fn a_changed_policy_moves_the_voters_home_and_says_why() {
    let spread = regions(&Policy::Anywhere);
    let before = place(&spread, &Placements::new());
    assert_eq!(
        members(&spread, &before),
        BTreeSet::from([(vec![1, 1, 1], vec![0; 3])])
    );
    let problem = regions(&Policy::SurviveZone { home: home() });
    let after = place(&problem, &before);
    assert_eq!(
        members(&problem, &after),
        BTreeSet::from([(vec![3, 0, 0], vec![0, 1, 1])])
    );
    let moved = moves(&problem, &before, &after);
    let voters: Vec<_> = moved.iter().filter(|each| each.what == "voter").collect();
    assert_eq!(voters.len(), 16);
    assert!(voters.iter().all(|each| each.why == Why::Policy), "{voters:?}");
}

#[test]
fn a_policy_that_the_nodes_do_not_suffice_for_is_refused_with_what_is_missing() {
    let problem = regions(&Policy::Anywhere);
    let check = |policy: Policy, nodes: usize| feasible(&policy, problem.nodes[..nodes].iter()).unwrap_err();
    assert_eq!(
        check(Policy::SurviveRegion { home: home() }, 6),
        "to survive the loss of a region, active nodes are needed in 3 regions, 2 of them in `r0` and 3 in the others, at \
         most 2 counting per region; there are 2 regions (r0, r1), 2 nodes at home and 2 in the others"
    );
    assert_eq!(
        check(Policy::SurviveZone { home: home() }, 2),
        "to survive the loss of a zone, region `r0` needs active nodes in 3 zones and has them in 2"
    );
    assert_eq!(
        check(
            Policy::SurviveZone {
                home: "mars".to_owned()
            },
            9
        ),
        "no active node is in region `mars`; regions with active nodes: r0, r1, r2"
    );
}

#[test]
fn three_zones_get_one_voter_each_also_when_one_of_them_joins_late() {
    let mut problem = plain(0, 8);
    problem
        .nodes
        .extend((1..=4).map(|id| node(id, NodeState::Active, 0, (id % 2) as u8)));
    let before = place(&problem, &Placements::new());
    problem.nodes.push(node(5, NodeState::Active, 0, 2));
    for (group, placement) in place(&problem, &before) {
        let voters = problem
            .nodes
            .iter()
            .filter(|node| placement.voters.contains(&node.id));
        let zones: BTreeSet<&String> = voters.map(|node| &node.zone).collect();
        assert_eq!(zones.len(), 3, "{group}: {:?}", placement.voters);
    }
}

#[test]
fn the_only_node_keeps_everything_while_it_drains_or_leaves() {
    let mut problem = plain(1, 2);
    let before = place(&problem, &Placements::new());
    for state in [NodeState::Draining, NodeState::Decommissioning] {
        problem.nodes[0].state = state;
        for placement in place(&problem, &before).values() {
            assert_eq!(placement.voters, BTreeSet::from([NodeId::new(1)]));
            assert_eq!(placement.preferred_leader, None);
        }
    }
}

#[test]
fn the_dead_are_replaced_only_where_others_can_take_over_and_come_back_to_their_share() {
    let mut problem = plain(3, 8);
    let before = place(&problem, &Placements::new());
    problem.dead = BTreeSet::from([NodeId::new(2)]);
    for (group, placement) in place(&problem, &before) {
        assert_eq!(
            placement.voters, before[&group].voters,
            "there is nobody to take over {group}"
        );
    }
    problem.nodes.push(node(4, NodeState::Active, 0, 0));
    let rebuilt = place(&problem, &before);
    let four = [1, 3, 4].map(NodeId::new);
    assert!(
        rebuilt
            .values()
            .all(|placed| placed.voters == BTreeSet::from(four))
    );
    problem.dead.clear();
    let back = place(&problem, &rebuilt);
    let held = back
        .values()
        .filter(|placed| placed.voters.contains(&NodeId::new(2)))
        .count();
    assert!((6..=7).contains(&held), "a quarter of 27 replicas, not {held}");
}

#[test]
fn two_heavy_groups_do_not_share_a_node_for_long() {
    let mut problem = plain(4, 8);
    problem.replication_factor = 1;
    let before = place(&problem, &Placements::new());
    let shared = before[&GroupId::new(1)].voters.clone();
    let twin = before
        .iter()
        .find(|(group, placed)| group.get() > 1 && placed.voters == shared);
    let (twin, _) = twin.expect("nine groups on four nodes: one node has two of them");
    for group in [GroupId::new(1), *twin] {
        problem.groups.get_mut(&group).expect("it is there").weight = Weight {
            bytes: 8 << 30,
            load: 0,
        };
    }
    let after = place(&problem, &before);
    assert!(
        after[&GroupId::new(1)].voters.is_disjoint(&after[twin].voters),
        "both are still on one node"
    );
    let moved = before
        .iter()
        .filter(|(group, placed)| after[*group].voters != placed.voters)
        .count();
    assert!(moved <= 6, "{moved} groups moved");
}

#[test]
fn what_an_operator_has_pinned_stays_until_its_node_leaves() {
    let mut problem = plain(4, 8);
    let mut placed = place(&problem, &Placements::new());
    let busy = NodeId::new(1);
    for placement in placed.values_mut() {
        let pins = Pins {
            replicas: true,
            leader: true,
        };
        let voters = BTreeSet::from([1, 2, 3].map(NodeId::new));
        *placement = Placement {
            voters,
            learners: BTreeSet::new(),
            preferred_leader: Some(busy),
            pins,
            ..placement.clone()
        };
    }
    let pinned = place(&problem, &placed);
    for (group, placement) in &pinned {
        assert_eq!(
            (&placement.voters, placement.preferred_leader),
            (&placed[group].voters, Some(busy))
        );
    }
    problem.nodes[0].state = NodeState::Decommissioning;
    for placement in place(&problem, &pinned).values() {
        assert_eq!(placement.voters, BTreeSet::from([2, 3, 4].map(NodeId::new)));
        assert!(!placement.pins.leader, "the pinned leader is gone");
    }
}

#[test]
fn a_group_that_is_not_made_yet_waits_with_one_voter_and_gets_another_maker_when_that_one_is_dead() {
    let mut problem = plain(3, 1);
    let mut placed = place(&problem, &Placements::new());
    let unmade = Placement {
        revision: 1,
        voters: BTreeSet::from([NodeId::new(2)]),
        preferred_leader: Some(NodeId::new(2)),
        ..Placement::default()
    };
    placed.insert(GroupId::new(1), unmade.clone());
    assert_eq!(place(&problem, &placed)[&GroupId::new(1)].voters, unmade.voters);
    problem.dead.insert(NodeId::new(2));
    let voters = place(&problem, &placed)[&GroupId::new(1)].voters.clone();
    assert!(
        voters.len() == 1 && !voters.contains(&NodeId::new(2)),
        "{voters:?}"
    );
}
