//! Replacing a node under load, and moving a gibibyte to a new one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::load::{Load, rows};
use super::{NODES, groups_of};
use crate::bench::process::{forget_peak, use_of};
use crate::demo::{DemoCluster, settled};

/// How long writers run before anything moves: what the dip is compared with.
const BEFORE: Duration = Duration::from_secs(5);
/// The span over which throughput is averaged.
const BUCKET: Duration = Duration::from_secs(1);
/// Bytes of state that are moved.
const MOVED_BYTES: usize = 1 << 30;
/// Bytes of one value. A row is kept twice: as the current one, and in the history.
const VALUE_BYTES: usize = 60 << 10;
/// Rows of one request.
const ROWS_PER_PUSH: usize = 16;

/// A fourth node joins and the first one leaves, while clients write.
pub(super) async fn replace(cluster: &mut DemoCluster, root: &Path) -> Result<Vec<(&'static str, f64)>> {
    let load = Load::start(&cluster.endpoints(), groups_of(cluster).await?)?;
    // sleep: the writers run undisturbed for a while.
    tokio::time::sleep(BEFORE).await;
    let joining = Instant::now();
    cluster.join(root).await?;
    settled(&cluster.fleet, NODES + 1).await?;
    let joined = joining.elapsed();
    // The clients speak to the nodes that stay, and the first one too: it answers until it is stopped.
    let leaving = Instant::now();
    cluster.give_up_first().await?;
    let left = leaving.elapsed();
    let seen = load.stop().await?;
    cluster.remove_first().await?;
    settled(&cluster.fleet, NODES).await?;
    let (usual, lowest) = dip(&seen.acknowledged);
    #[allow(clippy::cast_precision_loss)] // A handful at most.
    let errors = seen.errors as f64;
    Ok(vec![
        ("join_s", joined.as_secs_f64()),
        ("decommission_s", left.as_secs_f64()),
        ("replace_throughput_lowest_share", lowest / usual),
        ("replace_errors", errors),
    ])
}

/// Acknowledged writes per bucket: usually, while nothing moved, and at the lowest.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn dip(acknowledged: &[Duration]) -> (f64, f64) {
    let bucket = |at: &Duration| (at.as_secs_f64() / BUCKET.as_secs_f64()) as usize;
    let mut counts = vec![0_u32; acknowledged.iter().map(bucket).max().unwrap_or(0) + 1];
    for at in acknowledged {
        counts[bucket(at)] += 1;
    }
    // The last bucket is not full.
    counts.pop();
    let calm = (BEFORE.as_secs_f64() / BUCKET.as_secs_f64()) as usize;
    let (before, after) = counts.split_at(calm.min(counts.len()));
    // The first one connects.
    let usual = before.iter().skip(1).sum::<u32>() as f64 / before.len().saturating_sub(1).max(1) as f64;
    (usual, after.iter().min().copied().unwrap_or(0).into())
}

/// Fills the cluster, then gives a new node the place of the first one; how long it takes and what memory it needs.
pub(super) async fn gibibyte(cluster: &mut DemoCluster, root: &Path) -> Result<Vec<(&'static str, f64)>> {
    fill(cluster).await?;
    let mut before = 0.0_f64;
    for id in cluster.process_ids() {
        forget_peak(id)?;
        before = before.max(use_of(id)?.rss_mib);
    }
    let started = Instant::now();
    cluster.join(root).await?;
    settled(&cluster.fleet, NODES + 1).await?;
    cluster.give_up_first().await?;
    let took = started.elapsed();
    let mut peak = 0.0_f64;
    for id in cluster.process_ids() {
        peak = peak.max(use_of(id)?.peak_mib);
    }
    cluster.remove_first().await?;
    Ok(vec![
        ("move_1gib_s", took.as_secs_f64()),
        ("move_peak_rss_mib", peak),
        ("move_rss_before_mib", before),
    ])
}

async fn fill(cluster: &DemoCluster) -> Result<()> {
    let value = "v".repeat(VALUE_BYTES);
    let pushes = MOVED_BYTES / (2 * VALUE_BYTES * ROWS_PER_PUSH);
    for push in 0..=pushes {
        let keys: Vec<String> = (0..ROWS_PER_PUSH)
            .map(|row| format!("large-{push}-{row}"))
            .collect();
        let request = rows(&keys, &value);
        let pushed = cluster.fleet.ask(|connection| {
            let request = request.clone();
            async move { connection.features().push(request).await }
        });
        pushed.await.context("filling the cluster")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_writes_is_the_lowest() {
        let calm = (0..50).map(|write| Duration::from_millis(write * 100));
        let later = (70..90).map(|write| Duration::from_millis(write * 100));
        assert_eq!(dip(&calm.chain(later).collect::<Vec<_>>()), (10.0, 0.0));
    }
}
