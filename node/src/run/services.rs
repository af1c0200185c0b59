//! What runs above the ledger: the background services of a node, and the routes of its two ports.

use tonic::service::Routes;

use super::RootSupervisor;
use crate::api::cluster::ClusterApi;
use crate::api::{self, Gate};
use crate::context::Context;
use crate::membership::Membership;
use crate::node_peer::NodePeerApi;

/// Starts the background services.
pub(super) async fn spawn(context: &Context, root: &RootSupervisor) -> anyhow::Result<()> {
    let _ = (context, root);
    Ok(())
}

/// The peers' port: consensus, what nodes ask of each other, and the way in for nodes that want to join.
pub(super) fn peer_routes(context: &Context, membership: &Membership, gate: Gate) -> Routes {
    let node_peer = NodePeerApi::server(context.clone(), membership.clone());
    let cluster = ClusterApi::new(context.clone()).cluster();
    let asked = api::behind_front(Routes::new(node_peer).add_service(cluster), gate);
    let consensus = Routes::new(context.ledger.host().peer_service()).into_axum_router();
    // Consensus streams have no caller and no deadline, so they do not pass the front.
    Routes::from(asked.into_axum_router().merge(consensus.reset_fallback()))
}

/// The clients' port.
pub(super) async fn public_routes(context: &Context, gate: Gate) -> anyhow::Result<Routes> {
    let cluster = ClusterApi::new(context.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let services = Routes::new(health_service).add_service(cluster.cluster()).add_service(cluster.admin());
    api::public_routes(services, gate)
}
