//! The other nodes, as this one reaches them: channels shared with consensus, and the client of `NodePeer`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covey_cluster::Host;
use covey_proto::node::v1::node_peer_client::NodePeerClient;
use covey_state::NodeId;
use tonic::transport::Channel;

use crate::error::Failure;

/// The largest message between nodes: an artifact chunk or a page of records, with room to spare.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Reaches other nodes. Clones share the channels.
#[derive(Clone)]
pub struct Peers {
    host: Host,
    /// How long each node took to answer lately; the smoothed time of a round trip and a little work.
    round_trips: Arc<Mutex<BTreeMap<NodeId, Duration>>>,
}

impl Peers {
    /// The peers that `host` knows.
    pub fn new(host: Host) -> Self {
        Self {
            host,
            round_trips: Arc::default(),
        }
    }

    /// Notes how long a node took to answer.
    pub fn took(&self, node: NodeId, time: Duration) {
        let mut known = self.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
        let smoothed = known.entry(node).or_insert(time);
        *smoothed = (*smoothed * 7 + time) / 8;
    }

    /// How long a node took to answer lately; nothing if it was not asked.
    pub fn round_trip(&self, node: NodeId) -> Duration {
        let known = self.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&node).copied().unwrap_or_default()
    }

    /// A client of the node's `NodePeer` service. The channel connects when it is first used.
    pub fn node_peer(&self, node: NodeId) -> Result<NodePeerClient<Channel>, Failure> {
        let channel = self.host.channel(node).map_err(Failure::from)?;
        let client = NodePeerClient::new(channel);
        Ok(client
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}
