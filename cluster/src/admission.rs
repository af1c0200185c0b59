//! Who is let in: full queues as values, and the room for proposals on a node.
//!
//! Everything that waits for the disk or for a quorum was let in here first, so what a node holds in memory for its
//! clients has one limit in bytes, whoever offers however much.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::HostConfig;
use crate::error::Error;

/// What a proposal costs beside its bytes: a task, its turn, its place among those who wait.
const OVERHEAD_BYTES: usize = 1_024;

/// A queue is full. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Which queue.
    pub(crate) queue: Cow<'static, str>,
    /// Its limit.
    pub(crate) limit: usize,
    /// When to try again.
    pub(crate) retry_after: Duration,
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Self {
        Self::Overloaded {
            queue: busy.queue,
            limit: busy.limit,
            retry_after: busy.retry_after,
        }
    }
}

/// The room for proposals on a node.
#[derive(Debug)]
pub(crate) struct Admission {
    room: Arc<Semaphore>,
    bytes_max: usize,
    retry_after: Duration,
}

impl Admission {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            room: Arc::new(Semaphore::new(config.proposal_bytes_max)),
            bytes_max: config.proposal_bytes_max,
            retry_after: config.retry_after,
        }
    }

    /// Lets an entry of so many bytes in. It takes its room until the permit is dropped.
    pub(crate) fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Busy> {
        let cost = u32::try_from(bytes + OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(cost);
        room.map_err(|_| Busy {
            queue: Cow::Borrowed("room for proposals in bytes"),
            limit: self.bytes_max,
            retry_after: self.retry_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_room_refuses_by_name_and_has_room_again_once_somebody_leaves() {
        let admission = Admission::new(&HostConfig {
            proposal_bytes_max: 2 * (OVERHEAD_BYTES + 100),
            retry_after: Duration::from_millis(70),
            ..HostConfig::default()
        });
        let first = admission.admit(100).unwrap();
        let _second = admission.admit(100).unwrap();
        let busy = admission.admit(0).unwrap_err();
        assert_eq!(busy.limit, 2 * (OVERHEAD_BYTES + 100));
        assert_eq!(busy.retry_after, Duration::from_millis(70));
        drop(first);
        let _third = admission.admit(100).unwrap();
    }
}
