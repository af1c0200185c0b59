//! How the nodes of a cluster reach each other.
//!
//! To every known peer there is one link: a stream that carries the consensus messages of all groups, and a second
//! connection for everything that may be large or slow (snapshots, forwarded requests, the application's own calls),
//! so that no heartbeat ever waits behind it.

mod gathering;
mod link;
mod network;
mod outbox;
mod passport;
mod snapshot_sender;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use covey_proto::peer::v1::envelope::Body;
use covey_proto::peer::v1::peer_service_client::PeerServiceClient;
use covey_state::{GroupId, NodeId};
use tokio::sync::Semaphore;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::carrier::Line;
use crate::config::HostConfig;
use crate::error::Error;
use crate::identity::{Identity, Peer};
use crate::metrics::HostMetrics;
use gathering::Gathering;
use link::LinkTask;
use outbox::Outbox;
use passport::Stamp;

pub(crate) use network::NetworkFactory;
pub(crate) use outbox::{CallError, Priority};
pub(crate) use passport::Gate;

/// A client of a peer's service that names both sides in every call.
type PeerClient = PeerServiceClient<InterceptedService<Line, Stamp>>;

/// The address book and the links of a node.
pub(crate) struct Transport {
    pub(crate) identity: Identity,
    pub(crate) config: Arc<HostConfig>,
    pub(crate) metrics: HostMetrics,
    /// Holds heartbeats back until those of all groups are there.
    pub(crate) gathering: Gathering,
    links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    snapshot_sends: Semaphore,
}

/// The ways to one peer at one address. Dropping it ends its stream.
struct Link {
    peer: Peer,
    outbox: Outbox,
    calls: Channel,
}

impl Transport {
    pub(crate) fn new(identity: Identity, config: Arc<HostConfig>, metrics: HostMetrics) -> Self {
        let snapshot_sends = Semaphore::new(config.snapshot_sends_max);
        Self {
            identity,
            config,
            metrics,
            gathering: Gathering::default(),
            links: RwLock::default(),
            snapshot_sends,
        }
    }

    /// Notes a peer's address; a changed one replaces the link.
    pub(crate) fn knows(&self, peer: Peer) -> Result<(), Error> {
        if peer.node == self.identity.node || self.link(peer.node).is_ok_and(|link| link.peer == peer) {
            return Ok(());
        }
        let link = Arc::new(self.open(peer)?);
        self.links
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(link.peer.node, link);
        Ok(())
    }

    /// Notes a peer's address unless one is known already: what the application says is newer than what a
    /// membership says.
    pub(crate) fn heard_of(&self, peer: &Peer) {
        if self.link(peer.node).is_ok() || peer.peer_addr.is_empty() {
            return;
        }
        if let Err(error) = self.knows(peer.clone()) {
            tracing::warn!(%error, "a member has no usable address");
        }
    }

    /// The peers whose address is known.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.links
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }

    /// The connection to a peer for calls that may be large or slow.
    pub(crate) fn channel(&self, node: NodeId) -> Result<Channel, Error> {
        Ok(self.link(node)?.calls.clone())
    }

    /// Sends a request on the stream and waits for its answer as long as the caller likes.
    pub(crate) async fn request(
        &self,
        to: NodeId,
        priority: Priority,
        group: GroupId,
        body: Body,
    ) -> Result<Body, CallError> {
        let link = self.link(to).map_err(|error| CallError::Unreachable {
            reason: error.to_string(),
        })?;
        let answer = link.outbox.push(priority, group, body);
        if answer.is_err() {
            self.metrics
                .messages_refused
                .with_label_values(&[&to.to_string()])
                .inc();
        }
        let answer = answer?;
        drop(link);
        answer.await.unwrap_or_else(|_| {
            Err(CallError::Unreachable {
                reason: format!("the link to {to} is closed"),
            })
        })
    }

    /// A client of a peer's service on that connection.
    pub(crate) fn client(&self, node: NodeId) -> Result<PeerClient, Error> {
        let link = self.link(node)?;
        Ok(self.client_on(self.line(&link.calls, &link.peer), node))
    }

    /// Ends every link.
    pub(crate) fn close(&self) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn link(&self, node: NodeId) -> Result<Arc<Link>, Error> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.get(&node).cloned().ok_or(Error::UnknownNode { node })
    }

    /// The way for the host's own calls to a peer.
    fn line(&self, network: &Channel, peer: &Peer) -> Line {
        match &self.config.carrier {
            Some(carrier) => Line::Carried(Arc::clone(carrier), peer.clone()),
            None => Line::Network(network.clone()),
        }
    }

    fn client_on(&self, line: Line, node: NodeId) -> PeerClient {
        let bytes_max = self.config.message_bytes_max;
        PeerServiceClient::with_interceptor(line, Stamp::new(&self.identity, node))
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max)
    }

    fn open(&self, peer: Peer) -> Result<Link, Error> {
        let endpoint = self.endpoint(&peer)?;
        let calls = endpoint.connect_lazy();
        let (outbox, inbox) = outbox::outbox(&self.config, self.gathering.held());
        let task = LinkTask {
            peer: peer.clone(),
            client: self.client_on(self.line(&endpoint.connect_lazy(), &peer), peer.node),
            inbox,
            config: Arc::clone(&self.config),
            metrics: self.metrics.clone(),
        };
        tokio::spawn(task.run());
        Ok(Link { peer, outbox, calls })
    }

    fn endpoint(&self, peer: &Peer) -> Result<Endpoint, Error> {
        let address = &peer.peer_addr;
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| Error::Address {
                node: peer.node,
                address: address.clone(),
                reason: error.to_string(),
            })?;
        Ok(endpoint
            .connect_timeout(self.config.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.config.election_min)
            .keep_alive_timeout(self.config.election_max)
            .keep_alive_while_idle(true))
    }
}
