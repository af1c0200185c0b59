//! What groups cost that have nothing to do: three nodes on this machine, some number of idle groups, and the time
//! that a killed node needs to have all of its groups again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use covey_proto::v1;

use super::process::{ProcessUse, use_of};
use crate::demo::DemoCluster;

/// How many data groups are measured, one cluster for each.
const GROUPS: [u64; 4] = [1, 64, 256, 1_024];
/// A cluster must have formed by then; groups get their members a few at a time.
const FORM_WITHIN: Duration = Duration::from_secs(900);
/// What forming leaves behind dies down in this time.
const CALM: Duration = Duration::from_secs(5);
/// How long the processes are watched.
const WATCH: Duration = Duration::from_secs(20);
/// The node that is killed and started again.
const RESTARTED: usize = 2;
/// How often a starting node is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One cluster's figures.
#[derive(Debug, Clone, Copy)]
struct Idle {
    formed_s: f64,
    /// Of the whole cluster; 100 is one core.
    cpu_percent: f64,
    /// The mean of the nodes.
    rss_mib: f64,
    start_s: f64,
}

/// Measures and gives the figures by name.
pub(super) async fn measure() -> Result<Vec<(&'static str, f64)>> {
    let mut measured = Vec::new();
    for groups in GROUPS {
        let figures = one(groups)
            .await
            .with_context(|| format!("with {groups} groups"))?;
        println!("{groups} idle groups: {figures:?}");
        measured.push(figures);
    }
    let [one, some, many, most] = measured.as_slice() else {
        bail!("not every cluster was measured");
    };
    let per_group = |of: fn(&Idle) -> f64| (of(most) - of(one)) / 1_023.0;
    Ok(vec![
        ("cpu_percent_g1", one.cpu_percent),
        ("cpu_percent_g64", some.cpu_percent),
        ("cpu_percent_g256", many.cpu_percent),
        ("cpu_percent_g1024", most.cpu_percent),
        ("cpu_percent_per_group", per_group(|idle| idle.cpu_percent)),
        ("rss_mib_g1", one.rss_mib),
        ("rss_mib_g64", some.rss_mib),
        ("rss_mib_g256", many.rss_mib),
        ("rss_mib_g1024", most.rss_mib),
        ("rss_kib_per_group", 1_024.0 * per_group(|idle| idle.rss_mib)),
        ("form_s_g1024", most.formed_s),
        ("start_s_g1", one.start_s),
        ("start_s_g1024", most.start_s),
    ])
}

async fn one(groups: u64) -> Result<Idle> {
    let folder = tempfile::tempdir()?;
    let begun = Instant::now();
    let mut cluster = DemoCluster::form_with(folder.path(), groups, FORM_WITHIN).await?;
    let formed_s = begun.elapsed().as_secs_f64();
    // sleep: the cluster is to be idle, and idleness has no event.
    tokio::time::sleep(CALM).await;
    let before = uses(&cluster)?;
    let started = Instant::now();
    // sleep: this is the time over which is measured.
    tokio::time::sleep(WATCH).await;
    let watched = started.elapsed().as_secs_f64();
    let after = uses(&cluster)?;
    let cpu = |uses: &[ProcessUse]| uses.iter().map(|used| used.cpu_seconds).sum::<f64>();
    let rss: f64 = after.iter().map(|used| used.rss_mib).sum();
    let start_s = restart(&mut cluster, groups).await?;
    cluster.stop().await?;
    Ok(Idle {
        formed_s,
        cpu_percent: 100.0 * (cpu(&after) - cpu(&before)) / watched,
        rss_mib: rss / 3.0,
        start_s,
    })
}

fn uses(cluster: &DemoCluster) -> Result<Vec<ProcessUse>> {
    cluster.process_ids().into_iter().map(use_of).collect()
}

/// Kills a node and starts it again; gives the seconds until it answers that every group has a leader.
async fn restart(cluster: &mut DemoCluster, groups: u64) -> Result<f64> {
    cluster.kill(RESTARTED).await?;
    let started = Instant::now();
    cluster.start_again(RESTARTED)?;
    let connection = cluster.connection_to(RESTARTED)?;
    while started.elapsed() < FORM_WITHIN {
        let request = v1::ListGroupsRequest { all_nodes: false };
        if let Ok(reply) = connection.cluster().list_groups(request).await {
            let replicas = reply.into_inner().replicas;
            let whole = |replica: &&v1::list_groups_reply::Replica| {
                replica.fault.is_empty() && !replica.leader.is_empty() && replica.role != "candidate"
            };
            if replicas.iter().filter(whole).count() as u64 > groups {
                return Ok(started.elapsed().as_secs_f64());
            }
        }
        // sleep: a starting node takes time; asking more often would slow it down.
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("the restarted node did not have its groups within {FORM_WITHIN:?}")
}
