//! Log ids and votes.

use covey_proto::peer::v1 as wire;

use crate::consensus::{LeaderId, LogId, Vote};

pub(crate) fn log_id(id: &LogId) -> wire::LogId {
    wire::LogId {
        term: id.leader_id.term,
        leader: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn log_id_from(id: wire::LogId) -> LogId {
    LogId::new(
        LeaderId {
            term: id.term,
            node_id: id.leader,
        },
        id.index,
    )
}

pub(crate) fn vote(vote: &Vote) -> wire::Vote {
    wire::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn vote_from(vote: wire::Vote) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: vote.term,
            node_id: vote.node,
        },
        committed: vote.committed,
    }
}
