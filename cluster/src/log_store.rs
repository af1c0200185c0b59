//! The log of one group, as the consensus library wants it, on `covey-storage`'s log database.
//!
//! Votes, entries, truncations and purges of a group go through one first-in-first-out queue into the committer, so
//! they reach the disk in the order in which they were asked for. Invariant: an entry is purged only after the state
//! it led to has been flushed.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use covey_storage::{Done, Error as StorageError, GroupLog, LogEntry};
use futures::Stream;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::blocking::blocking;
use crate::codec;
use crate::consensus::{Entry, LogId, TypeConfig, Vote};
use crate::damage::Damage;
use crate::flush::StateFlush;

/// Bytes that are read from the log at once when a whole range is wanted.
const READ_BYTES_MAX: usize = 4 << 20;

/// How long to wait before a job that found the committer's queue full is offered again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// The log of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: GroupLog,
    flush: StateFlush,
    damage: Damage,
    append_bytes_max: usize,
}

impl LogStore {
    pub(crate) fn new(log: GroupLog, flush: StateFlush, damage: Damage, append_bytes_max: usize) -> Self {
        Self {
            log,
            flush,
            damage,
            append_bytes_max,
        }
    }

    fn io_error(&self, error: &StorageError) -> io::Error {
        self.damage.io_error(error)
    }

    /// Reads recent entries from memory and others on a thread that may wait for the disk.
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let stored = match self
            .log
            .read_memory(start..end, bytes_max)
            .map_err(|error| self.io_error(&error))?
        {
            Some(stored) => stored,
            None => {
                let log = self.log.clone();
                let read = blocking(move || log.read(start..end, bytes_max));
                read.await
                    .map_err(io::Error::other)?
                    .map_err(|error| self.io_error(&error))?
            }
        };
        let entries = stored.iter().map(|entry| codec::load_entry(&entry.bytes));
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// The half-open range of indexes that the log could have.
    fn clamp(&self, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let bounds = self.log.bounds().map_err(|error| self.io_error(&error))?;
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let last_end = bounds
            .last
            .map_or(bounds.first_index, |last| last.index.saturating_add(1));
        Ok((start.max(bounds.first_index), end.min(last_end)))
    }

    /// Submits a job, again and again while the committer's queue is full, and waits until it is durable.
    async fn durable(&self, submit: impl Fn(Done) -> Result<(), StorageError>) -> io::Result<()> {
        loop {
            let (done, finished) = told();
            if self.settled(submit(done), finished).await? {
                return Ok(());
            }
        }
    }

    /// Waits until a job is durable; false if the committer's queue was full, and then it has to be offered again.
    async fn settled(
        &self,
        submitted: Result<(), StorageError>,
        finished: oneshot::Receiver<Result<(), StorageError>>,
    ) -> io::Result<bool> {
        match submitted {
            Ok(()) => {
                let outcome = finished.await;
                let outcome = outcome.map_err(|_| io::Error::other("the log committer is gone"))?;
                outcome.map(|()| true).map_err(|error| self.io_error(&error))
            }
            Err(StorageError::Busy { .. }) => {
                // sleep: the disk is behind; waiting here is the back-pressure.
                tokio::time::sleep(BUSY_PAUSE).await;
                Ok(false)
            }
            Err(error) => Err(self.io_error(&error)),
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut next, end) = self.clamp(&range)?;
        let mut entries = Vec::new();
        while next < end {
            let part = self.read(next, end, READ_BYTES_MAX).await?;
            let Some(last) = part.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(part);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, self.append_bytes_max).await
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Read in parts: a replica that has much to catch up with must not hold all of it in memory.
        let parts = self.clamp(&range).map(|(start, end)| (self.clone(), start, end));
        let (first, failed) = match parts {
            Ok(parts) => (Some(parts), None),
            Err(error) => (None, Some(Err(error))),
        };
        let parts = futures::stream::unfold(first, |parts| async move {
            let (store, next, end) = parts?;
            if next >= end {
                return None;
            }
            match store.read(next, end, READ_BYTES_MAX).await {
                Ok(part) => {
                    let next = part.last().map_or(end, |last| last.log_id.index + 1);
                    let items: Vec<io::Result<Entry>> = part.into_iter().map(Ok).collect();
                    Some((futures::stream::iter(items), Some((store, next, end))))
                }
                Err(error) => Some((futures::stream::iter(vec![Err(error)]), None)),
            }
        });
        let entries = futures::StreamExt::flatten(parts);
        futures::StreamExt::chain(futures::stream::iter(failed), entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let vote = self.log.vote().map_err(|error| self.io_error(&error))?;
        Ok(vote.as_ref().map(codec::load_vote).transpose()?)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let bounds = self.log.bounds().map_err(|error| self.io_error(&error))?;
        let purged = bounds.purged.as_ref().map(codec::load_log_id).transpose()?;
        let last = bounds
            .last
            .map(|last| codec::load_entry(&last.bytes))
            .transpose()?;
        let last = last.map(|entry| entry.log_id).or(purged);
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = codec::store_vote(vote);
        self.durable(|done| self.log.save_vote(bytes.clone(), done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        match committed {
            // It rides with the next batch: losing it only means that more is applied again after a restart.
            Some(committed) => self
                .log
                .save_committed(codec::store_log_id(&committed))
                .map_err(|error| self.io_error(&error)),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let stored = self.log.committed().map_err(|error| self.io_error(&error))?;
        let Some(committed) = stored.as_ref().map(codec::load_log_id).transpose()? else {
            return Ok(None);
        };
        // The marker may be of a moment whose entries did not reach the disk; then it says nothing.
        let last = self.get_log_state().await?.last_log_id;
        Ok(last.filter(|last| *last >= committed).map(|_| committed))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries
            .into_iter()
            .map(|entry| LogEntry {
                index: entry.log_id.index,
                bytes: codec::store_entry(entry),
            })
            .collect();
        // A refused job drops its callback without calling it, so the library's one is kept until a job is taken.
        let callback = Arc::new(Mutex::new(Some(callback)));
        loop {
            let (waiting, damage) = (Arc::clone(&callback), self.damage.clone());
            let done: Done = Box::new(move |outcome| {
                let callback = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(callback) = callback {
                    callback.io_completed(outcome.map_err(|error| damage.io_error(&error)));
                }
            });
            match self.log.append(entries.clone(), done) {
                Ok(()) => return Ok(()),
                // sleep: the disk is behind; waiting here is the back-pressure.
                Err(StorageError::Busy { .. }) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(error) => return Err(self.io_error(&error)),
            }
        }
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let index = last.map(|last| last.index);
        loop {
            let (done, finished) = told();
            // Looking for the last entry that stays may take a read from the disk.
            let log = self.log.clone();
            let submitted = blocking(move || log.truncate_after(index, done)).await;
            if self
                .settled(submitted.map_err(io::Error::other)?, finished)
                .await?
            {
                return Ok(());
            }
        }
    }

    async fn purge(&mut self, through: LogId) -> io::Result<()> {
        self.flush.flush().await?;
        let marker: Bytes = codec::store_log_id(&through);
        self.durable(|done| self.log.purge(through.index, marker.clone(), done))
            .await
    }
}

/// A callback for a job, and where to hear from it.
fn told() -> (Done, oneshot::Receiver<Result<(), StorageError>>) {
    let (done, finished) = oneshot::channel();
    // Nobody waits any more when the group is being closed.
    (Box::new(move |outcome| drop(done.send(outcome))), finished)
}
