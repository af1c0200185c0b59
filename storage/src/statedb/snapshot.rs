//! Snapshots: one moment of the whole database, owned, so that a reader may keep it and move it between threads.
//!
//! A snapshot holds back the removal of what it sees; keep it for a request or an export, not for longer.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::GroupId;

use super::owned_snapshot::OwnedSnapshot;
use super::view::GroupView;
use crate::error::Error;

/// One consistent view over all groups. Clones share it; it is `Send`, `Sync` and borrows nothing.
#[derive(Clone)]
pub struct StateSnapshot {
    snapshot: Arc<OwnedSnapshot>,
    unfinished: BTreeSet<GroupId>,
}

impl StateSnapshot {
    pub(super) fn new(snapshot: Arc<OwnedSnapshot>, unfinished: BTreeSet<GroupId>) -> Self {
        Self { snapshot, unfinished }
    }

    /// What this snapshot sees of a group.
    pub fn group(&self, group: GroupId) -> GroupView {
        GroupView::new(
            Arc::clone(&self.snapshot),
            group,
            self.unfinished.contains(&group),
        )
    }

    /// The marker of what the group had applied at this moment.
    pub fn applied(&self, group: GroupId) -> Result<Option<Bytes>, Error> {
        self.group(group).applied()
    }
}
