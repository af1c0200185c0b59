//! The state of one group, as the consensus library wants it, on `covey-storage`'s state database.
//!
//! Invariant: the effects of entries and the position of the last of them are written in one batch, and proposers are
//! answered after it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use covey_state::{GroupId, NodeId};
use covey_storage::planted::{Bug, is_planted};
use covey_storage::{Error as StorageError, GroupState, GroupView};
use futures::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::codec;
use crate::config::HostConfig;
use crate::consensus::{Entry, LogId, Request, SnapshotMeta, StoredMembership, TypeConfig};
use crate::damage::Damage;
use crate::error::Error;
use crate::flush::StateFlush;
use crate::machine::{LogPosition, StateMachine};
use crate::marks::Marks;
use crate::metrics::HostMetrics;
use crate::snapshot::{Saved, SnapshotData, SnapshotStore};

/// How often, and after which pause, the first snapshot of a group is tried again.
const SNAPSHOT_PAUSES_MAX: u32 = 30;
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(10);

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
    node: NodeId,
    /// Whether the state includes that this node is a member.
    belongs: Arc<AtomicBool>,
    marks: Arc<Marks>,
    damage: Damage,
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
    pub(crate) node: NodeId,
    pub(crate) state: GroupState,
    pub(crate) machine: Arc<dyn StateMachine>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) flush: StateFlush,
    pub(crate) marks: Arc<Marks>,
    pub(crate) damage: Damage,
    pub(crate) config: Arc<HostConfig>,
    pub(crate) metrics: HostMetrics,
}

impl StateStore {
    /// Opens the state where it was left.
    pub(crate) fn open(parts: StateParts) -> Result<Self, Error> {
        let group = parts.state.id();
        let mut position = read_position(&parts.state, &parts.damage)?;
        if is_planted(Bug::ApplyTwiceAfterRestart) {
            position.last = position.before();
        }
        let applied = watch::Sender::new(position.index());
        let belongs = Arc::new(AtomicBool::new(position.names(parts.node)));
        Ok(Self {
            group,
            node: parts.node,
            belongs,
            state: parts.state,
            machine: parts.machine,
            snapshots: parts.snapshots,
            flush: parts.flush,
            position,
            applied,
            marks: parts.marks,
            damage: parts.damage,
            config: parts.config,
            metrics: parts.metrics,
        })
    }

    /// How far the state has come.
    pub(crate) fn last_applied(&self) -> Option<LogId> {
        self.position.last
    }

    /// Follows the index of the last entry applied.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Whether the state includes that this node is a member: until then it is of a time before that, or empty.
    pub(crate) fn belongs(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.belongs)
    }

    /// The state has come so far.
    fn has_come_to(&mut self, position: Position) {
        self.position = position;
        self.belongs
            .store(self.position.names(self.node), Ordering::Release);
        self.applied.send_replace(self.position.index());
    }

    /// Takes entries out of the stream, up to the limits of a batch. A mark ends it: then the state is what the mark names.
    async fn next_batch<S>(&self, entries: &mut S) -> io::Result<Batch>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin,
    {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.entries.len() < self.config.apply_entries_max && bytes < self.config.apply_bytes_max {
            let Some(next) = entries.next().await else { break };
            let (entry, responder) = next?;
            let marked = matches!(&entry.payload, EntryPayload::Normal(Request::Mark));
            if let EntryPayload::Normal(request) = &entry.payload {
                bytes += request.bytes();
            }
            batch.entries.push(entry);
            batch.responders.push(responder);
            if marked {
                break;
            }
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
        let damage = self.damage.clone();
        let applied =
            on_disk(move || work.apply(batch.entries).map_err(|error| damage.io_error(&error))).await?;
        if let Some((position, view)) = applied.mark {
            self.marks.hold(position, view, Instant::now());
        }
        self.metrics.entries_applied.inc_by(count);
        self.metrics.batches_applied.inc();
        self.has_come_to(applied.position);
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
    /// The state at the mark that was the last entry.
    mark: Option<(LogPosition, GroupView)>,
}

impl Work {
    fn apply(mut self, entries: Vec<Entry>) -> Result<Applied, StorageError> {
        let mut batch = self.state.batch();
        let mut answers = Vec::with_capacity(entries.len());
        let mut marked = None;
        for entry in entries {
            let id = entry.log_id;
            let position = LogPosition {
                group: self.group,
                term: id.leader_id.term,
                index: id.index,
            };
            let answer = match entry.payload {
                EntryPayload::Blank => Bytes::new(),
                EntryPayload::Normal(Request::Entry(entry)) => {
                    self.machine.apply(position, &entry, &mut batch)?
                }
                EntryPayload::Normal(Request::Mark) => {
                    marked = Some(position);
                    Bytes::new()
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
        // Nobody else writes to this group, so a view taken now shows it as it is at the last entry.
        Ok(Applied {
            position: self.position,
            answers,
            mark: marked.map(|position| (position, self.state.read())),
        })
    }
}

impl Position {
    /// One entry back; see [`Bug::ApplyTwiceAfterRestart`].
    fn before(&self) -> Option<LogId> {
        let last = self.last?;
        Some(LogId::new(last.leader_id, last.index.checked_sub(1)?))
    }

    fn index(&self) -> u64 {
        self.last.map_or(0, |last| last.index)
    }

    /// Whether a node is a member as of here.
    fn names(&self, node: NodeId) -> bool {
        self.membership.membership().get_node(&node.get()).is_some()
    }
}

fn read_position(state: &GroupState, damage: &Damage) -> Result<Position, Error> {
    let stored = state
        .applied()
        .inspect_err(|error| damage.note(error))
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
            damage: self.damage.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let (promised, _) = codec::load_applied(snapshot.manifest.applied.as_ref())?;
        if promised != meta.last_log_id {
            let found = format!("it ends at {promised:?} instead of {:?}", meta.last_log_id);
            return Err(Error::decode("snapshot", found).into());
        }
        let (state, snapshots, meta) = (self.state.clone(), Arc::clone(&self.snapshots), meta.clone());
        let damage = self.damage.clone();
        let installed = on_disk(move || {
            state
                .install(&snapshot.manifest, snapshot.path())
                .map_err(|error| damage.io_error(&error))?;
            snapshots.adopt(meta, &snapshot)?;
            Ok(read_position(&state, &damage)?)
        })
        .await?;
        self.has_come_to(installed);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        let current = self.snapshots.current();
        if !current.as_ref().is_some_and(|saved| saved.data.is_spoiled()) {
            return Ok(current.map(into_raft));
        }
        // It is wanted now, and its files cannot be trusted; the state can, or it says so.
        let taken = take(&self.state, &self.snapshots, &self.damage).await?;
        Ok(Some(into_raft(taken)))
    }
}

/// Takes a snapshot while the group goes on.
pub(crate) struct SnapshotBuilder {
    state: GroupState,
    snapshots: Arc<SnapshotStore>,
    flush: StateFlush,
    damage: Damage,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        let saved = self.take().await?;
        // Next the log is purged, while the group waits. Then little is left to be flushed.
        self.flush.flush().await?;
        Ok(into_raft(saved))
    }
}

impl SnapshotBuilder {
    /// Takes a snapshot. One that could not be written, on a full disk, is no reason to stop the group: the one before it
    /// stays, and the library tries again later. The first one of a group has none before it, and is tried again here.
    async fn take(&self) -> io::Result<Saved> {
        let mut pauses = 0;
        loop {
            let error = match take(&self.state, &self.snapshots, &self.damage).await {
                Err(error) if self.damage.found().is_none() && pauses < SNAPSHOT_PAUSES_MAX => error,
                taken => return taken,
            };
            tracing::error!(group = %self.state.id(), %error, "no snapshot could be taken");
            if let Some(earlier) = self.snapshots.current() {
                return Ok(earlier);
            }
            pauses += 1;
            // sleep: nothing tells of room on a disk.
            tokio::time::sleep(SNAPSHOT_PAUSE).await;
        }
    }
}

/// Takes a snapshot of the state as it is now.
async fn take(state: &GroupState, snapshots: &Arc<SnapshotStore>, damage: &Damage) -> io::Result<Saved> {
    let (state, snapshots, damage) = (state.clone(), Arc::clone(snapshots), damage.clone());
    on_disk(move || {
        let taken = snapshots.take(&state);
        Ok(taken.inspect_err(|error| damage.note_cause(error))?)
    })
    .await
}

fn into_raft(saved: Saved) -> RaftSnapshot {
    Snapshot {
        meta: saved.meta,
        snapshot: saved.data,
    }
}

/// Runs work on a thread that may block; a panic in it becomes an error, which stops the group.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    blocking(work).await.map_err(io::Error::other)?
}
