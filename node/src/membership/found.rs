//! Making the groups of a new namespace: the state machine names one node per group, that node begins the group with
//! itself as the only voter, and says so.
//!
//! Invariant: nothing is written to a group before its making has been noted, so another node may be named as long as
//! it has not been; and who was named before is told that it is a stranger and erases what it has begun.

use std::collections::BTreeSet;
use std::time::Duration;

use covey_state::{Command, GroupId, Rejection};
use tokio::time::timeout;

use super::{Membership, peer_of};
use crate::api::Caller;
use crate::error::{Failure, chain};

/// How often it is looked for groups to make when the catalog does not change.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Membership {
    /// Makes the groups that this node is named for, again and again.
    pub(super) async fn make_groups(self) {
        let mut changes = self.context.catalog.changes();
        let here = BTreeSet::from([self.context.ledger.node()]);
        loop {
            let copy = self.context.catalog.current();
            let named = copy
                .placements
                .iter()
                .filter(|(_, placed)| !placed.founded && placed.voters == here);
            for (group, _) in named {
                match self.make(*group).await {
                    // Another node has been named meanwhile.
                    Ok(()) | Err(Failure::Rejected(Rejection::Conflict { .. })) => {}
                    Err(failure) => {
                        tracing::warn!(%group, reason = chain(&failure), "the group could not be made yet")
                    }
                }
            }
            if let Ok(Err(_)) = timeout(LOOK_EVERY, changes.changed()).await {
                return;
            }
        }
    }

    async fn make(&self, group: GroupId) -> Result<(), Failure> {
        let node = self.context.ledger.node();
        let copy = self.context.catalog.current();
        let known = copy
            .nodes
            .get(&node)
            .ok_or_else(|| Failure::not_found("node", node.to_string()))?;
        fault!("found::making");
        self.context
            .ledger
            .host()
            .bootstrap_group(group, vec![peer_of(known)])
            .await?;
        fault!("found::made");
        let caller = Caller::internal("founding");
        let command = Command::FoundGroup { group, node };
        self.context
            .ledger
            .ask_unique(&caller, GroupId::CONTROL, command)
            .await?;
        tracing::info!(%group, "a new group has been made");
        Ok(())
    }
}
