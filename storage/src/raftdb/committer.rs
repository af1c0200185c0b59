//! The committer: takes what waits of all groups, writes one batch, syncs once, then tells everybody in order.
//!
//! A thread of its own runs it, or somebody who opened the database with [`super::RaftDb::open_by_hand`] makes each step.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use covey_state::GroupId;
use rocksdb::WriteBatch;

use super::job::Job;
use super::layout::{self, Kind};
use super::{Shared, lock};
use crate::checksum;
use crate::error::Error;
use crate::planted::{Bug, is_planted};

/// Makes the steps of a database without a thread for them. Dropping it loses what waits.
pub struct Committer(Arc<Shared>);

impl Committer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Writes a batch of what waits; `None` if nothing does.
    pub fn write(&self) -> Option<Written> {
        let jobs = self.0.queue.waiting_batch()?;
        Some(Written::of(&self.0, jobs))
    }
}

/// A batch that is written and not synced: a loss of power may take it. Dropping it tells nobody anything.
pub struct Written {
    shared: Arc<Shared>,
    jobs: Vec<Job>,
    outcome: Result<(), Error>,
}

impl Written {
    fn of(shared: &Arc<Shared>, jobs: Vec<Job>) -> Self {
        let outcome = match shared.queue.failure() {
            Some(stopped) => Err(stopped),
            None => write_batch(shared, &jobs),
        };
        let mut written = Self {
            shared: Arc::clone(shared),
            jobs,
            outcome,
        };
        if is_planted(Bug::AckBeforeFsync) {
            let told = std::mem::take(&mut written.jobs);
            finish(&written.shared, told, &written.outcome);
        }
        written
    }

    /// Syncs it and tells everybody who waits for it.
    pub fn sync(self) {
        let Self {
            shared,
            jobs,
            outcome,
        } = self;
        let outcome = outcome.and_then(|()| sync(&shared, &jobs));
        if let Err(cause) = &outcome
            && shared.queue.failure().is_none()
        {
            tracing::error!(error = %cause, source = ?cause, "the log database stopped");
            shared.queue.fail(cause.clone());
        }
        finish(&shared, jobs, &outcome);
    }
}

/// Runs until the queue is closed and empty.
pub(super) fn run(shared: &Arc<Shared>) {
    while let Some(jobs) = shared.queue.next_batch() {
        Written::of(shared, jobs).sync();
    }
    if let Err(error) = flush_committed(shared) {
        tracing::warn!(error = %error, "the last commit markers were not stored");
    }
}

fn write_batch(shared: &Shared, jobs: &[Job]) -> Result<(), Error> {
    let metrics = &shared.metrics;
    let mut batch = WriteBatch::default();
    add_committed(shared, &mut batch);
    for job in jobs {
        job.add_to(&mut batch);
    }
    let groups: BTreeSet<GroupId> = jobs.iter().map(|job| job.cell.group).collect();
    let entries: usize = jobs.iter().map(Job::entries).sum();
    #[allow(clippy::cast_precision_loss)] // Histograms count in floats.
    {
        metrics.batch_jobs.observe(jobs.len() as f64);
        metrics.batch_entries.observe(entries as f64);
        metrics.batch_groups.observe(groups.len() as f64);
        metrics.batch_bytes.observe(batch.size_in_bytes() as f64);
    }
    write(shared, batch)
}

fn write(shared: &Shared, batch: WriteBatch) -> Result<(), Error> {
    let started = Instant::now();
    fault!("raftdb::before_write");
    shared
        .db
        .write(batch)
        .map_err(|source| shared.write_failed("write to the log", source))?;
    fault!("raftdb::after_write");
    shared
        .metrics
        .write_seconds
        .observe(started.elapsed().as_secs_f64());
    Ok(())
}

fn sync(shared: &Shared, jobs: &[Job]) -> Result<(), Error> {
    let started = Instant::now();
    fault!("raftdb::before_sync");
    shared
        .db
        .flush_wal(true)
        .map_err(|source| shared.write_failed("sync the log", source))?;
    fault!("raftdb::after_sync");
    shared
        .metrics
        .sync_seconds
        .observe(started.elapsed().as_secs_f64());
    shared.metrics.syncs.inc();
    shared.metrics.jobs.inc_by(jobs.len() as u64);
    let entries: usize = jobs.iter().map(Job::entries).sum();
    shared.metrics.entries.inc_by(entries as u64);
    Ok(())
}

fn finish(shared: &Shared, jobs: Vec<Job>, outcome: &Result<(), Error>) {
    let tail_bytes_max = shared.tail_bytes_max();
    for job in jobs {
        if outcome.is_ok() {
            job.cell.written(job.sequence, tail_bytes_max);
        }
        let outcome = outcome.clone();
        // A callback that panics must not take the logs of all groups with it.
        if catch_unwind(AssertUnwindSafe(|| job.finish(outcome))).is_err() {
            tracing::error!("a log callback panicked");
        }
    }
}

/// Commit markers go before the jobs, so that a group dropped by a job stays empty.
fn add_committed(shared: &Shared, batch: &mut WriteBatch) {
    for (group, committed) in std::mem::take(&mut *lock(&shared.committed)) {
        let key = layout::marker_key(group, Kind::Committed);
        batch.put(key, checksum::seal(&key, committed.to_vec()));
    }
}

fn flush_committed(shared: &Shared) -> Result<(), Error> {
    if shared.queue.failure().is_some() {
        return Ok(());
    }
    let mut batch = WriteBatch::default();
    add_committed(shared, &mut batch);
    if batch.is_empty() {
        return Ok(());
    }
    shared
        .db
        .write(batch)
        .map_err(Error::database("write to the log"))?;
    shared
        .db
        .flush_wal(false)
        .map_err(Error::database("flush the log"))
}
