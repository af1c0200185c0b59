//! Cohorts: rounds of different groups of one node that begin together, so that they share frames, syncs and wake-ups.
//!
//! Invariants: a round that finds no cohort under way begins at once. Any other begins when all rounds of the cohort under
//! way are done, or [`PATIENCE`] after that began.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How long a slow round, whose quorum may be far away, keeps those of other groups waiting.
const PATIENCE: Duration = Duration::from_millis(10);

/// The cohorts of a node, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Cohorts {
    /// Groups that have rounds to make.
    at_work: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the cohorts.
    number: u64,
    /// Rounds of this cohort that are not done.
    under_way: usize,
    /// When the next one begins at the latest; `None` before the first.
    until: Option<Instant>,
    /// Those who will be in the next one.
    waiting: Vec<oneshot::Sender<Place>>,
}

/// A group that has rounds to make.
#[derive(Debug)]
pub(crate) struct Member(Arc<Cohorts>);

/// A place in a cohort. Its round counts as done when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    cohorts: Arc<Cohorts>,
    number: u64,
}

impl Cohorts {
    /// Counts a group among those at work.
    pub(crate) fn enter(self: &Arc<Self>) -> Member {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        Member(Arc::clone(self))
    }

    /// Waits for the next cohort.
    async fn join(self: &Arc<Self>) -> Place {
        let (offered, mut place) = oneshot::channel();
        let (number, until) = {
            let mut state = self.lock();
            state.waiting.push(offered);
            (state.number, state.until.filter(|_| state.under_way > 0))
        };
        if let Some(until) = until
            && let Ok(Ok(place)) = timeout_at(until, &mut place).await
        {
            return place;
        }
        self.begin_after(number);
        place
            .await
            .expect("whoever begins a cohort gives a place to all who wait")
    }

    /// Begins the cohort after this one with all who wait, unless it has begun already.
    fn begin_after(self: &Arc<Self>, number: u64) {
        let mut state = self.lock();
        if state.number != number {
            return;
        }
        state.number += 1;
        state.until = Some(Instant::now() + PATIENCE);
        let number = state.number;
        let waiting = std::mem::take(&mut state.waiting);
        state.under_way = waiting.len();
        drop(state);
        for offered in waiting {
            let cohorts = Arc::clone(self);
            // Whoever has given up leaves the place at once.
            let _ = offered.send(Place { cohorts, number });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Whether no other group of the node is at work.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.at_work.load(Ordering::Relaxed) <= 1
    }

    /// Waits for the next cohort. A group has at most one place in a cohort, so it drops the last one first.
    pub(crate) async fn next(&self) -> Place {
        self.0.join().await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let all_done = {
            let mut state = self.cohorts.lock();
            if state.number != self.number {
                return;
            }
            state.under_way -= 1;
            state.under_way == 0 && !state.waiting.is_empty()
        };
        if all_done {
            self.cohorts.begin_after(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    fn members<const N: usize>() -> [Member; N] {
        let cohorts = Arc::default();
        std::array::from_fn(|_| Cohorts::enter(&cohorts))
    }

    #[tokio::test]
    async fn a_round_that_finds_no_other_begins_at_once() {
        let [member] = members();
        for _ in 0..3 {
            let place = member.next().now_or_never();
            assert!(place.is_some());
        }
        assert!(member.is_alone());
    }

    #[tokio::test]
    async fn rounds_that_come_while_another_is_under_way_begin_together_when_it_is_done() {
        let [first, second, third] = members();
        let place = first.next().await;
        let (mut second, mut third) = (Box::pin(second.next()), Box::pin(third.next()));
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut third).is_pending());
        assert!(!first.is_alone());
        drop(place);
        let (second, third) = (second.now_or_never().unwrap(), third.now_or_never().unwrap());
        assert_eq!(second.number, third.number);

        // The next one waits for both of them.
        let mut place = Box::pin(first.next());
        assert!(poll!(&mut place).is_pending());
        drop(second);
        assert!(poll!(&mut place).is_pending());
        drop(third);
        assert!(poll!(&mut place).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_round_keeps_others_waiting_only_so_long_and_ends_without_ending_their_cohort() {
        let [slow, second, third] = members();
        let began = Instant::now();
        let slow = slow.next().await;
        let _second = second.next().await;
        let waited = began.elapsed();
        assert!(waited >= PATIENCE && waited < 2 * PATIENCE, "{waited:?}");
        drop(slow);
        let mut third = Box::pin(third.next());
        assert!(poll!(&mut third).is_pending(), "the second is under way");
    }

    #[tokio::test]
    async fn who_gives_up_keeps_nobody_waiting() {
        let [first, second, third] = members();
        let place = first.next().await;
        {
            let mut second = Box::pin(second.next());
            assert!(poll!(&mut second).is_pending());
        }
        let mut third = Box::pin(third.next());
        assert!(poll!(&mut third).is_pending());
        drop(place);
        drop(third.now_or_never().unwrap());
        assert!(first.next().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_place_that_nobody_took_is_left_at_once() {
        let [first, second] = members();
        let place = first.next().await;
        let mut untaken = Box::pin(second.next());
        assert!(poll!(&mut untaken).is_pending());
        drop(place);
        drop(untaken);
        assert!(first.next().now_or_never().is_some());
    }
}
