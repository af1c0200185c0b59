//! What a placement must be like, property by property, told without the planner's own arithmetic where that is possible.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use covey_state::id::{GroupId, NodeId};
use covey_state::namespace::Policy;
use covey_state::placement::{Problem, Score, score};
use covey_state::topology::{Node, NodeState, Placement, Weight};

use super::clusters::Placements;

type Checked = Result<(), TestCaseError>;

/// What a group without bytes and load costs.
pub(crate) const BASE: u64 = 1_000;

/// Every wanted property of one step.
pub(crate) fn all(problem: &Problem, before: &Placements, after: &Placements) -> Checked {
    prop_assert_eq!(after.len(), problem.groups.len());
    voters_are_as_many_as_there_can_be(problem, before, after)?;
    leaving_nodes_vote_only_as_a_last_resort(problem, after)?;
    draining_and_silent_nodes_keep_their_replicas(problem, before, after)?;
    no_exchange_keeps_the_policy_better(problem, after)?;
    a_home_is_kept_where_it_can_be(problem, after)?;
    every_region_has_a_member_of_a_group_with_a_home(problem, after)?;
    no_move_evens_the_nodes_out(problem, after)?;
    leaders_are_open_voters_at_home_and_even(problem, after)?;
    the_control_group_reaches_everybody(problem, after)
}

fn open(problem: &Problem) -> BTreeSet<NodeId> {
    let open = problem
        .nodes
        .iter()
        .filter(|node| node.state == NodeState::Active);
    let open = open.map(|node| node.id);
    open.filter(|id| !problem.silent.contains(id) && !problem.dead.contains(id))
        .collect()
}

fn there(problem: &Problem) -> BTreeSet<NodeId> {
    let there = problem
        .nodes
        .iter()
        .filter(|node| node.state != NodeState::Removed);
    there.map(|node| node.id).collect()
}

fn leaving(problem: &Problem) -> BTreeSet<NodeId> {
    let leaving = problem.nodes.iter().filter(|node| match node.state {
        NodeState::Decommissioning => true,
        NodeState::Active | NodeState::Draining => problem.dead.contains(&node.id),
        NodeState::Removed => false,
    });
    leaving.map(|node| node.id).collect()
}

fn nodes<'a>(problem: &'a Problem, ids: &'a BTreeSet<NodeId>) -> impl Iterator<Item = &'a Node> {
    problem.nodes.iter().filter(|node| ids.contains(&node.id))
}

fn keeps(problem: &Problem, group: &GroupId, voters: &BTreeSet<NodeId>) -> Score {
    score(&problem.groups[group].policy, nodes(problem, voters))
}

fn exchanged(voters: &BTreeSet<NodeId>, out: NodeId, into: NodeId) -> BTreeSet<NodeId> {
    voters
        .iter()
        .copied()
        .filter(|node| *node != out)
        .chain([into])
        .collect()
}

/// What a replica of a group costs, from the weights that the placement says it was made with.
fn replica_costs(after: &Placements) -> BTreeMap<GroupId, u64> {
    terms(after, |bytes, load| BASE + bytes + load / 2 / 250 * 250)
}

fn lead_costs(after: &Placements) -> BTreeMap<GroupId, u64> {
    terms(after, |_, load| BASE + load)
}

fn terms(after: &Placements, cost: fn(u64, u64) -> u64) -> BTreeMap<GroupId, u64> {
    let count = after.len() as u64;
    let mean = |part: fn(&Weight) -> u64| {
        after
            .values()
            .map(|placed| part(&placed.weight) / count)
            .sum::<u64>()
    };
    let (bytes, load) = (
        mean(|weight| weight.bytes).max(64 << 20),
        mean(|weight| weight.load).max(200),
    );
    let term = |amount: u64, mean: u64| (amount * BASE / mean).min(64 * BASE) / 250 * 250;
    let of = |placed: &Placement| cost(term(placed.weight.bytes, bytes), term(placed.weight.load, load));
    after.iter().map(|(group, placed)| (*group, of(placed))).collect()
}

/// What the voters of every open node cost.
pub(crate) fn costs(problem: &Problem, after: &Placements) -> BTreeMap<NodeId, u64> {
    let replicas = replica_costs(after);
    let cost = |node: &NodeId| {
        let held = after.iter().filter(|(_, placed)| placed.voters.contains(node));
        held.map(|(group, _)| replicas[group]).sum()
    };
    open(problem)
        .into_iter()
        .map(|node| (node, cost(&node)))
        .collect()
}

fn voters_are_as_many_as_there_can_be(problem: &Problem, before: &Placements, after: &Placements) -> Checked {
    let there = there(problem);
    for (group, placement) in after {
        let held = before
            .get(group)
            .map(|known| known.voters.clone())
            .unwrap_or_default();
        let held: BTreeSet<NodeId> = held.intersection(&there).copied().collect();
        let available = open(problem).union(&held).count();
        let wanted = problem.groups[group]
            .policy
            .voters(problem.replication_factor as usize);
        let limit = available.min(wanted);
        let odd = if limit.is_multiple_of(2) { limit - 1 } else { limit };
        prop_assert_eq!(
            placement.voters.len(),
            odd,
            "{} of {} available",
            group,
            available
        );
        let known = before
            .get(group)
            .map(|known| known.learners.clone())
            .unwrap_or_default();
        let strangers = placement.members().find(|node| {
            let was_there = held.contains(node) || known.contains(node);
            !open(problem).contains(node) && !was_there && group.get() > 0
        });
        prop_assert_eq!(strangers, None, "{} got a member that is not open", group);
    }
    Ok(())
}

fn leaving_nodes_vote_only_as_a_last_resort(problem: &Problem, after: &Placements) -> Checked {
    let leaving = leaving(problem);
    for (group, placement) in after {
        let spare = open(problem)
            .into_iter()
            .find(|node| !placement.voters.contains(node));
        let clean = placement.voters.is_disjoint(&leaving);
        prop_assert!(
            clean || spare.is_none(),
            "{group} keeps a leaving node although {spare:?} could vote"
        );
    }
    Ok(())
}

fn draining_and_silent_nodes_keep_their_replicas(
    problem: &Problem,
    before: &Placements,
    after: &Placements,
) -> Checked {
    let gone: BTreeSet<NodeId> = open(problem).union(&leaving(problem)).copied().collect();
    let keepers: BTreeSet<NodeId> = there(problem).difference(&gone).copied().collect();
    for (group, known) in before {
        let held: BTreeSet<NodeId> = known.voters.intersection(&keepers).copied().collect();
        // Only a group that has to shrink may let one go.
        let has_shrunk = after[group].voters.len() < known.voters.len();
        prop_assert!(
            has_shrunk || held.is_subset(&after[group].voters),
            "{group} left one of {held:?}"
        );
    }
    Ok(())
}

fn no_exchange_keeps_the_policy_better(problem: &Problem, after: &Placements) -> Checked {
    let open = open(problem);
    for (group, placement) in after {
        let now = keeps(problem, group, &placement.voters);
        for out in placement.voters.intersection(&open) {
            for into in open.difference(&placement.voters) {
                let then = keeps(problem, group, &exchanged(&placement.voters, *out, *into));
                prop_assert!(
                    then <= now,
                    "{} would be better off with {} for {}",
                    group,
                    into,
                    out
                );
            }
        }
    }
    Ok(())
}

/// Told by counting, not by the score: with open nodes everywhere a home is kept to the letter.
fn a_home_is_kept_where_it_can_be(problem: &Problem, after: &Placements) -> Checked {
    let open = open(problem);
    for (group, placement) in after.iter().filter(|(_, placed)| placed.voters.is_subset(&open)) {
        let mut there: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in nodes(problem, &open) {
            there.entry(&node.region).or_default().insert(&node.zone);
            *counts.entry(&node.region).or_default() += 1;
        }
        let mut placed: BTreeMap<&str, usize> = BTreeMap::new();
        let mut zones: BTreeSet<(&str, &str)> = BTreeSet::new();
        for node in nodes(problem, &placement.voters) {
            *placed.entry(&node.region).or_default() += 1;
            zones.insert((&node.region, &node.zone));
        }
        match &problem.groups[group].policy {
            Policy::Anywhere => {}
            Policy::SurviveZone { home } => {
                let count = placement.voters.len();
                if there.get(home.as_str()).is_some_and(|zones| zones.len() >= count) {
                    prop_assert_eq!(
                        placed.get(home.as_str()),
                        Some(&count),
                        "{} is not at home",
                        group
                    );
                    prop_assert_eq!(zones.len(), count, "{} shares a zone", group);
                }
            }
            Policy::SurviveRegion { home } if placement.voters.len() == 5 => {
                let full = counts.values().filter(|count| **count >= 2).count();
                if full >= 3 && counts.get(home.as_str()).is_some_and(|count| *count >= 2) {
                    prop_assert_eq!(placed.get(home.as_str()), Some(&2), "{} is not at home", group);
                    prop_assert!(
                        placed.len() >= 3 && placed.values().all(|count| *count <= 2),
                        "{placed:?}"
                    );
                }
            }
            Policy::SurviveRegion { .. } => {}
        }
    }
    Ok(())
}

fn every_region_has_a_member_of_a_group_with_a_home(problem: &Problem, after: &Placements) -> Checked {
    let open = open(problem);
    let region = |id: NodeId| {
        problem
            .nodes
            .iter()
            .find(|node| node.id == id)
            .map(|node| &node.region)
    };
    for (group, placement) in after.iter().filter(|(group, _)| group.get() > 0) {
        prop_assert!(placement.voters.is_disjoint(&placement.learners));
        let voting: BTreeSet<_> = placement.voters.iter().map(|id| region(*id)).collect();
        let following: Vec<_> = placement.learners.iter().map(|id| region(*id)).collect();
        if problem.groups[group].policy.home().is_none() {
            prop_assert!(following.is_empty(), "{} has learners", group);
            continue;
        }
        let distinct: BTreeSet<_> = following.iter().copied().collect();
        prop_assert_eq!(
            distinct.len(),
            following.len(),
            "{} has two learners in a region",
            group
        );
        prop_assert!(
            voting.is_disjoint(&distinct),
            "{} has a learner beside a voter",
            group
        );
        for node in nodes(problem, &open) {
            let covered = voting.contains(&Some(&node.region)) || distinct.contains(&Some(&node.region));
            prop_assert!(covered, "{} has no member in {}", group, node.region);
        }
    }
    Ok(())
}

fn no_move_evens_the_nodes_out(problem: &Problem, after: &Placements) -> Checked {
    let (costs, replicas) = (costs(problem, after), replica_costs(after));
    for (group, placement) in after {
        let now = keeps(problem, group, &placement.voters);
        for out in placement.voters.iter().filter(|node| costs.contains_key(node)) {
            for into in costs.keys().filter(|node| !placement.voters.contains(node)) {
                let then = keeps(problem, group, &exchanged(&placement.voters, *out, *into));
                let gap = costs[out].saturating_sub(costs[into]);
                let helps = 2 * gap >= 3 * replicas[group];
                prop_assert!(
                    then < now || !helps,
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

fn leaders_are_open_voters_at_home_and_even(problem: &Problem, after: &Placements) -> Checked {
    let (open, costs) = (open(problem), lead_costs(after));
    let eligible = |group: &GroupId, placement: &Placement| -> BTreeSet<NodeId> {
        let voters: BTreeSet<NodeId> = placement.voters.intersection(&open).copied().collect();
        let home = problem.groups[group].policy.home();
        let at_home = nodes(problem, &voters).filter(|node| home == Some(node.region.as_str()));
        let at_home: BTreeSet<NodeId> = at_home.map(|node| node.id).collect();
        if at_home.is_empty() { voters } else { at_home }
    };
    let mut led: BTreeMap<NodeId, u64> = open.iter().map(|node| (*node, 0)).collect();
    for (group, placement) in after {
        let eligible = eligible(group, placement);
        match placement.preferred_leader {
            Some(leader) => {
                prop_assert!(eligible.contains(&leader), "{} is to be led by {}", group, leader);
                *led.entry(leader).or_default() += costs[group];
            }
            None => prop_assert!(eligible.is_empty(), "{} has no leader", group),
        }
    }
    for (group, placement) in after {
        for voter in eligible(group, placement) {
            let leader = placement.preferred_leader.unwrap_or(voter);
            let gap = led[&leader].saturating_sub(led[&voter]);
            prop_assert!(
                2 * gap < 3 * costs[group],
                "{} of {} could lead: {:?}",
                voter,
                group,
                led
            );
        }
    }
    Ok(())
}

fn the_control_group_reaches_everybody(problem: &Problem, after: &Placements) -> Checked {
    let control = &after[&GroupId::CONTROL];
    prop_assert!(control.voters.is_disjoint(&control.learners));
    let reached: BTreeSet<NodeId> = control.members().collect();
    let takes_part = |node: &&Node| matches!(node.state, NodeState::Active | NodeState::Draining);
    let taking_part: BTreeSet<NodeId> = problem
        .nodes
        .iter()
        .filter(takes_part)
        .map(|node| node.id)
        .collect();
    prop_assert!(
        reached.is_superset(&taking_part),
        "{reached:?} of {taking_part:?}"
    );
    let holders: BTreeSet<NodeId> = after.values().flat_map(Placement::members).collect();
    prop_assert!(reached.is_superset(&holders), "{reached:?} of {holders:?}");
    Ok(())
}
