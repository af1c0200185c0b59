//! Whether all replicas hold the same, when nothing happens any more: every node is asked for what it has itself, and then
//! the cluster is asked to compare everything.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::consistency::{Kind, Local};
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::verify_group_reply::Reply;
use tokio::time::{Instant, timeout};

use crate::client::{EVENT_TIME, column, consistency, text};
use crate::fleet::Fleet;
use crate::history::Event;
use crate::waiting::{pause, until};
use crate::workload::{CELLS, COUNTED, WorkloadKind};

/// How long the replicas may take to be equally far.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the replicas of a group may take to be compared.
const COMPARE_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait before groups that were not the same, or could not be asked, are compared again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Items in one read.
const READ_AT_ONCE: usize = 1_000;

/// What is not the same on all nodes, in words: items, or else groups.
pub(crate) async fn find(fleet: &Fleet, history: &[Event]) -> Result<Vec<String>> {
    settled(fleet).await?;
    let mut different = Vec::new();
    for (service, items) in [
        (
            CELLS,
            items(history, &[WorkloadKind::Rows, WorkloadKind::Follower]),
        ),
        (
            COUNTED,
            items(history, &[WorkloadKind::Set, WorkloadKind::Window]),
        ),
    ] {
        for some in items.chunks(READ_AT_ONCE) {
            let first = held(fleet, 1, (service, some)).await?;
            for number in 2..=fleet.size() {
                let other = held(fleet, number, (service, some)).await?;
                let pairs = some.iter().zip(first.iter().zip(&other));
                different.extend(
                    pairs.filter(|(_, (a, b))| a != b).map(|(item, (a, b))| {
                        format!("{item}: node 1 holds {a:?}, node {number} holds {b:?}")
                    }),
                );
            }
        }
    }
    let deadline = Instant::now() + LIMIT;
    while let Err(error) = compare_groups(fleet).await {
        if Instant::now() >= deadline {
            different.push(format!("{error:#}"));
            break;
        }
        pause(LOOK_EVERY).await;
    }
    Ok(different)
}

/// Waits until all replicas have applied the same entries.
pub(crate) async fn settled(fleet: &Fleet) -> Result<()> {
    until("all replicas have applied the same entries", LIMIT, async || {
        equally_far(fleet).await
    })
    .await
}

/// The keys of some workloads that are items of the feature store, each once.
fn items(history: &[Event], kinds: &[WorkloadKind]) -> Vec<String> {
    let named = |event: &&Event| kinds.iter().any(|kind| kind.name() == event.workload);
    let keys = history.iter().filter(named).map(|event| event.key.clone());
    let mut keys: Vec<String> = keys.filter(|key| !key.contains(' ')).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What a node's own replicas hold of some items: for each item the values of all features.
async fn held(
    fleet: &Fleet,
    number: usize,
    (service, items): (&str, &[String]),
) -> Result<Vec<Vec<v1::Value>>> {
    let request = v1::GetOnlineFeaturesRequest {
        service: service.to_owned(),
        entities: Some(v1::Table {
            columns: vec![column("item", items.iter().map(|item| text(item)).collect())],
        }),
        as_of_micros: vec![EVENT_TIME],
        consistency: Some(consistency(Kind::Local(Local {}))),
    };
    let what = format!("node {number} tells what it holds");
    let reply = until(&what, LIMIT, async || {
        let mut features = FeaturesClient::new(fleet.channel(number).ok()?);
        features.get_online_features(request.clone()).await.ok()
    })
    .await?;
    let columns = reply.into_inner().features.unwrap_or_default().columns;
    let row = |place: usize| {
        columns
            .iter()
            .filter_map(|column| column.values.get(place).cloned())
            .collect()
    };
    Ok((0..items.len()).map(row).collect())
}

/// Whether all replicas of each group have applied the same.
async fn equally_far(fleet: &Fleet) -> Option<()> {
    let mut client = ClusterClient::new(fleet.channel(1).ok()?);
    let request = v1::ListGroupsRequest { all_nodes: true };
    let replicas = client.list_groups(request).await.ok()?.into_inner().replicas;
    let mut applied: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for replica in &replicas {
        applied
            .entry(replica.group)
            .or_default()
            .push(replica.applied_index);
    }
    let whole = |indexes: &Vec<u64>| {
        indexes.len() == fleet.size() && indexes.iter().all(|index| *index == indexes[0])
    };
    (!applied.is_empty() && applied.values().all(whole)).then_some(())
}

/// Has the cluster compare the replicas of all groups, whatever is in them; an error says what is not equal.
pub(crate) async fn compare_groups(fleet: &Fleet) -> Result<()> {
    for group in 0..=fleet.config().groups {
        let verdict = timeout(COMPARE_LIMIT, verdict(fleet, group)).await;
        let verdict = verdict.with_context(|| format!("group {group} is not compared in time"))??;
        let found: Vec<String> = verdict
            .replicas
            .iter()
            .map(|replica| format!("{} {}: {}", replica.node, replica.verdict, replica.detail))
            .collect();
        ensure!(
            verdict.equal && found.len() >= 3,
            "group {group}: {}",
            found.join(", ")
        );
    }
    Ok(())
}

async fn verdict(fleet: &Fleet, group: u64) -> Result<v1::GroupVerdict> {
    let mut last = None;
    for number in 1..=fleet.size() {
        let request = v1::VerifyGroupRequest { group, repair: false };
        let asked = ClusterClient::new(fleet.channel(number)?)
            .verify_group(request)
            .await;
        match asked {
            Ok(replies) => {
                let mut replies = replies.into_inner();
                while let Some(reply) = replies.message().await? {
                    if let Some(Reply::Verdict(verdict)) = reply.reply {
                        return Ok(verdict);
                    }
                }
            }
            Err(status) => last = Some(status),
        }
    }
    match last {
        Some(status) => Err(status).with_context(|| format!("group {group} is not compared")),
        None => bail!("the comparison of group {group} broke off"),
    }
}
