//! What clients notice when nodes go: a leader is killed, a node is drained, one is replaced under load, a gibibyte moves.
//!
//! Real nodes, real clients, SIGKILL. Times are what a client sees, from the kill to the first acknowledged write.

pub(super) mod load;
mod moving;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use covey_proto::v1;
use indicatif::ProgressBar;

use super::percentile;
use crate::demo::{DemoCluster, settled};
use load::{Load, declare, entity_of_group, push_one};

/// Leaders that are killed, one after the other.
const KILLS: usize = 50;
/// Nodes of the cluster, and the ones that take part again after each step.
const NODES: usize = 3;
/// How long writers run before, and after, something is done to a node.
const CALM: Duration = Duration::from_secs(3);
/// A drain must be done by then.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);
/// How often the drained node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Measures and gives the figures by name.
pub(super) async fn measure() -> Result<Vec<(&'static str, f64)>> {
    let folder = tempfile::tempdir()?;
    let mut cluster = DemoCluster::form(folder.path()).await?;
    let measured = everything(&mut cluster, folder.path()).await;
    cluster.stop().await?;
    measured
}

async fn everything(cluster: &mut DemoCluster, root: &std::path::Path) -> Result<Vec<(&'static str, f64)>> {
    declare(&cluster.fleet).await?;
    let mut figures = kills(cluster).await.context("killing leaders")?;
    figures.extend(drains(cluster).await.context("draining nodes")?);
    figures.extend(moving::replace(cluster, root).await.context("replacing a node")?);
    figures.extend(
        moving::gibibyte(cluster, root)
            .await
            .context("moving a gibibyte")?,
    );
    Ok(figures)
}

/// Kills the leader of the busiest group again and again; each time until a write to that group is acknowledged.
async fn kills(cluster: &mut DemoCluster) -> Result<Vec<(&'static str, f64)>> {
    let bar = ProgressBar::new(KILLS as u64);
    let mut outages = Vec::with_capacity(KILLS);
    let groups = DemoCluster::status(&cluster.fleet).await?.groups;
    for kill in 0..KILLS {
        let (victim, group, killed) = cluster.kill_busiest_leader().await?;
        let entity =
            entity_of_group(group, groups).ok_or_else(|| anyhow!("no key falls into group {group}"))?;
        push_one(&cluster.fleet, &entity, &format!("kill {kill}")).await?;
        outages.push(killed.elapsed().as_secs_f64() * 1e3);
        cluster.restart(victim).await?;
        settled(&cluster.fleet, NODES).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    outages.sort_by(f64::total_cmp);
    Ok(vec![
        ("failover_ms_p50", percentile(&outages, 0.50)),
        ("failover_ms_p99", percentile(&outages, 0.99)),
    ])
}

/// Drains every node in turn while clients write to all of them.
async fn drains(cluster: &DemoCluster) -> Result<Vec<(&'static str, f64)>> {
    let (mut waits, mut errors) = (Vec::new(), 0);
    let nodes = DemoCluster::status(&cluster.fleet).await?.nodes;
    for node in nodes {
        let load = Load::start(&cluster.endpoints(), groups_of(cluster).await?)?;
        // sleep: the writers run undisturbed for a while.
        tokio::time::sleep(CALM).await;
        cluster.set_state(&node.id, v1::NodeState::Draining).await?;
        given_up_leading(cluster, &node.id).await?;
        // sleep: whatever the drain has caused shows itself.
        tokio::time::sleep(CALM).await;
        let seen = load.stop().await?;
        errors += seen.errors;
        waits.extend(seen.latencies_ms);
        cluster.set_state(&node.id, v1::NodeState::Active).await?;
        settled(&cluster.fleet, NODES).await?;
    }
    waits.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss)] // A handful at most.
    let errors = errors as f64;
    Ok(vec![
        ("drain_wait_ms_p99", percentile(&waits, 0.99)),
        ("drain_wait_ms_max", percentile(&waits, 1.0)),
        ("drain_errors", errors),
    ])
}

async fn groups_of(cluster: &DemoCluster) -> Result<u64> {
    Ok(DemoCluster::status(&cluster.fleet).await?.groups)
}

async fn given_up_leading(cluster: &DemoCluster, node: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let status = DemoCluster::status(&cluster.fleet).await?;
        let leads = status
            .nodes
            .iter()
            .find(|known| known.id == node)
            .map_or(0, |known| known.leaders);
        if leads == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            started.elapsed() < DRAIN_WITHIN,
            "{node} still leads {leads} groups after {DRAIN_WITHIN:?}"
        );
        // sleep: handing over takes a moment; asking more often would not speed it up.
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
