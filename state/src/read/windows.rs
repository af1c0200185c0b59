//! Aggregates over windows, put together from tiles and single rows.
//!
//! All windows of a read end at the same moment, so the windows of one hop are nested: the tiles of the longest are read
//! once, and each goes into every window that reaches back to it. The rows after the last whole tile are read once for all
//! hops.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::catalog::{FeatureView, InstalledView};
use crate::entity::EntityKey;
use crate::id::{Timestamp, ViewId};
use crate::key::Key;
use crate::read::{history, rebuilt_tile};
use crate::record::Record;
use crate::tile::Tile;
use crate::value::Value;
use crate::view::{Fault, View};
use crate::window::{Hop, Span};

/// What a read of aggregates is as of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf {
    /// The moment the windows end, inclusive.
    pub at: Timestamp,
    /// Only rows that the log held through this index count; `None` for all rows.
    pub through: Option<u64>,
}

/// The values of the aggregates at positions `wanted` of the view's definition, in that order. A position that the
/// definition does not have yields null.
pub fn aggregates(
    view: &dyn View,
    installed: &InstalledView,
    entity: &EntityKey,
    AsOf { at, through }: AsOf,
    wanted: &[usize],
) -> Result<Vec<Value>, Fault> {
    let definition = &installed.definition;
    let read = Read {
        view,
        definition,
        columns: definition.aggregated_columns(),
        of: (entity, installed.id),
        positions: definition.aggregated_positions(),
        through: through.unwrap_or(u64::MAX),
    };
    let mut values = vec![Value::Null; wanted.len()];
    let mut windows: BTreeMap<Hop, Vec<Window>> = BTreeMap::new();
    for (slot, position) in wanted.iter().enumerate() {
        if let Some(aggregate) = definition.aggregates.get(*position) {
            let window = Window {
                slot,
                aggregate: *position,
                span: aggregate.span(at),
            };
            windows.entry(aggregate.hop()).or_default().push(window);
        }
    }
    let mut heads = read.heads(at, windows.keys().copied())?;
    for (hop, windows) in windows {
        let head = heads
            .remove(&hop)
            .unwrap_or_else(|| Tile::empty(read.positions.len()));
        let merged = read.merged(hop, &windows, &head)?;
        for window in &windows {
            if let Some(tile) = merged.get(&window.span.tail) {
                values[window.slot] = read.value(window, tile);
            }
        }
    }
    Ok(values)
}

/// One read of aggregates.
struct Read<'a> {
    view: &'a dyn View,
    definition: &'a FeatureView,
    /// The columns of a tile.
    columns: Vec<&'a str>,
    /// Whose rows, and of which view.
    of: (&'a EntityKey, ViewId),
    /// Where the aggregated columns stand among a row's values.
    positions: Vec<usize>,
    /// Rows after this log index do not count.
    through: u64,
}

/// One wanted aggregate.
struct Window {
    /// Its place in the answer.
    slot: usize,
    /// Its place among the view's aggregates.
    aggregate: usize,
    span: Span,
}

impl Read<'_> {
    /// For each hop the rows after its last whole tile, merged: one scan, down to the earliest of these moments.
    fn heads(&self, at: Timestamp, hops: impl Iterator<Item = Hop>) -> Result<BTreeMap<Hop, Tile>, Fault> {
        let mut heads: BTreeMap<Hop, Tile> =
            hops.map(|hop| (hop, Tile::empty(self.positions.len()))).collect();
        history(self.view, self.of, at, self.through, &mut |row| {
            let mut is_needed = false;
            for (hop, tile) in &mut heads {
                if row.event_time >= at.floor_to(hop.micros()) {
                    tile.observe(row, &self.positions);
                    is_needed = true;
                }
            }
            if is_needed {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(heads)
    }

    /// For each tail of the windows of one hop everything from there on: the stored tiles, and `head` after the last one.
    fn merged(&self, hop: Hop, windows: &[Window], head: &Tile) -> Result<BTreeMap<Timestamp, Tile>, Fault> {
        let tails = windows.iter().map(|window| (window.span.tail, head.clone()));
        let mut merged: BTreeMap<Timestamp, Tile> = tails.collect();
        let (Some((&oldest, _)), Some(window)) = (merged.first_key_value(), windows.first()) else {
            return Ok(merged);
        };
        let mut newer = Vec::new();
        self.tiles((hop, oldest, window.span.head), &mut |start, tile| {
            if tile.through <= self.through && tile.columns.len() >= self.positions.len() {
                add(&mut merged, start, tile);
            } else {
                newer.push(start);
            }
        })?;
        // A tile that is newer than the read, or older than a column, is counted from its rows.
        for start in newer {
            let tile = rebuilt_tile(self.view, self.of, (hop, start), &self.positions, self.through)?;
            add(&mut merged, start, &tile);
        }
        Ok(merged)
    }

    /// Visits the stored tiles of one hop that begin from `tail` on and before `head`.
    fn tiles(
        &self,
        (hop, tail, head): (Hop, Timestamp, Timestamp),
        visit: &mut dyn FnMut(Timestamp, &Tile),
    ) -> Result<(), Fault> {
        let (entity, view_id) = self.of;
        let mut wrong = None;
        let from = Key::Tile(entity.clone(), view_id, hop, tail);
        self.view.glance(&from, &mut |key, record| {
            let Key::Tile(of, in_view, width, start) = key else {
                return ControlFlow::Break(());
            };
            if of != entity || *in_view != view_id || *width != hop || *start >= head {
                return ControlFlow::Break(());
            }
            match record {
                Record::Tile(tile) => {
                    visit(*start, tile);
                    ControlFlow::Continue(())
                }
                other => {
                    wrong = Tile::try_from(other.clone()).err();
                    ControlFlow::Break(())
                }
            }
        })?;
        wrong.map_or(Ok(()), |wrong| Err(Fault(Box::new(wrong))))
    }

    fn value(&self, window: &Window, merged: &Tile) -> Value {
        let aggregate = &self.definition.aggregates[window.aggregate];
        match self.columns.iter().position(|name| *name == aggregate.column) {
            Some(position) => aggregate.value(merged, position),
            None => Value::Null,
        }
    }
}

/// Counts the tile of a hop that begins at `start` in every window that reaches back to it.
fn add(merged: &mut BTreeMap<Timestamp, Tile>, start: Timestamp, tile: &Tile) {
    for window in merged.range_mut(..=start) {
        window.1.merge(tile);
    }
}
