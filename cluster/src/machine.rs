//! The seam between this crate and what it replicates.

use std::fmt;
use std::time::Duration;

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

    /// Whether the leader takes the entry into the log. It is asked once, on the leader alone, before anything is
    /// replicated, so it may look at a clock, which [`Self::apply`] must not.
    ///
    /// # Errors
    /// When the time that the entry carries is too far ahead of the leader's.
    fn admit(&self, _entry: &[u8]) -> Result<(), Ahead> {
        Ok(())
    }
}

/// The time that an entry carries is ahead of the leader's by more than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// By how much.
    pub by: Duration,
    /// How much may be.
    pub limit: Duration,
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, limit) = (self.by.as_secs_f64(), self.limit.as_secs_f64());
        write!(f, "{by:.1} s ahead, and the limit is {limit:.1} s")
    }
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
