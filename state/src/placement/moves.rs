//! What a new placement changes against an old one, and why: for people, and for dry runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::spread::{exchanged, score};
use super::{Fleet, Problem, fleet::Stance};
use crate::id::{GroupId, NodeId};
use crate::namespace::Policy;
use crate::topology::Placement;

/// Why something moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The group has too few members of this kind.
    Missing,
    /// The group has more members of this kind than it needs.
    Surplus,
    /// The node gives up its replicas or is gone.
    Leaving,
    /// The node was not heard of for so long that its replicas are rebuilt.
    Dead,
    /// The policy is kept better.
    Policy,
    /// The nodes are more even.
    Balance,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a member is missing",
            Self::Surplus => "a member is not needed",
            Self::Leaving => "the node leaves",
            Self::Dead => "the node is dead",
            Self::Policy => "the policy is kept better",
            Self::Balance => "the nodes are more even",
        })
    }
}

/// One change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The group.
    pub group: GroupId,
    /// What moves: `voter`, `learner` or `leader`.
    pub what: &'static str,
    /// Who has it now.
    pub from: Option<NodeId>,
    /// Who is to have it.
    pub to: Option<NodeId>,
    /// Why.
    pub why: Why,
}

/// What changes from `before` to `after`, group by group: voters, learners, leaders.
pub fn moves(
    problem: &Problem,
    before: &BTreeMap<GroupId, Placement>,
    after: &BTreeMap<GroupId, Placement>,
) -> Vec<Move> {
    let fleet = Fleet::new(problem);
    let empty = Placement::default();
    let mut moves = Vec::new();
    for (group, then) in after {
        let now = before.get(group).unwrap_or(&empty);
        let anywhere = Policy::Anywhere;
        let policy = problem
            .groups
            .get(group)
            .map_or(&anywhere, |demand| &demand.policy);
        let explain = Explain {
            problem,
            fleet: &fleet,
            policy,
            voters: &now.voters,
        };
        for (from, to) in pairs(&now.voters, &then.voters) {
            moves.push(Move {
                group: *group,
                what: "voter",
                from,
                to,
                why: explain.voter(from, to),
            });
        }
        for (from, to) in pairs(&now.learners, &then.learners) {
            moves.push(Move {
                group: *group,
                what: "learner",
                from,
                to,
                why: explain.other(from, to),
            });
        }
        let (from, to) = (now.preferred_leader, then.preferred_leader);
        if from != to {
            let votes = from.is_some_and(|from| then.voters.contains(&from));
            let why = if votes {
                explain.other(from, to)
            } else {
                Why::Missing
            };
            moves.push(Move {
                group: *group,
                what: "leader",
                from,
                to,
                why,
            });
        }
    }
    moves
}

/// Those who go, each with one who comes as long as there are some.
fn pairs(now: &BTreeSet<NodeId>, then: &BTreeSet<NodeId>) -> Vec<(Option<NodeId>, Option<NodeId>)> {
    let mut out = now.difference(then).copied();
    let mut into = then.difference(now).copied();
    let count = now.difference(then).count().max(then.difference(now).count());
    (0..count).map(|_| (out.next(), into.next())).collect()
}

/// What is needed to tell why a group changes.
struct Explain<'a> {
    problem: &'a Problem,
    fleet: &'a Fleet<'a>,
    policy: &'a Policy,
    voters: &'a BTreeSet<NodeId>,
}

impl Explain<'_> {
    fn voter(&self, from: Option<NodeId>, to: Option<NodeId>) -> Why {
        match self.other(from, to) {
            Why::Balance => {
                let score = |out, into| {
                    let nodes = exchanged(self.voters, out, into).filter_map(|node| self.fleet.get(node));
                    score(self.policy, nodes)
                };
                if score(from, to) > score(None, None) {
                    Why::Policy
                } else {
                    Why::Balance
                }
            }
            why => why,
        }
    }

    fn other(&self, from: Option<NodeId>, to: Option<NodeId>) -> Why {
        match (from, to) {
            (None, _) => Why::Missing,
            (Some(from), _) if self.problem.dead.contains(&from) => Why::Dead,
            (Some(from), _)
                if self
                    .fleet
                    .stance(from)
                    .is_none_or(|stance| stance != Stance::Open) =>
            {
                Why::Leaving
            }
            (Some(_), None) => Why::Surplus,
            (Some(_), Some(_)) => Why::Balance,
        }
    }
}
