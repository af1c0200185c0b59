//! Keeps long work at a rate.

use std::time::Duration;

use tokio::time::Instant;

/// How far work that is paid for in bytes may have come.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    due: Instant,
}

impl Pace {
    /// Work that begins now.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            due: Instant::now(),
        }
    }

    /// Waits until `bytes` may follow.
    pub(crate) async fn spend(&mut self, bytes: u64) {
        // sleep: snapshots and comparisons go at a bounded rate.
        tokio::time::sleep_until(self.due).await;
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.due = self.due.max(Instant::now()) + cost;
    }
}
