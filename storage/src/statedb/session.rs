//! Many scans of one view.
//!
//! RocksDB takes several times as long to make an iterator as to move one, and a feature vector takes a scan or two per
//! window. So the iterators of a session stay open and go from scan to scan.

use std::cell::RefCell;
use std::ops::ControlFlow;

use covey_state::key::Table;
use covey_state::{Fault, Key, Record, View};
use rocksdb::DBRawIterator;

use super::layout;
use super::view::GroupView;
use crate::error::Error;

/// A reader of one view that keeps its iterators. For one thread.
pub struct Session<'a> {
    view: &'a GroupView,
    /// Iterators that no scan is using. A scan within a scan takes another one.
    idle: RefCell<Vec<(Table, DBRawIterator<'a>)>>,
}

impl<'a> Session<'a> {
    pub(super) fn over(view: &'a GroupView) -> Self {
        Self {
            view,
            idle: RefCell::default(),
        }
    }

    /// Visits a table's stored bytes from `start` on, within the group.
    pub(super) fn scan_stored(
        &self,
        table: Table,
        start: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        self.view.check()?;
        let mut iterator = self.take(table);
        iterator.seek(start);
        // Where the reader stands, to name it when RocksDB cannot read on.
        let mut last = start.to_vec();
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                self.idle.borrow_mut().push((table, iterator));
                return Ok(());
            }
            last.clear();
            last.extend_from_slice(key);
            iterator.next();
        }
        iterator
            .status()
            .map_err(|source| Error::reading(|| layout::place(self.view.group(), table, &last), source))?;
        self.idle.borrow_mut().push((table, iterator));
        Ok(())
    }

    fn take(&self, table: Table) -> DBRawIterator<'a> {
        let mut idle = self.idle.borrow_mut();
        if let Some(position) = idle.iter().position(|(of, _)| *of == table) {
            return idle.swap_remove(position).1;
        }
        let mut options = self.view.read_options();
        options.set_iterate_upper_bound(layout::group_bounds(self.view.group()).1);
        let db = self.view.db();
        db.raw_iterator_cf_opt(super::family(db, table), options)
    }
}

impl View for Session<'_> {
    fn get(&self, key: &Key) -> Result<Option<Record>, Fault> {
        self.view.get(key)
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Fault> {
        self.view.get_many(keys)
    }

    fn scan(&self, from: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> Result<(), Fault> {
        let (table, group) = (from.table(), self.view.group());
        let start = layout::stored_key(group, from);
        self.scan_stored(table, &start, |stored_key, value| {
            let key = layout::parse_key(group, table, stored_key)?;
            Ok(visit(key, self.view.decode(table, stored_key, value)?))
        })?;
        Ok(())
    }
}
