//! The way of a prediction: to a replica on this node, else to a node that has one, again and again until one answers
//! or there is no time left.
//!
//! Invariants: a request that another node sent is answered here or not at all; only failures that another replica might
//! not have are tried again; what the request itself is to blame for is answered at once.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use covey_proto::v1;
use covey_state::NodeId;
use ractor::call;
use tokio::time::Instant;
use tracing::Span;

use super::board::{Board, Ready};
use super::inputs;
use super::query::{PredictQuery, Prediction};
use super::replica::{Scored, Work};
use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::consistency::ReadPoints;
use crate::features::online::{self, OnlineRead};
use crate::features::rows::TableRows;

/// The pause after every node has been tried.
const ROUND_PAUSE: Duration = Duration::from_millis(20);
/// How long a request waits for a replica to come, if its deadline is later.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one node may take while there are others to ask.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// When to try again after every replica's queue was full.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Answers wherever there is a replica.
pub(super) async fn anywhere(
    context: &Context,
    board: &Board,
    caller: &Caller,
    query: &PredictQuery,
) -> Result<v1::PredictReply, Failure> {
    let give_up = caller.deadline.min(Instant::now() + PATIENCE);
    let mut tried: Vec<NodeId> = Vec::new();
    let mut last = None;
    loop {
        match here(context, board, caller, query).await {
            Err(failure) if is_passing(&failure) => prefer(&mut last, failure),
            answer => return answer.map(Prediction::into_wire),
        }
        while let Some(node) = board
            .traffic()
            .choose(&others(context, &query.deployment, &tried)?)
        {
            tried.push(node);
            let alone = others(context, &query.deployment, &tried)?.is_empty();
            match there(context, board, caller, (node, alone), query).await {
                Err(failure) if is_passing(&failure) => prefer(&mut last, failure),
                answer => return answer,
            }
        }
        let failure = last.take();
        match failure {
            Some(busy @ Failure::Busy { .. }) => return Err(busy),
            failure if Instant::now() + ROUND_PAUSE >= give_up => {
                return Err(failure.unwrap_or_else(|| Failure::unavailable(replica_of(query))));
            }
            Some(_) | None => {}
        }
        tried.clear();
        // sleep: nothing here tells when a replica elsewhere is back, and asking at once again would only add load.
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// Answers with a replica on this node.
pub(super) async fn here(
    context: &Context,
    board: &Board,
    caller: &Caller,
    query: &PredictQuery,
) -> Result<Prediction, Failure> {
    let slot = board
        .slot(&query.deployment)
        .ok_or_else(|| Failure::unavailable(replica_of(query)))?;
    let ready = slot.ready();
    if ready.is_empty() {
        let source = Some(slot.error())
            .filter(|error| !error.is_empty())
            .map(Into::into);
        return Err(Failure::Unavailable {
            what: replica_of(query),
            source,
        });
    }
    let limit = slot.spec().queue_limit;
    for replica in ready {
        if let Some(permit) = replica.seat.admission.enter(limit) {
            return ask(context, caller, query, replica, permit).await;
        }
    }
    context
        .metrics
        .serving
        .refused
        .with_label_values(&[&query.deployment])
        .inc();
    Err(Failure::Busy {
        what: replica_of(query),
        retry_after: BUSY_PAUSE,
    })
}

async fn ask(
    context: &Context,
    caller: &Caller,
    query: &PredictQuery,
    Ready {
        slot, actor, loaded, ..
    }: Ready,
    permit: super::admission::Permit,
) -> Result<Prediction, Failure> {
    let now = context.clock.now();
    let (features, read_point) = match (&loaded.version.spec.service, query.raw) {
        (Some(service), false) => {
            let (features, read_point) = read(context, caller, query, service).await?;
            (Cow::Owned(features), read_point)
        }
        (None, false) => {
            let reason = "the model has no feature service; give its inputs with `raw`";
            return Err(Failure::invalid("raw", reason));
        }
        (_, true) => (Cow::Borrowed(&query.rows), ReadPoints::default()),
    };
    let inputs = Arc::new(inputs::frame(&loaded.version.spec.signature, &features)?);
    let ids = if slot.spec().log_predictions {
        query.ids.clone()
    } else {
        Vec::new()
    };
    let at = if query.as_of.is_empty() {
        vec![now]
    } else {
        query.as_of.clone()
    };
    let (deadline, version) = (caller.deadline, Arc::clone(&loaded));
    let scored = call!(actor, |reply| Work {
        loaded: version,
        inputs,
        at,
        ids,
        deadline,
        span: Span::current(),
        permit,
        reply
    });
    let Scored { predictions, cached } = scored.map_err(|_| Failure::unavailable(replica_of(query)))??;
    Ok(Prediction {
        predictions,
        model: loaded.version.model.clone(),
        version: loaded.version.number,
        read_point,
        node: context.ledger.node(),
        features: query.return_features.then(|| features.into_owned()),
        cached,
    })
}

async fn read(
    context: &Context,
    caller: &Caller,
    query: &PredictQuery,
    service: &str,
) -> Result<(TableRows, ReadPoints), Failure> {
    let wanted = OnlineRead {
        service,
        rows: &query.rows,
        as_of: query.as_of.clone(),
        consistency: query.consistency.clone(),
    };
    let found = online::read(context, caller, wanted).await?;
    Ok((found.features, found.read_point))
}

/// Asks another node, for as long as it alone is left, else for a while.
async fn there(
    context: &Context,
    board: &Board,
    caller: &Caller,
    (node, alone): (NodeId, bool),
    query: &PredictQuery,
) -> Result<v1::PredictReply, Failure> {
    let mut attempt = caller.clone();
    if !alone {
        attempt = attempt.by_deadline(Instant::now() + ATTEMPT_LIMIT);
    }
    let _counted = board.traffic().begin(node);
    let asked = async {
        let mut peer = context.peers.node_peer(node)?;
        let reply = peer.predict(attempt.request(query.to_wire())).await;
        reply
            .map(tonic::Response::into_inner)
            .map_err(|status| refused(node, status))
    };
    let answer = match tokio::time::timeout_at(attempt.deadline, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::unavailable(format!("node {node}"))),
    };
    if let Err(Failure::Unavailable { .. }) = &answer {
        board.traffic().avoid(node);
    }
    answer
}

/// What the other node's answer means here: a full queue is one, and an answer that did not come in time never came.
fn refused(node: NodeId, status: tonic::Status) -> Failure {
    match status.code() {
        tonic::Code::ResourceExhausted => Failure::Busy {
            what: format!("node {node}"),
            retry_after: BUSY_PAUSE,
        },
        tonic::Code::DeadlineExceeded => Failure::unavailable(format!("node {node}")),
        _ => Failure::from_peer(node, status),
    }
}

/// The other nodes that should have a replica and have not been tried.
fn others(context: &Context, deployment: &str, tried: &[NodeId]) -> Result<Vec<NodeId>, Failure> {
    let catalog = context.catalog.current();
    let record = catalog
        .deployments
        .get(deployment)
        .ok_or_else(|| Failure::not_found("deployment", deployment))?;
    let mut nodes: Vec<NodeId> = record.placement.clone();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.retain(|node| *node != context.ledger.node() && !tried.contains(node));
    Ok(nodes)
}

/// Whether another replica, or the same one later, might do better. What its store cannot give, another node's may.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unavailable { .. } | Failure::Clock(_) | Failure::Busy { .. } | Failure::Storage(_) => true,
        Failure::Peer { .. } => failure.may_pass(),
        Failure::Rejected(_)
        | Failure::Invalid { .. }
        | Failure::NotFound { .. }
        | Failure::DeadlineExceeded { .. }
        | Failure::Cluster(_)
        | Failure::Internal { .. } => false,
    }
}

/// Of the failures of one round, a full queue says most; a failure with a cause says more than one without.
fn prefer(last: &mut Option<Failure>, failure: Failure) {
    let weight = |failure: &Failure| match failure {
        Failure::Busy { .. } => 2,
        Failure::Unavailable { source, .. } => u8::from(source.is_some()),
        Failure::Clock(_) => 1,
        Failure::Rejected(_)
        | Failure::Invalid { .. }
        | Failure::NotFound { .. }
        | Failure::DeadlineExceeded { .. }
        | Failure::Storage(_)
        | Failure::Cluster(_)
        | Failure::Peer { .. }
        | Failure::Internal { .. } => 0,
    };
    if last
        .as_ref()
        .is_none_or(|known| weight(known) <= weight(&failure))
    {
        *last = Some(failure);
    }
}

fn replica_of(query: &PredictQuery) -> String {
    format!("a replica of deployment `{}`", query.deployment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_request_is_not_tried_elsewhere_and_a_full_queue_is() {
        assert!(!is_passing(&Failure::invalid("rows", "no")));
        assert!(is_passing(&Failure::unavailable("x")));
        assert!(is_passing(&refused(
            NodeId::new(1),
            tonic::Status::resource_exhausted("full")
        )));
        assert!(!is_passing(&refused(
            NodeId::new(1),
            tonic::Status::invalid_argument("column")
        )));
    }

    #[test]
    fn what_the_store_of_one_node_cannot_give_is_asked_of_another() {
        let damaged = || covey_storage::Error::Injected("as the test wants");
        assert!(is_passing(&Failure::Storage(damaged())));
        assert!(is_passing(&refused(
            NodeId::new(1),
            Failure::Storage(damaged()).into()
        )));
    }

    #[test]
    fn a_full_queue_is_what_the_caller_hears_of() {
        let mut last = None;
        prefer(
            &mut last,
            Failure::Busy {
                what: "a".to_owned(),
                retry_after: BUSY_PAUSE,
            },
        );
        prefer(&mut last, Failure::unavailable("b"));
        assert!(matches!(last, Some(Failure::Busy { .. })));
    }
}
