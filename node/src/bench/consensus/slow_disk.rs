//! Covey's Raft host on disks that take long for every sync, offered more than they can take.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use covey_proto::etcd::PutRequest;
use covey_proto::etcd::kv_client::KvClient;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use super::load::Clients;
use super::servers::{Servers, System};
use crate::bench::outcomes::Outcomes;

/// How long each sync takes. A vote is synced by two before it counts, so much more would leave no time to elect.
const SYNC: Duration = Duration::from_millis(100);
/// Clients, and the bytes of what each writes over and over: eight times what a node lets wait.
const CLIENTS: usize = 4_096;
const VALUE_BYTES: usize = 256 << 10;
/// Connections that they share.
const CONNECTIONS: usize = 96;
/// How long they go on.
const SPAN: Duration = Duration::from_secs(30);
/// How long a refused client waits before it tries again; twice as long each time, as clients of gRPC do.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures and gives the figures by name.
pub(in crate::bench) async fn measure() -> Result<Vec<(&'static str, f64)>> {
    let folder = tempfile::tempdir()?;
    let slow = ["--sync-takes-ms".to_owned(), SYNC.as_millis().to_string()];
    let mut servers = Servers::start_with(System::Covey { groups: 8 }, folder.path(), &slow)?;
    Clients::of(&servers.clients)?.greet().await?;
    let outcomes = write(&servers).await;
    let peak = servers.peak_mib();
    servers.stop().await?;
    let (outcomes, peak) = (outcomes?, peak?);
    println!("a slow disk:\n{outcomes}");
    Ok(vec![
        ("slow_disk_acknowledged", outcomes.acknowledged()),
        ("slow_disk_refused_busy", outcomes.refused_busy()),
        ("slow_disk_otherwise", outcomes.otherwise()),
        ("slow_disk_peak_mib", peak),
    ])
}

async fn write(servers: &Servers) -> Result<Outcomes> {
    let dialled = (0..CONNECTIONS).map(|number| {
        let address = &servers.clients[number % servers.clients.len()];
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        async move { endpoint?.connect().await.context("connecting") }
    });
    let channels = try_join_all(dialled).await?;
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    let until = Instant::now() + SPAN;
    let mut writers = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = KvClient::new(channels[number % CONNECTIONS].clone());
        let request = PutRequest {
            key: format!("key-{number:08}").into(),
            value: value.clone(),
        };
        writers.spawn(async move {
            let mut outcomes = Outcomes::default();
            let mut pause = PAUSE_MIN;
            while Instant::now() < until {
                let answer = tokio::time::timeout(PATIENCE, client.put(request.clone())).await;
                if outcomes.add(answer) {
                    // sleep: what a refusal asks for.
                    tokio::time::sleep(pause).await;
                    pause = PAUSE_MAX.min(pause * 2);
                } else {
                    pause = PAUSE_MIN;
                }
            }
            outcomes
        });
    }
    let mut all = Outcomes::default();
    while let Some(outcomes) = writers.join_next().await {
        all.add_all(outcomes?);
    }
    Ok(all)
}
