//! What the feature store asks of one group, here or on the node that has it.
//!
//! A query is answered from one consistent view of the group. Invariant: the answer is the same wherever it is given,
//! as long as the view has applied what the query is bounded by.

mod letters;
mod nearby;
#[cfg(test)]
mod replay;
mod spine;
mod vectors;

use covey_cluster::{Consistency, ReadPoint};
use covey_proto::node::v1::{ReadFeaturesReply, ReadFeaturesRequest};
use covey_proto::v1;
use covey_state::{Fault, GroupId, View, ViewId};
use covey_storage::GroupView;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) use letters::FoundLetter;
pub(crate) use spine::{SpinePage, SpineRow, SpineRows};
pub(crate) use vectors::{FeatureStatus, Moment, ViewRead, ViewValues};

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::ledger;

/// Entities of a query up to which it is answered on the runtime's worker: moving it elsewhere would take longer.
const ROWS_INLINE_MAX: usize = 16;

/// What is asked of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Query {
    /// Nothing but the point that the group is read at.
    Point,
    /// Feature values of entities of this group, view by view.
    Vectors(Vec<ViewRead>),
    /// A page of a view's history.
    Spine(SpinePage),
    /// The newest of a view's refused rows.
    Letters {
        /// The view.
        view: ViewId,
        /// At most this many.
        limit: usize,
    },
}

/// What a group answers, in the kind of the query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// See [`Query::Point`].
    Point,
    /// See [`Query::Vectors`].
    Vectors(Vec<ViewValues>),
    /// See [`Query::Spine`].
    Spine(SpineRows),
    /// See [`Query::Letters`]; newest last.
    Letters(Vec<FoundLetter>),
}

/// The state of a group that a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// How fresh the answering replica must be.
    pub(crate) consistency: Consistency,
    /// The log index after which rows are not seen; `None` for all rows.
    pub(crate) through: Option<u64>,
}

impl Bounds {
    /// All that a replica of this freshness has.
    pub(crate) const fn fresh(consistency: Consistency) -> Self {
        Self {
            consistency,
            through: None,
        }
    }

    /// The state that the group had when it had applied `index`.
    pub(crate) const fn through(index: u64) -> Self {
        Self {
            consistency: Consistency::AtLeast(index),
            through: Some(index),
        }
    }
}

/// Asks the group: the replica on this node, voter or learner, if it may answer and its store can, else the nearest one.
pub(crate) async fn ask(
    ctx: &Context,
    caller: &Caller,
    group: GroupId,
    bounds: Bounds,
    query: Query,
) -> Result<(Reply, ReadPoint), Failure> {
    let mut answers = ask_each(ctx, caller, vec![(group, bounds, query)]).await?;
    answers
        .pop()
        .ok_or_else(|| Failure::internal("asking a group", "there was no answer"))
}

/// The same of several groups, in the same order. Those that are on this node are read from one snapshot of its store: what
/// they answer was true at one moment.
pub(crate) async fn ask_each(
    ctx: &Context,
    caller: &Caller,
    asked: Vec<(GroupId, Bounds, Query)>,
) -> Result<Vec<(Reply, ReadPoint)>, Failure> {
    let mut hosted = Vec::with_capacity(asked.len());
    for (group, bounds, _) in &asked {
        if ctx.ledger.serves(*group, bounds.consistency).await {
            hosted.push((*group, bounds.consistency));
        }
    }
    let views = ctx.ledger.views(hosted, caller.deadline).await?;
    let ask = async |(group, bounds, query): (GroupId, Bounds, Query)| {
        let query = Arc::new(query);
        if let Some((view, point)) = views.get(&group) {
            match read(ctx, view.clone(), bounds.through, Arc::clone(&query)).await {
                Err(Failure::Storage(error)) => ctx.ledger.not_here(group, &error),
                answer => return answer.map(|reply| (reply, *point)),
            }
        }
        elsewhere(ctx, caller, group, bounds, &query).await
    };
    try_join_all(asked.into_iter().map(ask)).await
}

/// Answers another node that asks about a group of this node.
pub(crate) async fn serve(
    ctx: &Context,
    caller: &Caller,
    request: ReadFeaturesRequest,
) -> Result<ReadFeaturesReply, Failure> {
    let group = GroupId::new(request.group);
    let bounds = Bounds {
        consistency: ledger::consistency_of(group, request.consistency.as_ref()),
        through: (request.through > 0).then_some(request.through),
    };
    let query = ledger::decode(&request.reads)?;
    let (reply, point) = here(ctx, caller, group, bounds, query).await?;
    let positions = vec![v1::LogPosition {
        group: group.get(),
        index: point.index,
    }];
    let staleness_micros = u64::try_from(point.staleness.as_micros()).unwrap_or(u64::MAX);
    let read_point = Some(v1::ReadPoint {
        positions,
        staleness_micros,
    });
    Ok(ReadFeaturesReply {
        values: ledger::encode(&reply),
        read_point,
    })
}

async fn here(
    ctx: &Context,
    caller: &Caller,
    group: GroupId,
    bounds: Bounds,
    query: Query,
) -> Result<(Reply, ReadPoint), Failure> {
    let (view, point) = ctx
        .ledger
        .view(group, bounds.consistency, caller.deadline)
        .await?;
    Ok((read(ctx, view, bounds.through, Arc::new(query)).await?, point))
}

async fn read(
    ctx: &Context,
    view: GroupView,
    through: Option<u64>,
    query: Arc<Query>,
) -> Result<Reply, Failure> {
    fail::fail_point!("features::read", |_| Err(Failure::Storage(
        covey_storage::Error::Injected("features::read")
    )));
    let reply = match query.is_small() {
        true => answer(&view.session(), &query, through)?,
        false => {
            ctx.compute
                .run(move || answer(&view.session(), &query, through))
                .await?
        }
    };
    Ok(reply)
}

/// Asks the replicas on other nodes, the nearest first, until one answers.
async fn elsewhere(
    ctx: &Context,
    caller: &Caller,
    group: GroupId,
    bounds: Bounds,
    query: &Query,
) -> Result<(Reply, ReadPoint), Failure> {
    let request = ReadFeaturesRequest {
        group: group.get(),
        consistency: Some(ledger::wire_consistency(group, bounds.consistency)),
        through: bounds.through.unwrap_or(0),
        reads: ledger::encode(query),
    };
    let mut last = Failure::unavailable(format!("group {group}"));
    for node in ctx.ledger.nearest(group, bounds.consistency) {
        let started = Instant::now();
        let asked = async {
            let mut peer = ctx.peers.node_peer(node)?;
            let reply = peer.read_features(caller.request(request.clone())).await;
            reply.map_err(|status| Failure::from_peer(node, status))
        };
        match asked.await {
            Ok(reply) => {
                let reply = reply.into_inner();
                ctx.peers.took(node, started.elapsed());
                return Ok((
                    ledger::decode(&reply.values)?,
                    point_of(group, reply.read_point.as_ref()),
                ));
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn point_of(group: GroupId, wire: Option<&v1::ReadPoint>) -> ReadPoint {
    let index = wire
        .and_then(|point| point.positions.first())
        .map_or(0, |position| position.index);
    let staleness = Duration::from_micros(wire.map_or(0, |point| point.staleness_micros));
    ReadPoint {
        group,
        index,
        staleness,
    }
}

impl Query {
    fn is_small(&self) -> bool {
        match self {
            Self::Point => true,
            Self::Vectors(reads) => {
                reads.iter().map(|read| read.rows.len()).sum::<usize>() <= ROWS_INLINE_MAX
            }
            Self::Spine(_) | Self::Letters { .. } => false,
        }
    }
}

/// Answers a query from a view of the group.
fn answer(view: &dyn View, query: &Query, through: Option<u64>) -> Result<Reply, Fault> {
    Ok(match query {
        Query::Point => Reply::Point,
        Query::Vectors(reads) => {
            let read = |wanted| vectors::read_values(view, wanted, through);
            Reply::Vectors(reads.iter().map(read).collect::<Result<_, _>>()?)
        }
        Query::Spine(page) => Reply::Spine(spine::read_page(view, page, through)?),
        Query::Letters { view: id, limit } => Reply::Letters(letters::newest(view, *id, *limit)?),
    })
}
