//! A bounded pool for work that keeps a processor or RocksDB busy for more than about a millisecond.
//!
//! Invariant: no more jobs run at once than there are processors; the others wait in the order in which they came.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::Span;

/// The pool. Clones share it.
#[derive(Debug, Clone)]
pub struct ComputePool {
    permits: Arc<Semaphore>,
}

impl ComputePool {
    /// A pool that runs at most `jobs` at once, and at least one.
    pub fn new(jobs: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(jobs.max(1))),
        }
    }

    /// A pool as wide as the machine.
    pub fn of_this_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Runs `work` off the runtime's workers, in the caller's span. A panic in it goes on in the caller.
    pub async fn run<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let span = Span::current();
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(work)
        });
        match job.await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and drops the caller next.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
