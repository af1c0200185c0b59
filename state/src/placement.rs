//! Where the replicas of groups go: a pure, stable, idempotent planner.
//!
//! Wanted, in this order; each is a property that `tests/suite/placement` checks over generated clusters:
//!
//! 1. *Replication.* A group has the largest odd number of voters that its policy and its available nodes allow.
//!    Available are open nodes (active and heard of), and nodes that hold a replica of the group already.
//! 2. *Leaving.* A decommissioning or dead node votes only where too few others are available, so a dead node's
//!    replicas are rebuilt elsewhere, but never at the price of fewer voters. A draining or silent node keeps its own.
//! 3. *Policy.* No single exchange between open nodes would keep the policy better: with a home that survives a zone
//!    the voters are at home in distinct zones; with one that survives a region two voters are at home, at most two in
//!    any region, in as many regions as can be; without a home they are in as many regions, then zones, as can be.
//! 4. *Learners.* A group with a home has one learner in every region where it has no voter; in the control group
//!    every other node that takes part follows.
//! 5. *Balance.* No move of one replica between open nodes makes the heavier of them lighter by half of what moves,
//!    and no exchange of two by a group's base weight, where the policy allows it. A replica weighs a base, so that
//!    counts are even, and more with its bytes and its load.
//! 6. *Leaders* are open voters, at home where one is, and no hand-over and no chain of them would even out what they
//!    lead, by count and load.
//! 7. *Calm.* Planning again changes nothing; a revision moves only with its content; a weight that has changed by
//!    less than a quarter counts as unchanged; what an operator has pinned is not evened out, until it has to move.
//! 8. *Few moves.* A node that joins takes its share and nothing else moves; a node that leaves gives up what it has.
//!
//! The planner knows no clock: who is silent and who is dead is part of the problem.

mod balance;
mod fleet;
mod leaders;
mod learners;
mod moves;
mod spread;
mod voters;
mod weigh;

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{GroupId, NodeId};
use crate::namespace::Policy;
use crate::topology::{Node, Pins, Placement, Weight};

pub use self::moves::{Move, Why, moves};
pub use self::spread::{Score, feasible, score};
pub use self::weigh::is_close;

use self::fleet::Fleet;

/// What is to be placed, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// All nodes; removed ones are left out of account.
    pub nodes: Vec<Node>,
    /// Nodes that were not heard of just now: they keep what they hold and lead nothing.
    pub silent: BTreeSet<NodeId>,
    /// Nodes that were not heard of for so long that their replicas are rebuilt elsewhere.
    pub dead: BTreeSet<NodeId>,
    /// Every group, the control group too.
    pub groups: BTreeMap<GroupId, Demand>,
    /// Voters per group when there are enough nodes and the policy asks for no more.
    pub replication_factor: u32,
}

/// What a group asks of its placement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    /// What it is to survive.
    pub policy: Policy,
    /// What it weighs now.
    pub weight: Weight,
}

/// A group on its way through the planner.
struct Group<'a> {
    id: GroupId,
    policy: &'a Policy,
    /// What it counts as, which may be what it weighed before.
    weight: Weight,
    /// The cost of a replica.
    replica: u64,
    /// The cost of leading it.
    lead: u64,
    before: Placement,
}

impl Group<'_> {
    /// Whether the group has been made, or has never been placed, so that nobody is to make it.
    fn is_made(&self) -> bool {
        self.before.is_made() || self.before.voters.is_empty()
    }
}

/// The members of every group, as seldom different from `previous` as the wanted properties allow.
pub fn place(problem: &Problem, previous: &BTreeMap<GroupId, Placement>) -> BTreeMap<GroupId, Placement> {
    let mut known = previous.clone();
    loop {
        let planned = plan(problem, &known);
        let pins = |placements: &BTreeMap<GroupId, Placement>| -> Vec<Pins> {
            let of = |group| placements.get(group).map_or(Pins::default(), |known| known.pins);
            planned.keys().map(of).collect()
        };
        // A pin that fell has held back what may move now, so nothing is at rest before no pin falls any more.
        if pins(&known) == pins(&planned) {
            return numbered(planned, previous);
        }
        known = planned;
    }
}

/// One pass of the planner; it leaves the revisions as they are.
fn plan(problem: &Problem, previous: &BTreeMap<GroupId, Placement>) -> BTreeMap<GroupId, Placement> {
    let fleet = Fleet::new(problem);
    let groups = weigh::groups(problem, previous);
    let voters = voters::assign(&fleet, &groups, problem.replication_factor as usize);
    let learners = learners::assign(&fleet, &groups, &voters);
    let leaders = leaders::assign(&fleet, &groups, &voters);
    let members = voters.into_iter().zip(learners).zip(leaders);
    groups
        .into_iter()
        .zip(members)
        .map(
            |(group, ((voters, learners), (preferred_leader, leader_is_pinned)))| {
                let (id, weight, before) = (group.id, group.weight, group.before);
                let maker = match before.voters.is_empty() {
                    true => voters.first().copied(),
                    false => before.maker,
                };
                let pins = Pins {
                    replicas: before.pins.replicas && voters == before.voters,
                    leader: leader_is_pinned,
                };
                let wanted = Placement {
                    revision: before.revision,
                    voters,
                    learners,
                    preferred_leader,
                    weight,
                    pins,
                    maker,
                };
                (id, wanted)
            },
        )
        .collect()
}

/// The placements with revisions that move where their content does.
fn numbered(
    mut planned: BTreeMap<GroupId, Placement>,
    previous: &BTreeMap<GroupId, Placement>,
) -> BTreeMap<GroupId, Placement> {
    for (group, placement) in &mut planned {
        let before = previous.get(group).cloned().unwrap_or_default();
        placement.revision = before.revision + u64::from(*placement != before);
    }
    planned
}

/// The largest odd number that is not above `limit`; zero for zero.
pub fn largest_odd(limit: usize) -> usize {
    limit - usize::from(limit > 0 && limit.is_multiple_of(2))
}
