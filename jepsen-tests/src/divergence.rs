//! Whether all replicas hold the same, when nothing happens any more: every node is asked for what it has itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::consistency::{Kind, Local};
use covey_proto::v1::features_client::FeaturesClient;

use crate::client::{EVENT_TIME, column, consistency, text};
use crate::fleet::Fleet;
use crate::history::Event;
use crate::waiting::until;
use crate::workload::{CELLS, COUNTED, WorkloadKind};

/// How long the replicas may take to be equally far.
const LIMIT: Duration = Duration::from_secs(60);
/// Items in one read.
const READ_AT_ONCE: usize = 1_000;

/// The items whose values are not the same on all nodes, in words.
pub(crate) async fn find(fleet: &Fleet, history: &[Event]) -> Result<Vec<String>> {
    until("all replicas have applied the same entries", LIMIT, async || {
        equally_far(fleet).await
    })
    .await?;
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
    Ok(different)
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
