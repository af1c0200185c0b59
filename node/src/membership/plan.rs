//! The leader of group 0 decides who should hold which group.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_state::placement::{Demand, Problem, place};
use covey_state::topology::Placement;
use covey_state::{Command, GroupId, Rejection};
use tokio::time::timeout;

use super::Membership;
use super::census::Observed;
use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::{Failure, chain};

/// How often the placement is looked at when the catalog does not change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A problem and placements that are its solution: planning again would change nothing.
type Solved = (Problem, BTreeMap<GroupId, Placement>);

impl Membership {
    /// Looks at the placement, again and again.
    pub(super) async fn keep_placed(self) {
        let mut changes = self.context.catalog.changes();
        let mut solved = None;
        loop {
            // Without a census nothing is known about who is there; it begins with the leadership.
            if let Some(observed) = self.census.observed() {
                match self.place(&observed, &mut solved).await {
                    // Somebody else has placed the group meanwhile; the next copy of the catalog shows it.
                    Ok(()) | Err(Failure::Rejected(Rejection::Conflict { .. })) => {}
                    Err(failure) => {
                        tracing::warn!(reason = chain(&failure), "the groups could not be placed")
                    }
                }
            }
            if let Ok(Err(_)) = timeout(LOOK_EVERY, changes.changed()).await {
                return;
            }
        }
    }

    async fn place(&self, observed: &Observed, solved: &mut Option<Solved>) -> Result<(), Failure> {
        let copy = self.context.catalog.current();
        let Some(problem) = problem(&copy, observed) else {
            return Ok(());
        };
        let before = copy.placements.clone();
        let known = solved
            .as_ref()
            .is_some_and(|(of, solution)| (of, solution) == (&problem, &before));
        if known {
            return Ok(());
        }
        let (of, from) = (problem.clone(), before.clone());
        let after = self.context.compute.run(move || place(&of, &from)).await;
        if after == before {
            *solved = Some((problem, before));
            return Ok(());
        }
        decide(&self.context, &Caller::internal("placement"), &before, after).await
    }
}

/// Asks for every placement that differs from the one before it.
pub(super) async fn decide(
    context: &Context,
    caller: &Caller,
    before: &BTreeMap<GroupId, Placement>,
    after: BTreeMap<GroupId, Placement>,
) -> Result<(), Failure> {
    for (group, placement) in after {
        let known = before.get(&group);
        if known == Some(&placement) {
            continue;
        }
        let expected = known.map_or(0, |known| known.revision);
        tracing::info!(%group, voters = ?placement.voters, learners = ?placement.learners, leader = ?placement.preferred_leader, "placing the group");
        let command = Command::SetPlacement {
            group,
            expected,
            placement,
        };
        fault!("move::placing");
        context
            .ledger
            .ask_unique(caller, GroupId::CONTROL, command)
            .await?;
        fault!("move::placed");
    }
    Ok(())
}

/// What is to be placed, and on what, as the catalog and the census have it; nothing before the cluster is made.
pub(super) fn problem(copy: &CatalogCopy, observed: &Observed) -> Option<Problem> {
    let cluster = copy.cluster.as_ref()?;
    let demand = |group: GroupId| {
        let namespace = copy
            .namespaces
            .values()
            .find(|namespace| namespace.span.contains(group));
        let weight = observed.weights.get(&group).copied();
        let known = || {
            copy.placements
                .get(&group)
                .map(|placed| placed.weight)
                .unwrap_or_default()
        };
        Demand {
            policy: namespace
                .map(|namespace| namespace.policy.clone())
                .unwrap_or_default(),
            weight: weight.unwrap_or_else(known),
        }
    };
    Some(Problem {
        nodes: copy.nodes.values().cloned().collect(),
        silent: observed.silent.clone(),
        dead: observed.dead.clone(),
        groups: (0..cluster.next_group)
            .map(GroupId::new)
            .map(|group| (group, demand(group)))
            .collect(),
        replication_factor: cluster.replication_factor,
    })
}
