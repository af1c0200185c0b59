//! Proposals of one group on their way into its log, many at a time.
//!
//! A round through the log costs nearly the same for one entry as for a hundred: messages, wake-ups, a sync on every
//! node. So a proposal that finds a round under way waits for those that come after it, and all of them go in the next
//! one. That begins when the earlier one is done, or when two thirds of the time are over that rounds take of late, so that
//! three are under way in the time of two: the more a busy machine slows the rounds down, the more each of them carries. A
//! quorum far away keeps nobody waiting for long. A proposal that finds nothing under way goes at once.
//!
//! Invariant: proposals enter the log in the order in which they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_state::GroupId;
use futures::StreamExt as _;
use openraft::errors::RaftError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::consensus::{Raft, Request};
use crate::forward::Outcome;
use crate::machine::{Committed, LogPosition, StateMachine};

/// The shortest and the longest that a round keeps the next one waiting, unless it is done earlier.
const PACE_MIN: Duration = Duration::from_millis(1);
const PACE_MAX: Duration = Duration::from_millis(25);

/// How long rounds take of late: each one counts for an eighth.
#[derive(Default)]
struct Usual(AtomicU64);

impl Usual {
    fn took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / 8);
        let before = self.0.load(Ordering::Relaxed);
        // Rounds that end at the same time may overwrite each other's count.
        self.0.store(before - before / 8 + micros / 8, Ordering::Relaxed);
    }

    /// How long a round keeps the next one waiting.
    fn pace(&self) -> Duration {
        let usual = Duration::from_micros(self.0.load(Ordering::Relaxed));
        (usual * 2 / 3).clamp(PACE_MIN, PACE_MAX)
    }
}

/// The limits of one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundLimits {
    /// Entries in it.
    pub(crate) entries: usize,
    /// Bytes in it, unless a single entry is larger.
    pub(crate) bytes: usize,
}

/// The proposals of one group.
pub(crate) struct Proposals {
    group: GroupId,
    raft: Raft,
    machine: Arc<dyn StateMachine>,
    limits: RoundLimits,
    queue: Mutex<Queue>,
    usual: Usual,
}

#[derive(Default)]
struct Queue {
    running: bool,
    waiting: VecDeque<Proposal>,
}

struct Proposal {
    request: Request,
    answer: oneshot::Sender<Outcome<Committed>>,
}

impl Proposals {
    pub(crate) fn new(
        group: GroupId,
        raft: Raft,
        machine: Arc<dyn StateMachine>,
        limits: RoundLimits,
    ) -> Arc<Self> {
        Arc::new(Self {
            group,
            raft,
            machine,
            limits,
            queue: Mutex::default(),
            usual: Usual::default(),
        })
    }

    /// Has a request committed and applied, if this replica leads.
    pub(crate) async fn propose(self: &Arc<Self>, request: Request) -> Outcome<Committed> {
        if let Request::Entry(entry) = &request
            && let Err(ahead) = self.machine.admit(entry)
        {
            // Only a leader judges.
            let leads = self.raft.as_leader().map(drop);
            return leads.map_or_else(Outcome::elsewhere, |()| Outcome::Ahead(ahead));
        }
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut queue = self.lock();
            queue.waiting.push_back(Proposal { request, answer });
            !std::mem::replace(&mut queue.running, true)
        };
        if first {
            // In a task of its own: the caller may give up while others still wait.
            tokio::spawn(Running(Arc::clone(self)).run());
        }
        answered
            .await
            .unwrap_or_else(|_| Outcome::Unavailable("the round of the proposal broke off".to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes into the next round; empty when nobody waits, and then the rounds have ended. Those whose callers have
    /// given up are left out.
    fn next_round(&self) -> Vec<Proposal> {
        let mut queue = self.lock();
        queue.waiting.retain(|proposal| !proposal.answer.is_closed());
        let (mut round, mut bytes) = (Vec::new(), 0);
        while let Some(proposal) = queue.waiting.front()
            && round.len() < self.limits.entries
            && (round.is_empty() || bytes + proposal.request.bytes() <= self.limits.bytes)
        {
            bytes += proposal.request.bytes();
            round.extend(queue.waiting.pop_front());
        }
        queue.running = !round.is_empty();
        round
    }

    /// Carries one round through the log and answers everybody in it.
    async fn round(self: Arc<Self>, round: Vec<Proposal>) {
        let (requests, callers): (Vec<_>, Vec<_>) = round
            .into_iter()
            .map(|proposal| (proposal.request, proposal.answer))
            .unzip();
        let begun = Instant::now();
        let mut results = match self.raft.client_write_many(requests).await {
            Ok(results) => results,
            Err(fatal) => {
                let fatal = Outcome::of_failure(RaftError::Fatal(fatal));
                return callers
                    .into_iter()
                    .for_each(|caller| answer(caller, fatal.clone()));
            }
        };
        for caller in callers {
            let outcome = match results.next().await {
                Some(Ok(Ok(written))) => Outcome::Done(Committed {
                    position: LogPosition {
                        group: self.group,
                        term: written.log_id.leader_id.term,
                        index: written.log_id.index,
                    },
                    answer: written.response,
                }),
                Some(Ok(Err(refused))) => Outcome::of_failure(RaftError::APIError(refused)),
                Some(Err(fatal)) => Outcome::of_failure(RaftError::Fatal(fatal)),
                None => Outcome::Unavailable("the replica has stopped".to_owned()),
            };
            answer(caller, outcome);
        }
        self.usual.took(begun.elapsed());
    }
}

fn answer(caller: oneshot::Sender<Outcome<Committed>>, outcome: Outcome<Committed>) {
    // It may have given up.
    let _ = caller.send(outcome);
}

/// The task that runs the rounds. When it panics, those who wait learn it and the next proposal starts anew.
struct Running(Arc<Proposals>);

impl Running {
    async fn run(self) {
        loop {
            let round = self.0.next_round();
            if round.is_empty() {
                return;
            }
            let mut under_way = Box::pin(Arc::clone(&self.0).round(round));
            let pace = self.0.usual.pace();
            if tokio::time::timeout(pace, &mut under_way).await.is_err() {
                tokio::spawn(under_way);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.lock();
            queue.running = false;
            queue.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_time_that_rounds_take_within_its_limits() {
        let usual = Usual::default();
        assert_eq!(usual.pace(), PACE_MIN, "nothing is known yet");
        let settle = |millis| {
            (0..100).for_each(|_| usual.took(Duration::from_millis(millis)));
            usual.pace()
        };
        let pace = settle(12);
        let off = pace.abs_diff(Duration::from_millis(8));
        assert!(off < Duration::from_millis(1), "{pace:?}");
        assert_eq!(settle(80), PACE_MAX, "a quorum far away");
        let pace = settle(6);
        assert!(
            pace.abs_diff(Duration::from_millis(4)) < Duration::from_millis(1),
            "{pace:?}"
        );
    }
}
