//! Sums of a replica's state at a mark, for whoever compares replicas.

use std::sync::Arc;

use bytes::Bytes;
use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::sum_reply::Outcome as Reply;
use covey_proto::peer::v1::sum_request::Split as WireSplit;
use covey_state::GroupId;
use covey_storage::{Error as StorageError, GroupView, Position, RangeSum, Split, Sums};
use tokio::time::Instant;

use super::end_of;
use crate::blocking::blocking;
use crate::damage::is_damage;
use crate::error::{Error, chain};
use crate::host::Inner;
use crate::machine::LogPosition;
use crate::read::wait_applied;

/// Ranges that are summed for one request.
const RANGES_MAX: usize = 64;

/// Sums what is asked for. A replica whose store turns out to be damaged takes note of it.
pub(crate) async fn sum(inner: &Arc<Inner>, request: wire::SumRequest) -> wire::SumReply {
    let outcome = match summed(inner, request).await {
        Ok(summed) => Reply::Summed(summed),
        Err(Refusal::Missed(reason)) => Reply::Missed(reason),
        Err(Refusal::Damaged(place)) => Reply::Damaged(place),
    };
    wire::SumReply {
        outcome: Some(outcome),
    }
}

/// Why there are no sums.
enum Refusal {
    Missed(String),
    Damaged(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged { reason, .. } => Self::Damaged(reason),
            other => Self::Missed(chain(&other)),
        }
    }
}

async fn summed(inner: &Arc<Inner>, request: wire::SumRequest) -> Result<wire::Summed, Refusal> {
    let group = GroupId::new(request.group);
    let position = LogPosition {
        group,
        term: request.term,
        index: request.index,
    };
    let until = end_of(request.timeout_ms);
    let replica = inner.hosted(group)?;
    wait_applied(&replica, position.index, until).await?;
    let view = inner.marks.view(position, Instant::now()).ok_or_else(|| {
        Refusal::Missed(format!(
            "it keeps no view of entry {} any more, or it came past it with a snapshot",
            position.index
        ))
    })?;
    let split = split_from(request.split).map_err(Refusal::Missed)?;
    let from = Position::from_bytes(&request.from);
    let Ok(Ok(turn)) = tokio::time::timeout_at(until, inner.sums.acquire()).await else {
        return Err(Refusal::Missed("it is busy with other comparisons".to_owned()));
    };
    let work = blocking(move || take(&view, &from, &split)).await;
    drop(turn);
    match work {
        Ok(Ok(summed)) => Ok(summed),
        Ok(Err(error)) if is_damage(&error) => {
            let place = chain(&error);
            replica.found_damaged(&place);
            Err(Refusal::Damaged(place))
        }
        Ok(Err(error)) => Err(Refusal::Missed(chain(&error))),
        Err(panic) => Err(Refusal::Missed(panic.to_string())),
    }
}

fn take(view: &GroupView, from: &Position, split: &Split) -> Result<wire::Summed, StorageError> {
    let Sums { ranges, first } = view.sums(from, split)?;
    Ok(wire::Summed {
        ranges: ranges.into_iter().map(range).collect(),
        first: first.map(|place| place.to_string()).unwrap_or_default(),
        applied: view.applied()?.unwrap_or_default(),
    })
}

fn range(range: RangeSum) -> wire::RangeSum {
    wire::RangeSum {
        end: Bytes::copy_from_slice(range.end.as_bytes()),
        keys: range.keys,
        bytes: range.bytes,
        sha256: Bytes::copy_from_slice(range.digest.as_bytes()),
    }
}

fn split_from(split: Option<WireSplit>) -> Result<Split, String> {
    let limited = |ranges: usize| {
        if ranges <= RANGES_MAX {
            Ok(ranges)
        } else {
            Err(format!("{ranges} ranges are more than {RANGES_MAX}"))
        }
    };
    match split {
        Some(WireSplit::Every(every)) => Ok(Split::Every {
            keys: every.keys.max(1),
            bytes: every.bytes,
            ranges: limited(usize::try_from(every.ranges).unwrap_or(usize::MAX))?,
        }),
        Some(WireSplit::At(at)) => {
            limited(at.ends.len())?;
            let ends = at.ends.iter().map(|end| Position::from_bytes(end));
            Ok(Split::At(ends.collect()))
        }
        None => Err("the request does not say which ranges".to_owned()),
    }
}
