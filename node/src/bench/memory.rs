//! Memory under what could fill it: a follower that stands still for minutes, a disk that takes long for every sync, clients that
//! do not read what they asked for, and far more requests at once than can be served.
//!
//! Each ends in acknowledgements, typed refusals, or a follower that catches up. The peaks are the kernel's, of the one node
//! that held most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::registry_client::RegistryClient;
use futures::future::try_join_all;
use tokio::process::Command;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::consensus::slow_disk;
use super::failover::load::{declare, entity_of_group, rows};
use super::process::{forget_peak, use_of};
use crate::demo::{DemoCluster, settled};

/// Nodes of the cluster.
const NODES: usize = 3;
/// The node that stands still, counted from 0, and how long.
const STOPPED: usize = 2;
const STANDS_STILL: Duration = Duration::from_secs(600);
/// Clients that write meanwhile, rows in each of their requests, and bytes in each row.
const WRITERS: usize = 32;
const ROWS: usize = 20;
const ROW_BYTES: usize = 256;
/// How long the stopped node may take to catch up.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(300);
/// Streams that nobody reads, the bytes that each would bring, and how long they are left alone.
const UNREAD: usize = 200;
const UNREAD_BYTES: usize = 64 << 20;
const LEFT_ALONE: Duration = Duration::from_secs(20);
/// Requests offered at one time, over so many connections. A node serves 200 of a connection at one time.
const OFFERED: usize = 1_000_000;
const CONNECTIONS: usize = 600;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Figures = Vec<(&'static str, f64)>;

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
    let stopped = stopped_follower(cluster).await;
    figures.extend(told(stopped.context("the stopped follower")?));
    Ok(figures)
}

/// All of it takes a quarter of an hour, so what is known is said.
fn told(figures: Figures) -> Figures {
    println!("{figures:?}");
    figures
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
        asked.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, features.push(request)).await;
            answer.map_or(Code::Unknown, |answer| {
                answer.map_or_else(|status| status.code(), |_| Code::Ok)
            })
        });
    }
    let mut outcomes: BTreeMap<i32, u32> = BTreeMap::new();
    while let Some(code) = asked.join_next().await {
        *outcomes.entry(code? as i32).or_default() += 1;
    }
    let took = begun.elapsed().as_secs_f64();
    let counted = |code: Code| f64::from(outcomes.get(&(code as i32)).copied().unwrap_or(0));
    let (acknowledged, refused) = (counted(Code::Ok), counted(Code::ResourceExhausted));
    let all: f64 = outcomes.values().copied().map(f64::from).sum();
    settled(&cluster.fleet, NODES).await?;
    Ok(vec![
        ("million_acknowledged", acknowledged),
        ("million_refused_busy", refused),
        ("million_otherwise", all - acknowledged - refused),
        ("million_s", took),
        ("million_peak_mib", peak(cluster)?),
    ])
}

/// A node stands still while clients write through the others, goes on, and catches up.
async fn stopped_follower(cluster: &DemoCluster) -> Result<Figures> {
    let groups = DemoCluster::status(&cluster.fleet).await?.groups;
    let endpoints = cluster.endpoints();
    let process = cluster.process_ids()[STOPPED];
    forget_peaks(cluster)?;
    signal(process, "-STOP").await?;
    let written = write_for(&endpoints[..STOPPED], groups, STANDS_STILL).await;
    let peak_meanwhile = peak(cluster)?;
    signal(process, "-CONT").await?;
    let written = written?;
    let begun = Instant::now();
    while !caught_up(cluster).await? {
        ensure!(
            begun.elapsed() < CATCH_UP_WITHIN,
            "it has not caught up after {CATCH_UP_WITHIN:?}"
        );
        // sleep: catching up takes a while; asking more often would not speed it up.
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(vec![
        ("stopped_follower_s", STANDS_STILL.as_secs_f64()),
        ("stopped_follower_rows_written", written),
        ("stopped_follower_peak_mib", peak_meanwhile),
        ("catch_up_s", begun.elapsed().as_secs_f64()),
        ("catch_up_peak_mib", peak(cluster)?),
    ])
}

/// Writes as fast as the nodes take it; gives how many rows they took.
async fn write_for(endpoints: &[String], groups: u64, span: Duration) -> Result<f64> {
    let keys: Arc<Vec<String>> = Arc::new((0..100_000).map(|number| format!("item-{number}")).collect());
    let until = Instant::now() + span;
    let value: Arc<str> = "x".repeat(ROW_BYTES).into();
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let channel = connect(&endpoints[number % endpoints.len()]).await?;
        let (keys, value) = (Arc::clone(&keys), Arc::clone(&value));
        writers.spawn(async move {
            let mut features = FeaturesClient::new(channel);
            let (mut taken, mut place) = (0_u32, number * ROWS);
            while Instant::now() < until {
                let request = rows(&keys[place..place + ROWS], &value);
                place = (place + WRITERS * ROWS) % (keys.len() - ROWS);
                // Refused, or on its way to a leader that stands still: the next one finds another.
                if let Ok(Ok(reply)) = tokio::time::timeout(PATIENCE, features.push(request)).await {
                    taken = taken.saturating_add(u32::try_from(reply.get_ref().accepted).unwrap_or(0));
                }
            }
            f64::from(taken)
        });
    }
    let mut written = 0.0;
    while let Some(taken) = writers.join_next().await {
        written += taken?;
    }
    ensure!(written > 0.0, "nothing could be written to {groups} groups");
    Ok(written)
}

/// Whether every replica of every group has applied the same.
async fn caught_up(cluster: &DemoCluster) -> Result<bool> {
    let request = v1::ListGroupsRequest { all_nodes: true };
    let connection = cluster.fleet.connection()?;
    let Ok(reply) = connection.cluster().list_groups(request).await else {
        return Ok(false);
    };
    let mut applied: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for replica in reply.into_inner().replicas {
        applied
            .entry(replica.group)
            .or_default()
            .push(replica.applied_index);
    }
    let equal =
        |indexes: &Vec<u64>| indexes.len() == NODES && indexes.iter().all(|index| *index == indexes[0]);
    Ok(!applied.is_empty() && applied.values().all(equal))
}

async fn connect(endpoint: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.context("connecting")
}

async fn signal(process: u32, name: &str) -> Result<()> {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status()
        .await?;
    if !sent.success() {
        bail!("kill {name} {process} failed");
    }
    Ok(())
}

fn forget_peaks(cluster: &DemoCluster) -> Result<()> {
    cluster.process_ids().into_iter().try_for_each(forget_peak)
}

fn peak(cluster: &DemoCluster) -> Result<f64> {
    let mut peaks = cluster
        .process_ids()
        .into_iter()
        .map(|id| Ok(use_of(id)?.peak_mib));
    peaks.try_fold(0.0, |most, peak: Result<f64>| Ok(f64::max(most, peak?)))
}
