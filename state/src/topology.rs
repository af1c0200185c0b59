//! The cluster's own description: its identity, its nodes and the desired placement of its groups.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Timestamp};

/// The feature level that a cluster made by this binary begins at.
pub const CLUSTER_VERSION: u32 = 1;

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Random identity, 128 bits.
    pub id: u128,
    /// A name for people.
    pub name: String,
    /// Data groups of the namespace `default`, a power of two, fixed for ever.
    pub groups: u64,
    /// Voters per group when there are enough nodes.
    pub replication_factor: u32,
    /// The feature level that every node understands; newer commands wait for it.
    pub version: u32,
    /// The number that the next group gets: those of `default` came first.
    pub next_group: u64,
    /// The id that the next node gets.
    pub next_node: u64,
    /// The id that the next view gets.
    pub next_view: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Holds replicas and leads.
    Active,
    /// Holds replicas but leads nothing and serves no models.
    Draining,
    /// Gives up its replicas.
    Decommissioning,
    /// Gone for good; its id is never used again.
    Removed,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Decommissioning => "decommissioning",
            Self::Removed => "removed",
        })
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where peers reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub api_addr: String,
    /// Region label.
    pub region: String,
    /// Zone label.
    pub zone: String,
    /// The binary's version.
    pub binary: String,
    /// Whether it takes part.
    pub state: NodeState,
    /// When it joined.
    pub joined_at: Timestamp,
}

/// What a group weighs when it is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Weight {
    /// Bytes of its state.
    pub bytes: u64,
    /// Entries and reads per second, smoothed.
    pub load: u64,
}

/// What an operator has decided about a group, which the planner then leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pins {
    /// Its replicas are not moved to even out the nodes; only away from nodes that leave, or to keep its policy.
    pub replicas: bool,
    /// Its preferred leader stays for as long as it may lead.
    pub leader: bool,
}

/// The desired members of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Placement {
    /// Counts up with every change.
    pub revision: u64,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who only follows.
    pub learners: BTreeSet<NodeId>,
    /// Who should lead, if it can.
    pub preferred_leader: Option<NodeId>,
    /// What it weighed when it was placed.
    pub weight: Weight,
    /// What an operator has decided about it.
    pub pins: Pins,
    /// Which node has made the group. As long as none has, its only voter is the one that is to make it.
    pub maker: Option<NodeId>,
}

impl Placement {
    /// Every member.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        self.voters.iter().chain(&self.learners).copied()
    }

    /// Whether the group has been made.
    pub fn is_made(&self) -> bool {
        self.maker.is_some()
    }

    /// Whether a node is a member.
    pub fn holds(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }
}
