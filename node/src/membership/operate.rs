//! What operators ask: the cluster at a glance, letting nodes in and out, and where the groups are.

use std::time::Duration;

use covey_cluster::Consistency;
use covey_proto::convert::cluster::node_state;
use covey_proto::v1;
use covey_proto::v1::list_groups_reply::Replica;
use covey_state::answer::Answer;
use covey_state::command::NodeSpec;
use covey_state::topology::{Cluster, Node, NodeState};
use covey_state::{Command, GroupId, NodeId, Rejection};
use uuid::Uuid;

use super::report::{Reports, is_settled};
use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::Failure;

/// How long a node gets to report before it counts as unreachable.
pub(super) const REPORT_LIMIT: Duration = Duration::from_secs(1);
/// The part of a join request that registers the node: fixed, so that a repeated join gets the same id.
const REGISTER_PART: u32 = 0;

/// The cluster at a glance, as of everything decided before the call.
pub async fn status(context: &Context, caller: &Caller) -> Result<v1::ClusterStatus, Failure> {
    let copy = fresh_catalog(context, caller).await?;
    let cluster = made(&copy)?;
    let reports = Reports::gather(context, caller, &copy, REPORT_LIMIT).await;
    let leaders = reports.leaders();
    let leaderless = copy
        .placements
        .keys()
        .filter(|group| !leaders.contains_key(*group))
        .count();
    let (members_wanted, members_in_place) = reports.progress(&copy.placements);
    let settled = copy
        .placements
        .iter()
        .filter(|(group, placement)| {
            leaders
                .get(*group)
                .is_some_and(|leader| is_settled(leader, placement))
        })
        .count();
    Ok(v1::ClusterStatus {
        id: Uuid::from_u128(cluster.id).to_string(),
        name: cluster.name.clone(),
        groups: cluster.next_group - 1,
        replication_factor: cluster.replication_factor,
        version: cluster.version,
        nodes: copy.nodes.values().map(|node| reports.describe(node)).collect(),
        groups_moving: (copy.placements.len() - settled) as u64,
        groups_without_leader: leaderless as u64,
        members_wanted,
        members_in_place,
    })
}

/// Gives a joining node its id and tells it whom it joins.
pub async fn admit(context: &Context, caller: &Caller, spec: NodeSpec) -> Result<v1::JoinReply, Failure> {
    let id = caller.request_part(REGISTER_PART);
    let answered = context
        .ledger
        .ask(caller, GroupId::CONTROL, id, Command::RegisterNode(spec))
        .await?;
    let Answer::Node(node) = answered.answer else {
        return Err(Failure::internal(
            "joining",
            format!("unexpected answer {:?}", answered.answer),
        ));
    };
    let copy = fresh_catalog(context, caller).await?;
    let cluster = made(&copy)?;
    let others = copy
        .nodes
        .values()
        .filter(|other| other.id != node && other.state != NodeState::Removed);
    tracing::info!(%node, "a node joins");
    Ok(v1::JoinReply {
        cluster_id: Uuid::from_u128(cluster.id).to_string(),
        node_id: node.to_string(),
        groups: cluster.groups,
        nodes: others.cloned().map(v1::Node::from).collect(),
    })
}

/// Changes whether a node takes part.
pub async fn set_node_state(
    context: &Context,
    caller: &Caller,
    request: v1::SetNodeStateRequest,
) -> Result<v1::Node, Failure> {
    let node: NodeId = request
        .node
        .parse()
        .map_err(|error: covey_state::id::ParseIdError| Failure::invalid("node", error.to_string()))?;
    let state = node_state(request.state, "state")?;
    if state == NodeState::Removed {
        check_holds_nothing(context, caller, node).await?;
    }
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, Command::SetNodeState(node, state))
        .await?;
    let copy = fresh_catalog(context, caller).await?;
    let found: &Node = copy
        .nodes
        .get(&node)
        .ok_or_else(|| Failure::not_found("node", node.to_string()))?;
    Ok(found.clone().into())
}

/// The state machine knows who should hold what; only the leaders know whether the data has moved already.
async fn check_holds_nothing(context: &Context, caller: &Caller, node: NodeId) -> Result<(), Failure> {
    let copy = fresh_catalog(context, caller).await?;
    let reports = Reports::gather(context, caller, &copy, REPORT_LIMIT).await;
    let leaders = reports.leaders();
    let silent = copy
        .placements
        .keys()
        .filter(|group| !leaders.contains_key(*group));
    let holding: Vec<String> = reports
        .groups_of(node)
        .iter()
        .chain(silent)
        .map(GroupId::to_string)
        .collect();
    if holding.is_empty() {
        return Ok(());
    }
    Err(Failure::Rejected(Rejection::WrongState {
        kind: "node".to_owned(),
        name: node.to_string(),
        state: format!("still needed by {}", holding.join(", ")),
        hint: "decommission it and wait until its replicas have moved".to_owned(),
    }))
}

/// The replicas on every node that answers.
pub async fn replicas_everywhere(context: &Context, caller: &Caller) -> Vec<Replica> {
    let copy = context.catalog.current();
    Reports::gather(context, caller, &copy, REPORT_LIMIT)
        .await
        .into_replicas()
}

/// The answering node itself.
pub fn describe(context: &Context) -> v1::GetNodeReply {
    let cluster = context
        .catalog
        .current()
        .cluster
        .as_ref()
        .map(|cluster| Uuid::from_u128(cluster.id).to_string());
    v1::GetNodeReply {
        node_id: context.ledger.node().to_string(),
        cluster_id: cluster.unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: context.config.to_string(),
    }
}

/// Builds a snapshot of a group on this node now; gives the index of its last entry.
pub async fn take_snapshot(context: &Context, group: GroupId) -> Result<u64, Failure> {
    let host = context.ledger.host();
    host.snapshot(group).await?;
    Ok(host
        .group(group)
        .and_then(|status| status.snapshot_index)
        .unwrap_or(0))
}

fn made(copy: &CatalogCopy) -> Result<&Cluster, Failure> {
    copy.cluster
        .as_ref()
        .ok_or_else(|| Failure::unavailable("the cluster, which is being made,"))
}

/// Control's state with everything decided before the call.
pub(super) async fn fresh_catalog(context: &Context, caller: &Caller) -> Result<CatalogCopy, Failure> {
    let read = context
        .ledger
        .view(GroupId::CONTROL, Consistency::Linearizable, caller.deadline);
    let (view, point) = read.await?;
    context
        .compute
        .run(move || CatalogCopy::read(&view, point.index))
        .await
        .map_err(Failure::from)
}
