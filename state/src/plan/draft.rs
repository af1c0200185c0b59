//! The draft of a decision: typed reads of the map as it stands, and the changes that have been decided so far.
//!
//! Reads do not see the draft's own changes; a command that touches a record twice keeps it in hand meanwhile.

use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::change::Change;
use crate::id::Timestamp;
use crate::key::Key;
use crate::plan::Position;
use crate::record::{Record, WrongKind};
use crate::rejection::Rejection;
use crate::view::{Fault, View};

/// Why a decision ended without an answer.
pub(super) enum Stop {
    /// The command is refused, which is an answer too.
    Rejected(Rejection),
    /// The map cannot be read.
    Fault(Fault),
}

/// What deciding a command comes to.
pub(super) type Decided = Result<Answer, Stop>;

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A decision in the making.
pub(super) struct Draft<'a> {
    view: &'a dyn View,
    /// Where the entry stands.
    pub(super) position: Position,
    /// The group's clock, this request included.
    pub(super) now: Timestamp,
    /// Who asks.
    pub(super) by: &'a str,
    changes: Vec<Change>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(view: &'a dyn View, position: Position, now: Timestamp, by: &'a str) -> Self {
        Self {
            view,
            position,
            now,
            by,
            changes: Vec::new(),
        }
    }

    /// The map as it stands.
    pub(super) fn view(&self) -> &'a dyn View {
        self.view
    }

    /// The record at `key`, if there is one.
    pub(super) fn get<T: TryFrom<Record, Error = WrongKind>>(&self, key: &Key) -> Result<Option<T>, Fault> {
        read(self.view, key)
    }

    /// The records at `keys`, in the same order.
    pub(super) fn get_many<T: TryFrom<Record, Error = WrongKind>>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<Option<T>>, Fault> {
        self.view
            .get_many(keys)?
            .into_iter()
            .map(|record| record.map(typed).transpose())
            .collect()
    }

    /// The record at `key`, or the rejection that says which thing does not exist.
    pub(super) fn need<T: TryFrom<Record, Error = WrongKind>>(
        &self,
        key: &Key,
        kind: &str,
        name: &str,
    ) -> Result<T, Stop> {
        self.get(key)?.ok_or_else(|| {
            Rejection::NotFound {
                kind: kind.to_owned(),
                name: name.to_owned(),
            }
            .into()
        })
    }

    /// Visits records from `from` on until `visit` breaks.
    pub(super) fn scan(
        &self,
        from: &Key,
        visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.view.scan(from, visit)
    }

    /// Decides that `key` holds `record` from now on.
    pub(super) fn put(&mut self, key: Key, record: impl Into<Record>) {
        self.changes.push(Change::Put(key, record.into()));
    }

    /// Decides that `key` holds nothing from now on.
    pub(super) fn delete(&mut self, key: Key) {
        self.changes.push(Change::Delete(key));
    }

    /// Makes room for `more` changes.
    pub(super) fn reserve(&mut self, more: usize) {
        self.changes.reserve(more);
    }

    /// Takes back everything that has been decided.
    pub(super) fn discard(&mut self) {
        self.changes.clear();
    }

    /// The changes in the order in which they were decided.
    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

/// The record at `key` of `view`, if there is one.
pub(super) fn read<T: TryFrom<Record, Error = WrongKind>>(
    view: &dyn View,
    key: &Key,
) -> Result<Option<T>, Fault> {
    view.get(key)?.map(typed).transpose()
}

fn typed<T: TryFrom<Record, Error = WrongKind>>(record: Record) -> Result<T, Fault> {
    T::try_from(record).map_err(|wrong| Fault(Box::new(wrong)))
}
