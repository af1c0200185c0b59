//! A batch of changes to one group, readable before it is written.
//!
//! Invariants: reads through a batch see the group as it was when the batch began plus everything staged since. One
//! batch per group at a time: whoever applies the group's log is the only writer. Nothing is written after the group was
//! erased by anybody who held its state before.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::{Change, Fault, GroupId, Key, Record, View};
use rocksdb::WriteBatch;

use super::layout::{self, Marker};
use super::view::GroupView;
use super::{Shared, family};
use crate::error::Error;
use crate::planted::{Bug, is_planted};
use crate::record;

/// Changes of one group on their way to the disk. Dropping it drops them.
pub struct GroupBatch {
    shared: Arc<Shared>,
    group: GroupId,
    base: GroupView,
    /// How often the group had been erased when the state was taken that this is a batch of.
    erasures: u64,
    staged: BTreeMap<Key, Staged>,
    bytes: usize,
}

/// What a staged key will hold: as a record for readers, and encoded for the disk.
struct Staged {
    record: Option<Record>,
    stored_key: Vec<u8>,
    value: Vec<u8>,
}

impl GroupBatch {
    pub(super) fn new(shared: Arc<Shared>, group: GroupId, erasures: u64) -> Self {
        Self {
            base: shared.view(group),
            shared,
            group,
            erasures,
            staged: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes a change in. Later changes of the same key replace earlier ones.
    pub fn stage(&mut self, change: Change) {
        let (key, record) = match change {
            Change::Put(key, record) => (key, Some(record)),
            Change::Delete(key) => (key, None),
        };
        let stored_key = layout::stored_key(self.group, &key);
        let value = record
            .as_ref()
            .map_or_else(Vec::new, |record| record::encode(&stored_key, record));
        let staged = Staged {
            record,
            stored_key,
            value,
        };
        self.bytes += staged.size();
        if let Some(replaced) = self.staged.insert(key, staged) {
            self.bytes -= replaced.size();
        }
    }

    /// How many keys are staged.
    pub fn len(&self) -> usize {
        self.staged.len()
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// The bytes of what is staged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes everything staged, and `applied` as the group's marker, at once. It survives the process, but is synced
    /// only by [`super::StateDb::flush`]. It is refused if the group was erased since its state was taken.
    pub fn commit(self, applied: Bytes) -> Result<(), Error> {
        let gate = self.shared.read_gate();
        gate.check(self.group, self.erasures)?;
        let db = &self.shared.db;
        let mut batch = WriteBatch::with_capacity_bytes(self.bytes + applied.len());
        for (key, staged) in &self.staged {
            let family = family(db, key.table());
            match staged.record {
                Some(_) => batch.put_cf(family, &staged.stored_key, &staged.value),
                None => batch.delete_cf(family, &staged.stored_key),
            }
        }
        if !is_planted(Bug::DropAppliedIndex) {
            layout::put_marker(self.group, Marker::Applied, &applied, &mut batch);
        }
        fault!("statedb::before_commit");
        self.write(batch)?;
        fault!("statedb::after_commit");
        Ok(())
    }

    fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        fail::fail_point!("statedb::write", |_| Err(self
            .shared
            .stop(Error::Injected("statedb::write"))));
        let written = self.shared.db.write(batch);
        written.map_err(|source| self.shared.write_failed(source))
    }
}

impl Staged {
    fn size(&self) -> usize {
        self.stored_key.len() + self.value.len()
    }

    /// Shows a put to the visitor of a scan; a removal shows nothing.
    fn show(&self, key: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> ControlFlow<()> {
        match &self.record {
            Some(record) => visit(key.clone(), record.clone()),
            None => ControlFlow::Continue(()),
        }
    }
}

impl View for GroupBatch {
    fn get(&self, key: &Key) -> Result<Option<Record>, Fault> {
        match self.staged.get(key) {
            Some(staged) => Ok(staged.record.clone()),
            None => self.base.get(key),
        }
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Fault> {
        let below: Vec<Key> = keys
            .iter()
            .filter(|key| !self.staged.contains_key(key))
            .cloned()
            .collect();
        let mut below = self.base.get_many(&below)?.into_iter();
        let answer = keys.iter().map(|key| match self.staged.get(key) {
            Some(staged) => staged.record.clone(),
            None => below
                .next()
                .expect("the base answers for every key that is not staged"),
        });
        Ok(answer.collect())
    }

    fn scan(&self, from: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> Result<(), Fault> {
        let table = from.table();
        let mut staged = self
            .staged
            .range(from..)
            .filter(|(key, _)| key.table() == table)
            .peekable();
        let mut flow = ControlFlow::Continue(());
        self.base.scan(from, &mut |key, record| {
            while let Some((before, change)) = staged.next_if(|(staged, _)| **staged < key) {
                flow = change.show(before, visit);
                if flow.is_break() {
                    return flow;
                }
            }
            flow = match staged.next_if(|(staged, _)| **staged == key) {
                Some((_, change)) => change.show(&key, visit),
                None => visit(key, record),
            };
            flow
        })?;
        if flow.is_continue() {
            // Whether the visitor has had enough matters to nobody after the last key.
            let _ = staged.try_for_each(|(key, change)| change.show(key, visit));
        }
        Ok(())
    }
}
