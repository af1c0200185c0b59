//! What an operator can know about a replica.

use std::fmt;

use covey_state::{GroupId, NodeId};
use openraft::ServerState;

use crate::consensus::RaftMetrics;

/// What a replica does in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It orders the entries.
    Leader,
    /// It votes and follows.
    Follower,
    /// It follows without a vote, or it waits to be added.
    Learner,
    /// It asks for votes.
    Candidate,
    /// It does nothing any more: see the fault.
    Stopped,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Candidate => "candidate",
            Self::Stopped => "stopped",
        })
    }
}

/// A replica at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// What this replica does.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Who votes, in ascending order; during a change, the voters before and after it.
    pub voters: Vec<NodeId>,
    /// Whether a change of voters is half done: a majority of those before it and of those after it is needed.
    pub joint: bool,
    /// The entry that says who takes part.
    pub members_index: Option<u64>,
    /// Who follows without a vote, in ascending order.
    pub learners: Vec<NodeId>,
    /// The last entry in its log.
    pub last_log_index: Option<u64>,
    /// The last entry it knows to be committed.
    pub committed_index: Option<u64>,
    /// The last entry in its state.
    pub applied_index: Option<u64>,
    /// The last entry in its snapshot.
    pub snapshot_index: Option<u64>,
    /// Why it stopped.
    pub fault: Option<String>,
    /// What was found damaged in its store. Such a replica should be rebuilt, whether or not it has stopped yet.
    pub damaged: Option<String>,
    /// On the leader: the last entry that each other member is known to hold, where anything is known.
    pub replication: Vec<(NodeId, Option<u64>)>,
}

impl GroupStatus {
    pub(crate) fn of(group: GroupId, metrics: &RaftMetrics) -> Self {
        let membership = metrics.membership_config.membership();
        let voters: Vec<NodeId> = membership.voter_ids().map(NodeId::new).collect();
        let learners = membership.learner_ids().map(NodeId::new).collect();
        let replication = metrics.replication.iter().flatten();
        Self {
            group,
            role: role_of(metrics),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId::new),
            voters: sorted(voters),
            joint: membership.get_joint_config().len() > 1,
            members_index: metrics.membership_config.log_id().as_ref().map(|id| id.index),
            learners: sorted(learners),
            last_log_index: metrics.last_log_index,
            committed_index: metrics.local_committed.map(|id| id.index),
            applied_index: metrics.last_applied.map(|id| id.index),
            snapshot_index: metrics.snapshot.map(|id| id.index),
            fault: metrics.running_state.as_ref().err().map(ToString::to_string),
            damaged: None,
            replication: replication
                .map(|(node, id)| (NodeId::new(*node), id.map(|id| id.index)))
                .collect(),
        }
    }
}

fn role_of(metrics: &RaftMetrics) -> Role {
    if metrics.running_state.is_err() {
        return Role::Stopped;
    }
    match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Learner => Role::Learner,
        ServerState::Candidate => Role::Candidate,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn sorted(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}
