//! Asking one replica for the sums of a page, and the leader for a mark.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::sum_reply::Outcome as Reply;
use covey_proto::peer::v1::sum_request::Split as WireSplit;
use covey_state::{Digest, GroupId, NodeId};
use covey_storage::{Position, RangeSum, Split};
use tokio::time::Instant;

use super::{Comparison, Finding};
use crate::config::HostConfig;
use crate::error::chain;
use crate::forward::{LeaderCall, Outcome};
use crate::machine::{Committed, LogPosition};
use crate::replica::Replica;
use crate::service;
use crate::transport::Transport;

/// How long a replica gets to reach a mark and to sum a page.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sums of one page of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// Its ranges.
    pub(super) ranges: Vec<RangeSum>,
    /// The first key in it, for people.
    pub(super) first: String,
    /// How far the state had come.
    pub(super) applied: Bytes,
}

/// What came of asking a replica.
pub(super) enum Asked {
    Summed(Page),
    Missed(String),
    Damaged(String),
}

impl Asked {
    /// What it means for a replica whose sums did not come.
    pub(super) fn into_finding(self) -> Finding {
        match self {
            Self::Summed(_) => Finding::Equal,
            Self::Missed(reason) => Finding::Missed { reason },
            Self::Damaged(place) => Finding::Damaged { place },
        }
    }
}

/// Asks a replica, which may be the one on this node.
pub(super) async fn ask(
    comparison: &Comparison<'_>,
    position: LogPosition,
    node: NodeId,
    from: &Position,
    split: &Split,
) -> Asked {
    let inner = comparison.inner;
    let until = comparison.deadline.min(Instant::now() + PATIENCE);
    let request = wire::SumRequest {
        group: position.group.get(),
        term: position.term,
        index: position.index,
        timeout_ms: service::timeout_ms(until),
        from: Bytes::copy_from_slice(from.as_bytes()),
        split: Some(split_into(split)),
    };
    if node == inner.identity.node {
        return asked(service::sum(inner, request).await);
    }
    let mut client = match inner.transport.client(node) {
        Ok(client) => client,
        Err(error) => return Asked::Missed(chain(&error)),
    };
    match tokio::time::timeout_at(until, client.sum(request)).await {
        Ok(Ok(reply)) => asked(reply.into_inner()),
        Ok(Err(status)) => Asked::Missed(format!("node {node} did not answer: {}", status.message())),
        Err(_) => Asked::Missed(format!("node {node} did not answer in time")),
    }
}

fn asked(reply: wire::SumReply) -> Asked {
    match reply.outcome {
        Some(Reply::Summed(summed)) => match summed.ranges.into_iter().map(range_from).collect() {
            Some(ranges) => Asked::Summed(Page {
                ranges,
                first: summed.first,
                applied: summed.applied,
            }),
            None => Asked::Missed("its sums are not of 32 bytes".to_owned()),
        },
        Some(Reply::Missed(reason)) => Asked::Missed(reason),
        Some(Reply::Damaged(place)) => Asked::Damaged(place),
        None => Asked::Missed("its answer has no outcome".to_owned()),
    }
}

fn split_into(split: &Split) -> WireSplit {
    match split {
        Split::Every { keys, bytes, ranges } => WireSplit::Every(wire::SumEvery {
            keys: *keys,
            bytes: *bytes,
            ranges: *ranges as u64,
        }),
        Split::At(ends) => WireSplit::At(wire::SumEnds {
            ends: ends
                .iter()
                .map(|end| Bytes::copy_from_slice(end.as_bytes()))
                .collect(),
        }),
    }
}

fn range_from(range: wire::RangeSum) -> Option<RangeSum> {
    Some(RangeSum {
        end: Position::from_bytes(&range.end),
        keys: range.keys,
        bytes: range.bytes,
        digest: Digest::new((*range.sha256).try_into().ok()?),
    })
}

/// Has the leader propose a mark.
pub(super) struct MarkCall {
    pub(super) group: GroupId,
}

impl LeaderCall for MarkCall {
    type Answer = Committed;

    const NAME: &'static str = "mark";

    fn patience(&self, config: &HostConfig) -> Duration {
        config.election_max
    }

    async fn here(&self, replica: Arc<Replica>, _: Instant) -> Outcome<Committed> {
        replica.mark().await
    }

    async fn there(&self, transport: &Transport, to: NodeId, until: Instant) -> Outcome<Committed> {
        let mut client = match transport.client(to) {
            Ok(client) => client,
            Err(error) => return Outcome::Unavailable(error.to_string()),
        };
        let request = wire::MarkRequest {
            group: self.group.get(),
            timeout_ms: service::timeout_ms(until),
        };
        match client.mark(request).await {
            Ok(reply) => service::propose_outcome(self.group, reply.into_inner()),
            Err(status) => service::failed(&status),
        }
    }
}
