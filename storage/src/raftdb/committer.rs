//! The committer: takes what waits of all groups, writes one batch, syncs once, then tells everybody in order.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use covey_state::GroupId;
use rocksdb::WriteBatch;

use super::job::Job;
use super::layout::{self, Kind};
use super::{Shared, lock};
use crate::checksum;
use crate::error::Error;

/// Runs until the queue is closed and empty.
pub(super) fn run(shared: &Shared) {
    while let Some(jobs) = shared.queue.next_batch() {
        let outcome = match shared.queue.failure() {
            Some(stopped) => Err(stopped),
            None => commit(shared, &jobs),
        };
        if let Err(cause) = &outcome
            && shared.queue.failure().is_none()
        {
            tracing::error!(error = %cause, source = ?cause, "the log database stopped");
            shared.queue.fail(cause.clone());
        }
        finish(shared, jobs, &outcome);
    }
    if let Err(error) = flush_committed(shared) {
        tracing::warn!(error = %error, "the last commit markers were not stored");
    }
}

fn commit(shared: &Shared, jobs: &[Job]) -> Result<(), Error> {
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
    write(shared, batch)?;
    sync(shared)?;
    metrics.jobs.inc_by(jobs.len() as u64);
    metrics.entries.inc_by(entries as u64);
    Ok(())
}

fn write(shared: &Shared, batch: WriteBatch) -> Result<(), Error> {
    let started = Instant::now();
    fault!("raftdb::before_write");
    shared
        .db
        .write(batch)
        .map_err(Error::database("write to the log"))?;
    fault!("raftdb::after_write");
    shared
        .metrics
        .write_seconds
        .observe(started.elapsed().as_secs_f64());
    Ok(())
}

fn sync(shared: &Shared) -> Result<(), Error> {
    let started = Instant::now();
    fault!("raftdb::before_sync");
    shared
        .db
        .flush_wal(true)
        .map_err(Error::database("sync the log"))?;
    fault!("raftdb::after_sync");
    shared
        .metrics
        .sync_seconds
        .observe(started.elapsed().as_secs_f64());
    shared.metrics.syncs.inc();
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
