//! What runs above the ledger: the background services of a node, and the routes of its two ports.

use covey_proto::v1::monitoring_server::MonitoringServer;
use covey_proto::v1::registry_server::RegistryServer;
use covey_proto::v1::serving_server::ServingServer;
use covey_proto::v1::training_server::TrainingServer;
use tonic::service::Routes;

use super::RootSupervisor;
use crate::api::cluster::ClusterApi;
use crate::api::features::FeaturesApi;
use crate::api::monitoring::MonitoringApi;
use crate::api::registry::RegistryApi;
use crate::api::serving::ServingApi;
use crate::api::training::TrainingApi;
use crate::api::{self, Gate, Health};
use crate::context::Context;
use crate::error::Failure;
use crate::membership::Membership;
use crate::node_peer::NodePeerApi;
use crate::peers::MESSAGE_BYTES_MAX;
use crate::{artifacts, drift, features, pipelines, serving, training, verify};

/// A service that takes and gives messages up to the common limit; the generated types share no trait for it.
macro_rules! sized {
    ($service:expr) => {
        $service
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    };
}

/// Starts the background services.
pub(super) async fn spawn(context: &Context, root: &RootSupervisor) -> Result<(), Failure> {
    let (ctx, stop) = (context.clone(), root.stopping());
    root.run("schema installer", move || {
        features::installer::run(ctx.clone(), stop.clone())
    });
    let (ctx, stop) = (context.clone(), root.stopping());
    root.run("artifact repair", move || {
        artifacts::keep_repaired(ctx.clone(), stop.clone())
    });
    let (ctx, stop) = (context.clone(), root.stopping());
    root.run("verify", move || verify::keep_verified(ctx.clone(), stop.clone()));
    training::spawn(context).await?;
    serving::spawn(context).await?;
    drift::spawn(context).await?;
    pipelines::spawn(context).await
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

/// The clients' port, and what it says of its health.
pub(super) async fn public_routes(context: &Context, gate: Gate) -> anyhow::Result<(Health, Routes)> {
    let cluster = ClusterApi::new(context.clone());
    let (health, health_service) = Health::serving().await;
    let services = Routes::new(health_service)
        .add_service(cluster.cluster())
        .add_service(cluster.admin())
        .add_service(FeaturesApi::server(context.clone()))
        .add_service(sized!(RegistryServer::new(RegistryApi::new(context.clone()))))
        .add_service(sized!(TrainingServer::new(TrainingApi::new(context.clone()))))
        .add_service(sized!(ServingServer::new(ServingApi::new(context.clone()))))
        .add_service(sized!(MonitoringServer::new(MonitoringApi::new(context.clone()))));
    Ok((health, api::public_routes(services, gate)?))
}
