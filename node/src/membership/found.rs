//! Making the groups of a new namespace: the state machine names one node per group, that node prepares a replica, has
//! itself noted as the group's maker, and only then begins the group with itself as the only voter.
//!
//! Invariant: a group has one maker, and only what the maker has prepared is ever begun. Another node may be named as
//! long as the making has not been noted; whoever was named before learns so when it asks to be noted, and erases what it
//! has prepared, which nobody has seen.

use std::collections::BTreeSet;
use std::time::Duration;

use covey_cluster::{Probation, Wipe};
use covey_state::topology::Placement;
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
            let host = self.context.ledger.host();
            let is_named = |placed: &Placement| !placed.is_made() && placed.voters == here;
            // A replica of the control group waits to be admitted; that group began with the cluster.
            let data = copy
                .placements
                .iter()
                .filter(|(group, _)| **group != GroupId::CONTROL);
            let concerned = data.filter(|(group, placed)| {
                is_named(placed) || (placed.is_made() && host.is_prepared(**group))
            });
            for (group, _) in concerned {
                if let Err(failure) = self.make(*group).await {
                    tracing::warn!(%group, reason = chain(&failure), "the group could not be made yet");
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
        let host = self.context.ledger.host();
        host.admit_group(group, Probation::UNTIL_TOLD).await?;
        fault!("found::prepared");
        let caller = Caller::internal("founding");
        let command = Command::FoundGroup { group, node };
        let noted = self.context.ledger.ask_unique(&caller, GroupId::CONTROL, command);
        match noted.await {
            Ok(_) => {
                fault!("found::noted");
                host.begin_prepared_group(group, vec![peer_of(known)]).await?;
                tracing::info!(%group, "a new group has been made");
            }
            Err(Failure::Rejected(Rejection::Conflict { .. })) => {
                let _held = self.replicas.lock().await;
                // Unless the other node has admitted this one meanwhile.
                if host.is_prepared(group) {
                    tracing::info!(%group, "another node makes the group; what was prepared here is erased");
                    host.close_group(group, Wipe::Erase).await?;
                }
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
