//! Handing over everything that a node leads: when it stops, and when its clock is doubted.

use std::time::Duration;

use covey_cluster::Role;
use covey_state::NodeId;
use futures::future::join_all;
use tokio::time::Instant;

use super::report::Reports;
use crate::api::Caller;
use crate::context::Context;

/// How long the others get to say that they are alive.
const REPORT_LIMIT: Duration = Duration::from_millis(300);

/// Gives every group that this node leads to the voter that has most of the log, of those that are alive and whose clock
/// is not doubted.
pub async fn hand_over(context: &Context, limit: Duration) {
    let here = context.ledger.node();
    let host = context.ledger.host();
    let led: Vec<_> = host
        .groups()
        .into_iter()
        .filter(|status| status.role == Role::Leader)
        .collect();
    if led.is_empty() {
        return;
    }
    let caller = Caller::internal("hand over");
    let alive = Reports::gather(context, &caller, &context.catalog.current(), REPORT_LIMIT).await;
    let deadline = Instant::now() + limit;
    let transfers = led.iter().filter_map(|status| {
        let fit = |node: &NodeId| *node != here && status.voters.contains(node) && alive.may_lead(*node);
        let others = status.replication.iter().filter(|(node, _)| fit(node));
        let (heir, _) = others.max_by_key(|(_, held)| *held)?;
        let (heir, tenure) = (*heir, host.tenure(status.group, status.term));
        Some(async move { tenure.transfer_leader(heir, deadline).await })
    });
    let handed = join_all(transfers).await;
    let failed = handed.iter().filter(|result| result.is_err()).count();
    tracing::info!(groups = handed.len(), failed, "leaderships handed over");
}
