//! Who votes in which group: what is there is kept, what is missing is filled, and then single exchanges widen the
//! spread and even out the load until none helps any more.
//!
//! Each exchange makes the total spread larger, or leaves it and makes the sum of squared loads smaller, so it ends; and
//! because it ends only where no exchange helps, planning again finds nothing to do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;
use crate::topology::{Node, NodeState};

/// Distinct regions, then distinct zones: more is better.
type Spread = (usize, usize);

/// An assignment in the making.
struct Assignment<'a> {
    nodes: &'a BTreeMap<NodeId, &'a Node>,
    /// Per group.
    voters: Vec<BTreeSet<NodeId>>,
    /// Groups per node.
    load: BTreeMap<NodeId, usize>,
}

/// The voters of every group, given those before.
pub(super) fn assign(
    nodes: &BTreeMap<NodeId, &Node>,
    replication_factor: usize,
    before: &[BTreeSet<NodeId>],
) -> Vec<BTreeSet<NodeId>> {
    let mut assignment = Assignment {
        nodes,
        voters: vec![BTreeSet::new(); before.len()],
        load: nodes.keys().map(|node| (*node, 0)).collect(),
    };
    for (group, before) in before.iter().enumerate() {
        for node in before.iter().filter(|node| nodes.contains_key(node)) {
            assignment.add(group, *node);
        }
    }
    for group in 0..before.len() {
        assignment.resize(group, replication_factor);
    }
    while assignment.widen() || assignment.level() {}
    assignment.voters
}

impl Assignment<'_> {
    fn add(&mut self, group: usize, node: NodeId) {
        if self.voters[group].insert(node) {
            *self.load.entry(node).or_default() += 1;
        }
    }

    fn remove(&mut self, group: usize, node: NodeId) {
        if self.voters[group].remove(&node) {
            *self.load.entry(node).or_default() -= 1;
        }
    }

    fn load(&self, node: NodeId) -> usize {
        self.load.get(&node).copied().unwrap_or(0)
    }

    fn state(&self, node: NodeId) -> NodeState {
        self.nodes
            .get(&node)
            .map_or(NodeState::Removed, |node| node.state)
    }

    fn active(&self) -> impl Iterator<Item = NodeId> {
        self.nodes
            .values()
            .filter(|node| node.state == NodeState::Active)
            .map(|node| node.id)
    }

    /// Brings a group to its number of voters: decommissioning nodes go first and come back only as a last resort.
    fn resize(&mut self, group: usize, replication_factor: usize) {
        let held = self.voters[group].clone();
        let others = self.active().filter(|node| !held.contains(node)).count();
        let wanted = largest_odd(replication_factor.min(held.len() + others));
        let leaving: Vec<NodeId> = held
            .into_iter()
            .filter(|node| self.state(*node) == NodeState::Decommissioning)
            .collect();
        for node in &leaving {
            self.remove(group, *node);
        }
        while self.voters[group].len() > wanted {
            let Some(node) = self.most_dispensable(group) else {
                break;
            };
            self.remove(group, node);
        }
        while self.voters[group].len() < wanted {
            let Some(node) = self.most_welcome(group) else {
                break;
            };
            self.add(group, node);
        }
        for node in leaving {
            if self.voters[group].len() < wanted {
                self.add(group, node);
            }
        }
    }

    /// The voter whose loss hurts the spread least; of these the one with most to do.
    fn most_dispensable(&self, group: usize) -> Option<NodeId> {
        let voters = &self.voters[group];
        voters.iter().copied().max_by_key(|node| {
            (
                self.spread_with(voters, Some(*node), None),
                self.load(*node),
                *node,
            )
        })
    }

    /// The active node that widens the spread most; of these the one with least to do.
    fn most_welcome(&self, group: usize) -> Option<NodeId> {
        let voters = &self.voters[group];
        self.active()
            .filter(|node| !voters.contains(node))
            .max_by_key(|node| {
                (
                    self.spread_with(voters, None, Some(*node)),
                    Reverse(self.load(*node)),
                    Reverse(*node),
                )
            })
    }

    /// Makes the first exchange that widens a group's spread. Draining nodes are left alone.
    fn widen(&mut self) -> bool {
        let mut newcomers: Vec<NodeId> = self.active().collect();
        newcomers.sort_by_key(|node| (self.load(*node), *node));
        for group in 0..self.voters.len() {
            let voters = &self.voters[group];
            let now = self.spread_with(voters, None, None);
            let outsiders = newcomers.iter().filter(|node| !voters.contains(node));
            let leavers = || {
                voters
                    .iter()
                    .filter(|node| self.state(**node) == NodeState::Active)
            };
            let exchanges = outsiders.flat_map(|into| leavers().map(move |out| (*out, *into)));
            let widest = exchanges
                .map(|(out, into)| (self.spread_with(voters, Some(out), Some(into)), out, into))
                .filter(|(spread, ..)| *spread > now)
                .max_by_key(|(spread, out, into)| {
                    (
                        *spread,
                        self.load(*out),
                        Reverse(self.load(*into)),
                        Reverse((*out, *into)),
                    )
                });
            if let Some((_, out, into)) = widest {
                self.remove(group, out);
                self.add(group, into);
                return true;
            }
        }
        false
    }

    /// Moves one replica from a busier active node to one with at least two fewer, where the spread allows.
    fn level(&mut self) -> bool {
        let mut by_load: Vec<NodeId> = self.active().collect();
        by_load.sort_by_key(|node| (self.load(*node), *node));
        for out in by_load.iter().rev() {
            for into in &by_load {
                if self.load(*out) < self.load(*into) + 2 {
                    break;
                }
                if let Some(group) = self.movable(*out, *into) {
                    self.remove(group, *out);
                    self.add(group, *into);
                    return true;
                }
            }
        }
        false
    }

    /// A group that could have `into` vote for `out` without a narrower spread.
    fn movable(&self, out: NodeId, into: NodeId) -> Option<usize> {
        self.voters.iter().position(|voters| {
            voters.contains(&out)
                && !voters.contains(&into)
                && self.spread_with(voters, Some(out), Some(into)) >= self.spread_with(voters, None, None)
        })
    }

    /// The spread of `voters` without `out` and with `into`.
    fn spread_with(&self, voters: &BTreeSet<NodeId>, out: Option<NodeId>, into: Option<NodeId>) -> Spread {
        let left = voters
            .iter()
            .copied()
            .filter(|node| Some(*node) != out)
            .chain(into);
        let places: Vec<(&str, &str)> = left
            .filter_map(|node| self.nodes.get(&node))
            .map(|node| (node.region.as_str(), node.zone.as_str()))
            .collect();
        let regions: BTreeSet<&str> = places.iter().map(|(region, _)| *region).collect();
        let zones: BTreeSet<(&str, &str)> = places.into_iter().collect();
        (regions.len(), zones.len())
    }
}

/// The largest odd number that is not above `limit`; zero for zero.
fn largest_odd(limit: usize) -> usize {
    limit - usize::from(limit > 0 && limit.is_multiple_of(2))
}
