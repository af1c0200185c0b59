//! What this node says to those who ask whether it serves: as a whole, under the empty name, and each service under its own.
//!
//! Invariant: a node that has begun to stop says that it does not serve before it refuses anybody.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::server::HealthReporter;

/// The services of the clients' port.
const SERVICES: [&str; 7] = [
    covey_proto::v1::cluster_server::SERVICE_NAME,
    covey_proto::v1::admin_server::SERVICE_NAME,
    covey_proto::v1::features_server::SERVICE_NAME,
    covey_proto::v1::registry_server::SERVICE_NAME,
    covey_proto::v1::training_server::SERVICE_NAME,
    covey_proto::v1::serving_server::SERVICE_NAME,
    covey_proto::v1::monitoring_server::SERVICE_NAME,
];

/// The health of a node. Clones share it.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// A node that serves, and the service that says so.
    pub async fn serving() -> (Self, HealthServer<impl HealthService>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self { reporter };
        health.set(ServingStatus::Serving).await;
        (health, service)
    }

    /// From here on the node does not serve; those who watch are told.
    pub async fn stop(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for name in SERVICES.into_iter().chain([""]) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
