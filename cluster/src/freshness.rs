//! How old what a replica shows may be at most.
//!
//! This is the closed timestamp of a group. A leader knows when a quorum last confirmed it, and tells the age of that
//! with every message. Everything that was acknowledged anywhere before that moment is at or before the commit index in
//! the same message, provided the leader has committed an entry of its own term. So the state of a follower that has
//! applied that index is closed up to that moment.
//!
//! No two clocks are compared, and it does not matter how long a message travelled: a frame brings back a stamp of the
//! follower's own clock that it was sent after (see `Frame` in `peer.proto`), and the age counts back from there. A
//! follower that slept over a full socket does not take the old messages in it for news.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::time::Instant;

use crate::consensus::{LogId, RaftMetrics, TypeConfig, Vote};
use crate::contact::Contacts;

pub(crate) type MetricsWatch = WatchReceiverOf<TypeConfig, RaftMetrics>;

/// What is known about the age of one replica.
pub(crate) struct Freshness {
    contacts: Arc<Contacts>,
    metrics: OnceLock<MetricsWatch>,
    heard: Mutex<Heard>,
    /// On a follower: the leader whose message came last, and when.
    came: Mutex<Option<(u64, Instant)>>,
}

/// What a follower has heard from its leader.
#[derive(Debug, Default)]
struct Heard {
    /// The state includes everything acknowledged before this moment.
    proven: Option<Instant>,
    /// The state will include everything acknowledged before this moment once this index is applied.
    promised: Option<(Instant, u64)>,
}

impl Freshness {
    pub(crate) fn new(contacts: Arc<Contacts>) -> Self {
        Self {
            contacts,
            metrics: OnceLock::new(),
            heard: Mutex::default(),
            came: Mutex::default(),
        }
    }

    /// Connects it to the metrics of the replica, once that runs.
    pub(crate) fn watch(&self, metrics: MetricsWatch) {
        // A second call would bring the metrics of the same replica.
        let _ = self.metrics.set(metrics);
    }

    /// On a leader: the age of its last confirmation by a quorum.
    fn quorum_age(&self) -> Option<Duration> {
        self.quorum_age_with(None)
    }

    /// On a leader: the age of its last confirmation by a quorum, for a message with this commit index.
    ///
    /// There is none when the leader has committed more by now: a message may be sent long after it was made, as the
    /// library waits between tries, and then what was acknowledged before the confirmation is not all in its index.
    pub(crate) fn quorum_age_with(&self, commit: Option<LogId>) -> Option<Duration> {
        let metrics = self.metrics.get()?.borrow_watched();
        if !metrics.state.is_leader() || commit.is_some_and(|commit| Some(commit) < metrics.local_committed) {
            return None;
        }
        let members = metrics.membership_config.membership();
        let confirmed = self.contacts.quorum(metrics.vote.leader_id, members);
        confirmed.map(|at| at.elapsed())
    }

    /// On a follower: a message of `leader` has come.
    pub(crate) fn came(&self, leader: u64) {
        *self.came.lock().unwrap_or_else(PoisonError::into_inner) = Some((leader, Instant::now()));
    }

    /// How long ago the last message of `leader` came.
    pub(crate) fn silence(&self, leader: u64) -> Option<Duration> {
        let came = *self.came.lock().unwrap_or_else(PoisonError::into_inner);
        came.and_then(|(from, at)| (from == leader).then(|| at.elapsed()))
    }

    /// On a follower: a message of its leader was accepted. The leader had been confirmed at or after `confirmed`.
    pub(crate) fn heard(&self, vote: &Vote, commit: Option<LogId>, confirmed: Option<Instant>, applied: u64) {
        let (Some(commit), Some(at)) = (commit, confirmed) else {
            return;
        };
        if commit.leader_id != vote.leader_id {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.settle(applied);
        if applied >= commit.index {
            heard.proven = heard.proven.max(Some(at));
        } else {
            // The oldest promise is kept: it is the first to come true.
            heard.promised.get_or_insert((at, commit.index));
        }
    }

    /// How old the state may be at most; `None` when nothing is known.
    pub(crate) fn staleness(&self, applied: u64) -> Option<Duration> {
        if let Some(age) = self.leader_staleness(applied) {
            return Some(age);
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.settle(applied);
        heard.proven.map(|at| at.elapsed())
    }

    fn leader_staleness(&self, applied: u64) -> Option<Duration> {
        let age = self.quorum_age()?;
        let metrics = self.metrics.get()?.borrow_watched();
        let committed = metrics.local_committed?;
        let own_term = committed.leader_id == metrics.vote.leader_id;
        (own_term && applied >= committed.index).then_some(age)
    }
}

impl Heard {
    fn settle(&mut self, applied: u64) {
        if let Some((at, _)) = self.promised.take_if(|(_, index)| *index <= applied) {
            self.proven = self.proven.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::LeaderId;

    const LEADER: LeaderId = LeaderId { term: 2, node_id: 1 };

    fn vote() -> Vote {
        Vote {
            leader_id: LEADER,
            committed: true,
        }
    }

    #[test]
    fn a_state_is_as_old_as_the_leaders_confirmation_once_the_commit_is_applied() {
        let freshness = Freshness::new(Arc::default());
        assert_eq!(freshness.staleness(0), None);
        let age = Duration::from_secs(1);
        let confirmed = Instant::now() - age;
        freshness.heard(&vote(), Some(LogId::new(LEADER, 7)), Some(confirmed), 5);
        assert_eq!(freshness.staleness(6), None, "entry 7 is still missing");
        let staleness = freshness.staleness(7).unwrap();
        assert!(staleness >= age && staleness < 2 * age, "{staleness:?}");
    }

    #[test]
    fn a_commit_of_an_earlier_term_proves_nothing() {
        let freshness = Freshness::new(Arc::default());
        let earlier = LeaderId { term: 1, node_id: 3 };
        freshness.heard(&vote(), Some(LogId::new(earlier, 7)), Some(Instant::now()), 7);
        assert_eq!(freshness.staleness(7), None);
    }
}
