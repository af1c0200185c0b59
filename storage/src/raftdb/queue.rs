//! The committer's queue: first in first out over all groups, bounded in bytes, never blocking who submits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::job::Job;
use super::{Backlog, lock};
use crate::error::Error;

/// Jobs that wait for the committer.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The bytes that wait, readable without the lock.
    queued_bytes: AtomicUsize,
    bytes_max: usize,
    batch_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
    failure: Option<Arc<Error>>,
}

/// A job that may not wait, and why.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: Error,
    pub(super) job: Job,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, batch_bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            queued_bytes: AtomicUsize::new(0),
            bytes_max,
            batch_bytes_max,
        }
    }

    /// Lets a job wait for the committer, or hands it back with the reason.
    pub(super) fn push(&self, job: Job) -> Result<(), Box<Refused>> {
        let mut waiting = lock(&self.waiting);
        if let Some(cause) = &waiting.failure {
            let error = Error::Stopped {
                cause: Arc::clone(cause),
            };
            return Err(Box::new(Refused { error, job }));
        }
        // A job larger than the whole queue still passes when nothing else waits, or it could never pass.
        if !waiting.jobs.is_empty() && waiting.bytes + job.size > self.bytes_max {
            let error = Error::Busy {
                queued_bytes: waiting.bytes,
                limit_bytes: self.bytes_max,
            };
            return Err(Box::new(Refused { error, job }));
        }
        waiting.bytes += job.size;
        self.queued_bytes.store(waiting.bytes, Ordering::Relaxed);
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes as many as fit into one batch; `None` once the queue is closed and empty.
    pub(super) fn next_batch(&self) -> Option<Vec<Job>> {
        let waiting = lock(&self.waiting);
        let waiting = self
            .changed
            .wait_while(waiting, |waiting| waiting.jobs.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        self.take_batch(waiting)
    }

    /// The same of what waits now; `None` if nothing does.
    pub(super) fn waiting_batch(&self) -> Option<Vec<Job>> {
        self.take_batch(lock(&self.waiting))
    }

    fn take_batch(&self, mut waiting: MutexGuard<'_, Waiting>) -> Option<Vec<Job>> {
        let mut batch = vec![waiting.jobs.pop_front()?];
        let mut bytes = batch[0].size;
        while let Some(job) = waiting.jobs.front()
            && bytes + job.size <= self.batch_bytes_max
        {
            bytes += job.size;
            batch.extend(waiting.jobs.pop_front());
        }
        waiting.bytes -= bytes;
        self.queued_bytes.store(waiting.bytes, Ordering::Relaxed);
        Some(batch)
    }

    /// How far the committer is behind.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed),
            limit_bytes: self.bytes_max,
        }
    }

    /// The failure that stopped the log, if there was one.
    pub(super) fn failure(&self) -> Option<Error> {
        lock(&self.waiting).failure.as_ref().map(|cause| Error::Stopped {
            cause: Arc::clone(cause),
        })
    }

    /// From now on every job is refused because of `cause`.
    pub(super) fn fail(&self, cause: Error) {
        lock(&self.waiting).failure.get_or_insert_with(|| Arc::new(cause));
    }

    /// No more jobs will come.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_one();
    }
}
