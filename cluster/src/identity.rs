//! Who this node is, and who its peers are.

use std::fmt;

use covey_state::NodeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who this node is. Sent with every call to a peer and checked by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; nodes of another cluster are refused.
    pub cluster: Uuid,
    /// This node's id, never used by another node before or after it.
    pub node: NodeId,
    /// Counts the starts of this node's data directory. Peers refuse a number below one they have seen: it comes
    /// from an old copy of the directory.
    pub incarnation: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

/// A node and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub api_addr: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.node, self.peer_addr)
    }
}
