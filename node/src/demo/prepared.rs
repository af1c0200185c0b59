//! A cluster of three with a month of flights, a trained model and a deployment: what benchmarks start from.

use std::path::Path;

use anyhow::Result;
use covey_proto::v1;

use super::cluster::DemoCluster;
use super::fleet::Connection;
use super::flights::{DAY, Flight, Year};
use super::replay::{self, Replay};
use super::tally::Model;
use super::timeline::{Timeline, month_start};
use super::{rows, training};

/// The month that is loaded.
const DAYS: i64 = 31;

/// The cluster and the flights to ask about.
pub(crate) struct Prepared {
    cluster: DemoCluster,
    flights: Vec<Flight>,
}

impl Prepared {
    /// Forms the cluster, loads January, trains on it and deploys to all three nodes.
    pub(crate) async fn three_nodes(root: &Path, definitions: &Path) -> Result<Self> {
        let year = Year::load(&definitions.join("data"))?;
        let cluster = DemoCluster::form(root).await?;
        let endpoint = cluster.endpoints().first().cloned().unwrap_or_default();
        for file in ["entities.yaml", "views.yaml", "services.yaml"] {
            training::apply(&endpoint, &definitions.join(file)).await?;
        }
        let planes = v1::PushRequest {
            view: "planes".to_owned(),
            rows: Some(rows::planes(&year.planes, month_start(1) - DAY)),
            producer: "bench-planes".to_owned(),
            sequence: 1,
            request_id: Vec::new().into(),
        };
        replay::push(&cluster.fleet, &planes).await?;
        let mut timeline = Timeline::new(&year);
        let mut replay = Replay::new(cluster.fleet.clone());
        for day in 1..=DAYS {
            let batches = replay.batches(&timeline.next(month_start(1) + day * DAY));
            replay.push(&batches).await?;
        }
        for model in ["flight_delay", "flight_delay_plain"] {
            training::first_model(&cluster.fleet, model, month_start(1) + DAYS * DAY).await?;
        }
        training::apply(&endpoint, &definitions.join("serving.yaml")).await?;
        training::deployments_ready(&cluster.fleet).await?;
        let flights = year
            .flights
            .into_iter()
            .filter(|flight| flight.month == 1 && flight.tail.is_some())
            .collect();
        Ok(Self { cluster, flights })
    }

    /// A connection to one node.
    pub(crate) fn connection(&self) -> Result<Connection> {
        self.cluster.fleet.connection()
    }

    /// The deployment to ask.
    pub(crate) fn deployment(&self) -> &'static str {
        Model::Frozen.deployment()
    }

    /// Some flights to ask about, beginning with the `from`-th and going round.
    pub(crate) fn questions(&self, from: usize, count: usize) -> v1::Table {
        let flights: Vec<&Flight> = self
            .flights
            .iter()
            .cycle()
            .skip(from % self.flights.len())
            .take(count)
            .collect();
        rows::questions(&flights)
    }

    /// Stops the nodes.
    pub(crate) async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }
}
