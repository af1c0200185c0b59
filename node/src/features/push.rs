//! The push gateway: rows of a view on their way to the groups of their entities.
//!
//! Invariants: a request that is refused as a whole has changed nothing; a request that is repeated with the same
//! identity changes nothing more; an answer counts every row once, as accepted or as refused.

mod mapping;
mod routing;
#[cfg(test)]
pub(crate) mod sample;

use std::collections::BTreeMap;

use covey_state::answer::Answer;
use covey_state::catalog::InstalledView;
use covey_state::slot::slot_of;
use covey_state::{Command, DataType, GroupId, RequestId};
use futures::stream::{self, Stream, StreamExt};

pub(crate) use mapping::EVENT_TIME;
pub(crate) use routing::entity_key;

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::rows::TableRows;
use crate::features::schema;
use routing::Part;

/// Rows in one request.
pub(crate) const PUSH_ROWS_MAX: usize = 100_000;
/// Commands of one request that wait for their groups at the same time.
const PARTS_IN_FLIGHT_MAX: usize = 16;
/// Batches of one stream that wait for their groups at the same time.
const BATCHES_IN_FLIGHT_MAX: usize = 8;

/// What makes a repeat of a push recognizable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PushId {
    /// A random number made for this request.
    Unique(u128),
    /// A producer's own numbering.
    Producer(String, u64),
}

impl PushId {
    fn part(&self, number: u32) -> RequestId {
        match self {
            Self::Unique(id) => RequestId::Unique(*id, number),
            Self::Producer(producer, sequence) => RequestId::Producer(producer.clone(), *sequence, number),
        }
    }
}

/// Rows of one view, not yet looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Push {
    /// The view's name.
    pub(crate) view: String,
    /// The rows.
    pub(crate) rows: TableRows,
    /// What makes a repeat recognizable.
    pub(crate) id: PushId,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pushed {
    /// Rows that are in.
    pub(crate) accepted: u64,
    /// Rows that went to the dead letters, with the reason, in request order.
    pub(crate) refused: Vec<(u64, String)>,
    /// Where the rows are in the log.
    pub(crate) positions: BTreeMap<GroupId, u64>,
}

/// Writes rows; durable on a quorum of every group concerned when it returns.
pub(crate) async fn push(ctx: &Context, caller: &Caller, push: Push) -> Result<Pushed, Failure> {
    if push.rows.len() > PUSH_ROWS_MAX {
        let reason = format!(
            "{} rows in one request, the limit is {PUSH_ROWS_MAX}",
            push.rows.len()
        );
        return Err(Failure::invalid("rows", reason));
    }
    let view = schema::usable(ctx, caller, &push.view).await?;
    let parts = cut(&view, &push.rows)?;
    let (id, view) = (&push.id, &*view);
    let asked = stream::iter(parts)
        .map(|part| async move { ask(ctx, caller, view, (id.part(part.number), part)).await })
        .buffer_unordered(PARTS_IN_FLIGHT_MAX)
        .collect::<Vec<_>>()
        .await;
    let mut pushed = Pushed::default();
    for answer in asked {
        pushed.add(answer?, 0);
    }
    pushed.refused.sort_unstable();
    Ok(pushed)
}

/// Writes many batches, a bounded number of them at a time; the rows of the answer are counted over all of them.
pub(crate) async fn push_all(
    ctx: &Context,
    caller: &Caller,
    batches: impl Stream<Item = Result<Push, Failure>>,
) -> Result<Pushed, Failure> {
    let mut offset = 0;
    let numbered = batches.map(|batch| {
        let start = offset;
        offset += batch.as_ref().map_or(0, |batch| batch.rows.len() as u64);
        batch.map(|batch| (start, batch))
    });
    let mut answers = std::pin::pin!(
        numbered
            .map(|batch| async move {
                let (start, batch) = batch?;
                Ok::<_, Failure>((start, push(ctx, caller, batch).await?))
            })
            .buffered(BATCHES_IN_FLIGHT_MAX)
    );
    let mut totals = Pushed::default();
    while let Some(answer) = answers.next().await {
        let (start, pushed) = answer?;
        totals.add(pushed, start);
    }
    Ok(totals)
}

fn cut(view: &InstalledView, table: &TableRows) -> Result<Vec<Part>, Failure> {
    let rows = mapping::incoming_rows(view, table)?;
    let key_types: Vec<DataType> = view.join_keys.iter().map(|key| key.data_type).collect();
    let keyless = view.span.group_of_slot(slot_of(view.definition.name.as_bytes()));
    let group_of = |row: &_| routing::group_of_row(row, &key_types, view.span);
    Ok(routing::cut(rows, &routing::row_sizes(table), group_of, keyless))
}

async fn ask(
    ctx: &Context,
    caller: &Caller,
    view: &InstalledView,
    (id, part): (RequestId, Part),
) -> Result<Pushed, Failure> {
    let command = Command::PushRows {
        view: view.id,
        schema_version: view.schema_version,
        rows: part.rows,
    };
    let answered = ctx.ledger.ask(caller, part.group, id, command).await?;
    let Answer::Rows { accepted, refused } = answered.answer else {
        let source = format!("{:?} is no answer to rows", answered.answer);
        return Err(Failure::internal("pushing rows", source));
    };
    let origin = |ordinal: u32| {
        part.origins
            .get(ordinal as usize)
            .map_or(u64::from(ordinal), |row| *row as u64)
    };
    Ok(Pushed {
        accepted: u64::from(accepted),
        refused: refused
            .into_iter()
            .map(|row| (origin(row.ordinal), row.reason))
            .collect(),
        positions: BTreeMap::from([(answered.position.group, answered.position.index)]),
    })
}

impl Pushed {
    /// Adds what became of other rows, whose numbers begin at `start`.
    fn add(&mut self, other: Self, start: u64) {
        self.accepted += other.accepted;
        self.refused.extend(
            other
                .refused
                .into_iter()
                .map(|(row, reason)| (start + row, reason)),
        );
        for (group, index) in other.positions {
            let newest = self.positions.entry(group).or_default();
            *newest = index.max(*newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_add_up_with_the_rows_counted_over_all_batches() {
        let answer = |accepted, index| Pushed {
            accepted,
            refused: vec![(1, "late".to_owned())],
            positions: BTreeMap::from([(GroupId::new(1), index)]),
        };
        let mut totals = Pushed::default();
        totals.add(answer(3, 9), 0);
        totals.add(answer(4, 8), 10);
        assert_eq!(totals.accepted, 7);
        assert_eq!(totals.refused, [(1, "late".to_owned()), (11, "late".to_owned())]);
        assert_eq!(totals.positions, BTreeMap::from([(GroupId::new(1), 9)]));
    }
}
