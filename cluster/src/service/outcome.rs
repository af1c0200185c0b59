//! Outcomes of forwarded requests, on the wire and back.

use std::time::Duration;

use covey_proto::peer::v1 as wire;
use covey_state::GroupId;

use crate::admission::Busy;
use crate::codec;
use crate::forward::Outcome;
use crate::identity::Peer;
use crate::machine::{Ahead, Committed, LogPosition};

/// A call that came back without an outcome: the node cannot be reached, or it is not the one meant.
pub(crate) fn failed<T>(status: &tonic::Status) -> Outcome<T> {
    Outcome::Unavailable(format!("the call failed: {}", status.message()))
}

fn missing<T>() -> Outcome<T> {
    Outcome::Unavailable("the answer has no outcome".to_owned())
}

fn unavailable(reason: String) -> wire::Unavailable {
    wire::Unavailable { reason }
}

fn busy_into(busy: Busy) -> wire::Busy {
    wire::Busy {
        queue: busy.queue.into_owned(),
        limit: busy.limit as u64,
        retry_after_ms: millis(busy.retry_after),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn busy_from(busy: wire::Busy) -> Busy {
    Busy {
        queue: busy.queue.into(),
        limit: usize::try_from(busy.limit).unwrap_or(usize::MAX),
        retry_after: Duration::from_millis(busy.retry_after_ms),
    }
}

fn not_leader(leader: Option<Peer>) -> wire::NotLeader {
    wire::NotLeader {
        leader: leader.as_ref().map(codec::member),
    }
}

fn leader_of(not_leader: wire::NotLeader) -> Option<Peer> {
    not_leader.leader.map(codec::peer)
}

pub(super) fn propose_reply(outcome: Outcome<Committed>) -> wire::ProposeReply {
    use wire::propose_reply::Outcome as Reply;
    let outcome = match outcome {
        Outcome::Done(committed) => Reply::Committed(wire::Committed {
            term: committed.position.term,
            index: committed.position.index,
            answer: committed.answer,
        }),
        Outcome::NotLeader(leader) => Reply::NotLeader(not_leader(leader)),
        Outcome::NotHosted => Reply::NotHosted(wire::NotHosted {}),
        Outcome::Unavailable(reason) | Outcome::Rejected(reason) => Reply::Unavailable(unavailable(reason)),
        Outcome::Busy(busy) => Reply::Busy(busy_into(busy)),
        Outcome::Ahead(Ahead { by, limit }) => Reply::Ahead(wire::Ahead {
            by_ms: millis(by),
            limit_ms: millis(limit),
        }),
    };
    wire::ProposeReply {
        outcome: Some(outcome),
    }
}

/// What a reply to a proposal to `group` says.
pub(crate) fn propose_outcome(group: GroupId, reply: wire::ProposeReply) -> Outcome<Committed> {
    use wire::propose_reply::Outcome as Reply;
    match reply.outcome {
        Some(Reply::Committed(wire::Committed { term, index, answer })) => Outcome::Done(Committed {
            position: LogPosition { group, term, index },
            answer,
        }),
        Some(Reply::NotLeader(not_leader)) => Outcome::NotLeader(leader_of(not_leader)),
        Some(Reply::NotHosted(wire::NotHosted {})) => Outcome::NotHosted,
        Some(Reply::Unavailable(unavailable)) => Outcome::Unavailable(unavailable.reason),
        Some(Reply::Busy(busy)) => Outcome::Busy(busy_from(busy)),
        Some(Reply::Ahead(wire::Ahead { by_ms, limit_ms })) => Outcome::Ahead(Ahead {
            by: Duration::from_millis(by_ms),
            limit: Duration::from_millis(limit_ms),
        }),
        None => missing(),
    }
}

pub(super) fn read_index_reply(outcome: Outcome<u64>) -> wire::ReadIndexReply {
    use wire::read_index_reply::Outcome as Reply;
    let outcome = match outcome {
        Outcome::Done(index) => Reply::Point(wire::ReadPoint { index }),
        Outcome::NotLeader(leader) => Reply::NotLeader(not_leader(leader)),
        Outcome::NotHosted => Reply::NotHosted(wire::NotHosted {}),
        Outcome::Unavailable(reason) | Outcome::Rejected(reason) => Reply::Unavailable(unavailable(reason)),
        Outcome::Ahead(ahead) => Reply::Unavailable(unavailable(ahead.to_string())),
        Outcome::Busy(busy) => Reply::Busy(busy_into(busy)),
    };
    wire::ReadIndexReply {
        outcome: Some(outcome),
    }
}

/// What a reply to a request for a read index says.
pub(crate) fn read_index_outcome(reply: wire::ReadIndexReply) -> Outcome<u64> {
    use wire::read_index_reply::Outcome as Reply;
    match reply.outcome {
        Some(Reply::Point(point)) => Outcome::Done(point.index),
        Some(Reply::NotLeader(not_leader)) => Outcome::NotLeader(leader_of(not_leader)),
        Some(Reply::NotHosted(wire::NotHosted {})) => Outcome::NotHosted,
        Some(Reply::Unavailable(unavailable)) => Outcome::Unavailable(unavailable.reason),
        Some(Reply::Busy(busy)) => Outcome::Busy(busy_from(busy)),
        None => missing(),
    }
}

pub(super) fn change_members_reply(outcome: Outcome<()>) -> wire::ChangeMembersReply {
    use wire::change_members_reply::Outcome as Reply;
    let outcome = match outcome {
        Outcome::Done(()) => Reply::Changed(wire::Changed {}),
        Outcome::NotLeader(leader) => Reply::NotLeader(not_leader(leader)),
        Outcome::NotHosted => Reply::NotHosted(wire::NotHosted {}),
        Outcome::Unavailable(reason) => Reply::Unavailable(unavailable(reason)),
        Outcome::Ahead(ahead) => Reply::Unavailable(unavailable(ahead.to_string())),
        Outcome::Busy(busy) => Reply::Busy(busy_into(busy)),
        Outcome::Rejected(reason) => Reply::Rejected(wire::Rejected { reason }),
    };
    wire::ChangeMembersReply {
        outcome: Some(outcome),
    }
}

/// What a reply to a change of members says.
pub(crate) fn change_members_outcome(reply: wire::ChangeMembersReply) -> Outcome<()> {
    use wire::change_members_reply::Outcome as Reply;
    match reply.outcome {
        Some(Reply::Changed(wire::Changed {})) => Outcome::Done(()),
        Some(Reply::NotLeader(not_leader)) => Outcome::NotLeader(leader_of(not_leader)),
        Some(Reply::NotHosted(wire::NotHosted {})) => Outcome::NotHosted,
        Some(Reply::Unavailable(unavailable)) => Outcome::Unavailable(unavailable.reason),
        Some(Reply::Busy(busy)) => Outcome::Busy(busy_from(busy)),
        Some(Reply::Rejected(rejected)) => Outcome::Rejected(rejected.reason),
        None => missing(),
    }
}
