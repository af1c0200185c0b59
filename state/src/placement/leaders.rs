//! Who should lead which group: leaders stay where they are unless a hand-over, or a chain of them, evens them out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Group;
use super::balance::is_worth_it;
use super::fleet::Fleet;
use super::weigh::BASE;
use crate::id::NodeId;

/// Which groups each node leads.
struct Leadership<'a> {
    groups: &'a [Group<'a>],
    /// Per group, the voters that may lead it.
    eligible: Vec<BTreeSet<NodeId>>,
    leaders: Vec<Option<NodeId>>,
    /// Per group, whether an operator has chosen its leader.
    pinned: Vec<bool>,
    costs: BTreeMap<NodeId, u64>,
}

/// The preferred leader of every group, `None` where no open node votes, and whether it stays because it is pinned.
pub(super) fn assign(
    fleet: &Fleet<'_>,
    groups: &[Group<'_>],
    voters: &[BTreeSet<NodeId>],
) -> Vec<(Option<NodeId>, bool)> {
    let eligible: Vec<BTreeSet<NodeId>> = groups
        .iter()
        .zip(voters)
        .map(|(group, voters)| eligible(fleet, group, voters))
        .collect();
    let known = groups.iter().zip(&eligible).map(|(group, eligible)| {
        let before = group.before.preferred_leader;
        before.filter(|leader| eligible.contains(leader))
    });
    let leaders: Vec<Option<NodeId>> = known.collect();
    let pinned = groups
        .iter()
        .zip(&leaders)
        .map(|(group, leader)| group.before.pins.leader && leader.is_some());
    let mut leadership = Leadership {
        groups,
        pinned: pinned.collect(),
        eligible,
        costs: BTreeMap::new(),
        leaders,
    };
    for (group, leader) in groups.iter().zip(&leadership.leaders) {
        if let Some(leader) = leader {
            *leadership.costs.entry(*leader).or_default() += group.lead;
        }
    }
    leadership.fill();
    while leadership.hand_one_over() || leadership.hand_along_a_chain() {}
    leadership.leaders.into_iter().zip(leadership.pinned).collect()
}

/// The open voters at home; where none is at home, all open voters.
fn eligible(fleet: &Fleet<'_>, group: &Group<'_>, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let open = || voters.iter().copied().filter(|node| fleet.is_open(*node));
    let is_home = |node: &NodeId| {
        let region = fleet.get(*node).map(|node| node.region.as_str());
        group.policy.home().is_some() && region == group.policy.home()
    };
    let at_home: BTreeSet<NodeId> = open().filter(is_home).collect();
    if at_home.is_empty() {
        open().collect()
    } else {
        at_home
    }
}

impl Leadership<'_> {
    fn cost(&self, node: NodeId) -> u64 {
        self.costs.get(&node).copied().unwrap_or(0)
    }

    fn hand_over(&mut self, group: usize, to: NodeId) {
        let cost = self.groups[group].lead;
        if let Some(from) = self.leaders[group].replace(to) {
            *self.costs.entry(from).or_default() -= cost;
        }
        *self.costs.entry(to).or_default() += cost;
    }

    /// Gives every group without a leader to its eligible voter that leads least.
    fn fill(&mut self) {
        for group in 0..self.leaders.len() {
            let eligible = self.eligible[group].iter().copied();
            let least = eligible.min_by_key(|node| (self.cost(*node), *node));
            if let (None, Some(node)) = (self.leaders[group], least) {
                self.hand_over(group, node);
            }
        }
    }

    /// Makes the first hand-over that is worth it.
    fn hand_one_over(&mut self) -> bool {
        for group in 0..self.leaders.len() {
            let Some(leader) = self.leaders[group].filter(|_| !self.pinned[group]) else {
                continue;
            };
            let eligible = self.eligible[group].iter().copied();
            let least = eligible.min_by_key(|node| (self.cost(*node), *node));
            let gap = least.map_or(0, |least| self.cost(leader).saturating_sub(self.cost(least)));
            if let Some(least) = least.filter(|_| is_worth_it(gap, self.groups[group].lead)) {
                self.hand_over(group, least);
                return true;
            }
        }
        false
    }

    /// Hands groups over along one chain, where the ends are so far apart that it is worth it.
    fn hand_along_a_chain(&mut self) -> bool {
        let mut busiest: Vec<NodeId> = self.costs.keys().copied().collect();
        busiest.sort_by_key(|node| (std::cmp::Reverse(self.cost(*node)), *node));
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

    /// The shortest chain of hand-overs from `from` that evens out what is led. Pinned groups are looked at like all others
    /// and a chain with one of them is left: were they passed over, a pin would open chains that nobody tried before,
    /// and make others move.
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
                    let far = self.cost(*next) + 2 * BASE <= self.cost(from);
                    let chain = far.then(|| chain_to(*next, from, &reached));
                    let may_go = |chain: &[(usize, NodeId)]| {
                        chain.iter().all(|(group, _)| !self.pinned[*group]) && self.evens_out(chain)
                    };
                    if let Some(chain) = chain.filter(|chain| may_go(chain)) {
                        return Some(chain);
                    }
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    /// Whether a chain makes the sum of the squared costs smaller by a base, squared.
    fn evens_out(&self, chain: &[(usize, NodeId)]) -> bool {
        let mut moved: BTreeMap<NodeId, i128> = BTreeMap::new();
        for (group, to) in chain {
            let cost = i128::from(self.groups[*group].lead);
            *moved.entry(*to).or_default() += cost;
            if let Some(from) = self.leaders[*group] {
                *moved.entry(from).or_default() -= cost;
            }
        }
        let change = |(node, moved): (&NodeId, &i128)| moved * (2 * i128::from(self.cost(*node)) + moved);
        moved.iter().map(change).sum::<i128>() <= -(i128::from(BASE) * i128::from(BASE))
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
