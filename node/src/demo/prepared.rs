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

/// Whether questions may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// Flights as they are; after a round they come again.
    AsTheyCome,
    /// Every flight is a little longer than any before, so that no two vectors are equal.
    Distinct,
}

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
        load_january(&cluster, &year).await?;
        for file in ["training.yaml", "serving.yaml"] {
            training::apply(&endpoint, &definitions.join(file)).await?;
        }
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

    /// Some flights to ask about and the moments of their scheduled departures, beginning with the `from`-th and going
    /// round.
    pub(crate) fn questions(&self, from: usize, count: usize, vectors: Vectors) -> (v1::Table, Vec<i64>) {
        let position = |number: usize| (from + number) % self.flights.len();
        let mut flights: Vec<Flight> = (0..count)
            .map(|number| self.flights[position(number)].clone())
            .collect();
        if vectors == Vectors::Distinct {
            for (number, flight) in flights.iter_mut().enumerate() {
                #[allow(clippy::cast_precision_loss)]
                let longer = (from + number) as f64 * 1e-6;
                flight.distance += longer;
            }
        }
        let flights: Vec<&Flight> = flights.iter().collect();
        let at = flights.iter().map(|flight| flight.scheduled).collect();
        (rows::questions(&flights), at)
    }

    /// Stops the nodes.
    pub(crate) async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }
}

async fn load_january(cluster: &DemoCluster, year: &Year) -> Result<()> {
    let mut timeline = Timeline::new(year);
    let mut replay = Replay::new(cluster.fleet.clone());
    for day in 1..=DAYS {
        let stretch = timeline.next(month_start(1) + day * DAY);
        let mut batches = replay.features(&stretch);
        batches.extend(replay.all_outcomes());
        replay.push(&batches).await?;
    }
    Ok(())
}
