//! Every metric of this crate: names, units and help.

use std::sync::Arc;

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry, exponential_buckets};

use crate::error::Error;

/// What the committer of the log database measures. Each open database has its own.
#[derive(Debug, Clone)]
pub struct RaftDbMetrics {
    /// Jobs per batch.
    pub batch_jobs: Histogram,
    /// Log entries per batch.
    pub batch_entries: Histogram,
    /// Groups per batch.
    pub batch_groups: Histogram,
    /// Bytes per batch.
    pub batch_bytes: Histogram,
    /// Seconds per write of a batch, without its sync.
    pub write_seconds: Histogram,
    /// Seconds per fsync.
    pub sync_seconds: Histogram,
    /// Jobs made durable: appends, votes, purges.
    pub jobs: IntCounter,
    /// Log entries made durable; divided by `syncs` it is the number of writes per fsync.
    pub entries: IntCounter,
    /// Fsyncs.
    pub syncs: IntCounter,
    /// Jobs refused because the queue was full.
    pub refused: IntCounter,
}

impl RaftDbMetrics {
    /// Metrics that nobody collects yet.
    pub(crate) fn new() -> Self {
        Self {
            batch_jobs: histogram("covey_raftdb_batch_jobs", "jobs per batch", 1.0, 2.0, 14),
            batch_entries: histogram(
                "covey_raftdb_batch_entries",
                "log entries per batch",
                1.0,
                2.0,
                16,
            ),
            batch_groups: histogram("covey_raftdb_batch_groups", "groups per batch", 1.0, 2.0, 10),
            batch_bytes: histogram("covey_raftdb_batch_bytes", "bytes per batch", 64.0, 4.0, 12),
            write_seconds: histogram(
                "covey_raftdb_write_seconds",
                "seconds per batch write",
                1e-5,
                2.0,
                16,
            ),
            sync_seconds: histogram("covey_raftdb_sync_seconds", "seconds per fsync", 1e-4, 2.0, 16),
            jobs: counter("covey_raftdb_jobs_total", "log jobs made durable"),
            entries: counter("covey_raftdb_entries_total", "log entries made durable"),
            syncs: counter("covey_raftdb_syncs_total", "fsyncs of the log"),
            refused: counter(
                "covey_raftdb_refused_total",
                "log jobs refused because the queue was full",
            ),
        }
    }

    /// Offers the metrics for collection.
    pub fn register(&self, registry: &Registry) -> Result<(), Error> {
        let histograms = [
            &self.batch_jobs,
            &self.batch_entries,
            &self.batch_groups,
            &self.batch_bytes,
            &self.write_seconds,
            &self.sync_seconds,
        ];
        let counters = [&self.jobs, &self.entries, &self.syncs, &self.refused];
        histograms
            .into_iter()
            .map(|histogram| registry.register(Box::new(histogram.clone())))
            .chain(
                counters
                    .into_iter()
                    .map(|counter| registry.register(Box::new(counter.clone()))),
            )
            .collect::<Result<(), _>>()
            .map_err(|source| Error::Metrics {
                source: Arc::new(source),
            })
    }
}

fn histogram(name: &str, help: &str, start: f64, factor: f64, count: usize) -> Histogram {
    let buckets =
        exponential_buckets(start, factor, count).expect("start, factor and count are valid constants");
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
        .expect("the name is a valid constant")
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("the name is a valid constant")
}
