//! Lets the heartbeats of all groups come together, so that they leave for each peer in one frame.
//!
//! The groups make their heartbeats on tasks of their own. While they do, the links hold heartbeats back; the gathering
//! ends when as many are queued as were expected, or after a while. It says nothing about which heartbeats came: one
//! that comes late leaves in a frame of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// See the page's head.
#[derive(Debug)]
pub(crate) struct Gathering {
    held: watch::Sender<bool>,
    missing: AtomicUsize,
    complete: Notify,
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            held: watch::Sender::new(false),
            missing: AtomicUsize::new(0),
            complete: Notify::new(),
        }
    }
}

impl Gathering {
    /// True while heartbeats are held back.
    pub(super) fn held(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    /// From now on heartbeats wait, until `expected` of them are queued.
    pub(crate) fn begin(&self, expected: usize) {
        self.missing.store(expected, Ordering::Release);
        self.held.send_replace(true);
    }

    /// A heartbeat is queued, or it never will be.
    pub(super) fn arrived(&self) {
        let left = |missing: usize| missing.checked_sub(1);
        if self
            .missing
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, left)
            == Ok(1)
        {
            self.complete.notify_one();
        }
    }

    /// Waits for the heartbeats expected, but not longer than `patience`, and lets them go.
    pub(crate) async fn finish(&self, patience: Duration) {
        let all = async {
            while self.missing.load(Ordering::Acquire) > 0 {
                self.complete.notified().await;
            }
        };
        // Those that do not come in time go later.
        let _ = tokio::time::timeout(patience, all).await;
        self.missing.store(0, Ordering::Release);
        self.held.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_heartbeat_ends_the_gathering() {
        let gathering = Gathering::default();
        let held = gathering.held();
        gathering.begin(2);
        assert!(*held.borrow());
        gathering.arrived();
        gathering.arrived();
        let patience = Duration::from_secs(600);
        let finished = gathering.finish(patience);
        tokio::time::timeout(patience / 10, finished).await.unwrap();
        assert!(!*held.borrow());
    }

    #[tokio::test]
    async fn a_heartbeat_that_never_comes_holds_the_others_back_only_so_long() {
        let gathering = Gathering::default();
        let held = gathering.held();
        gathering.begin(2);
        gathering.arrived();
        gathering.finish(Duration::from_millis(30)).await;
        assert!(!*held.borrow());
    }
}
