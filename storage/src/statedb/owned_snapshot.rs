//! A RocksDB snapshot that keeps its database alive instead of borrowing it from somebody.
//!
//! The macro's expansion is the only place in this crate where lifetimes are not the compiler's to check.

// The expansion moves the value out of its guard with `mem::forget`; nothing is leaked.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use rocksdb::{DB, Snapshot};
use self_cell::self_cell;

self_cell!(
    /// A moment of the database, owned.
    pub(super) struct OwnedSnapshot {
        owner: Arc<DB>,

        #[covariant]
        dependent: Snapshot,
    }
);

impl OwnedSnapshot {
    /// The database as it is now.
    pub(super) fn take(db: &Arc<DB>) -> Self {
        Self::new(Arc::clone(db), |db| db.snapshot())
    }
}
