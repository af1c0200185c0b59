//! The bounded queue in front of a replica: a counter, because an actor's mailbox has no bound of its own.
//!
//! Invariant: at most `limit` permits are out at once, and a dropped permit comes back whatever happened to its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The counter of one replica. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission {
    waiting: Arc<AtomicU32>,
}

/// The right to wait at a replica.
#[derive(Debug)]
pub(super) struct Permit {
    waiting: Arc<AtomicU32>,
}

impl Admission {
    /// A permit, unless `limit` are out already.
    pub(super) fn enter(&self, limit: u32) -> Option<Permit> {
        let one_more = |waiting: u32| (waiting < limit).then_some(waiting + 1);
        let entered = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        entered.ok().map(|_| Permit {
            waiting: Arc::clone(&self.waiting),
        })
    }

    /// How many permits are out.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_until_a_permit_comes_back() {
        let admission = Admission::default();
        let first = admission.enter(2).expect("the queue is empty");
        let _second = admission.enter(2).expect("one more fits");
        assert!(admission.enter(2).is_none());
        drop(first);
        assert_eq!(admission.waiting(), 1);
        assert!(admission.enter(2).is_some());
    }
}
