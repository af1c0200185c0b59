//! Who votes in which group: what is there is kept, what is missing is filled, and then single exchanges keep the
//! policy better and even out the nodes until none helps any more.
//!
//! Each exchange makes a group's score larger, or leaves it and makes the sum of the squared costs smaller, so it ends;
//! and because it ends only where no exchange helps, planning again finds nothing to do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::fleet::{Fleet, Stance};
use super::spread::{self, Score, exchanged};
use super::{Group, balance, largest_odd};
use crate::id::NodeId;

/// An assignment in the making.
pub(super) struct Assignment<'a> {
    pub(super) fleet: &'a Fleet<'a>,
    pub(super) groups: &'a [Group<'a>],
    /// Per group.
    pub(super) voters: Vec<BTreeSet<NodeId>>,
    /// What the replicas of each node cost.
    costs: BTreeMap<NodeId, u64>,
}

/// The voters of every group.
pub(super) fn assign(fleet: &Fleet<'_>, groups: &[Group<'_>], factor: usize) -> Vec<BTreeSet<NodeId>> {
    let mut assignment = Assignment {
        fleet,
        groups,
        voters: vec![BTreeSet::new(); groups.len()],
        costs: BTreeMap::new(),
    };
    for (position, group) in groups.iter().enumerate() {
        for node in group
            .before
            .voters
            .iter()
            .filter(|node| fleet.get(**node).is_some())
        {
            assignment.add(position, *node);
        }
    }
    for (position, group) in groups.iter().enumerate() {
        // A group is made by one node alone; the others are added when it is there.
        let wanted = if group.is_made() {
            group.policy.voters(factor)
        } else {
            1
        };
        assignment.resize(position, wanted);
        if group.is_made() {
            while assignment.widen(position) {}
        }
    }
    balance::even_out(&mut assignment);
    assignment.voters
}

impl Assignment<'_> {
    pub(super) fn add(&mut self, group: usize, node: NodeId) {
        if self.voters[group].insert(node) {
            *self.costs.entry(node).or_default() += self.groups[group].replica;
        }
    }

    pub(super) fn remove(&mut self, group: usize, node: NodeId) {
        if self.voters[group].remove(&node) {
            *self.costs.entry(node).or_default() -= self.groups[group].replica;
        }
    }

    pub(super) fn cost(&self, node: NodeId) -> u64 {
        self.costs.get(&node).copied().unwrap_or(0)
    }

    /// Brings a group to its number of voters: nodes that leave go first and come back only as a last resort.
    fn resize(&mut self, group: usize, voters: usize) {
        let held = self.voters[group].clone();
        let others = self
            .fleet
            .open()
            .iter()
            .filter(|node| !held.contains(node))
            .count();
        let wanted = largest_odd(voters.min(held.len() + others));
        let leaves = |node: &NodeId| self.fleet.stance(*node) == Some(Stance::Leaves);
        let leaving: Vec<NodeId> = held.into_iter().filter(leaves).collect();
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

    /// The voter whose loss hurts the policy least; of these the one with most to do.
    fn most_dispensable(&self, group: usize) -> Option<NodeId> {
        let voters = self.voters[group].iter().copied();
        voters.max_by_key(|node| (self.score_with(group, Some(*node), None), self.cost(*node), *node))
    }

    /// The open node that keeps the policy best; of these one that follows already, then the one with least to do.
    fn most_welcome(&self, group: usize) -> Option<NodeId> {
        let others = self.fleet.open().iter().copied();
        let follows = |node: &NodeId| self.groups[group].before.learners.contains(node);
        others
            .filter(|node| !self.voters[group].contains(node))
            .max_by_key(|node| {
                let score = self.score_with(group, None, Some(*node));
                (score, follows(node), Reverse(self.cost(*node)), Reverse(*node))
            })
    }

    /// Makes the exchange between open nodes that keeps a group's policy better by most, if one does.
    fn widen(&mut self, group: usize) -> bool {
        let now = self.score_with(group, None, None);
        let voters = &self.voters[group];
        let open = self.fleet.open();
        let outsiders = open.iter().copied().filter(|node| !voters.contains(node));
        let leavers = || open.iter().copied().filter(|node| voters.contains(node));
        let exchanges = outsiders.flat_map(|into| leavers().map(move |out| (out, into)));
        let best = exchanges
            .map(|(out, into)| (self.score_with(group, Some(out), Some(into)), out, into))
            .filter(|(score, ..)| *score > now)
            .max_by_key(|(score, out, into)| {
                let costs = (self.cost(*out), Reverse(self.cost(*into)));
                (*score, costs, Reverse((*out, *into)))
            });
        if let Some((_, out, into)) = best {
            self.remove(group, out);
            self.add(group, into);
        }
        best.is_some()
    }

    /// The score of a group's voters without `out` and with `into`.
    pub(super) fn score_with(&self, group: usize, out: Option<NodeId>, into: Option<NodeId>) -> Score {
        let nodes = exchanged(&self.voters[group], out, into).filter_map(|node| self.fleet.get(node));
        spread::score(self.groups[group].policy, nodes)
    }

    /// Whether `into` may vote for `out` only to even out the nodes: the policy is kept as well, nobody has pinned it.
    pub(super) fn may_move(&self, group: usize, out: NodeId, into: NodeId) -> bool {
        let before = &self.groups[group].before;
        self.groups[group].is_made()
            && !(before.pins.replicas && self.voters[group] == before.voters)
            && self.voters[group].contains(&out)
            && !self.voters[group].contains(&into)
            && self.score_with(group, Some(out), Some(into)) >= self.score_with(group, None, None)
    }
}
