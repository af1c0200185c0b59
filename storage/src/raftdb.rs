//! The logs of all groups in one RocksDB, written by one committer: one batch and one fsync for all that waits.
//!
//! It stores opaque bytes and knows nothing of terms or votes. Jobs of a group reach the disk in the order in which
//! they were submitted, and a callback runs only when its job, and every earlier one, is synced.
//!
//! Invariants: the log of a group has no hole; an entry is readable once `append` has returned; after a failed write
//! or sync nothing is written again until the process starts anew, because what the disk holds is then unknown.

mod committer;
mod group;
mod job;
mod layout;
mod memory;
mod queue;
mod recovery;
mod rewrite;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use covey_state::GroupId;
use rocksdb::{DB, DBCompressionType, DBRecoveryMode, Options};

use crate::error::{Error, Place};
use crate::files;
use crate::metrics::RaftDbMetrics;
use crate::rewrite::Rewrite;
use crate::wal;
use group::GroupCell;
use queue::Queue;

pub use committer::{Committer, Written};
pub use group::GroupLog;

/// Called once, on the committer thread, when a job is durable or has failed. It must not block.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index; indexes of a log follow each other without a hole.
    pub index: u64,
    /// What it holds.
    pub bytes: Bytes,
}

/// Where a log begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBounds {
    /// The marker given to the last purge.
    pub purged: Option<Bytes>,
    /// The index of the first entry that is there or, in an empty log, that would come next.
    pub first_index: u64,
    /// The last entry that is there.
    pub last: Option<LogEntry>,
}

/// How far the disk is behind, over all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes that wait for the committer.
    pub queued_bytes: usize,
    /// Beyond these, jobs are refused.
    pub limit_bytes: usize,
}

impl Backlog {
    /// Whether an eighth of the queue is taken: then new work should wait outside, so that what was begun, here and for
    /// other nodes, still finds room and is on disk before those who wait for it lose patience.
    pub fn is_long(self) -> bool {
        self.queued_bytes > self.limit_bytes / 8
    }
}

/// The limits of a log database.
#[derive(Debug, Clone)]
pub struct RaftDbConfig {
    /// Bytes that may wait for the committer; beyond them jobs are refused as [`Error::Busy`].
    pub queue_bytes_max: usize,
    /// Bytes that the committer takes into one batch; a larger job gets a batch of its own. 16 MiB: a disk that takes
    /// 100 ms for a sync still takes 160 MiB a second.
    pub batch_bytes_max: usize,
    /// Bytes of recent entries kept in memory per group for readers, beyond those not yet written.
    pub tail_bytes_max: usize,
    /// The same over all groups: with many groups each keeps an equal part of this.
    pub tails_bytes_max: usize,
    /// Bytes of a memtable.
    pub memtable_bytes: usize,
}

impl Default for RaftDbConfig {
    fn default() -> Self {
        Self {
            queue_bytes_max: 256 << 20,
            batch_bytes_max: 16 << 20,
            tail_bytes_max: 512 << 10,
            tails_bytes_max: 128 << 20,
            memtable_bytes: 32 << 20,
        }
    }
}

/// The log database of a node. Clones share it; it closes, after finishing what waits, when the last one goes.
#[derive(Clone)]
pub struct RaftDb(Arc<Handle>);

/// What the front and the committer share.
struct Shared {
    db: DB,
    config: RaftDbConfig,
    queue: Queue,
    metrics: RaftDbMetrics,
    groups: Mutex<BTreeMap<GroupId, Arc<GroupCell>>>,
    /// Commit markers that ride in the next batch, whatever makes it.
    committed: Mutex<BTreeMap<GroupId, Bytes>>,
}

impl Shared {
    fn open(path: &Path, config: RaftDbConfig) -> Result<Arc<Self>, Error> {
        Rewrite::of(path).finish(|rewrite| rewrite::make(rewrite, &config))?;
        files::create_dir(path)?;
        wal::check(path)?;
        let db = DB::open(&open_options(&config), path)
            .map_err(|source| Error::reading(|| wal::damaged_place(path), source))?;
        let groups = recovery::recover(&db, path)?;
        let queue = Queue::new(config.queue_bytes_max, config.batch_bytes_max);
        Ok(Arc::new(Self {
            db,
            config,
            queue,
            metrics: RaftDbMetrics::new(),
            groups: Mutex::new(groups),
            committed: Mutex::default(),
        }))
    }

    /// A write or sync that failed: a damaged block that RocksDB met by itself stops the database for all groups.
    fn write_failed(&self, action: &'static str, source: rocksdb::Error) -> Error {
        if source.kind() != rocksdb::ErrorKind::Corruption {
            return Error::Database { action, source };
        }
        Rewrite::of(self.db.path()).stopped(&source);
        Error::Corrupt {
            place: Place::Database {
                path: self.db.path().to_owned(),
            },
            reason: source.into_string(),
        }
    }

    /// Bytes of recent entries that each group may keep in memory now.
    fn tail_bytes_max(&self) -> usize {
        let groups = lock(&self.groups).len().max(1);
        self.config
            .tail_bytes_max
            .min(self.config.tails_bytes_max / groups)
    }
}

/// The front's end: closing it ends the committer.
struct Handle {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

impl RaftDb {
    /// Opens or makes the database at `path` and verifies every log in it. A group whose log is damaged answers every
    /// call with that damage, the others work.
    pub fn open(path: &Path, config: RaftDbConfig) -> Result<Self, Error> {
        let shared = Shared::open(path, config)?;
        let theirs = Arc::clone(&shared);
        let committer = thread::Builder::new()
            .name("log-committer".to_owned())
            .spawn(move || committer::run(&theirs))
            .map_err(Error::file("start the committer of", path))?;
        Ok(Self(Arc::new(Handle {
            shared,
            committer: Some(committer),
        })))
    }

    /// The same without a thread that commits: whoever holds the committer says when a batch is written and when it is
    /// synced.
    pub fn open_by_hand(path: &Path, config: RaftDbConfig) -> Result<(Self, Committer), Error> {
        let shared = Shared::open(path, config)?;
        let committer = Committer::new(Arc::clone(&shared));
        let handle = Handle {
            shared,
            committer: None,
        };
        Ok((Self(Arc::new(handle)), committer))
    }

    /// Removes the database at `path`, which must not be open, with all that a rewrite may have left beside it.
    pub fn remove(path: &Path) -> Result<(), Error> {
        Rewrite::of(path).remove_all()
    }

    /// The log of a group, empty if the group was never written.
    pub fn group(&self, group: GroupId) -> GroupLog {
        let mut groups = lock(&self.0.shared.groups);
        let cell = groups
            .entry(group)
            .or_insert_with(|| Arc::new(GroupCell::blank(group)));
        GroupLog::new(Arc::clone(&self.0), Arc::clone(cell))
    }

    /// The groups that have anything stored, damaged ones too, in ascending order.
    pub fn groups(&self) -> Result<Vec<GroupId>, Error> {
        let groups = lock(&self.0.shared.groups);
        Ok(groups
            .values()
            .filter(|cell| !cell.is_blank())
            .map(|cell| cell.group)
            .collect())
    }

    /// Forgets a group: log, vote and markers. It may be written anew at once.
    pub fn drop_group(&self, group: GroupId, done: Done) {
        self.group(group).forget(done);
    }

    /// Has the database rewritten at the next start. Call it when a damaged group was forgotten: the damage is out of sight
    /// then, but still in a file.
    pub fn rewrite_at_next_start(&self) -> Result<(), Error> {
        Rewrite::of(self.0.shared.db.path()).request()
    }

    /// Why the database writes nothing any more, if it does not: a write or a sync has failed, and what the disk holds is
    /// unknown until the next start. If a damaged block was the reason, that start writes the database anew; groups that are
    /// damaged answer with that then.
    pub fn failure(&self) -> Option<Error> {
        self.0.shared.queue.failure()
    }

    /// What the committer measures.
    pub fn metrics(&self) -> &RaftDbMetrics {
        &self.0.shared.metrics
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
        let Some(committer) = self.committer.take() else {
            return;
        };
        // A callback may hold the last handle; the committer cannot wait for itself and ends on its own.
        if committer.thread().id() != thread::current().id() && committer.join().is_err() {
            tracing::error!("the log committer panicked");
        }
    }
}

/// Locks, also after a panic elsewhere: everything behind these locks is consistent between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_options(config: &RaftDbConfig) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // The committer alone decides when the WAL goes to the file and to the disk.
    options.set_manual_wal_flush(true);
    // An unfinished record at the very end is a crash; any other damage refuses to open. Synced entries were
    // acknowledged, so a node that has lost some of them must not vote. What RocksDB would take for an unfinished
    // record and is not, `wal` has found before.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(config.memtable_bytes);
    options.set_max_write_buffer_number(4);
    options.set_max_total_wal_size(4 * config.memtable_bytes as u64);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options
}
