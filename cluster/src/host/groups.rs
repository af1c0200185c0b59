//! Opening and closing of replicas.
//!
//! Invariant: the log of a group is erased before its state, so a state without a log is the rest of an interrupted
//! erasure, and the next start sweeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use covey_state::GroupId;
use futures::{StreamExt as _, TryStreamExt as _};
use openraft::errors::{InitializeError, RaftError};
use tokio::sync::oneshot;

use super::{Inner, Stores};
use crate::blocking::blocking;
use crate::consensus::Address;
use crate::error::{Error, chain};
use crate::identity::Peer;
use crate::probation::Probation;
use crate::replica::{Replica, save_probation};
use crate::snapshot::SnapshotStore;
use crate::status::{GroupStatus, Role};

/// What becomes of a replica's data when it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wipe {
    /// It stays, and the next start opens it again.
    Keep,
    /// It goes: log, state and snapshots.
    Erase,
}

/// A group on this node.
pub(super) enum Slot {
    /// It runs, or it has stopped after a fault that its metrics name.
    Running(Arc<Replica>),
    /// It could not be opened.
    Failed(String),
    /// Its store is damaged, and nothing of it is used any more.
    Damaged(String),
}

/// Opens every group that has anything on disk.
pub(super) async fn reopen(inner: &Arc<Inner>) -> Result<(), Error> {
    let logged = inner
        .stores
        .raftdb
        .groups()
        .map_err(Error::storage("list the logs", GroupId::CONTROL))?;
    let statedb = inner.stores.statedb.clone();
    let held = blocking(move || statedb.groups()).await;
    let held = held
        .map_err(|panic| Error::Stopped {
            group: GroupId::CONTROL,
            reason: panic.to_string(),
        })?
        .map_err(Error::storage("list the states", GroupId::CONTROL))?;
    let (directory, known) = (inner.stores.snapshot_dir.clone(), logged.clone());
    let swept = blocking(move || sweep_snapshots(&directory, &known)).await;
    swept.map_err(|panic| Error::Stopped {
        group: GroupId::CONTROL,
        reason: panic.to_string(),
    })??;
    for group in held
        .into_iter()
        .filter(|group| logged.binary_search(group).is_err())
    {
        tracing::warn!(%group, "sweeping the rest of an erased group");
        erase_state(inner, group).await?;
    }
    futures::stream::iter(logged)
        .map(|group| async move { (group, Replica::open(inner, group).await) })
        .buffer_unordered(inner.config.open_parallel)
        .map(Ok)
        .try_for_each(|(group, opened)| async move {
            put(inner, group, opened);
            Ok(())
        })
        .await
}

/// Removes what a transfer that was cut short, or an erasure, has left of groups that have no log here.
fn sweep_snapshots(directory: &Path, logged: &[GroupId]) -> Result<(), Error> {
    let known: BTreeSet<PathBuf> = logged
        .iter()
        .map(|group| SnapshotStore::directory(directory, *group))
        .collect();
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(Error::file("list directory", directory))?,
    };
    for entry in found {
        let path = entry.map_err(Error::file("list directory", directory))?.path();
        if !known.contains(&path) {
            tracing::warn!(path = %path.display(), "sweeping the snapshots of a group that is not here");
            fs::remove_dir_all(&path).map_err(Error::file("remove directory", &path))?;
        }
    }
    Ok(())
}

/// Puts a replica into its place, or the reason why there is none.
fn put(inner: &Inner, group: GroupId, opened: Result<Arc<Replica>, Error>) {
    let slot = match opened {
        Ok(replica) => Slot::Running(replica),
        Err(error) => {
            inner.metrics.faults.inc();
            let reason = chain(&error);
            tracing::error!(%group, fault = reason, "this group cannot be opened on this node");
            match error {
                Error::Damaged { reason, .. } => Slot::Damaged(reason),
                _ => Slot::Failed(reason),
            }
        }
    };
    inner
        .slots
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(group, slot);
}

/// The replica of a group, opened if it was not.
pub(super) async fn open(inner: &Arc<Inner>, group: GroupId) -> Result<Arc<Replica>, Error> {
    let _turn = inner.turn.lock().await;
    match inner.hosted(group) {
        Err(Error::NotHosted { .. }) => {}
        hosted => return hosted,
    }
    put(inner, group, Replica::open(inner, group).await);
    inner.hosted(group)
}

/// See [`super::Host::admit_group`].
pub(super) async fn admit(inner: &Arc<Inner>, group: GroupId, probation: Probation) -> Result<(), Error> {
    {
        let _turn = inner.turn.lock().await;
        let log = inner.stores.raftdb.group(group);
        if matches!(inner.hosted(group), Err(Error::NotHosted { .. })) {
            // Before the replica is there: it must never have been without it.
            save_probation(&log, probation).await?;
        }
    }
    open(inner, group).await?.admitted(probation).await
}

/// See [`super::Host::bootstrap_group`].
pub(super) async fn bootstrap(inner: &Arc<Inner>, group: GroupId, members: Vec<Peer>) -> Result<(), Error> {
    let replica = open(inner, group).await?;
    let members: BTreeMap<u64, Address> = members
        .into_iter()
        .map(|peer| (peer.node.get(), peer.into()))
        .collect();
    match replica.raft.initialize(members).await {
        // It has members already: somebody was here before.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(RaftError::APIError(InitializeError::NotInMembers(error))) => Err(Error::Refused {
            group,
            reason: error.to_string(),
        }),
        Err(RaftError::Fatal(fatal)) => Err(Error::Stopped {
            group,
            reason: chain(&fatal),
        }),
    }
}

/// See [`super::Host::begin_prepared_group`].
pub(super) async fn begin_prepared(
    inner: &Arc<Inner>,
    group: GroupId,
    members: Vec<Peer>,
) -> Result<(), Error> {
    let replica = inner.hosted(group)?;
    if !replica.is_prepared() {
        return Ok(());
    }
    // In this order: a crash in between leaves it prepared, and a repetition finds it begun.
    bootstrap(inner, group, members).await?;
    replica.told().await
}

/// See [`super::Host::close_group`].
pub(super) async fn close(inner: &Arc<Inner>, group: GroupId, wipe: Wipe) -> Result<(), Error> {
    let _turn = inner.turn.lock().await;
    let slot = inner
        .slots
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&group);
    match (&slot, wipe) {
        (None, Wipe::Keep) => return Err(Error::NotHosted { group }),
        (Some(Slot::Running(replica)), _) => replica.stop().await,
        (Some(Slot::Failed(_) | Slot::Damaged(_)), _) | (None, Wipe::Erase) => {}
    }
    inner.marks.forget(group);
    match wipe {
        Wipe::Keep => Ok(()),
        Wipe::Erase => {
            erase_log(inner, group).await?;
            erase_state(inner, group).await?;
            if slot.is_some_and(|slot| slot.status(group).damaged.is_some()) {
                // Until then the damage is in a file that nobody reads, except to compact it.
                let Stores { raftdb, statedb, .. } = &inner.stores;
                let asked = raftdb
                    .rewrite_at_next_start()
                    .and_then(|()| statedb.rewrite_at_next_start());
                asked.map_err(Error::storage("ask for a rewrite", group))?;
            }
            Ok(())
        }
    }
}

async fn erase_log(inner: &Inner, group: GroupId) -> Result<(), Error> {
    let (done, dropped) = oneshot::channel();
    inner
        .stores
        .raftdb
        .drop_group(group, Box::new(move |outcome| drop(done.send(outcome))));
    match dropped.await {
        Ok(outcome) => outcome.map_err(Error::storage("erase the log", group)),
        Err(_) => Err(Error::Stopped {
            group,
            reason: "the log committer is gone".to_owned(),
        }),
    }
}

async fn erase_state(inner: &Arc<Inner>, group: GroupId) -> Result<(), Error> {
    let state = inner.stores.statedb.group(group);
    let snapshots = SnapshotStore::directory(&inner.stores.snapshot_dir, group);
    let erased = blocking(move || {
        state.clear().map_err(Error::storage("erase the state", group))?;
        match fs::remove_dir_all(&snapshots) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove directory", &snapshots)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    });
    erased.await.map_err(|panic| Error::Stopped {
        group,
        reason: panic.to_string(),
    })?
}

/// See [`super::Host::groups`].
pub(super) fn statuses(inner: &Inner) -> Vec<GroupStatus> {
    let slots = inner.slots.read().unwrap_or_else(PoisonError::into_inner);
    slots.iter().map(|(group, slot)| slot.status(*group)).collect()
}

/// See [`super::Host::group`].
pub(super) fn status(inner: &Inner, group: GroupId) -> Option<GroupStatus> {
    let slots = inner.slots.read().unwrap_or_else(PoisonError::into_inner);
    slots.get(&group).map(|slot| slot.status(group))
}

/// See [`super::Host::shutdown`].
pub(super) async fn shutdown(inner: &Arc<Inner>) {
    let _turn = inner.turn.lock().await;
    inner.closing.send_replace(true);
    let slots = std::mem::take(&mut *inner.slots.write().unwrap_or_else(PoisonError::into_inner));
    let stops = slots.into_values().map(|slot| async move {
        match slot {
            Slot::Running(replica) => replica.stop().await,
            Slot::Failed(_) | Slot::Damaged(_) => {}
        }
    });
    futures::future::join_all(stops).await;
    inner.transport.close();
}

impl Slot {
    fn status(&self, group: GroupId) -> GroupStatus {
        match self {
            Self::Running(replica) => replica.status(),
            Self::Failed(reason) => stopped(group, reason),
            Self::Damaged(reason) => GroupStatus {
                damaged: Some(reason.clone()),
                ..stopped(group, reason)
            },
        }
    }
}

/// A replica that does nothing, and why.
fn stopped(group: GroupId, reason: &str) -> GroupStatus {
    GroupStatus {
        group,
        role: Role::Stopped,
        term: 0,
        leader: None,
        voters: Vec::new(),
        joint: false,
        members_index: None,
        learners: Vec::new(),
        last_log_index: None,
        committed_index: None,
        applied_index: None,
        snapshot_index: None,
        fault: Some(reason.to_owned()),
        damaged: None,
        replication: Vec::new(),
    }
}
