//! What operators do to a cluster while it is broken: drain, join, decommission, remove, take snapshots.

use std::time::Duration;

use anyhow::Result;
use covey_proto::v1;
use covey_proto::v1::admin_client::AdminClient;
use covey_proto::v1::cluster_client::ClusterClient;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use tonic::Status;

use super::Effect;
use crate::fleet::Fleet;
use crate::waiting::{pause, until};

/// The number of the node that comes and goes; those below it stay.
pub(super) const GUEST: usize = crate::fleet::NODES_MAX;
/// The number of the node that stands in for one that is damaged.
pub(super) const STAND_IN: usize = GUEST - 1;
/// How long an order may take to be taken, whatever is broken meanwhile.
const ORDER_LIMIT: Duration = Duration::from_secs(60);
/// How long members may take to move, whatever is broken meanwhile.
const MOVE_LIMIT: Duration = Duration::from_secs(120);

/// Drains a node, and has it take part again.
pub(super) async fn drain(fleet: &Fleet, victim: usize, lasts: Duration) -> Result<Effect> {
    let id = until("the node is known", ORDER_LIMIT, async || {
        fleet.id_of(victim).await
    })
    .await?;
    set_state(fleet, &id, v1::NodeState::Draining).await?;
    pause(lasts).await;
    let seen = node(fleet, &id).await;
    set_state(fleet, &id, v1::NodeState::Active).await?;
    let draining = seen
        .as_ref()
        .is_some_and(|node| node.state() == v1::NodeState::Draining);
    let leaders = seen.map(|node| node.leaders);
    Ok(Effect {
        nodes: vec![victim],
        what: format!("drained for {} ms", lasts.as_millis()),
        shown: format!("it was draining: {draining}, and led {leaders:?} groups before it took part again"),
        took: draining,
    })
}

/// Has a new node join, waits until it holds replicas, and removes it again.
pub(super) async fn replace(fleet: &Fleet) -> Result<Effect> {
    let joined = join(fleet, GUEST).await;
    remove(fleet, GUEST).await?;
    let replicas = joined?;
    Ok(Effect {
        nodes: vec![GUEST],
        what: "a new node joins, is decommissioned and removed".to_owned(),
        shown: format!("it held {replicas} replicas, and then none"),
        took: true,
    })
}

/// Has a node join that has nothing, and waits until it holds replicas; gives how many.
pub(super) async fn join(fleet: &Fleet, number: usize) -> Result<u64> {
    let members = (1..=fleet.size()).filter(|member| *member != number);
    let members: Vec<String> = members.map(|member| fleet.api(member)).collect();
    fleet.node(number).await.start(Some(&members.join(","))).await?;
    let id = until("the new node is a member", MOVE_LIMIT, async || {
        fleet.id_of(number).await
    })
    .await?;
    until("the new node holds a replica", MOVE_LIMIT, async || {
        node(fleet, &id)
            .await
            .map(|node| node.replicas)
            .filter(|replicas| *replicas > 0)
    })
    .await
}

/// Has a node hand over what it holds, removes it from the cluster and forgets it.
pub(super) async fn remove(fleet: &Fleet, number: usize) -> Result<()> {
    if let Some(id) = fleet.id_of(number).await {
        set_state(fleet, &id, v1::NodeState::Decommissioning).await?;
        let what = format!("node {number} holds nothing any more");
        until(&what, MOVE_LIMIT, async || {
            node(fleet, &id).await.filter(|node| node.replicas == 0)
        })
        .await?;
        set_state(fleet, &id, v1::NodeState::Removed).await?;
    }
    let mut gone = fleet.node(number).await;
    gone.kill().await;
    gone.disk.wipe()
}

/// Has nodes take snapshots of some groups.
pub(super) async fn snapshot(fleet: &Fleet, random: &mut Xoshiro256PlusPlus) -> Result<Effect> {
    let mut taken = Vec::new();
    let mut nodes = Vec::new();
    for number in 1..=fleet.size() {
        let group = random.gen_range(0..=fleet.config().groups);
        let mut admin = AdminClient::new(fleet.channel(number)?);
        // A node that is down or cut off takes none; the others do.
        if let Ok(reply) = admin.take_snapshot(v1::TakeSnapshotRequest { group }).await {
            taken.push(format!("group {group} at {}", reply.into_inner().index));
            nodes.push(number);
        }
    }
    Ok(Effect {
        took: !taken.is_empty(),
        nodes,
        what: "snapshots".to_owned(),
        shown: taken.join(", "),
    })
}

async fn node(fleet: &Fleet, id: &str) -> Option<v1::Node> {
    let nodes = fleet.status().await?.nodes;
    nodes.into_iter().find(|node| node.id == id)
}

/// Whether an order was refused because its node is out of the cluster.
fn is_removed(refused: &Status) -> bool {
    let code = refused.metadata().get("covey-code");
    code.is_some_and(|code| code == "node_removed")
}

/// Gives the order again and again until some node takes it.
pub(super) async fn set_state(fleet: &Fleet, id: &str, state: v1::NodeState) -> Result<()> {
    let what = format!("node {id} becomes {state:?}");
    until(&what, ORDER_LIMIT, async || {
        for number in 1..=fleet.size() {
            let mut client = ClusterClient::new(fleet.channel(number).ok()?);
            let request = v1::SetNodeStateRequest {
                node: id.to_owned(),
                state: state.into(),
            };
            match client.set_node_state(request).await {
                Ok(_) => return Some(()),
                // An earlier order came through, and its answer was lost.
                Err(refused) if state == v1::NodeState::Removed && is_removed(&refused) => return Some(()),
                Err(_) => {}
            }
        }
        None
    })
    .await
}
