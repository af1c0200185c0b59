//! Jobs: what the committer is asked to make durable.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::GroupId;
use rocksdb::WriteBatch;

use super::Done;
use super::group::GroupCell;
use super::layout::{self, KEY_BYTES};
use crate::checksum;
use crate::error::Error;

/// One step on the keys of one group.
#[derive(Debug)]
pub(super) enum Operation {
    /// Store a payload, sealed.
    Put([u8; KEY_BYTES], Bytes),
    /// Remove the entries from the first index to before the second, or to the end.
    RemoveEntries(u64, Option<u64>),
    /// Remove everything.
    RemoveAll,
}

impl Operation {
    /// The size that counts against the limits.
    fn size(&self) -> usize {
        match self {
            Self::Put(key, payload) => key.len() + payload.len(),
            Self::RemoveEntries(..) | Self::RemoveAll => 2 * KEY_BYTES,
        }
    }

    fn add_to(&self, group: GroupId, batch: &mut WriteBatch) {
        match self {
            Self::Put(key, payload) => batch.put(key, checksum::seal(key, payload.to_vec())),
            Self::RemoveEntries(from, to) => {
                let end = to.map_or(layout::entries_end(group), |to| layout::entry_key(group, to));
                batch.delete_range(layout::entry_key(group, *from), end);
            }
            Self::RemoveAll => batch.delete_range(layout::group_start(group), layout::group_end(group)),
        }
    }
}

/// Steps of one group that go to disk together, and whom to tell.
pub(super) struct Job {
    /// The group.
    pub(super) cell: Arc<GroupCell>,
    /// Counts the jobs of the group.
    pub(super) sequence: u64,
    /// The size that counts against the limits.
    pub(super) size: usize,
    operations: Vec<Operation>,
    done: Done,
}

impl Job {
    pub(super) fn new(cell: &Arc<GroupCell>, sequence: u64, operations: Vec<Operation>, done: Done) -> Self {
        let size = operations.iter().map(Operation::size).sum();
        Self {
            cell: Arc::clone(cell),
            sequence,
            size,
            operations,
            done,
        }
    }

    /// Adds the steps to a batch, in order.
    pub(super) fn add_to(&self, batch: &mut WriteBatch) {
        for operation in &self.operations {
            operation.add_to(self.cell.group, batch);
        }
    }

    /// How many log entries it stores.
    pub(super) fn entries(&self) -> usize {
        let stored = |operation: &&Operation| match operation {
            Operation::Put(key, _) => layout::is_entry(key),
            Operation::RemoveEntries(..) | Operation::RemoveAll => false,
        };
        self.operations.iter().filter(stored).count()
    }

    /// Tells whoever waits.
    pub(super) fn finish(self, outcome: Result<(), Error>) {
        (self.done)(outcome);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("group", &self.cell.group)
            .field("sequence", &self.sequence)
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}
