//! What holds of current rows, history and tiles.

use std::collections::BTreeMap;

use crate::catalog::InstalledView;
use crate::entity::EntityKey;
use crate::id::{Timestamp, ViewId};
use crate::invariants::hold;
use crate::key::Key;
use crate::record::Record;
use crate::row::Row;
use crate::tile::{ColumnTile, Tile};
use crate::view::MemoryView;
use crate::window::Hop;

type TilePlace<'a> = (&'a EntityKey, ViewId, Hop, Timestamp);

/// An entity's current row in a view is the newest of its history, and the other way round.
pub(super) fn latest_is_newest_history(view: &MemoryView) -> Result<(), String> {
    let mut latest = BTreeMap::new();
    let mut newest: BTreeMap<(&EntityKey, ViewId), &Row> = BTreeMap::new();
    for (key, record) in view.entries() {
        if let (Key::Latest(entity, id), Record::Row(row)) = (key, record) {
            latest.insert((entity, *id), row);
        }
        if let (Key::History(entity, id, version), Record::Row(row)) = (key, record) {
            hold(version.0 == row.version(), || {
                format!("row {:?} is filed as {:?}", row.version(), version.0)
            })?;
            newest.entry((entity, *id)).or_insert(row);
        }
    }
    hold(latest == newest, || {
        format!("current rows {latest:?}, newest of history {newest:?}")
    })
}

/// Every tile yields what is counted from its hop's rows, and no hop with rows lacks its tile.
pub(super) fn tiles_equal_history(view: &MemoryView) -> Result<(), String> {
    let heads = heads(view);
    let mut counted: BTreeMap<TilePlace<'_>, Tile> = BTreeMap::new();
    let mut stored: BTreeMap<TilePlace<'_>, &Tile> = BTreeMap::new();
    for (key, record) in view.entries() {
        if let (Key::History(entity, id, _), Record::Row(row)) = (key, record) {
            let Some(head) = heads.get(id) else { continue };
            let positions = head.definition.aggregated_positions();
            for hop in head.definition.hops() {
                let place = (entity, *id, hop, row.event_time.floor_to(hop.micros()));
                let tile = counted
                    .entry(place)
                    .or_insert_with(|| Tile::empty(positions.len()));
                tile.observe(row, &positions);
            }
        }
        if let (Key::Tile(entity, id, hop, start), Record::Tile(tile)) = (key, record)
            && heads
                .get(id)
                .is_some_and(|head| head.definition.hops().contains(hop))
        {
            stored.insert((entity, *id, *hop, *start), tile);
        }
    }
    hold(counted.keys().eq(stored.keys()), || {
        "the hops with rows are not the hops with tiles".to_owned()
    })?;
    for ((place, counted), stored) in counted.iter().zip(stored.values()) {
        hold(yields_the_same(counted, stored), || {
            format!("tile {place:?} holds {stored:?}, not {counted:?}")
        })?;
    }
    Ok(())
}

/// Whether a stored tile has the values of a counted one. It may lack columns that are aggregated since it was kept.
fn yields_the_same(counted: &Tile, stored: &Tile) -> bool {
    let values = |column: &ColumnTile| {
        let bits = |number: Option<f64>| number.map(f64::to_bits);
        let last = column.last.map(|(version, number)| (version, number.to_bits()));
        (
            column.count,
            column.sum.value().to_bits(),
            bits(column.min),
            bits(column.max),
            last,
        )
    };
    counted.rows == stored.rows
        && counted.through == stored.through
        && counted
            .columns
            .iter()
            .zip(&stored.columns)
            .all(|(a, b)| values(a) == values(b))
}

/// The newest schema of each view.
fn heads(view: &MemoryView) -> BTreeMap<ViewId, &InstalledView> {
    let mut heads = BTreeMap::new();
    for (key, record) in view.entries() {
        if let (Key::Schema(id, _), Record::View(installed)) = (key, record) {
            heads.insert(*id, installed);
        }
    }
    heads
}
