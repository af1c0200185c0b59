//! Reading a group's replicated map, from memory or from disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::change::Change;
use crate::key::Key;
use crate::record::Record;

/// The map could not be read. Never an answer: it stops the group on this node.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the state of the group")]
pub struct Fault(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A consistent view of one group's map.
pub trait View {
    /// The record at `key`, if there is one.
    fn get(&self, key: &Key) -> Result<Option<Record>, Fault>;

    /// The records at `keys`, in the same order, in one round where the store can.
    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Fault> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Visits the records of `from`'s table from `from` on, in key order, until the visitor breaks or the table ends.
    fn scan(&self, from: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> Result<(), Fault>;

    /// The same for a visitor that keeps nothing: a view that has the records in memory need not copy them.
    fn glance(
        &self,
        from: &Key,
        visit: &mut dyn FnMut(&Key, &Record) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.scan(from, &mut |key, record| visit(&key, &record))
    }
}

/// A map in memory: the model that the laws are tested on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MemoryView(BTreeMap<Key, Record>);

impl MemoryView {
    /// Carries out one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(key, record) => {
                self.0.insert(key, record);
            }
            Change::Delete(key) => {
                self.0.remove(&key);
            }
        }
    }

    /// All entries in key order: a snapshot.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.0.iter()
    }
}

impl FromIterator<(Key, Record)> for MemoryView {
    fn from_iter<T: IntoIterator<Item = (Key, Record)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl View for MemoryView {
    fn get(&self, key: &Key) -> Result<Option<Record>, Fault> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> Result<(), Fault> {
        self.glance(from, &mut |key, record| visit(key.clone(), record.clone()))
    }

    fn glance(
        &self,
        from: &Key,
        visit: &mut dyn FnMut(&Key, &Record) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let table = from.table();
        for (key, record) in self.0.range(from..).filter(|(key, _)| key.table() == table) {
            if visit(key, record).is_break() {
                break;
            }
        }
        Ok(())
    }
}
