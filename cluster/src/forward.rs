//! Finds a group's leader and has it do something, from any node.
//!
//! It follows the hints of those who are not the leader, tries the members in turn when nobody knows, and goes on
//! with growing pauses until the deadline. What it forwards must be safe to repeat.
//!
//! It asks anew only when the node asked may be gone. A leader that gives signs of life will answer, however slow its disk
//! is, and whoever asked it again meanwhile would double its work just when it has too much.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use covey_proto::peer::v1::envelope::Body;
use covey_state::{GroupId, NodeId};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use tokio::time::Instant;

use crate::admission::Busy;
use crate::backoff::Backoff;
use crate::config::HostConfig;
use crate::consensus::TypeConfig;
use crate::error::Error;
use crate::host::Inner;
use crate::identity::Peer;
use crate::machine::Ahead;
use crate::replica::Replica;
use crate::transport::{CallError, Transport};

/// Hints that are followed without a pause; more than that is a circle.
const HOPS_MAX: usize = 3;

/// How often patience doubles.
const PATIENCE_DOUBLINGS_MAX: u32 = 4;

/// What came of asking one node.
#[derive(Debug, Clone)]
pub(crate) enum Outcome<T> {
    /// It is done.
    Done(T),
    /// That node does not lead the group, but may know who does.
    NotLeader(Option<Peer>),
    /// That node has no running replica of the group.
    NotHosted,
    /// Not now; it may or may not have happened.
    Unavailable(String),
    /// A queue of that node, or on the way to it, is full.
    Busy(Busy),
    /// Its time is ahead of the leader's.
    Ahead(Ahead),
    /// Never as it stands.
    Rejected(String),
}

impl<T> Outcome<T> {
    /// What a failed write of the consensus library means.
    pub(crate) fn of_failure(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        use openraft::errors::ChangeMembershipError as Change;
        match error {
            RaftError::Fatal(_) => Self::NotHosted,
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => Self::elsewhere(to),
            RaftError::APIError(ClientWriteError::ChangeMembershipError(change)) => match change {
                Change::InProgress(_) | Change::UncommittedLeaderLog(_) => {
                    Self::Unavailable(change.to_string())
                }
                Change::EmptyMembership(_)
                | Change::LearnerNotFound(_)
                | Change::UnsupportedMembershipTransition(_)
                | Change::NodeMetadataChanged(_) => Self::Rejected(change.to_string()),
            },
            RaftError::APIError(
                error @ (ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_)),
            ) => Self::Unavailable(error.to_string()),
        }
    }

    /// What a message that got no answer means.
    pub(crate) fn of_call(error: CallError, to: NodeId, config: &HostConfig) -> Self {
        match error {
            CallError::Full { messages, .. } => Self::Busy(Busy {
                queue: format!("outbox to {to}").into(),
                limit: messages,
                retry_after: config.retry_after,
            }),
            CallError::Unreachable { .. } => Self::Unavailable(error.to_string()),
        }
    }

    /// What an answer means that is not of the kind asked for.
    pub(crate) fn of_other_answer(body: &Body, to: NodeId, config: &HostConfig) -> Self {
        if matches!(body, Body::Refusal(_)) {
            return Self::Busy(Busy {
                queue: format!("queue of forwarded requests at {to}").into(),
                limit: config.peer_forwarded_max,
                retry_after: config.retry_after,
            });
        }
        Self::Unavailable(format!("the answer of {to} does not fit the request"))
    }

    /// Somebody else leads, perhaps.
    pub(crate) fn elsewhere(to: ForwardToLeader<TypeConfig>) -> Self {
        let leader = to.leader_id.zip(to.leader_node);
        Self::NotLeader(leader.map(|(node, address)| address.of_node(node)))
    }
}

/// Something that only the leader of a group can do.
pub(crate) trait LeaderCall: Sync {
    /// What comes back.
    type Answer: Send;

    /// What it is called in errors.
    const NAME: &'static str;

    /// How long one node may give no sign of leading before another one is asked.
    fn patience(&self, config: &HostConfig) -> Duration;

    /// Does it with the replica on this node.
    fn here(
        &self,
        replica: Arc<Replica>,
        until: Instant,
    ) -> impl Future<Output = Outcome<Self::Answer>> + Send;

    /// Has another node do it.
    fn there(
        &self,
        transport: &Transport,
        to: NodeId,
        until: Instant,
    ) -> impl Future<Output = Outcome<Self::Answer>> + Send;
}

/// Has the leader of `group` do `call`, before `deadline`.
pub(crate) async fn lead<C: LeaderCall>(
    inner: &Inner,
    group: GroupId,
    call: &C,
    deadline: Instant,
) -> Result<C::Answer, Error> {
    let mut search = Search::new(inner, group);
    loop {
        let target = search.next();
        let patience = search.patience(call.patience(&inner.config));
        let asked = ask(inner, group, call, target, deadline);
        let outcome = search.answer(target, asked, patience, deadline).await;
        match outcome {
            Outcome::Done(answer) => {
                inner.note_leader(group, target);
                return Ok(answer);
            }
            Outcome::Rejected(reason) => return Err(Error::Refused { group, reason }),
            Outcome::Ahead(ahead) if search.unanswered == 0 => {
                let (node, leader) = (inner.identity.node, target);
                return Err(Error::ClockAhead {
                    group,
                    node,
                    leader,
                    ahead,
                });
            }
            // Asking again at once would only make it worse; the caller knows best whether to wait.
            Outcome::Busy(busy) if search.unanswered == 0 => return Err(busy.into()),
            // To be refused now says nothing of the earlier try, which may have been successful.
            Outcome::Ahead(ahead) => search.failed(format!("to {target} the clock here is {ahead}")),
            Outcome::Busy(busy) => search.failed(format!("{} of {target} is full", busy.queue)),
            Outcome::Unavailable(reason) => {
                search.unanswered += 1;
                search.failed(reason);
            }
            Outcome::NotHosted => search.failed(format!("{target} has no running replica")),
            Outcome::NotLeader(hint) => search.redirected(target, hint),
        }
        if let Some(pause) = search.pause() {
            search.hint = elected(inner, group, deadline.min(Instant::now() + pause)).await;
        }
        if Instant::now() >= deadline {
            return Err(Error::Deadline {
                group,
                operation: C::NAME,
                obstacle: search.obstacle,
            });
        }
    }
}

/// Waits until the replica here hears of another leader than before, but not longer than `until`: an election takes time,
/// and whoever waits for it should not wait longer than it takes.
async fn elected(inner: &Inner, group: GroupId, until: Instant) -> Option<NodeId> {
    let Some(replica) = inner.replica(group) else {
        // sleep: nothing here tells of an election; the pause grows with every try.
        tokio::time::sleep_until(until).await;
        return None;
    };
    let (before, mut metrics) = (replica.leader(), replica.metrics());
    loop {
        let changed = tokio::time::timeout_at(until, metrics.changed()).await;
        let leader = replica.leader().filter(|leader| Some(*leader) != before);
        match changed {
            Ok(Ok(())) if leader.is_none() => {}
            Ok(Ok(())) => return leader,
            // The replica has stopped; others may go on.
            Ok(Err(_)) => {
                // sleep: see above.
                tokio::time::sleep_until(until).await;
                return None;
            }
            Err(_) => return None,
        }
    }
}

async fn ask<C: LeaderCall>(
    inner: &Inner,
    group: GroupId,
    call: &C,
    target: NodeId,
    until: Instant,
) -> Outcome<C::Answer> {
    if target == inner.identity.node {
        return match inner.replica(group) {
            Some(replica) => call.here(replica, until).await,
            None => Outcome::NotHosted,
        };
    }
    call.there(&inner.transport, target, until).await
}

/// The search for a leader.
struct Search<'a> {
    inner: &'a Inner,
    group: GroupId,
    hint: Option<NodeId>,
    hops: usize,
    /// Nodes still to be tried before the next pause.
    round: Vec<NodeId>,
    rounds: u64,
    /// Tries that ended without an answer: what was asked may have been done.
    unanswered: u32,
    pause_now: bool,
    backoff: Backoff,
    obstacle: String,
}

impl<'a> Search<'a> {
    fn new(inner: &'a Inner, group: GroupId) -> Self {
        Self {
            inner,
            group,
            hint: inner.leader_guess(group),
            hops: 0,
            round: Vec::new(),
            rounds: 0,
            unanswered: 0,
            pause_now: false,
            backoff: Backoff::new(inner.config.retry_min, inner.config.retry_max),
            obstacle: "nobody was asked".to_owned(),
        }
    }

    /// Whom to ask next.
    fn next(&mut self) -> NodeId {
        self.pause_now = false;
        if let Some(hint) = self.hint.take() {
            return hint;
        }
        if self.round.is_empty() {
            self.round = self.candidates();
            self.rounds += 1;
        }
        self.round.pop().unwrap_or(self.inner.identity.node)
    }

    /// How long the next node may give no sign. An election takes two or three tries; with more of them it grows, because
    /// a node without a replica of the group cannot tell a slow leader from one that is gone.
    fn patience(&self, first: Duration) -> Duration {
        let doublings = self.unanswered.saturating_sub(2).min(PATIENCE_DOUBLINGS_MAX);
        first.saturating_mul(1 << doublings)
    }

    /// Waits for the answer of `target`: until the deadline while that leads the group as far as this node can tell, and
    /// until it has given no sign of it for longer than `patience`.
    async fn answer<T>(
        &self,
        target: NodeId,
        asked: impl Future<Output = Outcome<T>>,
        patience: Duration,
        deadline: Instant,
    ) -> Outcome<T> {
        let mut asked = std::pin::pin!(asked);
        let mut until = Instant::now() + patience;
        loop {
            if let Ok(outcome) = tokio::time::timeout_at(until.min(deadline), &mut asked).await {
                return outcome;
            }
            let replica = self.inner.replica(self.group);
            let silence = replica.and_then(|replica| replica.silence_of(target));
            let rest = silence.and_then(|silence| patience.checked_sub(silence));
            match rest.filter(|rest| !rest.is_zero()) {
                Some(rest) if Instant::now() < deadline => until = Instant::now() + rest,
                _ => return Outcome::Unavailable(format!("{target} gave no answer")),
            }
        }
    }

    /// Whom to ask in the next round: by turns the members known here and everybody, because what is known here may be
    /// out of date.
    fn candidates(&self) -> Vec<NodeId> {
        let members = if self.rounds.is_multiple_of(2) {
            self.inner.members(self.group)
        } else {
            Vec::new()
        };
        if members.is_empty() {
            self.inner.everybody()
        } else {
            members
        }
    }

    /// The node asked could not do it.
    fn failed(&mut self, obstacle: String) {
        self.obstacle = obstacle;
        self.inner.forget_leader(self.group);
        // Those left in the round are tried at once; a whole round in vain deserves a pause and a fresh look.
        if self.round.is_empty() {
            self.pause_now = true;
            self.hops = 0;
            self.hint = None;
        }
    }

    /// The node asked named somebody else, or nobody.
    fn redirected(&mut self, from: NodeId, hint: Option<Peer>) {
        let Some(peer) = hint.filter(|peer| peer.node != from && self.hops < HOPS_MAX) else {
            return self.failed(format!("{from} knows no leader"));
        };
        self.obstacle = format!("{from} says that {} leads", peer.node);
        self.inner.transport.heard_of(&peer);
        self.hint = Some(peer.node);
        self.hops += 1;
    }

    fn pause(&mut self) -> Option<Duration> {
        self.pause_now.then(|| self.backoff.pause())
    }
}

#[cfg(test)]
mod tests;
