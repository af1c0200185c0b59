//! Becoming a member, and saying at each start where this node is now.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use covey_cluster::Peer;
use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_state::command::NodeSpec;
use covey_state::topology::NodeState;
use covey_state::{Command, GroupId, Rejection};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::{Membership, peer_of};
use crate::api::{Caller, REQUEST_ID};
use crate::catalog::CatalogCopy;
use crate::config::Config;
use crate::error::{Failure, chain};
use crate::identity::{DataDir, Identity};

/// The first pause after everybody asked has failed; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long one member gets to answer.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// How this node describes itself to the cluster.
pub fn spec_of(config: &Config) -> NodeSpec {
    NodeSpec {
        peer_addr: config.peer_advertise.clone(),
        api_addr: config.api_advertise.clone(),
        region: config.region.clone(),
        zone: config.zone.clone(),
        binary: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Asks the nodes at `addresses`, separated by commas, to let this one in, until one does or refuses for good.
pub async fn join(config: &Config, data: &DataDir, addresses: &str) -> anyhow::Result<Identity> {
    let request = data.join_request()?;
    let mut pause = PAUSE;
    loop {
        for address in addresses
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
        {
            match ask(config, address, request).await {
                Ok(reply) => {
                    return identity_of(reply).with_context(|| format!("{address} answered nonsense"));
                }
                Err(status) if is_final(&status) => {
                    bail!("{address} does not let this node join: {}", status.message());
                }
                Err(status) => {
                    tracing::warn!(
                        address,
                        reason = status.message(),
                        "cannot join yet; trying again"
                    );
                }
            }
        }
        // sleep: nobody could be reached, and nothing tells when that changes.
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn ask(config: &Config, address: &str, id: Uuid) -> Result<v1::JoinReply, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Status::invalid_argument(format!("`{address}` is no address: {error}")))?
        .connect_timeout(ASK_LIMIT)
        .timeout(ASK_LIMIT);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::unavailable(chain(&error)))?;
    let mut request = Request::new(v1::JoinRequest::from(spec_of(config)));
    request.set_timeout(ASK_LIMIT);
    let id = id
        .simple()
        .to_string()
        .parse()
        .expect("hexadecimal digits are ASCII");
    request.metadata_mut().insert(REQUEST_ID, id);
    ClusterClient::new(channel)
        .join(request)
        .await
        .map(tonic::Response::into_inner)
}

/// Whether asking again cannot help.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::AlreadyExists | Code::Unimplemented
    ) || (status.code() == Code::FailedPrecondition
        && status
            .metadata()
            .get("covey-code")
            .is_some_and(|code| code == "node_removed"))
}

fn identity_of(reply: v1::JoinReply) -> anyhow::Result<Identity> {
    let mut seeds = Vec::with_capacity(reply.nodes.len());
    for node in reply.nodes {
        seeds.push(Peer {
            node: node.id.parse()?,
            peer_addr: node.peer_addr,
            api_addr: node.api_addr,
        });
    }
    Ok(Identity {
        cluster_id: reply.cluster_id.parse()?,
        node_id: reply.node_id.parse()?,
        incarnation: 0,
        groups: reply.groups,
        founding: None,
        seeds,
    })
}

/// Keeps in the identity where the other nodes are, as often as that changes.
pub async fn keep_seeds(
    mut changes: watch::Receiver<Arc<CatalogCopy>>,
    data: Arc<DataDir>,
    mut identity: Identity,
) {
    loop {
        let copy = Arc::clone(&changes.borrow_and_update());
        let others = copy
            .nodes
            .values()
            .filter(|node| node.state != NodeState::Removed && node.id != identity.node_id);
        let seeds: Vec<Peer> = others.map(peer_of).collect();
        if !seeds.is_empty() && seeds != identity.seeds {
            identity.seeds = seeds;
            let (data, identity) = (Arc::clone(&data), identity.clone());
            match spawn_blocking(move || data.store(&identity)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        reason = format!("{error:#}"),
                        "where the other nodes are could not be stored"
                    )
                }
                Err(error) => tracing::error!(%error, "storing where the other nodes are"),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

impl Membership {
    /// Tells the cluster where this node is now and which binary it runs; learns whether it still belongs to it.
    pub(super) async fn announce(self) {
        let mut pause = PAUSE;
        while let Err(failure) = self.announce_once().await {
            tracing::debug!(
                reason = chain(&failure),
                "the cluster has not heard of this start yet; trying again"
            );
            // sleep: there is no leader, and nothing tells when there is one.
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    pub(super) async fn announce_once(&self) -> Result<(), Failure> {
        let command = Command::UpdateNode(self.context.ledger.node(), spec_of(&self.context.config));
        let caller = Caller::internal("announce");
        match self
            .context
            .ledger
            .ask_unique(&caller, GroupId::CONTROL, command)
            .await
        {
            Ok(_) => Ok(()),
            Err(Failure::Rejected(Rejection::NodeRemoved(_))) => {
                self.expel();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}
