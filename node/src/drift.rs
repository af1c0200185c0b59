//! Drift: what replicas serve is counted on the frozen bins of its version, sent through the log window by window,
//! scored against training, and alerted on; labels that come late tell how good the predictions were.
//!
//! Invariant: a served row is in exactly one window of the log once it has been flushed, however often a flush is sent;
//! rows that a node had served and not yet flushed when it was killed are in none.

mod counts;
mod flusher;
mod outcomes;
mod scorer;
mod tally;
mod verdict;

use std::time::Duration;

use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_state::monitor::Monitor;
use covey_state::registry::VersionId;
use covey_state::topology::NodeState;
use covey_state::{Command, GroupId, Key, NodeId, Record, Timestamp};
use futures::future::join_all;
use ractor::{ActorRef, call, cast};
use tokio::time::Instant;

use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::{Failure, chain};
use crate::serving::warden;

pub(crate) use outcomes::{performance, record_labels};
pub(crate) use tally::{Served, Tally};

/// Length of a window when no monitor says otherwise: a day.
pub(crate) const WINDOW_MICROS_DEFAULT: i64 = covey_state::window::DAY;
/// How long one node may take to flush and score.
const FLUSH_LIMIT: Duration = Duration::from_secs(20);
/// How long the last flush of a node that stops may take.
const LAST_FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// Starts this node's part of drift monitoring.
pub(crate) async fn spawn(context: &Context) -> Result<(), Failure> {
    let flushing = flusher::Flushing::shared(context.clone());
    let starts = vec![
        warden::start(flusher_name(context), || flusher::Flusher, flushing),
        warden::start(scorer_name(context), || scorer::Scorer, context.clone()),
    ];
    warden::keep(context.ledger.node(), "drift", starts).await
}

/// Flushes what has been counted before the node stops.
pub(crate) async fn flush_before_stop(context: &Context) {
    match tokio::time::timeout(LAST_FLUSH_LIMIT, flush(context, None)).await {
        Ok(Ok(rows)) => tracing::info!(rows, "drift counters flushed"),
        Ok(Err(error)) => tracing::warn!(error = chain(&error), "drift counters of this node are lost"),
        Err(_) => tracing::warn!("drift counters were not flushed in time; they are lost"),
    }
}

/// Declares or changes a monitor.
pub(crate) async fn apply_monitor(
    context: &Context,
    caller: &Caller,
    monitor: Monitor,
) -> Result<Monitor, Failure> {
    let command = Command::PutMonitor(monitor.clone());
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, command)
        .await?;
    let applied = |catalog: &CatalogCopy| catalog.monitors.get(&monitor.name) == Some(&monitor);
    context.catalog.wait_for(applied, caller.deadline).await?;
    Ok(monitor)
}

/// All monitors.
pub(crate) fn monitors(context: &Context) -> Vec<Monitor> {
    context.catalog.current().monitors.values().cloned().collect()
}

/// The verdicts on a deployment's windows, oldest window first.
pub(crate) async fn reports(
    context: &Context,
    caller: &Caller,
    deployment: &str,
) -> Result<Vec<v1::DriftReport>, Failure> {
    let from = Key::DriftReport(deployment.to_owned(), Timestamp::MIN, VersionId::default());
    let found = context.ledger.list(caller, from).await?.into_iter();
    let report = |(key, record)| match (key, record) {
        (Key::DriftReport(_, start, version), Record::DriftReport(report)) => {
            Some(v1::DriftReport::from((version, start, report)))
        }
        _ => None,
    };
    Ok(found.filter_map(report).collect())
}

/// The alerts on a deployment, oldest window first.
pub(crate) async fn alerts(
    context: &Context,
    caller: &Caller,
    deployment: &str,
) -> Result<Vec<v1::Alert>, Failure> {
    let from = Key::Alert(deployment.to_owned(), Timestamp::MIN, VersionId::default());
    let found = context.ledger.list(caller, from).await?.into_iter();
    let alert = |(_, record)| match record {
        Record::Alert(alert) => Some(v1::Alert::from(alert)),
        _ => None,
    };
    Ok(found.filter_map(alert).collect())
}

/// Flushes the counters of every node that answers and then scores; gives the rows that were flushed.
pub(crate) async fn flush_everywhere(
    context: &Context,
    caller: &Caller,
    deployment: &str,
) -> Result<u64, Failure> {
    let catalog = context.catalog.current();
    if !deployment.is_empty() && !catalog.deployments.contains_key(deployment) {
        return Err(Failure::not_found("deployment", deployment));
    }
    let nodes = catalog
        .nodes
        .values()
        .filter(|node| node.state != NodeState::Removed)
        .map(|node| node.id);
    // Members score after they have flushed, so they come last, when the others' counters are in the log.
    let members = context.ledger.members(context.ledger.group_of_name(deployment));
    let (last, first): (Vec<NodeId>, Vec<NodeId>) = nodes.partition(|node| members.contains(node));
    let mut rows = 0;
    for nodes in [first, last.clone()] {
        rows += join_all(
            nodes
                .into_iter()
                .map(|node| flush_on(context, caller, node, deployment)),
        )
        .await
        .iter()
        .sum::<u64>();
    }
    // The leader may have scored before the other members had flushed.
    let late = join_all(
        last.into_iter()
            .map(|node| flush_on(context, caller, node, deployment)),
    )
    .await;
    Ok(rows + late.iter().sum::<u64>())
}

/// Flushes this node's counters and, where it leads, scores: `NodePeer.FlushDrift`.
pub(crate) async fn flush_here(
    context: &Context,
    request: node_v1::FlushDriftRequest,
) -> Result<node_v1::FlushDriftReply, Failure> {
    let asked = Some(request.deployment).filter(|name| !name.is_empty());
    let rows = flush(context, asked.clone()).await?;
    let ledger = &context.ledger;
    let catalog = context.catalog.current();
    let names = catalog
        .deployments
        .keys()
        .filter(|name| asked.as_ref().is_none_or(|asked| asked == *name));
    for name in names.filter(|name| ledger.leads(ledger.group_of_name(name))) {
        let scorer: ActorRef<scorer::Message> = find(scorer_name(context))?;
        let scored = call!(scorer, |reply| scorer::Message::Score(name.clone(), reply));
        scored.map_err(|error| Failure::internal("asking the drift scorer", error.to_string()))??;
    }
    Ok(node_v1::FlushDriftReply { rows })
}

/// There is so much to flush that it should not wait for the next round.
pub(crate) fn flush_soon(context: &Context, deployment: &str) {
    if let Ok(flusher) = find::<flusher::Message>(flusher_name(context)) {
        // A flusher that is being restarted flushes when it is back.
        let _ = cast!(flusher, flusher::Message::Flush(deployment.to_owned()));
    }
}

/// The monitor of a deployment; of several, the first by name counts.
pub(crate) fn monitor_of<'a>(catalog: &'a CatalogCopy, deployment: &str) -> Option<&'a Monitor> {
    catalog
        .monitors
        .values()
        .find(|monitor| monitor.deployment == deployment)
}

/// The length of a deployment's windows.
pub(crate) fn window_micros_of(catalog: &CatalogCopy, deployment: &str) -> i64 {
    monitor_of(catalog, deployment).map_or(WINDOW_MICROS_DEFAULT, |monitor| monitor.window_micros)
}

async fn flush(context: &Context, deployment: Option<String>) -> Result<u64, Failure> {
    let flusher: ActorRef<flusher::Message> = find(flusher_name(context))?;
    let flushed = call!(flusher, |reply| flusher::Message::FlushAndSay(deployment, reply));
    flushed.map_err(|error| Failure::internal("asking the drift flusher", error.to_string()))?
}

/// The rows that a node has flushed; 0 if it does not answer, for then there is nothing to be had from it.
async fn flush_on(context: &Context, caller: &Caller, node: NodeId, deployment: &str) -> u64 {
    let request = node_v1::FlushDriftRequest {
        deployment: deployment.to_owned(),
    };
    let asked = async {
        if node == context.ledger.node() {
            return flush_here(context, request).await;
        }
        let reply = context
            .peers
            .node_peer(node)?
            .flush_drift(caller.request(request))
            .await;
        reply
            .map(tonic::Response::into_inner)
            .map_err(|status| Failure::from_peer(node, status))
    };
    let answer = tokio::time::timeout_at(caller.deadline.min(Instant::now() + FLUSH_LIMIT), asked).await;
    match answer {
        Ok(Ok(reply)) => reply.rows,
        Ok(Err(error)) => {
            tracing::warn!(%node, error = chain(&error), "drift counters not flushed");
            0
        }
        Err(_) => {
            tracing::warn!(%node, "drift counters not flushed in time");
            0
        }
    }
}

fn find<M: ractor::Message>(name: String) -> Result<ActorRef<M>, Failure> {
    ActorRef::where_is(name.clone()).ok_or_else(|| Failure::unavailable(format!("the actor {name}")))
}

fn flusher_name(context: &Context) -> String {
    format!("{}-drift-flusher", context.ledger.node())
}

fn scorer_name(context: &Context) -> String {
    format!("{}-drift-scorer", context.ledger.node())
}
