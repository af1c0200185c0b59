//! The state of one group, as the consensus library wants it, on `covey-storage`'s state database.
//!
//! Invariant: the effects of entries and the position of the last of them are written in one batch, and proposers are
//! answered after it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{Error as StorageError, GroupState};
use futures::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use crate::codec;
use crate::config::HostConfig;
use crate::consensus::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::error::Error;
use crate::flush::StateFlush;
use crate::log_store::io_error;
use crate::machine::{LogPosition, StateMachine};
use crate::metrics::HostMetrics;
use crate::snapshot::{Saved, SnapshotData, SnapshotStore};

type RaftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// The state of one group and everything needed to move it on.
pub(crate) struct StateStore {
    group: GroupId,
    state: GroupState,
    machine: Arc<dyn StateMachine>,
    snapshots: Arc<SnapshotStore>,
    flush: StateFlush,
    position: Position,
    /// Tells the index of the last entry applied; 0 before the first, which only ever names the first members.
    applied: watch::Sender<u64>,
    config: Arc<HostConfig>,
    metrics: HostMetrics,
}

/// How far the state has come.
#[derive(Debug, Clone)]
struct Position {
    last: Option<LogId>,
    membership: StoredMembership,
}

/// What a [`StateStore`] is made of.
pub(crate) struct StateParts {
    pub(crate) state: GroupState,
    pub(crate) machine: Arc<dyn StateMachine>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) flush: StateFlush,
    pub(crate) config: Arc<HostConfig>,
    pub(crate) metrics: HostMetrics,
}

impl StateStore {
    /// Opens the state where it was left.
    pub(crate) fn open(parts: StateParts) -> Result<Self, Error> {
        let group = parts.state.id();
        let position = read_position(&parts.state)?;
        let applied = watch::Sender::new(position.index());
        Ok(Self {
            group,
            state: parts.state,
            machine: parts.machine,
            snapshots: parts.snapshots,
            flush: parts.flush,
            position,
            applied,
            config: parts.config,
            metrics: parts.metrics,
        })
    }

    /// Follows the index of the last entry applied.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Takes entries out of the stream, up to the limits of a batch.
    async fn next_batch<S>(&self, entries: &mut S) -> io::Result<Batch>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin,
    {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.entries.len() < self.config.apply_entries_max && bytes < self.config.apply_bytes_max {
            let Some(next) = entries.next().await else { break };
            let (entry, responder) = next?;
            if let EntryPayload::Normal(request) = &entry.payload {
                bytes += request.0.len();
            }
            batch.entries.push(entry);
            batch.responders.push(responder);
        }
        Ok(batch)
    }

    async fn apply_batch(&mut self, batch: Batch) -> io::Result<()> {
        let count = batch.entries.len() as u64;
        let work = Work {
            group: self.group,
            state: self.state.clone(),
            machine: Arc::clone(&self.machine),
            position: self.position.clone(),
        };
        let applied = blocking(move || work.apply(batch.entries).map_err(io_error)).await?;
        self.position = applied.position;
        self.metrics.entries_applied.inc_by(count);
        self.metrics.batches_applied.inc();
        self.applied.send_replace(self.position.index());
        for (responder, answer) in batch.responders.into_iter().zip(applied.answers) {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }
}

/// Entries that are applied together, and who waits for their answers.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    responders: Vec<Option<ApplyResponder<TypeConfig>>>,
}

/// What applying a batch needs; it runs on a thread that may block.
struct Work {
    group: GroupId,
    state: GroupState,
    machine: Arc<dyn StateMachine>,
    position: Position,
}

struct Applied {
    position: Position,
    answers: Vec<Bytes>,
}

impl Work {
    fn apply(mut self, entries: Vec<Entry>) -> Result<Applied, StorageError> {
        let mut batch = self.state.batch();
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let id = entry.log_id;
            let answer = match entry.payload {
                EntryPayload::Blank => Bytes::new(),
                EntryPayload::Normal(request) => {
                    let position = LogPosition {
                        group: self.group,
                        term: id.leader_id.term,
                        index: id.index,
                    };
                    self.machine.apply(position, &request.0, &mut batch)?
                }
                EntryPayload::Membership(membership) => {
                    self.position.membership = StoredMembership::new(Some(id), membership);
                    Bytes::new()
                }
            };
            self.position.last = Some(id);
            answers.push(answer);
        }
        batch.commit(codec::store_applied(
            self.position.last.as_ref(),
            &self.position.membership,
        ))?;
        Ok(Applied {
            position: self.position,
            answers,
        })
    }
}

impl Position {
    fn index(&self) -> u64 {
        self.last.map_or(0, |last| last.index)
    }
}

fn read_position(state: &GroupState) -> Result<Position, Error> {
    let stored = state
        .applied()
        .map_err(Error::storage("read the position", state.id()))?;
    let (last, membership) = codec::load_applied(stored.as_ref())?;
    Ok(Position { last, membership })
}

impl RaftStateMachine<TypeConfig> for StateStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.position.last, self.position.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        // The library's stream panics when it is polled after its end.
        let mut entries = entries.fuse();
        loop {
            let batch = self.next_batch(&mut entries).await?;
            if batch.entries.is_empty() {
                return Ok(());
            }
            self.apply_batch(batch).await?;
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            state: self.state.clone(),
            snapshots: Arc::clone(&self.snapshots),
            flush: self.flush.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let (promised, _) = codec::load_applied(snapshot.manifest.applied.as_ref())?;
        if promised != meta.last_log_id {
            let found = format!("it ends at {promised:?} instead of {:?}", meta.last_log_id);
            return Err(Error::decode("snapshot", found).into());
        }
        let (state, snapshots, meta) = (self.state.clone(), Arc::clone(&self.snapshots), meta.clone());
        self.position = blocking(move || {
            state
                .install(&snapshot.manifest, snapshot.path())
                .map_err(io_error)?;
            snapshots.adopt(meta, &snapshot)?;
            Ok(read_position(&state)?)
        })
        .await?;
        self.applied.send_replace(self.position.index());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        Ok(self.snapshots.current().map(into_raft))
    }
}

/// Takes a snapshot while the group goes on.
pub(crate) struct SnapshotBuilder {
    state: GroupState,
    snapshots: Arc<SnapshotStore>,
    flush: StateFlush,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        let (state, snapshots) = (self.state.clone(), Arc::clone(&self.snapshots));
        let saved = blocking(move || Ok(snapshots.take(&state)?)).await?;
        // Next the log is purged, while the group waits. Then little is left to be flushed.
        self.flush.flush().await?;
        Ok(into_raft(saved))
    }
}

fn into_raft(saved: Saved) -> RaftSnapshot {
    Snapshot {
        meta: saved.meta,
        snapshot: saved.data,
    }
}

/// Runs work on a thread that may block; a panic in it becomes an error, which stops the group.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
