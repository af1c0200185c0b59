//! The other nodes, as this one reaches them: channels shared with consensus, and the client of `NodePeer`.

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
}

impl Peers {
    /// The peers that `host` knows.
    pub fn new(host: Host) -> Self {
        Self { host }
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
