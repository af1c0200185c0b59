//! What is known in memory of one group's log: its bounds, its markers, and the entries not yet on disk.
//!
//! It is the truth as of the last job submitted; the disk follows. The tail is a suffix of the log without a hole and
//! holds at least every entry whose job is not written yet, so everything before the tail can be read from disk.

use std::collections::VecDeque;

use bytes::Bytes;
use covey_state::GroupId;

use super::{LogBounds, LogEntry};
use crate::error::Error;

/// See the page's head.
#[derive(Debug, Default)]
pub(super) struct LogMemory {
    /// Damage found when the log was opened: every call answers with it.
    pub(super) damage: Option<Error>,
    /// The vote.
    pub(super) vote: Option<Bytes>,
    /// What a replica that began anew has to hear of first.
    pub(super) probation: Option<Bytes>,
    /// The commit marker.
    pub(super) committed: Option<Bytes>,
    /// The largest purged index and the marker of that purge.
    pub(super) purged: Option<(u64, Bytes)>,
    /// The index of the first entry, when there is one.
    first: u64,
    last: Option<LogEntry>,
    tail: VecDeque<TailEntry>,
    tail_bytes: usize,
    /// Counts the jobs submitted.
    sequence: u64,
    /// The newest job that is written.
    written: u64,
    /// Counts what removes entries, so that a reader of the disk notices that the log moved under it.
    removals: u64,
}

#[derive(Debug)]
struct TailEntry {
    sequence: u64,
    entry: LogEntry,
}

/// What of a range of a log is in memory, and what is only on disk.
#[derive(Debug)]
pub(super) struct ReadPlan {
    /// Indexes to read from disk, first.
    pub(super) on_disk: std::ops::Range<u64>,
    /// Entries that follow them.
    pub(super) in_memory: Vec<LogEntry>,
    /// The number of removals when the plan was made; see [`LogMemory::removals`].
    pub(super) removals: u64,
}

impl LogMemory {
    /// A log as it was found on disk.
    pub(super) fn recovered(purged: Option<(u64, Bytes)>, first: u64, last: Option<LogEntry>) -> Self {
        Self {
            purged,
            first,
            last,
            ..Self::default()
        }
    }

    /// A log that cannot be used.
    pub(super) fn damaged(damage: Error) -> Self {
        Self {
            damage: Some(damage),
            ..Self::default()
        }
    }

    /// Whether nothing was ever stored.
    pub(super) fn is_blank(&self) -> bool {
        self.damage.is_none()
            && self.vote.is_none()
            && self.probation.is_none()
            && self.committed.is_none()
            && self.purged.is_none()
            && self.last.is_none()
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds {
            purged: self.purged.as_ref().map(|(_, marker)| marker.clone()),
            first_index: self.first_index(),
            last: self.last.clone(),
        }
    }

    /// The first index that is there or, in an empty log, that would come next.
    pub(super) fn first_index(&self) -> u64 {
        match (&self.last, &self.purged) {
            (Some(_), _) => self.first,
            (None, Some((through, _))) => through + 1,
            (None, None) => 0,
        }
    }

    /// The index after the last entry.
    pub(super) fn end_index(&self) -> u64 {
        self.last
            .as_ref()
            .map_or_else(|| self.first_index(), |last| last.index + 1)
    }

    /// See [`LogMemory`]: the number that tells a reader whether entries were removed meanwhile.
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// The number of the next job.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }

    /// A job has been submitted.
    pub(super) fn submitted(&mut self) {
        self.sequence += 1;
    }

    /// Refuses entries that would leave a hole. The very first entry of a log that was never purged may have any
    /// index.
    pub(super) fn check_append(&self, group: GroupId, entries: &[LogEntry]) -> Result<(), Error> {
        let any_start = self.last.is_none() && self.purged.is_none();
        let start = entries.first().map_or(0, |entry| entry.index);
        let expected = if any_start { start } else { self.end_index() };
        match (expected..)
            .zip(entries)
            .find(|(expected, entry)| entry.index != *expected)
        {
            Some((expected, entry)) => Err(Error::Gap {
                group,
                expected,
                found: entry.index,
            }),
            None => Ok(()),
        }
    }

    /// Takes checked entries, which belong to the job being submitted.
    pub(super) fn append(&mut self, entries: Vec<LogEntry>) {
        if self.last.is_none() {
            self.first = entries.first().map_or(self.first, |entry| entry.index);
        }
        self.last = entries.last().cloned().or_else(|| self.last.take());
        for entry in entries {
            self.tail_bytes += entry.bytes.len();
            self.tail.push_back(TailEntry {
                sequence: self.sequence,
                entry,
            });
        }
    }

    /// Forgets every entry after `kept`, which is the last entry that stays.
    pub(super) fn truncate(&mut self, kept: Option<LogEntry>) {
        self.removals += 1;
        let end = kept.as_ref().map_or(0, |kept| kept.index + 1);
        while self.tail.back().is_some_and(|tail| tail.entry.index >= end) {
            let removed = self.tail.pop_back().expect("the back was just looked at");
            self.tail_bytes -= removed.entry.bytes.len();
        }
        self.last = kept;
    }

    /// Forgets every entry up to `through`, which may lie beyond the end of the log.
    pub(super) fn purge(&mut self, through: u64, marker: Bytes) {
        self.removals += 1;
        self.purged = Some((through, marker));
        self.first = self.first.max(through + 1);
        while self.tail.front().is_some_and(|tail| tail.entry.index <= through) {
            self.pop_tail();
        }
        if self.last.as_ref().is_some_and(|last| last.index <= through) {
            self.last = None;
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self {
            sequence: self.sequence,
            written: self.written,
            removals: self.removals + 1,
            ..Self::default()
        };
    }

    /// A job is written: its entries need no longer be held beyond the cache's `bytes_max`.
    pub(super) fn written(&mut self, sequence: u64, bytes_max: usize) {
        self.written = sequence;
        while self.tail_bytes > bytes_max
            && self
                .tail
                .front()
                .is_some_and(|tail| tail.sequence <= self.written)
        {
            self.pop_tail();
        }
    }

    fn pop_tail(&mut self) {
        let removed = self.tail.pop_front().expect("callers have looked at the front");
        self.tail_bytes -= removed.entry.bytes.len();
    }

    /// The entry at `index` if it is in memory.
    pub(super) fn entry(&self, index: u64) -> Option<LogEntry> {
        let front = self.tail.front()?.entry.index;
        let position = usize::try_from(index.checked_sub(front)?).ok()?;
        self.tail.get(position).map(|tail| tail.entry.clone())
    }

    /// Splits a range into what must come from disk and what is in memory, up to `bytes_max` of the latter.
    pub(super) fn plan_read(&self, range: std::ops::Range<u64>, bytes_max: usize) -> ReadPlan {
        let start = range.start.max(self.first_index());
        let end = range.end.min(self.end_index());
        let tail_start = self.tail.front().map_or(end, |tail| tail.entry.index);
        let on_disk = start..tail_start.min(end).max(start);
        let mut budget = bytes_max;
        let in_memory = (on_disk.end..end)
            .map_while(|index| self.entry(index))
            .enumerate()
            .take_while(|(position, entry)| {
                let fits = *position == 0 || entry.bytes.len() <= budget;
                budget = budget.saturating_sub(entry.bytes.len());
                fits
            })
            .map(|(_, entry)| entry)
            .collect();
        ReadPlan {
            on_disk,
            in_memory,
            removals: self.removals,
        }
    }
}
