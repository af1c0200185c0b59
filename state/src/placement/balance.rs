//! Evening out what nodes hold, by moves of one replica and, where none helps, by exchanges of two.

use super::voters::Assignment;
use super::weigh::BASE;
use crate::id::NodeId;

/// Groups of one node that are tried in an exchange: its heaviest or lightest.
const TRIED_MAX: usize = 64;

/// Whether moving `weight` from a node that is `gap` heavier is worth it: the gap is then smaller by half of the weight
/// at least. Equal weights move where the counts differ by two.
pub(super) const fn is_worth_it(gap: u64, weight: u64) -> bool {
    2 * gap >= 3 * weight
}

/// Moves and exchanges replicas until nothing helps. Both make the sum of squared costs smaller, so it ends.
pub(super) fn even_out(assignment: &mut Assignment<'_>) {
    while step(assignment) {}
}

fn step(assignment: &mut Assignment<'_>) -> bool {
    let mut nodes: Vec<NodeId> = assignment.fleet.open().to_vec();
    nodes.sort_by_key(|node| (assignment.cost(*node), *node));
    let pairs = || {
        nodes
            .iter()
            .rev()
            .flat_map(|out| nodes.iter().map(move |into| (*out, *into)))
    };
    for (out, into) in pairs() {
        let gap = assignment.cost(out).saturating_sub(assignment.cost(into));
        if is_worth_it(gap, BASE) && move_one(assignment, out, into, gap) {
            return true;
        }
    }
    for (out, into) in pairs() {
        let gap = assignment.cost(out).saturating_sub(assignment.cost(into));
        if is_worth_it(gap, BASE) && exchange_two(assignment, out, into, gap) {
            return true;
        }
    }
    false
}

/// Moves the group that closes the gap best.
fn move_one(assignment: &mut Assignment<'_>, out: NodeId, into: NodeId, gap: u64) -> bool {
    let fit = (0..assignment.groups.len()).filter(|group| {
        is_worth_it(gap, assignment.groups[*group].replica) && assignment.may_move(*group, out, into)
    });
    let closing = |group: &usize| closes(gap, assignment.groups[*group].replica);
    let Some(group) = fit.max_by_key(|group| (closing(group), std::cmp::Reverse(*group))) else {
        return false;
    };
    assignment.remove(group, out);
    assignment.add(group, into);
    true
}

/// By how much moving `weight` makes the heavier node lighter without making the other one as heavy.
fn closes(gap: u64, weight: u64) -> u64 {
    weight.min(gap.saturating_sub(weight))
}

/// Exchanges a heavier group for a lighter one, the pair that closes the gap best.
fn exchange_two(assignment: &mut Assignment<'_>, out: NodeId, into: NodeId, gap: u64) -> bool {
    let weight = |group: &usize| assignment.groups[*group].replica;
    let movable = |from, to| {
        let mut groups: Vec<usize> = (0..assignment.groups.len()).collect();
        groups.retain(|group| assignment.may_move(*group, from, to));
        groups.sort_by_key(|group| (weight(group), *group));
        groups
    };
    let heavy = movable(out, into);
    let light = movable(into, out);
    let pairs = heavy
        .iter()
        .rev()
        .take(TRIED_MAX)
        .flat_map(|give| light.iter().take(TRIED_MAX).map(move |take| (*give, *take)));
    let worth = pairs.filter_map(|(give, take)| {
        let difference = weight(&give).checked_sub(weight(&take))?;
        (difference >= BASE && is_worth_it(gap, difference)).then_some((closes(gap, difference), give, take))
    });
    let best = worth.max_by_key(|(closes, give, take)| (*closes, std::cmp::Reverse((*give, *take))));
    let Some((_, give, take)) = best else {
        return false;
    };
    for (group, from, to) in [(give, out, into), (take, into, out)] {
        assignment.remove(group, from);
        assignment.add(group, to);
    }
    true
}
