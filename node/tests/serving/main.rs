//! Serving, drift and pipelines as a client meets them: the built binary, several nodes, real processes.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

mod cluster;
mod drift;
mod predictions;
mod world;

use cluster::Cluster;
use covey_proto::v1;
use world::trips;

/// A request to the deployment `live`.
fn request(rows: v1::Table, raw: bool) -> v1::PredictRequest {
    let (deployment, rows) = ("live".to_owned(), Some(rows));
    v1::PredictRequest {
        deployment,
        rows,
        raw,
        ..v1::PredictRequest::default()
    }
}

/// A cluster that has learnt four days and serves the result as `live`.
async fn learnt(nodes: usize, replicas: u32) -> Cluster {
    let cluster = Cluster::start(nodes).await;
    learn(&cluster, replicas).await;
    cluster
}

async fn learn(cluster: &Cluster, replicas: u32) {
    world::declare(cluster).await;
    world::push(cluster, &trips(0..4, 0.0)).await;
    world::build(cluster, 4).await;
    let version = world::train(cluster, "first", 1.0, "champion").await;
    world::deploy(cluster, "live", (replicas, version)).await;
}
