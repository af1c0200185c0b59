//! Spreading a task over the workers of the cluster and gathering the answers in partition order.
//!
//! Invariant: the answer does not depend on who worked on what; a node that fails or stays silent only costs time,
//! because its partitions go to the others.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use covey_ml::training::task::Partial;
use covey_proto::node::v1 as node_v1;
use covey_state::NodeId;
use covey_state::topology::NodeState;
use futures::future::join_all;
use tokio::time::timeout;

use super::order::Order;
use super::worker;
use crate::context::Context;
use crate::error::Failure;

/// Rounds of handing out before a task is given up.
const ROUNDS_MAX: usize = 8;
/// A worker that has not answered about its partitions by then is passed over.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// The pause after a round in which nobody answered.
const PAUSE: Duration = Duration::from_millis(500);

/// The partial of every partition, in partition order.
pub(super) async fn gather(
    context: &Context,
    job: &str,
    epoch: u64,
    order: &Order,
) -> Result<Vec<Partial>, Failure> {
    let task = postcard::to_stdvec(order).map_err(|error| Failure::internal("encoding a task", error))?;
    let request = node_v1::TrainRequest {
        job: job.to_owned(),
        epoch,
        task: task.into(),
        partitions: Vec::new(),
    };
    let mut answers: Vec<Option<Partial>> = vec![None; order.partitions()];
    let mut passed_over: Vec<NodeId> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let missing: Vec<usize> = (0..answers.len())
            .filter(|index| answers[*index].is_none())
            .collect();
        if missing.is_empty() {
            break;
        }
        let shares = share_out(&workers(context, &passed_over), &missing);
        let asked = shares
            .into_iter()
            .map(|(node, share)| ask(context, node, share, answer_within(order), request.clone()));
        for (node, share, answer) in join_all(asked).await {
            match answer {
                Ok(partials) => {
                    for (partition, partial) in share.into_iter().zip(partials) {
                        answers[partition] = Some(partial);
                    }
                }
                Err(Failure::Invalid { field, reason }) => return Err(Failure::Invalid { field, reason }),
                Err(error) => {
                    tracing::warn!(%node, job, %error, "training worker passed over");
                    passed_over.push(node);
                }
            }
        }
        if answers.iter().all(Option::is_none) {
            // sleep: nobody could work; give nodes the time to come back before they are asked again.
            tokio::time::sleep(PAUSE).await;
        }
    }
    let complete: Option<Vec<Partial>> = answers.into_iter().collect();
    complete.ok_or_else(|| Failure::unavailable(format!("a training worker for job `{job}`")))
}

/// The nodes to ask: all active ones but those passed over; all again when none is left.
fn workers(context: &Context, passed_over: &[NodeId]) -> Vec<NodeId> {
    let catalog = context.catalog.current();
    let active: Vec<NodeId> = catalog
        .nodes
        .values()
        .filter(|node| node.state == NodeState::Active)
        .map(|node| node.id)
        .collect();
    let fresh: Vec<NodeId> = active
        .iter()
        .copied()
        .filter(|node| !passed_over.contains(node))
        .collect();
    match (fresh.is_empty(), active.is_empty()) {
        (false, _) => fresh,
        (true, false) => active,
        (true, true) => vec![context.ledger.node()],
    }
}

/// Deals partitions out in turn. Any dealing gives the same model; this one balances.
fn share_out(nodes: &[NodeId], partitions: &[usize]) -> BTreeMap<NodeId, Vec<usize>> {
    let mut shares: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (partition, node) in partitions.iter().zip(nodes.iter().cycle()) {
        shares.entry(*node).or_default().push(*partition);
    }
    shares
}

/// How long one answer may take. A fit of the whole takes as long as it takes, and would take as long on another node; that a
/// node is gone shows by its connection.
fn answer_within(order: &Order) -> Option<Duration> {
    (!order.whole).then_some(ANSWER_WITHIN)
}

type Answer = (NodeId, Vec<usize>, Result<Vec<Partial>, Failure>);

async fn ask(
    context: &Context,
    node: NodeId,
    share: Vec<usize>,
    within: Option<Duration>,
    mut request: node_v1::TrainRequest,
) -> Answer {
    request.partitions = share
        .iter()
        .map(|partition| u32::try_from(*partition).unwrap_or(u32::MAX))
        .collect();
    let answer = async {
        let sent = send(context, node, request);
        let reply = match within {
            None => sent.await?,
            Some(within) => timeout(within, sent)
                .await
                .map_err(|_| Failure::DeadlineExceeded {
                    what: format!("training on {node}"),
                })??,
        };
        if reply.partials.len() != share.len() {
            return Err(Failure::unavailable(format!("a whole answer of {node}")));
        }
        reply.partials.into_iter().map(decode).collect()
    };
    let answer = answer.await;
    (node, share, answer)
}

async fn send(
    context: &Context,
    node: NodeId,
    request: node_v1::TrainRequest,
) -> Result<node_v1::TrainReply, Failure> {
    if node == context.ledger.node() {
        return worker::train(context, request).await;
    }
    let reply = context.peers.node_peer(node)?.train(request).await;
    reply.map(tonic::Response::into_inner).map_err(refused)
}

/// A refusal of the data itself would be the same everywhere; everything else may be better on another node.
fn refused(status: tonic::Status) -> Failure {
    match status.code() {
        tonic::Code::InvalidArgument => Failure::invalid("training data", status.message()),
        _ => Failure::Unavailable {
            what: "training worker".to_owned(),
            source: Some(Box::new(status)),
        },
    }
}

fn decode(bytes: Bytes) -> Result<Partial, Failure> {
    postcard::from_bytes(&bytes).map_err(|error| Failure::internal("decoding a partial sum", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_dealt_out_evenly_and_each_once() {
        let nodes = [NodeId::new(1), NodeId::new(2), NodeId::new(4)];
        let shares = share_out(&nodes, &[0, 1, 2, 3, 5, 8, 9]);
        let mut dealt: Vec<usize> = shares.values().flatten().copied().collect();
        dealt.sort_unstable();
        assert_eq!(dealt, [0, 1, 2, 3, 5, 8, 9]);
        assert!(shares.values().all(|share| (2..=3).contains(&share.len())));
    }
}
