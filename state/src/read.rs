//! Reading features: the current row, the row as of a moment, and aggregates over windows that end at a moment.
//!
//! One set of functions serves both sides: an online read is a read as of now, a training read is the same read as of
//! the example's time and as of the log index that the set is built at. All of them read a [`View`] and nothing else.
//!
//! Invariant: an aggregate equals, bit for bit, the one counted from the rows of its span one by one.

mod windows;

use std::ops::ControlFlow;

use crate::entity::EntityKey;
use crate::id::{Timestamp, ViewId};
use crate::key::Key;
use crate::record::Record;
use crate::row::Row;
use crate::tile::Tile;
use crate::view::{Fault, View};
use crate::window::Hop;

pub use self::windows::{AsOf, aggregates};

/// Whether a row is still current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowStatus {
    /// The row is within its time to live.
    Present,
    /// The row is older than its view's time to live.
    Expired,
}

/// Whether `row` is still current at `at` under a time to live of `ttl_micros`; a row lives through its last moment.
pub fn row_status(row: &Row, ttl_micros: Option<i64>, at: Timestamp) -> RowStatus {
    match ttl_micros {
        Some(ttl) if row.event_time.plus_micros(ttl) < at => RowStatus::Expired,
        Some(_) | None => RowStatus::Present,
    }
}

/// The newest row of an entity in a view: at or before `at`, among the rows that the log held through index `through`.
///
/// Without `at` it is the current row, whatever its event time; without `through` every row counts.
pub fn latest_row(
    view: &dyn View,
    entity: &EntityKey,
    view_id: ViewId,
    at: Option<Timestamp>,
    through: Option<u64>,
) -> Result<Option<Row>, Fault> {
    if at.is_none() {
        let current = view
            .get(&Key::Latest(entity.clone(), view_id))?
            .map(row_of)
            .transpose()?;
        let is_within = |row: &Row| through.is_none_or(|through| row.log_index <= through);
        if current.as_ref().is_none_or(is_within) {
            return Ok(current);
        }
    }
    let mut found = None;
    let newest = at.unwrap_or(Timestamp::MAX);
    history(
        view,
        (entity, view_id),
        newest,
        through.unwrap_or(u64::MAX),
        &mut |row| {
            found = Some(row.clone());
            ControlFlow::Break(())
        },
    )?;
    Ok(found)
}

/// The tile of one hop counted from history, over the rows that the log held through index `through`.
pub(crate) fn rebuilt_tile(
    view: &dyn View,
    of: (&EntityKey, ViewId),
    (hop, start): (Hop, Timestamp),
    positions: &[usize],
    through: u64,
) -> Result<Tile, Fault> {
    let mut tile = Tile::empty(positions.len());
    let last = start.plus_micros(hop.micros() - 1);
    history(view, of, last, through, &mut |row| {
        if row.event_time < start {
            return ControlFlow::Break(());
        }
        tile.observe(row, positions);
        ControlFlow::Continue(())
    })?;
    Ok(tile)
}

/// Visits an entity's rows in a view newest first, from `newest` on, skipping those after log index `through`.
fn history(
    view: &dyn View,
    (entity, view_id): (&EntityKey, ViewId),
    newest: Timestamp,
    through: u64,
    visit: &mut dyn FnMut(&Row) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let from = Key::history_from(entity.clone(), view_id, newest);
    let mut wrong = None;
    view.glance(&from, &mut |key, record| {
        if !matches!(key, Key::History(of, in_view, _) if of == entity && *in_view == view_id) {
            return ControlFlow::Break(());
        }
        match record {
            Record::Row(row) if row.log_index <= through => visit(row),
            Record::Row(_) => ControlFlow::Continue(()),
            other => {
                wrong = row_of(other.clone()).err();
                ControlFlow::Break(())
            }
        }
    })?;
    wrong.map_or(Ok(()), Err)
}

fn row_of(record: Record) -> Result<Row, Fault> {
    Row::try_from(record).map_err(|wrong| Fault(Box::new(wrong)))
}
