//! The seam between this crate and what it replicates.

use std::fmt;

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage as storage;

/// What the host replicates.
pub trait StateMachine: Send + Sync + 'static {
    /// Decides one committed entry, stages its effect in `batch` and returns the answer for the proposer.
    ///
    /// It must be deterministic: every replica calls it with the same entries in the same order, and after a restart
    /// some entries come again on the state from before them. A refusal of the entry is an answer like any other; an
    /// error is a fault of the store, and it stops this group on this node.
    ///
    /// # Errors
    /// Only when the store cannot be read or written.
    fn apply(
        &self,
        position: LogPosition,
        entry: &[u8],
        batch: &mut storage::GroupBatch,
    ) -> Result<Bytes, storage::Error>;
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The group.
    pub group: GroupId,
    /// The term in which it was proposed.
    pub term: u64,
    /// Its place in the group's log, counted from zero.
    pub index: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.group, self.term, self.index)
    }
}

/// A proposal that was committed and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub position: LogPosition,
    /// What the state machine answered.
    pub answer: Bytes,
}
