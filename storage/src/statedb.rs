//! The replicated state of all groups in one RocksDB.
//!
//! A batch carries the changes of one or more log entries together with the marker of the last of them, so that state
//! and marker can never tell different stories. Batches are not synced: the log is the durable truth, and what a power
//! loss takes from here is applied again. Before a log is purged, [`StateDb::flush`] makes what it brought durable.
//!
//! Invariants: groups share files, never keys; a view sees one moment; a group is never seen half-installed.

mod batch;
mod export;
mod group;
mod install;
mod layout;
mod owned_snapshot;
mod rewrite;
mod session;
mod snapshot;
mod sums;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use covey_state::GroupId;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    Options, Range,
};

use crate::error::{Error, Place};
use crate::files;
use crate::rewrite::Rewrite;
use crate::wal;
use layout::{Marker, TABLES, table_name};
use owned_snapshot::OwnedSnapshot;

pub use batch::GroupBatch;
pub use export::{SnapshotFile, SnapshotManifest};
pub use group::GroupState;
pub use session::Session;
pub use snapshot::StateSnapshot;
pub use sums::{Position, RangeSum, Split, Sums};
pub use view::GroupView;

/// Bits of bloom filter per key: one percent of reads for what is not there touch a block in vain.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// The limits of a state database.
#[derive(Debug, Clone)]
pub struct StateDbConfig {
    /// Bytes of blocks kept in memory, over all tables.
    pub block_cache_bytes: usize,
    /// Bytes of a memtable; all of them together are written out at four times as many.
    pub memtable_bytes: usize,
    /// Bytes after which an export begins the next file of a table.
    pub export_file_bytes: u64,
}

impl Default for StateDbConfig {
    fn default() -> Self {
        Self {
            block_cache_bytes: 256 << 20,
            memtable_bytes: 32 << 20,
            export_file_bytes: 64 << 20,
        }
    }
}

/// The state database of a node. Clones share it; it closes when the last clone, group or view of it goes.
#[derive(Clone)]
pub struct StateDb(Arc<Shared>);

struct Shared {
    db: Arc<DB>,
    config: StateDbConfig,
    /// Where files of a snapshot wait while they are installed.
    staging: PathBuf,
    gate: RwLock<Gate>,
    /// Counts the syncs.
    syncs: AtomicU64,
    /// A write has failed. What the disk holds is known again when the database is opened anew.
    stopped: AtomicBool,
}

impl StateDb {
    /// Opens or makes the database at `path` and finishes installs that a crash has interrupted.
    pub fn open(path: &Path, config: StateDbConfig) -> Result<Self, Error> {
        let (database, staging) = (path.join("db"), path.join("installing"));
        Rewrite::of(&database).finish(|rewrite| rewrite::make(rewrite, &config, &staging))?;
        files::create_dir(&staging)?;
        let db = open_database(&database, &config)?;
        files::sync_dir(path)?;
        let shared = Shared::new(db, config, staging);
        install::finish_interrupted(&shared)?;
        // Whoever opens the groups reads these; damage in them is damage of the database.
        layout::markers(&shared.db, Marker::Applied)?;
        Ok(Self(Arc::new(shared)))
    }

    /// The state of a group, empty if the group was never written.
    pub fn group(&self, group: GroupId) -> GroupState {
        GroupState::new(Arc::clone(&self.0), group)
    }

    /// One consistent view over all groups.
    pub fn snapshot(&self) -> StateSnapshot {
        let gate = self.0.read_gate();
        StateSnapshot::new(Arc::new(OwnedSnapshot::take(&self.0.db)), gate.unfinished.clone())
    }

    /// The groups that have applied anything, in ascending order.
    pub fn groups(&self) -> Result<Vec<GroupId>, Error> {
        let applied = layout::markers(&self.0.db, Marker::Applied)?;
        Ok(applied.into_iter().map(|(group, _)| group).collect())
    }

    /// How often everything applied was made durable since the database was opened.
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::Relaxed)
    }

    /// Has the database rewritten at the next start. Call it when a damaged group was erased: the damage is out of sight
    /// then, but still in a file.
    pub fn rewrite_at_next_start(&self) -> Result<(), Error> {
        self.0.rewrite().request()
    }

    /// Whether a write has failed, because of a damaged block or of the disk: then groups stand still until the database is
    /// opened again. If it was a damaged block, the next start writes the database anew, without the groups that are damaged.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// Makes everything applied so far durable. Call it before a log is purged.
    pub fn flush(&self) -> Result<(), Error> {
        fault!("statedb::before_flush");
        self.0
            .db
            .flush_wal(true)
            .map_err(|source| self.0.write_failed(source))?;
        self.0.synced();
        fault!("statedb::after_flush");
        Ok(())
    }
}

impl Shared {
    /// An open database in which nothing is unfinished as far as is known.
    fn new(db: DB, config: StateDbConfig, staging: PathBuf) -> Self {
        Self {
            db: Arc::new(db),
            config,
            staging,
            gate: RwLock::default(),
            syncs: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Everything written so far is durable.
    fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    /// The database, by its directory.
    fn rewrite(&self) -> Rewrite {
        Rewrite::of(self.db.path())
    }

    /// A failed write stops the database. A damaged block that RocksDB met by itself does so for all groups, whosesoever
    /// it is.
    fn write_failed(&self, source: rocksdb::Error) -> Error {
        if source.kind() != rocksdb::ErrorKind::Corruption {
            let action = "write to the state";
            return self.stop(Error::Database { action, source });
        }
        if !self.stopped.load(Ordering::Relaxed) {
            self.rewrite().stopped(&source);
        }
        let path = self.db.path().to_owned();
        self.stop(Error::Corrupt {
            place: Place::Database { path },
            reason: source.into_string(),
        })
    }

    /// Takes note that no more is written, and why.
    fn stop(&self, error: Error) -> Error {
        if !self.stopped.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the state cannot be written any more");
        }
        error
    }

    fn read_gate(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_gate(&self) -> RwLockWriteGuard<'_, Gate> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`GroupState::bytes_in_files`].
    fn bytes_in_files(&self, group: GroupId) -> u64 {
        let (start, end) = layout::group_bounds(group);
        let sizes = TABLES.iter().flat_map(|table| {
            let range = Range::new(&start, &end);
            self.db
                .get_approximate_sizes_cf(family(&self.db, *table), &[range])
        });
        sizes.sum()
    }

    /// One group as it is now.
    fn view(&self, group: GroupId) -> GroupView {
        let gate = self.read_gate();
        GroupView::new(
            Arc::new(OwnedSnapshot::take(&self.db)),
            group,
            gate.unfinished.contains(&group),
        )
    }

    /// How often a group was erased so far.
    fn erasures(&self, group: GroupId) -> u64 {
        self.read_gate().erasures.get(&group).copied().unwrap_or(0)
    }
}

/// Whoever swaps or erases a group's data holds it for writing; whoever makes a view or writes a batch holds it for
/// reading, so that none of these happens in the midst of a swap.
#[derive(Default)]
struct Gate {
    /// The groups whose install has begun and not ended.
    unfinished: BTreeSet<GroupId>,
    /// How often groups were erased: a batch that was begun before must not be written after.
    erasures: BTreeMap<GroupId, u64>,
}

impl Gate {
    /// Refuses a group whose install has not ended, or that was erased since its erasures were counted.
    fn check(&self, group: GroupId, erasures: u64) -> Result<(), Error> {
        if self.unfinished.contains(&group) {
            return Err(Error::InstallUnfinished { group });
        }
        self.check_life(group, erasures)
    }

    /// Refuses a group that was erased since its erasures were counted.
    fn check_life(&self, group: GroupId, erasures: u64) -> Result<(), Error> {
        if self.erasures.get(&group).copied().unwrap_or(0) != erasures {
            return Err(Error::Erased { group });
        }
        Ok(())
    }
}

/// Opens or makes the database with all its tables.
fn open_database(database: &Path, config: &StateDbConfig) -> Result<DB, Error> {
    files::create_dir(database)?;
    wal::check(database)?;
    let tables = table_options(config);
    let families = TABLES
        .iter()
        .map(|table| ColumnFamilyDescriptor::new(table_name(*table), tables.clone()));
    let path = || Place::Database {
        path: database.to_owned(),
    };
    DB::open_cf_descriptors(&database_options(config), database, families)
        .map_err(|source| Error::reading(path, source))
}

/// The column family of a table.
fn family(db: &DB, table: covey_state::key::Table) -> &ColumnFamily {
    db.cf_handle(table_name(table))
        .expect("open has opened every table")
}

fn database_options(config: &StateDbConfig) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // The tail was never synced, so a power loss may leave it in pieces. Recovery stops at the first piece that is
    // missing; the log brings the rest again.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(8 * config.memtable_bytes as u64);
    options.set_db_write_buffer_size(4 * config.memtable_bytes);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options
}

/// The options of every table; also those of the files of a snapshot, which become part of a table as they are.
fn table_options(config: &StateDbConfig) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(config.block_cache_bytes));
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    blocks.set_whole_key_filtering(true);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(config.memtable_bytes);
    options.set_max_write_buffer_number(3);
    options
}
