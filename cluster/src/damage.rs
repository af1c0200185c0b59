//! Whether the store of a replica was found damaged: told apart from other faults, because it does not pass.
//!
//! Only bytes that are not what was written count. A full disk, or a database that stopped as a whole, is no damage of one
//! replica, and rebuilding that replica would not mend it.

use std::io;
use std::sync::{Arc, OnceLock};

use covey_storage::{Error as StorageError, Place};

use crate::error::{Error, chain};

/// What was found first. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Damage(Arc<OnceLock<String>>);

impl Damage {
    /// What was found, if anything was.
    pub(crate) fn found(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Takes note of an error of the store.
    pub(crate) fn note(&self, error: &StorageError) {
        if is_damage(error) {
            self.note_found(&chain(error));
        }
    }

    /// Takes note of something that was found, unless something was found before; tells whether it was the first.
    pub(crate) fn note_found(&self, reason: &str) -> bool {
        self.0.set(reason.to_owned()).is_ok()
    }

    /// Takes note of what is behind an error of this crate.
    pub(crate) fn note_cause(&self, error: &Error) {
        if let Error::Storage { source, .. } = error {
            self.note(source);
        }
    }

    /// Takes note of an error of the store, and gives it in the form that the consensus library takes: with all its
    /// causes in the text, which is all that it prints.
    pub(crate) fn io_error(&self, error: &StorageError) -> io::Error {
        self.note(error);
        io::Error::other(chain(error))
    }
}

/// Whether an error of the store means that bytes of one replica are damaged.
pub(crate) fn is_damage(error: &StorageError) -> bool {
    match error {
        StorageError::Corrupt { place, .. } => !matches!(place, Place::Database { .. }),
        _ => false,
    }
}
