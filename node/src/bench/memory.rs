//! Memory while a follower stands still for minutes: what the others keep for it, and what it takes to catch up.
//!
//! The peaks are the kernel's, of the one node that held most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::Figures;
use super::failover::load::{declare, rows};
use super::process::{connect, forget_peaks, peak};
use crate::demo::DemoCluster;

/// Nodes of the cluster.
const NODES: usize = 3;
/// The node that stands still, counted from 0, and how long.
const STOPPED: usize = 2;
const STANDS_STILL: Duration = Duration::from_secs(600);
/// Clients that write meanwhile, rows in each of their requests, and bytes in each row.
const WRITERS: usize = 32;
const ROWS: usize = 20;
const ROW_BYTES: usize = 256;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the stopped node may take to catch up.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(300);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Measures and gives the figures by name.
pub(super) async fn measure() -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let cluster = DemoCluster::form(folder.path()).await?;
    declare(&cluster.fleet).await?;
    let measured = stopped_follower(&cluster).await;
    cluster.stop().await?;
    measured
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
