//! The leader of group 0 decides who should hold which group.

use std::time::Duration;

use covey_state::placement::{Problem, place};
use covey_state::{Command, GroupId, Rejection};
use tokio::time::timeout;

use super::Membership;
use crate::api::Caller;
use crate::error::{Failure, chain};

/// How often the placement is looked at when the catalog does not change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Membership {
    /// Looks at the placement, again and again.
    pub(super) async fn keep_placed(self) {
        let mut changes = self.context.catalog.changes();
        loop {
            if self.context.ledger.leads(GroupId::CONTROL) {
                match self.place().await {
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

    async fn place(&self) -> Result<(), Failure> {
        let copy = self.context.catalog.current();
        let Some(cluster) = &copy.cluster else {
            return Ok(());
        };
        let problem = Problem {
            nodes: copy.nodes.values().cloned().collect(),
            groups: cluster.groups,
            replication_factor: cluster.replication_factor,
        };
        let caller = Caller::internal("placement");
        for (group, placement) in place(&problem, &copy.placements) {
            let known = copy.placements.get(&group);
            if known == Some(&placement) {
                continue;
            }
            let expected = known.map_or(0, |known| known.revision);
            tracing::info!(%group, voters = ?placement.voters, learners = ?placement.learners, "placing the group");
            let command = Command::SetPlacement {
                group,
                expected,
                placement,
            };
            self.context
                .ledger
                .ask_unique(&caller, GroupId::CONTROL, command)
                .await?;
        }
        Ok(())
    }
}
