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
mod session;
mod snapshot;
mod view;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use covey_state::GroupId;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    Options, Range,
};

use crate::error::{Error, Place};
use crate::files;
use layout::{Marker, TABLES, table_name};
use owned_snapshot::OwnedSnapshot;

pub use batch::GroupBatch;
pub use export::{SnapshotFile, SnapshotManifest};
pub use group::GroupState;
pub use session::Session;
pub use snapshot::StateSnapshot;
pub use view::GroupView;

/// Bits of bloom filter per key: one percent of reads for what is not there touch a block in vain.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// The limits of a state database.
#[derive(Debug, Clone)]
pub struct StateDbConfig {
    /// Bytes of blocks kept in memory, over all tables.
    pub block_cache_bytes: usize,
    /// Bytes of a memtable; there are up to three for each table.
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
    /// The groups whose install has begun and not ended. Whoever swaps a group's data holds it for writing, whoever
    /// makes a view holds it for reading, so no view is made in the midst of a swap.
    unfinished: RwLock<BTreeSet<GroupId>>,
}

impl StateDb {
    /// Opens or makes the database at `path` and finishes installs that a crash has interrupted.
    pub fn open(path: &Path, config: StateDbConfig) -> Result<Self, Error> {
        let (database, staging) = (path.join("db"), path.join("installing"));
        files::create_dir(&database)?;
        files::create_dir(&staging)?;
        files::sync_dir(path)?;
        let tables = table_options(&config);
        let families = TABLES
            .iter()
            .map(|table| ColumnFamilyDescriptor::new(table_name(*table), tables.clone()));
        let db = DB::open_cf_descriptors(&database_options(&config), &database, families)
            .map_err(|source| Error::reading(|| Place::Database { path: database }, source))?;
        let shared = Shared {
            db: Arc::new(db),
            config,
            staging,
            unfinished: RwLock::default(),
        };
        install::finish_interrupted(&shared)?;
        Ok(Self(Arc::new(shared)))
    }

    /// The state of a group, empty if the group was never written.
    pub fn group(&self, group: GroupId) -> GroupState {
        GroupState::new(Arc::clone(&self.0), group)
    }

    /// One consistent view over all groups.
    pub fn snapshot(&self) -> StateSnapshot {
        let unfinished = self.0.read_gate();
        StateSnapshot::new(Arc::new(OwnedSnapshot::take(&self.0.db)), unfinished.clone())
    }

    /// The groups that have applied anything, in ascending order.
    pub fn groups(&self) -> Result<Vec<GroupId>, Error> {
        let applied = layout::markers(&self.0.db, Marker::Applied)?;
        Ok(applied.into_iter().map(|(group, _)| group).collect())
    }

    /// Makes everything applied so far durable. Call it before a log is purged.
    pub fn flush(&self) -> Result<(), Error> {
        fault!("statedb::before_flush");
        self.0
            .db
            .flush_wal(true)
            .map_err(Error::database("sync the state"))?;
        fault!("statedb::after_flush");
        Ok(())
    }
}

impl Shared {
    fn read_gate(&self) -> RwLockReadGuard<'_, BTreeSet<GroupId>> {
        self.unfinished.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_gate(&self) -> RwLockWriteGuard<'_, BTreeSet<GroupId>> {
        self.unfinished.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a group whose install has not ended.
    fn check_finished(&self, group: GroupId) -> Result<(), Error> {
        if self.read_gate().contains(&group) {
            Err(Error::InstallUnfinished { group })
        } else {
            Ok(())
        }
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
        let unfinished = self.read_gate();
        GroupView::new(
            Arc::new(OwnedSnapshot::take(&self.db)),
            group,
            unfinished.contains(&group),
        )
    }
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
