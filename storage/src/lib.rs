//! What a node keeps on disk: the logs of its groups, their replicated state, and artifacts.
//!
//! Three stores, which know nothing of each other, of Raft or of the network:
//!
//! * [`raftdb`]: one RocksDB for the logs of all groups, written by one committer with one fsync per batch;
//! * [`statedb`]: one RocksDB for the state of all groups, which implements [`covey_state::View`];
//! * [`artifacts`]: a directory of chunks named by their SHA-256.
//!
//! Invariants: nothing is acknowledged before it is synced where the caller asked for that; every stored value carries
//! a checksum that is verified when it is read, and a value that fails it is [`Error::Corrupt`], never served.

/// Fails the enclosing function with [`Error::Injected`] when a test has switched the point on.
macro_rules! fault {
    ($point:literal) => {
        fail::fail_point!($point, |_| Err($crate::Error::Injected($point)))
    };
}

mod checksum;
mod error;
mod files;
mod rewrite;
mod wal;

pub mod artifacts;
pub mod key;
pub mod metrics;
pub mod planted;
pub mod raftdb;
pub mod record;
pub mod statedb;

pub use artifacts::ArtifactStore;
pub use error::{Error, Place};
pub use raftdb::{Backlog, Committer, Done, GroupLog, LogBounds, LogEntry, RaftDb, RaftDbConfig, Written};
pub use statedb::{
    GroupBatch, GroupState, GroupView, Position, RangeSum, Session, SnapshotFile, SnapshotManifest, Split,
    StateDb, StateDbConfig, StateSnapshot, Sums,
};
