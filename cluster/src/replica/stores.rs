//! Opening the stores of a replica: the state, the snapshots, and whether they fit the log.

use std::sync::Arc;

use covey_state::GroupId;
use covey_storage::GroupLog;

use crate::blocking::blocking;
use crate::codec;
use crate::consensus::LogId;
use crate::damage::Damage;
use crate::error::Error;
use crate::host::Inner;
use crate::snapshot::SnapshotStore;
use crate::state_store::{StateParts, StateStore};

/// Refuses a state that has lost what the log does not have any more either: entries would be left out of it.
pub(super) fn check_no_hole(log: &GroupLog, applied: Option<LogId>, damage: &Damage) -> Result<(), Error> {
    let group = log.id();
    let bounds = log
        .bounds()
        .inspect_err(|error| damage.note(error))
        .map_err(Error::storage("read the bounds of the log", group))?;
    let purged = bounds.purged.as_ref().map(codec::load_log_id).transpose()?;
    if applied >= purged {
        return Ok(());
    }
    let ends = applied.map_or_else(
        || "is empty".to_owned(),
        |id| format!("ends at entry {}", id.index),
    );
    let begins = bounds.first_index;
    let reason = format!("the state of group {group} {ends}, and its log begins at entry {begins}");
    damage.note_found(&reason);
    Err(Error::Damaged { group, reason })
}

/// Opens the state and the snapshots, on a thread that may wait for the disk.
pub(super) async fn open_state(
    inner: &Inner,
    group: GroupId,
    damage: &Damage,
) -> Result<(Arc<SnapshotStore>, StateStore), Error> {
    let snapshot_dir = inner.stores.snapshot_dir.clone();
    let state = inner.stores.statedb.group(group);
    let machine = Arc::clone(&inner.machine);
    let (config, metrics) = (Arc::clone(&inner.config), inner.metrics.clone());
    let flush = inner.flush.clone();
    let (marks, damage) = (Arc::clone(&inner.marks), damage.clone());
    let node = inner.identity.node;
    let opening = blocking(move || {
        let snapshots = Arc::new(SnapshotStore::open(&snapshot_dir, group)?);
        let store = StateStore::open(StateParts {
            node,
            state,
            machine,
            snapshots: Arc::clone(&snapshots),
            flush,
            marks,
            damage,
            config,
            metrics,
        })?;
        Ok((snapshots, store))
    });
    opening.await.map_err(|panic| Error::Stopped {
        group,
        reason: panic.to_string(),
    })?
}
