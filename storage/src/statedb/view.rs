//! What one moment shows of one group: reads of single keys, of many at once, and scans.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::key::Table;
use covey_state::{Fault, GroupId, Key, Record, View};
use rocksdb::{DB, ReadOptions};

use super::layout;
use super::owned_snapshot::OwnedSnapshot;
use super::session::Session;
use crate::error::Error;
use crate::record;

/// A consistent view of one group. Clones share the moment; it is `Send`, `Sync` and borrows nothing.
#[derive(Clone)]
pub struct GroupView {
    snapshot: Arc<OwnedSnapshot>,
    group: GroupId,
    /// The view shows a group in the midst of a failed install, and nothing of it may be served.
    unfinished: bool,
}

impl GroupView {
    pub(super) fn new(snapshot: Arc<OwnedSnapshot>, group: GroupId, unfinished: bool) -> Self {
        Self {
            snapshot,
            group,
            unfinished,
        }
    }

    /// A reader for many scans of this view, one after the other.
    pub fn session(&self) -> Session<'_> {
        Session::over(self)
    }

    /// The group that it shows.
    pub(super) const fn group(&self) -> GroupId {
        self.group
    }

    /// The marker of what the group had applied at this moment.
    pub fn applied(&self) -> Result<Option<Bytes>, Error> {
        self.check()?;
        layout::applied(self.db(), self.group, &self.read_options())
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.unfinished {
            Err(Error::InstallUnfinished { group: self.group })
        } else {
            Ok(())
        }
    }

    pub(super) fn db(&self) -> &DB {
        self.snapshot.borrow_owner()
    }

    pub(super) fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.snapshot.borrow_dependent());
        options
    }

    pub(super) fn decode(&self, table: Table, stored_key: &[u8], value: &[u8]) -> Result<Record, Error> {
        record::decode(stored_key, value).map_err(|reason| Error::Corrupt {
            place: layout::place(self.group, table, stored_key),
            reason,
        })
    }

    fn read_one(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.check()?;
        let (table, stored_key) = (key.table(), layout::stored_key(self.group, key));
        let value = self
            .db()
            .get_pinned_cf_opt(super::family(self.db(), table), &stored_key, &self.read_options())
            .map_err(|source| Error::reading(|| layout::place(self.group, table, &stored_key), source))?;
        value
            .map(|value| self.decode(table, &stored_key, &value))
            .transpose()
    }

    fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.check()?;
        let stored: Vec<(Table, Vec<u8>)> = keys
            .iter()
            .map(|key| (key.table(), layout::stored_key(self.group, key)))
            .collect();
        let addressed = stored
            .iter()
            .map(|(table, key)| (super::family(self.db(), *table), key));
        let values = self.db().multi_get_cf_opt(addressed, &self.read_options());
        stored
            .iter()
            .zip(values)
            .map(|((table, key), value)| {
                let value = value
                    .map_err(|source| Error::reading(|| layout::place(self.group, *table, key), source))?;
                value.map(|value| self.decode(*table, key, &value)).transpose()
            })
            .collect()
    }

    /// Visits a table's stored bytes from `start` on, within the group.
    pub(super) fn scan_stored(
        &self,
        table: Table,
        start: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        Session::over(self).scan_stored(table, start, visit)
    }

    /// Checks that a stored value is what was written under its key.
    pub(super) fn verify(&self, table: Table, stored_key: &[u8], value: &[u8]) -> Result<(), Error> {
        layout::parse_key(self.group, table, stored_key)?;
        self.decode(table, stored_key, value).map(drop)
    }
}

impl View for GroupView {
    fn get(&self, key: &Key) -> Result<Option<Record>, Fault> {
        Ok(self.read_one(key)?)
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Fault> {
        Ok(self.read_many(keys)?)
    }

    fn scan(&self, from: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> Result<(), Fault> {
        Session::over(self).scan(from, visit)
    }
}
