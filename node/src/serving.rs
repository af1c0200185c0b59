//! Serving: deployments placed over nodes, reconciled into supervised replicas, and asked for predictions.
//!
//! A deployment is desired state in control. Its placement is decided on control's leader ([`place`]); every node
//! reconciles its part into actors: one that follows the target version, and one per replica. A prediction reads its
//! features and scores them on one snapshot, on this node if it has a replica, else on one that has.
//!
//! Invariant: whatever is switched, restarted or lost, a request is answered as long as one replica can be reached.

mod admission;
mod board;
mod cache;
mod driver;
mod follower;
mod inputs;
mod loaded;
mod place;
mod query;
mod reconciler;
mod replica;
mod route;
mod traffic;
pub(crate) mod warden;

use std::collections::BTreeMap;
use std::time::Duration;

use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_state::command::Removable;
use covey_state::deployment::{Deployment, DeploymentRecord};
use covey_state::{Command, GroupId, NodeId};
use futures::future::join_all;
use ractor::{ActorRef, call};
use tokio::time::Instant;

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;

pub(crate) use board::Board;
pub(crate) use loaded::load_profile;
pub(crate) use query::PredictQuery;

/// How long a node may take to say how its replicas are.
const REPORT_WITHIN: Duration = Duration::from_secs(1);

/// Starts this node's part of serving.
pub(crate) async fn spawn(context: &Context) -> Result<(), Failure> {
    let node = context.ledger.node();
    let reconciler = (context.clone(), Board::default());
    let starts = vec![
        warden::start(reconciler_name(context), || reconciler::Reconciler, reconciler),
        warden::start(
            format!("{node}-replica-placement"),
            || driver::Driver,
            context.clone(),
        ),
    ];
    warden::keep(node, "serving", starts).await
}

/// Declares or changes a deployment.
pub(crate) async fn apply(
    context: &Context,
    caller: &Caller,
    spec: Deployment,
) -> Result<DeploymentRecord, Failure> {
    let (name, wanted) = (spec.name.clone(), spec.clone());
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, Command::PutDeployment(spec))
        .await?;
    let declared = |record: &DeploymentRecord| record.spec == wanted;
    let catalog = context
        .catalog
        .wait_for(
            |catalog| catalog.deployments.get(&name).is_some_and(declared),
            caller.deadline,
        )
        .await?;
    Ok(catalog.deployments[&name].clone())
}

/// Takes a deployment away.
pub(crate) async fn remove(context: &Context, caller: &Caller, name: String) -> Result<(), Failure> {
    let command = Command::Remove(Removable::Deployment, name);
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, command)
        .await
        .map(|_| ())
}

/// The deployments, or the one of that name, with the state of their replicas.
pub(crate) async fn list(
    context: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Vec<v1::Deployment>, Failure> {
    let catalog = context.catalog.current();
    let records = catalog
        .deployments
        .values()
        .filter(|record| name.is_empty() || record.spec.name == name);
    let records: Vec<DeploymentRecord> = records.cloned().collect();
    if records.is_empty() && !name.is_empty() {
        return Err(Failure::not_found("deployment", name));
    }
    let mut nodes: Vec<NodeId> = records
        .iter()
        .flat_map(|record| record.placement.clone())
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    let reports = join_all(
        nodes
            .into_iter()
            .map(|node| async move { (node, ask_report(context, caller, node).await) }),
    );
    let reports: BTreeMap<NodeId, Option<Vec<node_v1::DeploymentReplicas>>> =
        reports.await.into_iter().collect();
    Ok(records
        .into_iter()
        .map(|record| with_replicas(record, &reports))
        .collect())
}

/// Predicts with a replica on any node; `board` is this node's.
pub(crate) async fn predict(
    context: &Context,
    board: &Board,
    caller: &Caller,
    request: v1::PredictRequest,
) -> Result<v1::PredictReply, Failure> {
    let started = Instant::now();
    let query = PredictQuery::from_wire(request)?;
    let reply = route::anywhere(context, board, caller, &query).await?;
    let measured = &context.metrics.serving;
    let deployment = query.deployment.as_str();
    measured
        .seconds
        .with_label_values(&[deployment])
        .observe(started.elapsed().as_secs_f64());
    Ok(reply)
}

/// Answers another node: `NodePeer.Predict`. Never passes the request on.
pub(crate) async fn predict_here(
    context: &Context,
    caller: &Caller,
    request: v1::PredictRequest,
) -> Result<v1::PredictReply, Failure> {
    let query = PredictQuery::from_wire(request)?;
    let answer = route::here(context, &board(context).await?, caller, &query).await?;
    Ok(answer.into_wire())
}

/// How the replicas on this node are: the deployments of `NodePeer.Report`.
pub(crate) async fn report(context: &Context) -> Result<Vec<node_v1::DeploymentReplicas>, Failure> {
    let found = board(context).await?.report(context.ledger.node()).into_iter();
    Ok(found
        .map(|(deployment, replicas)| node_v1::DeploymentReplicas { deployment, replicas })
        .collect())
}

/// What serves on this node. It stays the same one for as long as the node runs.
pub(crate) async fn board(context: &Context) -> Result<Board, Failure> {
    let not_running = || Failure::unavailable(format!("serving on {}", context.ledger.node()));
    let reconciler: ActorRef<reconciler::Message> =
        ActorRef::where_is(reconciler_name(context)).ok_or_else(not_running)?;
    call!(reconciler, reconciler::Message::Show).map_err(|_| not_running())
}

/// The reconciler's name in the actor registry of its process.
fn reconciler_name(context: &Context) -> String {
    format!("{}-serving", context.ledger.node())
}

async fn ask_report(
    context: &Context,
    caller: &Caller,
    node: NodeId,
) -> Option<Vec<node_v1::DeploymentReplicas>> {
    if node == context.ledger.node() {
        return report(context).await.ok();
    }
    let caller = caller.clone().by_deadline(Instant::now() + REPORT_WITHIN);
    let mut peer = context.peers.node_peer(node).ok()?;
    let asked = peer.report(caller.request(node_v1::ReportRequest {}));
    let reply = tokio::time::timeout_at(caller.deadline, asked).await.ok()?.ok()?;
    Some(reply.into_inner().deployments)
}

/// A deployment with its replicas as their nodes report them; what has not been started yet is `starting`.
fn with_replicas(
    record: DeploymentRecord,
    reports: &BTreeMap<NodeId, Option<Vec<node_v1::DeploymentReplicas>>>,
) -> v1::Deployment {
    let name = record.spec.name.clone();
    let placement = record.placement.clone();
    let mut deployment = v1::Deployment::from(record);
    let mut taken: BTreeMap<NodeId, usize> = BTreeMap::new();
    for node in placement {
        let position = taken.entry(node).or_default();
        let report = reports.get(&node).and_then(Option::as_ref);
        let found = report.and_then(|found| found.iter().find(|found| found.deployment == name));
        let replica = found.and_then(|found| found.replicas.get(*position)).cloned();
        *position += 1;
        deployment.replicas.push(replica.unwrap_or_else(|| {
            let state = if report.is_some() {
                "starting"
            } else {
                "unreachable"
            };
            v1::Replica {
                node: node.to_string(),
                state: state.to_owned(),
                ..v1::Replica::default()
            }
        }));
    }
    deployment
}
