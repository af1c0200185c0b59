//! Proposals of one group on their way into its log, many at a time.
//!
//! A round through the log costs nearly the same for one entry as for a hundred: messages, wake-ups, a sync on every
//! node. So a proposal that finds a round under way waits for those that come after it, and all of them go in the next
//! one. That begins when the earlier one is done, or a while after it began: a quorum far away must not keep anybody waiting
//! for long. A group alone on its node gains from rounds that overlap, because else its processors would stand still; where
//! other groups are at work too, fewer and larger rounds leave more of the processors to all, and those of all groups begin
//! together (`cohort.rs`). A proposal that finds nothing under way goes at once.
//!
//! Invariant: proposals enter the log in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_state::GroupId;
use futures::StreamExt as _;
use openraft::errors::RaftError;
use tokio::sync::oneshot;

use crate::cohort::{Cohorts, Member};
use crate::consensus::{Raft, Request};
use crate::forward::Outcome;
use crate::host::Inner;
use crate::machine::{Committed, LogPosition, StateMachine};

/// How long a round may keep the next one waiting in a group that is at work alone, and in one among others.
const PACE_ALONE: Duration = Duration::from_millis(5);
const PACE_AMONG_OTHERS: Duration = Duration::from_millis(25);

/// The proposals of one group.
pub(crate) struct Proposals {
    group: GroupId,
    raft: Raft,
    machine: Arc<dyn StateMachine>,
    /// Entries in one round.
    entries_max: usize,
    /// Bytes in one round, unless a single entry is larger.
    bytes_max: usize,
    queue: Mutex<Queue>,
    cohorts: Arc<Cohorts>,
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
    pub(crate) fn new(inner: &Inner, group: GroupId, raft: Raft) -> Arc<Self> {
        Arc::new(Self {
            group,
            raft,
            machine: Arc::clone(&inner.machine),
            entries_max: inner.config.apply_entries_max,
            bytes_max: inner.config.append_bytes_max,
            queue: Mutex::default(),
            cohorts: Arc::clone(&inner.cohorts),
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
            tokio::spawn(Running::of(self).run());
        }
        answered
            .await
            .unwrap_or_else(|_| Outcome::Unavailable("the round of the proposal broke off".to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for a round. If nobody does, the rounds have ended.
    fn is_wanted(&self) -> bool {
        let mut queue = self.lock();
        queue.running = !queue.waiting.is_empty();
        queue.running
    }

    /// What goes into the next round; empty when nobody waits, and then the rounds have ended. Those whose callers have
    /// given up are left out.
    fn next_round(&self) -> Vec<Proposal> {
        let mut queue = self.lock();
        queue.waiting.retain(|proposal| !proposal.answer.is_closed());
        let (mut round, mut bytes) = (Vec::new(), 0);
        while let Some(proposal) = queue.waiting.front()
            && round.len() < self.entries_max
            && (round.is_empty() || bytes + proposal.request.bytes() <= self.bytes_max)
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
                // It may be in the log of others by then.
                Some(Err(_)) | None => Outcome::Unavailable("the replica has stopped".to_owned()),
            };
            answer(caller, outcome);
        }
    }
}

fn answer(caller: oneshot::Sender<Outcome<Committed>>, outcome: Outcome<Committed>) {
    // It may have given up.
    let _ = caller.send(outcome);
}

/// The task that runs the rounds. When it panics, those who wait learn it and the next proposal starts anew.
struct Running {
    proposals: Arc<Proposals>,
    member: Member,
}

impl Running {
    fn of(proposals: &Arc<Proposals>) -> Self {
        Self {
            proposals: Arc::clone(proposals),
            member: proposals.cohorts.enter(),
        }
    }

    /// How long the round that begins now may keep the next one waiting.
    fn pace(&self) -> Duration {
        match self.member.is_alone() {
            true => PACE_ALONE,
            false => PACE_AMONG_OTHERS,
        }
    }

    async fn run(self) {
        while self.proposals.is_wanted() {
            let _place = self.member.next().await;
            let round = self.proposals.next_round();
            if round.is_empty() {
                return;
            }
            let mut under_way = Box::pin(Arc::clone(&self.proposals).round(round));
            if tokio::time::timeout(self.pace(), &mut under_way).await.is_err() {
                tokio::spawn(under_way);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.proposals.lock();
            queue.running = false;
            queue.waiting.clear();
        }
    }
}
