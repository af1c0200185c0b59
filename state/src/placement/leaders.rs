//! Who should lead which group: leaders stay where they are unless a chain of exchanges evens them out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::NodeId;
use crate::topology::{Node, NodeState};

/// Which groups each node leads.
struct Leadership<'a> {
    /// Per group, the voters that may lead it.
    eligible: &'a [BTreeSet<NodeId>],
    leaders: Vec<Option<NodeId>>,
    led: BTreeMap<NodeId, usize>,
}

/// The preferred leader of every group, given those before; `None` where no active node votes.
pub(super) fn assign(
    nodes: &BTreeMap<NodeId, &Node>,
    voters: &[BTreeSet<NodeId>],
    before: &[Option<NodeId>],
) -> Vec<Option<NodeId>> {
    let is_active = |id: &NodeId| nodes.get(id).is_some_and(|node| node.state == NodeState::Active);
    let eligible: Vec<BTreeSet<NodeId>> = voters
        .iter()
        .map(|voters| voters.iter().copied().filter(is_active).collect())
        .collect();
    let leaders = before
        .iter()
        .zip(&eligible)
        .map(|(before, eligible)| before.filter(|leader| eligible.contains(leader)))
        .collect();
    let mut leadership = Leadership {
        eligible: &eligible,
        leaders,
        led: BTreeMap::new(),
    };
    for leader in leadership.leaders.iter().flatten() {
        *leadership.led.entry(*leader).or_default() += 1;
    }
    leadership.fill();
    while leadership.even_out() {}
    leadership.leaders
}

impl Leadership<'_> {
    fn count(&self, node: NodeId) -> usize {
        self.led.get(&node).copied().unwrap_or(0)
    }

    fn hand_over(&mut self, group: usize, to: NodeId) {
        if let Some(from) = self.leaders[group].replace(to) {
            *self.led.entry(from).or_default() -= 1;
        }
        *self.led.entry(to).or_default() += 1;
    }

    /// Gives every group without a leader to its eligible voter that leads least.
    fn fill(&mut self) {
        for group in 0..self.leaders.len() {
            let least = self.eligible[group]
                .iter()
                .copied()
                .min_by_key(|node| (self.count(*node), *node));
            if let (None, Some(node)) = (self.leaders[group], least) {
                self.hand_over(group, node);
            }
        }
    }

    /// Hands groups over along one chain, from a node that leads at least two more than the node at its end.
    fn even_out(&mut self) -> bool {
        let mut busiest: Vec<NodeId> = self.led.keys().copied().collect();
        busiest.sort_by_key(|node| (std::cmp::Reverse(self.count(*node)), *node));
        for from in busiest {
            if let Some(chain) = self.chain_from(from) {
                for (group, to) in chain {
                    self.hand_over(group, to);
                }
                return true;
            }
        }
        false
    }

    /// The shortest chain of hand-overs from `from` to a node that leads at least two groups fewer.
    fn chain_from(&self, from: NodeId) -> Option<Vec<(usize, NodeId)>> {
        let mut groups: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for (group, leader) in self.leaders.iter().enumerate() {
            if let Some(leader) = leader {
                groups.entry(*leader).or_default().push(group);
            }
        }
        // Per reached node: the group that was handed to it, and by whom.
        let mut reached: BTreeMap<NodeId, (usize, NodeId)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for group in groups.get(&node).into_iter().flatten() {
                for next in &self.eligible[*group] {
                    if *next == from || reached.contains_key(next) {
                        continue;
                    }
                    reached.insert(*next, (*group, node));
                    if self.count(*next) + 2 <= self.count(from) {
                        return Some(chain_to(*next, from, &reached));
                    }
                    queue.push_back(*next);
                }
            }
        }
        None
    }
}

/// The hand-overs that lead from `from` to `end`.
fn chain_to(end: NodeId, from: NodeId, reached: &BTreeMap<NodeId, (usize, NodeId)>) -> Vec<(usize, NodeId)> {
    let mut chain = Vec::new();
    let mut node = end;
    while node != from {
        let Some((group, giver)) = reached.get(&node) else {
            break;
        };
        chain.push((*group, node));
        node = *giver;
    }
    chain
}
