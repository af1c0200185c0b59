//! One group's log: the front that callers hold.
//!
//! Every write is the same four steps under the group's lock: check, submit to the committer, and only if it was
//! accepted, change the memory. So a refusal changes nothing, and the order of jobs is the order of the memory.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use covey_state::GroupId;

use super::job::{Job, Operation};
use super::layout::{self, Kind};
use super::memory::LogMemory;
use super::{Backlog, Done, Handle, LogBounds, LogEntry, lock, recovery};
use crate::error::{Error, Place};
use crate::planted::{Bug, is_planted};

/// What is shared of one group between its handles and the committer.
#[derive(Debug)]
pub(super) struct GroupCell {
    pub(super) group: GroupId,
    memory: Mutex<LogMemory>,
}

impl GroupCell {
    pub(super) fn new(group: GroupId, memory: LogMemory) -> Self {
        Self {
            group,
            memory: Mutex::new(memory),
        }
    }

    /// A group that was never written.
    pub(super) fn blank(group: GroupId) -> Self {
        Self::new(group, LogMemory::default())
    }

    pub(super) fn is_blank(&self) -> bool {
        lock(&self.memory).is_blank()
    }

    /// The committer has written a job.
    pub(super) fn written(&self, sequence: u64, tail_bytes_max: usize) {
        lock(&self.memory).written(sequence, tail_bytes_max);
    }

    /// What was found damaged when the database was opened.
    pub(super) fn damage(&self) -> Option<Error> {
        lock(&self.memory).damage.clone()
    }

    /// The memory, unless the log is damaged.
    fn sound(&self) -> Result<MutexGuard<'_, LogMemory>, Error> {
        let memory = lock(&self.memory);
        match &memory.damage {
            Some(damage) => Err(damage.clone()),
            None => Ok(memory),
        }
    }
}

/// The log of one group. Clones share it. A job that is refused with an error never calls its callback.
#[derive(Clone)]
pub struct GroupLog {
    handle: Arc<Handle>,
    cell: Arc<GroupCell>,
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupLog")
            .field("group", &self.cell.group)
            .finish_non_exhaustive()
    }
}

impl GroupLog {
    pub(super) fn new(handle: Arc<Handle>, cell: Arc<GroupCell>) -> Self {
        Self { handle, cell }
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.cell.group
    }

    /// How far the disk is behind, over all groups.
    pub fn backlog(&self) -> Backlog {
        self.handle.shared.queue.backlog()
    }

    /// Where the log begins and ends.
    pub fn bounds(&self) -> Result<LogBounds, Error> {
        Ok(self.cell.sound()?.bounds())
    }

    /// Adds entries to the end. They are readable when this returns; `done` is called when they are durable. Entries
    /// that would leave a hole are refused as [`Error::Gap`].
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), Error> {
        let mut memory = self.cell.sound()?;
        memory.check_append(self.cell.group, &entries)?;
        let operations = entries
            .iter()
            .map(|entry| {
                Operation::Put(
                    layout::entry_key(self.cell.group, entry.index),
                    entry.bytes.clone(),
                )
            })
            .collect();
        self.submit(&mut memory, operations, done)?;
        memory.append(entries);
        Ok(())
    }

    /// What [`GroupLog::read`] gives, if all of it is in memory: then the call does not wait for the disk.
    pub fn read_memory(&self, range: Range<u64>, bytes_max: usize) -> Result<Option<Vec<LogEntry>>, Error> {
        let plan = self.cell.sound()?.plan_read(range, bytes_max);
        Ok(plan.on_disk.is_empty().then_some(plan.in_memory))
    }

    /// The entries of a range, as far as they are there, without a hole: at least one if there is any, and no more
    /// once they reach `bytes_max`. What comes from disk is verified.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, Error> {
        loop {
            let plan = self.cell.sound()?.plan_read(range.clone(), bytes_max);
            if plan.on_disk.is_empty() {
                return Ok(plan.in_memory);
            }
            let read = self.read_disk(plan.on_disk.clone(), bytes_max);
            // The lock was not held meanwhile: entries removed under the reader make what it saw worthless.
            if self.cell.sound()?.removals() != plan.removals {
                continue;
            }
            let mut entries = read?;
            let mut budget = bytes_max.saturating_sub(entries.iter().map(|entry| entry.bytes.len()).sum());
            if entries.len() as u64 == plan.on_disk.end - plan.on_disk.start {
                entries.extend(plan.in_memory.into_iter().take_while(|entry| {
                    let fits = entry.bytes.len() <= budget;
                    budget = budget.saturating_sub(entry.bytes.len());
                    fits
                }));
            }
            return Ok(entries);
        }
    }

    /// Entries from disk, stopping at `bytes_max`.
    fn read_disk(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, Error> {
        let group = self.cell.group;
        let mut entries = Vec::new();
        let mut budget = bytes_max;
        for (expected, found) in
            range
                .clone()
                .zip(recovery::entries(&self.handle.shared.db, group, range.clone()))
        {
            let entry = found?;
            if entry.index != expected {
                break;
            }
            if !entries.is_empty() && entry.bytes.len() > budget {
                return Ok(entries);
            }
            budget = budget.saturating_sub(entry.bytes.len());
            entries.push(entry);
        }
        let next = range.start + entries.len() as u64;
        if next == range.end {
            Ok(entries)
        } else {
            let place = Place::LogEntry { group, index: next };
            Err(Error::Corrupt {
                place,
                reason: "it is missing".to_owned(),
            })
        }
    }

    /// Drops every entry with a larger index than `index`, or all of them.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) -> Result<(), Error> {
        let mut memory = self.cell.sound()?;
        let from = index.map_or(0, |index| index.saturating_add(1));
        let kept = self.last_before(&memory, from)?;
        self.submit(&mut memory, vec![Operation::RemoveEntries(from, None)], done)?;
        memory.truncate(kept);
        Ok(())
    }

    /// The last entry before `end` that the log has.
    fn last_before(&self, memory: &LogMemory, end: u64) -> Result<Option<LogEntry>, Error> {
        let end = end.min(memory.end_index());
        if end <= memory.first_index() {
            return Ok(None);
        }
        match memory.entry(end - 1) {
            Some(entry) => Ok(Some(entry)),
            // What is not in the tail is on disk, and this lock keeps it there.
            None => Ok(self.read_disk(end - 1..end, usize::MAX)?.pop()),
        }
    }

    /// Drops every entry up to `through`, which may lie beyond the end, and keeps `marker` in their place. Purging
    /// less than was purged before changes nothing.
    pub fn purge(&self, through: u64, marker: Bytes, done: Done) -> Result<(), Error> {
        let mut memory = self.cell.sound()?;
        if memory
            .purged
            .as_ref()
            .is_some_and(|(before, _)| *before > through)
        {
            return self.submit(&mut memory, Vec::new(), done);
        }
        let mut payload = through.to_be_bytes().to_vec();
        payload.extend_from_slice(&marker);
        let key = layout::marker_key(self.cell.group, Kind::Purged);
        let operations = vec![
            Operation::Put(key, Bytes::from(payload)),
            Operation::RemoveEntries(0, Some(through.saturating_add(1))),
        ];
        self.submit(&mut memory, operations, done)?;
        memory.purge(through, marker);
        Ok(())
    }

    /// Stores the vote.
    pub fn save_vote(&self, vote: Bytes, done: Done) -> Result<(), Error> {
        let mut memory = self.cell.sound()?;
        let key = layout::marker_key(self.cell.group, Kind::Vote);
        let mut operations = vec![Operation::Put(key, vote.clone())];
        if is_planted(Bug::ForgetVote) {
            operations.clear();
        }
        self.submit(&mut memory, operations, done)?;
        memory.vote = Some(vote);
        Ok(())
    }

    /// The vote stored last.
    pub fn vote(&self) -> Result<Option<Bytes>, Error> {
        Ok(self.cell.sound()?.vote.clone())
    }

    /// Stores what a replica that begins anew has to hear of before it may vote.
    pub fn save_probation(&self, probation: Bytes, done: Done) -> Result<(), Error> {
        let mut memory = self.cell.sound()?;
        let key = layout::marker_key(self.cell.group, Kind::Probation);
        self.submit(&mut memory, vec![Operation::Put(key, probation.clone())], done)?;
        memory.probation = Some(probation);
        Ok(())
    }

    /// What [`GroupLog::save_probation`] stored last.
    pub fn probation(&self) -> Result<Option<Bytes>, Error> {
        Ok(self.cell.sound()?.probation.clone())
    }

    /// Stores the commit marker with the next batch of any group; it costs no sync of its own and may be lost.
    pub fn save_committed(&self, committed: Bytes) -> Result<(), Error> {
        let mut memory = self.cell.sound()?;
        lock(&self.handle.shared.committed).insert(self.cell.group, committed.clone());
        memory.committed = Some(committed);
        Ok(())
    }

    /// The commit marker stored last.
    pub fn committed(&self) -> Result<Option<Bytes>, Error> {
        Ok(self.cell.sound()?.committed.clone())
    }

    /// See [`super::RaftDb::drop_group`]. Works on a damaged log too: it is how the damage is got rid of.
    pub(super) fn forget(&self, done: Done) {
        let mut memory = lock(&self.cell.memory);
        let job = Job::new(
            &self.cell,
            memory.next_sequence(),
            vec![Operation::RemoveAll],
            done,
        );
        if let Err(refused) = self.handle.shared.queue.push(job) {
            drop(memory);
            return refused.job.finish(Err(refused.error));
        }
        memory.submitted();
        lock(&self.handle.shared.committed).remove(&self.cell.group);
        memory.forget();
    }

    fn submit(&self, memory: &mut LogMemory, operations: Vec<Operation>, done: Done) -> Result<(), Error> {
        let job = Job::new(&self.cell, memory.next_sequence(), operations, done);
        match self.handle.shared.queue.push(job) {
            Ok(()) => {
                memory.submitted();
                Ok(())
            }
            Err(refused) => {
                self.handle.shared.metrics.refused.inc();
                Err(refused.error)
            }
        }
    }
}
