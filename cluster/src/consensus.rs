//! The consensus library's type parameters, pinned once. Everything else in this crate names these aliases.

use std::fmt;

use bytes::Bytes;
use covey_state::NodeId;
use openraft::type_config::alias;
use serde::{Deserialize, Serialize};

use crate::identity::Peer;
use crate::state_store::StateStore;

/// What is proposed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// An entry of the application: opaque bytes.
    Entry(Bytes),
    /// A place at which replicas are compared; it changes nothing.
    Mark,
}

impl Request {
    /// The bytes of the application's entry.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Entry(bytes) => bytes.len(),
            Self::Mark => 0,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Mark => f.write_str("mark"),
        }
    }
}

/// What a membership holds of a member, under the number of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// Where other nodes reach it, `host:port`.
    pub(crate) peer: String,
    /// Where clients reach it, `host:port`.
    pub(crate) api: String,
}

impl Address {
    /// The member with this address.
    pub(crate) fn of_node(&self, node: u64) -> Peer {
        Peer {
            node: NodeId::new(node),
            peer_addr: self.peer.clone(),
            api_addr: self.api.clone(),
        }
    }
}

impl From<Peer> for Address {
    fn from(peer: Peer) -> Self {
        Self {
            peer: peer.peer_addr,
            api: peer.api_addr,
        }
    }
}

openraft::declare_raft_types!(
    /// The types of every group.
    pub(crate) TypeConfig:
        D = Request,
        R = Bytes,
        NodeId = u64,
        Node = Address,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, StateStore>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<TypeConfig>;
pub(crate) type LeaderId = alias::LeaderIdOf<TypeConfig>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Address>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendReply = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(crate) type VoteReply = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub(crate) type TransferReply = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub(crate) type TransferError = openraft::raft::TransferLeaderError<TypeConfig>;
pub(crate) type Fatal = openraft::errors::Fatal<TypeConfig>;
