//! Aggregates over windows, put together from tiles and single rows.
//!
//! All windows of a read end at the same moment, so the windows of one hop are nested: their tiles are read once, merged
//! from the newest to the oldest, and each window's value is taken as soon as its tail is reached. The rows after the
//! last whole tile are read once for all hops.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::catalog::{FeatureView, InstalledView};
use crate::entity::EntityKey;
use crate::id::{Timestamp, ViewId};
use crate::key::Key;
use crate::read::{history, rebuilt_tile};
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
    for (hop, mut windows) in windows {
        // The shortest window first: its tail is the first to be reached.
        windows.sort_by_key(|window| std::cmp::Reverse(window.span.tail));
        let merged = heads
            .remove(&hop)
            .unwrap_or_else(|| Tile::empty(read.positions.len()));
        read.windows_of_a_hop(hop, &windows, merged, &mut values)?;
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
                    tile.observe(&row, &self.positions);
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

    /// Merges tiles newest first into `merged`, and takes each window's value when its tail is reached.
    fn windows_of_a_hop(
        &self,
        hop: Hop,
        windows: &[Window],
        mut merged: Tile,
        values: &mut [Value],
    ) -> Result<(), Fault> {
        let Some(longest) = windows.last() else {
            return Ok(());
        };
        let tiles = self.tiles(hop, longest.span)?;
        let mut open = windows.iter().peekable();
        for (start, tile) in tiles.into_iter().rev() {
            while let Some(window) = open.next_if(|window| window.span.tail > start) {
                values[window.slot] = self.value(window, &merged);
            }
            merged.merge(&self.as_of(hop, start, tile)?);
        }
        for window in open {
            values[window.slot] = self.value(window, &merged);
        }
        Ok(())
    }

    /// The stored tiles of a span, oldest first.
    fn tiles(&self, hop: Hop, span: Span) -> Result<Vec<(Timestamp, Tile)>, Fault> {
        let (entity, view_id) = self.of;
        let mut tiles = Vec::new();
        let mut wrong = None;
        let from = Key::Tile(entity.clone(), view_id, hop, span.tail);
        self.view.scan(&from, &mut |key, record| {
            let Key::Tile(of, in_view, width, start) = key else {
                return ControlFlow::Break(());
            };
            if of != *entity || in_view != view_id || width != hop || start >= span.head {
                return ControlFlow::Break(());
            }
            match Tile::try_from(record) {
                Ok(tile) => {
                    tiles.push((start, tile));
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    wrong = Some(Fault(Box::new(error)));
                    ControlFlow::Break(())
                }
            }
        })?;
        wrong.map_or(Ok(tiles), Err)
    }

    /// The tile as it stood at the read's log index, over all of today's aggregated columns.
    fn as_of(&self, hop: Hop, start: Timestamp, tile: Tile) -> Result<Tile, Fault> {
        if tile.through <= self.through && tile.columns.len() >= self.positions.len() {
            return Ok(tile);
        }
        rebuilt_tile(self.view, self.of, (hop, start), &self.positions, self.through)
    }

    fn value(&self, window: &Window, merged: &Tile) -> Value {
        let aggregate = &self.definition.aggregates[window.aggregate];
        match self.columns.iter().position(|name| *name == aggregate.column) {
            Some(position) => aggregate.value(merged, position),
            None => Value::Null,
        }
    }
}
