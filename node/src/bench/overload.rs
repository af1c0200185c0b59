//! What becomes of far more than can be served: a disk that takes long for every sync, clients that do not read what they
//! asked for, and a million requests at once.
//!
//! Each request ends in an acknowledgement or in a typed refusal, and memory stays bounded. The peaks are the kernel's, of the
//! one node that held most.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::registry_client::RegistryClient;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tonic::Streaming;

use super::consensus::slow_disk;
use super::failover::load::{declare, entity_of_group, rows};
use super::outcomes::Outcomes;
use super::process::{connect, forget_peaks, peak};
use super::{Figures, told};
use crate::demo::{DemoCluster, settled};

/// Nodes of the cluster.
const NODES: usize = 3;
/// Streams that nobody reads, the bytes that each would bring, and how long they are left alone.
const UNREAD: usize = 200;
const UNREAD_BYTES: usize = 64 << 20;
const LEFT_ALONE: Duration = Duration::from_secs(20);
/// Requests offered at one time, over so many connections. A node serves 200 of a connection at one time.
const OFFERED: usize = 1_000_000;
const CONNECTIONS: usize = 600;
/// How long one of them may take, from when all are offered.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures and gives the figures by name.
pub(super) async fn measure() -> Result<Figures> {
    let mut figures = told(slow_disk::measure().await.context("the slow disk")?);
    let folder = tempfile::tempdir()?;
    let cluster = DemoCluster::form(folder.path()).await?;
    let measured = on_a_cluster(&cluster).await;
    cluster.stop().await?;
    figures.extend(measured?);
    Ok(figures)
}

async fn on_a_cluster(cluster: &DemoCluster) -> Result<Figures> {
    declare(&cluster.fleet).await?;
    let unread = unread_streams(cluster).await;
    let mut figures = told(unread.context("streams that nobody reads")?);
    let million = a_million(cluster).await;
    figures.extend(told(million.context("a million requests")?));
    Ok(figures)
}

/// Clients ask for a file and never read it.
async fn unread_streams(cluster: &DemoCluster) -> Result<Figures> {
    let endpoints = cluster.endpoints();
    let artifact = upload(&endpoints[0]).await?;
    forget_peaks(cluster)?;
    let mut held: Vec<Streaming<v1::DownloadArtifactReply>> = Vec::with_capacity(UNREAD);
    for number in 0..UNREAD {
        let mut registry = RegistryClient::new(connect(&endpoints[number % NODES]).await?);
        let request = v1::DownloadArtifactRequest {
            artifact: Some(artifact.clone()),
        };
        held.push(registry.download_artifact(request).await?.into_inner());
    }
    // sleep: the nodes are given the time to send as much as they will.
    tokio::time::sleep(LEFT_ALONE).await;
    let peak = peak(cluster)?;
    drop(held);
    Ok(vec![("unread_streams_peak_mib", peak)])
}

async fn upload(endpoint: &str) -> Result<v1::Artifact> {
    let mut registry = RegistryClient::new(connect(endpoint).await?);
    let part = |number: usize| v1::UploadArtifactRequest {
        name: if number == 0 {
            "file".to_owned()
        } else {
            String::new()
        },
        data: Bytes::from(vec![u8::try_from(number % 251).unwrap_or(0); 1 << 20]),
    };
    let parts = futures::stream::iter((0..UNREAD_BYTES >> 20).map(part));
    Ok(registry.upload_artifact(parts).await?.into_inner())
}

/// All requests are on their way before the first answer is looked at.
async fn a_million(cluster: &DemoCluster) -> Result<Figures> {
    let groups = DemoCluster::status(&cluster.fleet).await?.groups;
    let keys: Vec<String> = (1..=groups)
        .filter_map(|group| entity_of_group(group, groups))
        .collect();
    let endpoints = cluster.endpoints();
    let dialled = (0..CONNECTIONS).map(|number| connect(&endpoints[number % NODES]));
    let channels = try_join_all(dialled).await?;
    forget_peaks(cluster)?;
    let begun = Instant::now();
    let mut asked = JoinSet::new();
    for number in 0..OFFERED {
        let mut features = FeaturesClient::new(channels[number % CONNECTIONS].clone());
        let request = rows(&keys[number % keys.len()..][..1], "offered");
        asked.spawn(async move { tokio::time::timeout(PATIENCE, features.push(request)).await });
    }
    let mut outcomes = Outcomes::default();
    while let Some(answer) = asked.join_next().await {
        outcomes.add(answer?);
    }
    let took = begun.elapsed().as_secs_f64();
    println!("a million requests:\n{outcomes}");
    settled(&cluster.fleet, NODES).await?;
    Ok(vec![
        ("million_acknowledged", outcomes.acknowledged()),
        ("million_refused_busy", outcomes.refused_busy()),
        ("million_otherwise", outcomes.otherwise()),
        ("million_s", took),
        ("million_peak_mib", peak(cluster)?),
    ])
}
