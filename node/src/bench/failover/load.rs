//! Clients that write single rows to every group through every node, and notice each wait and each error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use covey_state::GroupId;
use covey_state::entity::{EntityKey, KeyPart};
use covey_state::slot::Span;
use futures::future::try_join_all;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::demo::{Fleet, TableBuilder};

/// The view that is written.
pub(super) const VIEW: &str = "items";
/// Clients that write at the same time.
const WRITERS: usize = 8;
/// Keys that are tried to find one for each group.
const KEYS_TRIED: u32 = 100_000;

/// Declares the entity and the view.
pub(in crate::bench) async fn declare(fleet: &Fleet) -> Result<()> {
    let request = v1::ApplyCatalogRequest {
        entities: vec![v1::Entity {
            name: "item".to_owned(),
            join_keys: vec![v1::JoinKey {
                name: "item".to_owned(),
                data_type: v1::DataType::String.into(),
            }],
            ..v1::Entity::default()
        }],
        views: vec![v1::FeatureView {
            name: VIEW.to_owned(),
            entity: "item".to_owned(),
            columns: vec![v1::Column {
                name: "value".to_owned(),
                data_type: v1::DataType::String.into(),
                ..v1::Column::default()
            }],
            ..v1::FeatureView::default()
        }],
        ..v1::ApplyCatalogRequest::default()
    };
    let applied = fleet.ask(|connection| {
        let request = request.clone();
        async move { connection.features().apply_catalog(request).await }
    });
    applied.await.context("declaring the view")?;
    Ok(())
}

/// A key that falls into the group.
pub(in crate::bench) fn entity_of_group(group: u64, groups: u64) -> Option<String> {
    (0..KEYS_TRIED)
        .map(|number| format!("item-{number}"))
        .find(|key| {
            let entity = EntityKey(vec![KeyPart::String(key.clone())]);
            Span::initial(groups).group_of_entity(&entity) == GroupId::new(group)
        })
}

/// A request that writes one row per key, all with the same value.
pub(in crate::bench) fn rows(keys: &[String], value: &str) -> v1::PushRequest {
    let now = micros_now();
    let table = TableBuilder::default()
        .texts("item", keys.iter().map(String::as_str))
        .times("event_time", keys.iter().map(|_| now))
        .texts("value", keys.iter().map(|_| value));
    v1::PushRequest {
        view: VIEW.to_owned(),
        rows: Some(table.build()),
        request_id: Uuid::new_v4().as_bytes().to_vec().into(),
        ..v1::PushRequest::default()
    }
}

fn micros_now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Writes one row, through whichever node takes it.
pub(super) async fn push_one(fleet: &Fleet, key: &str, value: &str) -> Result<()> {
    let request = rows(&[key.to_owned()], value);
    let reply = fleet.ask(|connection| {
        let request = request.clone();
        async move { connection.features().push(request).await }
    });
    let reply = reply.await?.into_inner();
    ensure!(reply.accepted == 1, "the row was refused: {:?}", reply.refused);
    Ok(())
}

/// What the clients have noticed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In milliseconds, one per acknowledged write.
    pub(super) latencies_ms: Vec<f64>,
    /// Writes that came back with an error.
    pub(super) errors: usize,
    /// When each write was acknowledged, counted from the start.
    pub(super) acknowledged: Vec<Duration>,
}

/// Clients at work.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Result<Seen>>>,
}

impl Load {
    /// Starts them; each writes to all groups in turn, through one of the nodes.
    pub(super) fn start(endpoints: &[String], groups: u64) -> Result<Self> {
        let keys: Vec<String> = (1..=groups)
            .filter_map(|group| entity_of_group(group, groups))
            .collect();
        let keys: Arc<[String]> = keys.into();
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let mut writers = Vec::with_capacity(WRITERS);
        for number in 0..WRITERS {
            let endpoint = &endpoints[number % endpoints.len()];
            let channel = Endpoint::from_shared(endpoint.clone())?
                .tcp_nodelay(true)
                .connect_lazy();
            let writer = write(channel, Arc::clone(&keys), number, (Arc::clone(&stop), started));
            writers.push(tokio::spawn(writer));
        }
        Ok(Self { stop, writers })
    }

    /// Lets each finish what it has begun.
    pub(super) async fn stop(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for seen in try_join_all(self.writers).await? {
            let seen = seen?;
            all.latencies_ms.extend(seen.latencies_ms);
            all.acknowledged.extend(seen.acknowledged);
            all.errors += seen.errors;
        }
        Ok(all)
    }
}

async fn write(
    channel: Channel,
    keys: Arc<[String]>,
    first: usize,
    (stop, started): (Arc<AtomicBool>, Instant),
) -> Result<Seen> {
    let mut client = FeaturesClient::new(channel);
    let mut seen = Seen::default();
    for turn in first.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let request = rows(&[keys[turn % keys.len()].clone()], "load");
        let sent = Instant::now();
        match client.push(request).await {
            Ok(reply) => {
                ensure!(reply.into_inner().accepted == 1, "a row was refused");
                seen.latencies_ms.push(sent.elapsed().as_secs_f64() * 1e3);
                seen.acknowledged.push(started.elapsed());
            }
            Err(_) => seen.errors += 1,
        }
    }
    Ok(seen)
}
