//! The wall clock of this node, and whether it can be believed. The state machine never reads it: times travel inside
//! requests, and the clock of a group follows the latest of them, so a node whose clock is wrong must not write any.
//!
//! What another node's clock said is pinned to this node's monotonic clock. So when this node's time is set, that shows
//! at once, and when another one's is, after the next exchange ([`Membership`](crate::membership::Membership) asks).
//!
//! Invariant: whoever is doubted gives no time to write with; see [`Judgement`] for who is.

mod door;
mod judgement;
mod skew;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use covey_cluster::Ahead;
use covey_state::{NodeId, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use door::TimedMachine;
pub use judgement::{Judgement, Offset};
pub use skew::Skew;

/// What another clock said counts for so long: several exchanges.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// The first writes after a start wait for the first exchange, but not longer.
const FIRST_LIMIT: Duration = Duration::from_secs(2);

/// Tells the time, and whether it can be believed. Clones share what is known of the other clocks.
#[derive(Debug, Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: NodeId,
    limit: Duration,
    started: Instant,
    told: Mutex<BTreeMap<NodeId, Told>>,
    /// Whether the others were asked since the start, or need not be.
    compared: watch::Sender<bool>,
}

/// What another clock said.
#[derive(Debug, Clone, Copy)]
struct Told {
    said: Timestamp,
    /// The middle of the round trip.
    at: Instant,
    /// Half of the round trip.
    uncertain: Duration,
}

impl Clock {
    /// The clock of `node`, which may differ by `limit` from others.
    pub fn new(node: NodeId, limit: Duration) -> Self {
        let shared = Shared {
            node,
            limit,
            started: Instant::now(),
            told: Mutex::default(),
            compared: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The present moment by this machine's clock, to read as of.
    pub fn now(&self) -> Timestamp {
        wall()
    }

    /// The present moment for a request that is to be written. Just after a start it waits until the others were asked.
    ///
    /// # Errors
    /// [`Skew::Doubted`] when the other clocks differ.
    pub async fn stamp(&self) -> Result<Timestamp, Skew> {
        let mut compared = self.shared.compared.subscribe();
        if !*compared.borrow_and_update() {
            // Nobody may be there to ask. Then the leaders still judge by their own clocks.
            let asked = compared.wait_for(|compared| *compared);
            let _ = timeout_at(self.shared.started + FIRST_LIMIT, asked).await;
        }
        let (now, judgement) = self.look();
        if judgement.is_doubted() {
            let (node, limit) = (self.shared.node, self.shared.limit);
            return Err(Skew::Doubted {
                node,
                judgement,
                limit,
            });
        }
        Ok(now)
    }

    /// Whether a leader on this node may take an entry of this time, by the middle of all clocks that it knows.
    pub fn admit(&self, at: Timestamp) -> Result<(), Ahead> {
        let (now, judgement) = self.look();
        let right = now.plus_micros(judgement.ahead_micros.saturating_neg());
        let ahead = at.micros().saturating_sub(right.micros());
        let by = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
        let limit = self.shared.limit;
        if by > limit {
            return Err(Ahead { by, limit });
        }
        Ok(())
    }

    /// What the other clocks say about this one.
    pub fn judgement(&self) -> Judgement {
        self.look().1
    }

    /// How far it is ahead of each of the other clocks that were heard of lately.
    pub fn offsets(&self) -> BTreeMap<NodeId, Offset> {
        self.offsets_at(wall(), Instant::now())
    }

    /// Takes note of what another node's clock said when it was asked at `asked`.
    pub fn heard(&self, node: NodeId, said: Timestamp, asked: Instant) {
        let uncertain = asked.elapsed() / 2;
        let told = Told {
            said,
            at: asked + uncertain,
            uncertain,
        };
        self.lock().insert(node, told);
    }

    /// Takes note that everybody was asked, or that there is nobody to ask.
    pub fn compared(&self) {
        self.shared.compared.send_replace(true);
    }

    fn look(&self) -> (Timestamp, Judgement) {
        let now = wall();
        let offsets: Vec<Offset> = self.offsets_at(now, Instant::now()).into_values().collect();
        let limit = i64::try_from(self.shared.limit.as_micros()).unwrap_or(i64::MAX);
        (now, Judgement::of(&offsets, limit))
    }

    fn offsets_at(&self, wall: Timestamp, now: Instant) -> BTreeMap<NodeId, Offset> {
        let mut told = self.lock();
        told.retain(|_, told| now.saturating_duration_since(told.at) < FORGET_AFTER);
        told.iter()
            .map(|(node, told)| (*node, told.offset(wall, now)))
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Told>> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// How far a clock is ahead that says `wall` at `now`.
    fn offset(&self, wall: Timestamp, now: Instant) -> Offset {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let other = self
            .said
            .plus_micros(micros(now.saturating_duration_since(self.at)));
        Offset {
            ahead_micros: wall.micros().saturating_sub(other.micros()),
            uncertain_micros: micros(self.uncertain),
        }
    }
}

/// What this machine's clock says.
fn wall() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    let now = Timestamp::from_micros(micros);
    fail::fail_point!("clock::wall", |seconds| {
        let ahead: i64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(0);
        now.plus_micros(ahead * 1_000_000)
    });
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const DAY_MICROS: i64 = 86_400_000_000;

    fn clock() -> Clock {
        let clock = Clock::new(NodeId::new(1), LIMIT);
        clock.compared();
        clock
    }

    /// Two others say that it is so much later.
    fn told(clock: &Clock, later_micros: i64) {
        for node in [2, 3].map(NodeId::new) {
            clock.heard(node, clock.now().plus_micros(later_micros), Instant::now());
        }
    }

    #[tokio::test]
    async fn a_clock_that_the_others_contradict_gives_no_time_to_write_with_and_says_why() {
        let clock = clock();
        assert!(clock.stamp().await.is_ok(), "nobody else was heard of");
        told(&clock, -DAY_MICROS);
        let refused = clock.stamp().await.unwrap_err().to_string();
        for part in ["node n1", "86400.0 s ahead", "2 of the 2", "10.0 s", "NTP"] {
            assert!(refused.contains(part), "{refused}");
        }
        told(&clock, 1_000_000);
        assert!(clock.stamp().await.is_ok(), "the others differ by a second only");
    }

    #[tokio::test]
    async fn a_leader_measures_with_the_middle_of_all_clocks() {
        let clock = clock();
        let tomorrow = clock.now().plus_micros(DAY_MICROS);
        assert!(clock.admit(clock.now()).is_ok());
        let ahead = clock.admit(tomorrow).unwrap_err();
        assert!(ahead.by > Duration::from_secs(86_000), "{ahead}");
        // Its own clock is a day behind, and it knows.
        told(&clock, DAY_MICROS);
        assert!(clock.admit(tomorrow).is_ok());
    }

    #[tokio::test]
    async fn the_first_write_waits_for_the_first_exchange_but_not_for_ever() {
        let clock = Clock::new(NodeId::new(1), LIMIT);
        let mut waiting = Box::pin(clock.stamp());
        assert!(futures::poll!(&mut waiting).is_pending());
        told(&clock, DAY_MICROS);
        clock.compared();
        assert!(waiting.await.is_err(), "it has heard of the others");

        let lonely = Clock::new(NodeId::new(1), LIMIT);
        let late = lonely.shared.started + FIRST_LIMIT;
        assert!(lonely.stamp().await.is_ok());
        assert!(Instant::now() >= late);
    }

    #[tokio::test]
    async fn what_another_clock_said_is_forgotten_when_it_falls_silent() {
        let clock = clock();
        told(&clock, 0);
        let soon = Instant::now() + FORGET_AFTER / 2;
        assert_eq!(clock.offsets_at(clock.now(), soon).len(), 2);
        assert_eq!(clock.offsets_at(clock.now(), soon + FORGET_AFTER).len(), 0);
    }
}
