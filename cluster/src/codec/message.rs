//! The messages of the consensus protocol.

use covey_proto::peer::v1 as wire;

use super::{entry, entry_from, log_id, log_id_from, required, vote, vote_from};
use crate::consensus::{
    AppendReply, AppendRequest, TransferError, TransferReply, TransferRequest, VoteReply, VoteRequest,
};
use crate::error::Error;

/// A message of entries; the age of the leader's last confirmation travels with it.
pub(crate) fn append(request: AppendRequest, quorum_age_ms: Option<u64>) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: Some(vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id),
        entries: request.entries.into_iter().map(entry).collect(),
        commit: request.leader_commit.as_ref().map(log_id),
        quorum_age_ms,
    }
}

pub(crate) fn append_from(request: wire::AppendRequest) -> Result<AppendRequest, Error> {
    Ok(AppendRequest {
        vote: vote_from(required("append request", "vote", request.vote)?),
        prev_log_id: request.previous.map(log_id_from),
        entries: request
            .entries
            .into_iter()
            .map(entry_from)
            .collect::<Result<_, _>>()?,
        leader_commit: request.commit.map(log_id_from),
    })
}

pub(crate) fn append_reply(reply: &AppendReply) -> wire::AppendReply {
    use wire::append_reply::Outcome;
    let outcome = match reply {
        AppendReply::Success => Outcome::Stored(wire::Stored {}),
        AppendReply::PartialSuccess(matching) => Outcome::PartlyStored(wire::PartlyStored {
            matching: matching.as_ref().map(log_id),
        }),
        AppendReply::Conflict => Outcome::Conflict(wire::Conflict {}),
        AppendReply::HigherVote(higher) => Outcome::HigherVote(vote(higher)),
    };
    wire::AppendReply {
        outcome: Some(outcome),
    }
}

pub(crate) fn append_reply_from(reply: wire::AppendReply) -> Result<AppendReply, Error> {
    use wire::append_reply::Outcome;
    Ok(match required("append reply", "outcome", reply.outcome)? {
        Outcome::Stored(wire::Stored {}) => AppendReply::Success,
        Outcome::PartlyStored(partly) => AppendReply::PartialSuccess(partly.matching.map(log_id_from)),
        Outcome::Conflict(wire::Conflict {}) => AppendReply::Conflict,
        Outcome::HigherVote(higher) => AppendReply::HigherVote(vote_from(higher)),
    })
}

pub(crate) fn vote_request(request: &VoteRequest) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: Some(vote(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_from(request: wire::VoteRequest) -> Result<VoteRequest, Error> {
    Ok(VoteRequest {
        vote: vote_from(required("vote request", "vote", request.vote)?),
        last_log_id: request.last_log_id.map(log_id_from),
        leadership_transfer: request.leadership_transfer,
    })
}

pub(crate) fn vote_reply(reply: &VoteReply) -> wire::VoteReply {
    wire::VoteReply {
        vote: Some(vote(&reply.vote)),
        granted: reply.vote_granted,
        last_log_id: reply.last_log_id.as_ref().map(log_id),
    }
}

pub(crate) fn vote_reply_from(reply: wire::VoteReply) -> Result<VoteReply, Error> {
    let vote = vote_from(required("vote reply", "vote", reply.vote)?);
    Ok(VoteReply {
        vote,
        vote_granted: reply.granted,
        last_log_id: reply.last_log_id.map(log_id_from),
    })
}

pub(crate) fn transfer(request: &TransferRequest) -> wire::TransferRequest {
    wire::TransferRequest {
        from: Some(vote(request.from_leader())),
        to: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id),
    }
}

pub(crate) fn transfer_from(request: wire::TransferRequest) -> Result<TransferRequest, Error> {
    let from = vote_from(required("transfer request", "from", request.from)?);
    Ok(TransferRequest::new(
        from,
        request.to,
        request.last_log_id.map(log_id_from),
    ))
}

pub(crate) fn transfer_reply(reply: &TransferReply) -> wire::TransferReply {
    use wire::transfer_reply::Outcome;
    let outcome = match reply {
        Ok(()) => Outcome::Accepted(wire::TransferAccepted {}),
        Err(TransferError::VoteChanged { expected, actual }) => Outcome::VoteChanged(wire::VoteChanged {
            expected: Some(vote(expected)),
            actual: Some(vote(actual)),
        }),
        Err(TransferError::LogNotFlushed { expected, actual }) => Outcome::LogBehind(wire::LogBehind {
            expected: expected.as_ref().map(log_id),
            actual: actual.as_ref().map(log_id),
        }),
    };
    wire::TransferReply {
        outcome: Some(outcome),
    }
}

pub(crate) fn transfer_reply_from(reply: wire::TransferReply) -> Result<TransferReply, Error> {
    use wire::transfer_reply::Outcome;
    Ok(match required("transfer reply", "outcome", reply.outcome)? {
        Outcome::Accepted(wire::TransferAccepted {}) => Ok(()),
        Outcome::VoteChanged(changed) => Err(TransferError::VoteChanged {
            expected: vote_from(required("transfer reply", "expected", changed.expected)?),
            actual: vote_from(required("transfer reply", "actual", changed.actual)?),
        }),
        Outcome::LogBehind(behind) => Err(TransferError::LogNotFlushed {
            expected: behind.expected.map(log_id_from),
            actual: behind.actual.map(log_id_from),
        }),
    })
}
