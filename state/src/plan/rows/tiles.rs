//! The tiles that a command's rows fall into: each is read once, counts its rows, and is written once.

use std::collections::BTreeMap;

use crate::catalog::InstalledView;
use crate::id::Timestamp;
use crate::key::Key;
use crate::plan::draft::{Draft, Stop};
use crate::plan::rows::{Batch, GoodRow};
use crate::read::rebuilt_tile;
use crate::tile::Tile;
use crate::window::Hop;

/// Counts the batch's rows in the tiles that `head`, the newest schema of the view, keeps.
pub(super) fn put(draft: &mut Draft<'_>, head: &InstalledView, batch: &Batch) -> Result<(), Stop> {
    let positions = head.definition.aggregated_positions();
    let hops = head.definition.hops();
    if positions.is_empty() {
        return Ok(());
    }
    // An entity's place in the batch stands for its key, so that telling tiles apart copies no keys.
    let mut touched: BTreeMap<(usize, Hop, Timestamp), usize> = BTreeMap::new();
    let mut keys: Vec<Key> = Vec::new();
    let mut counted: Vec<(usize, usize)> = Vec::with_capacity(batch.rows.len() * hops.len());
    for (place, GoodRow { entity, row }) in batch.rows.iter().enumerate() {
        for hop in &hops {
            let start = row.event_time.floor_to(hop.micros());
            let tile = *touched.entry((*entity, *hop, start)).or_insert_with(|| {
                keys.push(Key::Tile(batch.entities[*entity].clone(), head.id, *hop, start));
                keys.len() - 1
            });
            counted.push((tile, place));
        }
    }
    let mut tiles = Vec::with_capacity(keys.len());
    for (key, stored) in keys.iter().zip(draft.get_many::<Tile>(&keys)?) {
        tiles.push(complete(draft, key, stored, &positions)?);
    }
    for (tile, place) in counted {
        tiles[tile].observe(&batch.rows[place].row, &positions);
    }
    for (key, tile) in keys.into_iter().zip(tiles) {
        draft.put(key, tile);
    }
    Ok(())
}

/// The tile at `key` over all of today's aggregated columns. One that was kept under an earlier schema version, with
/// fewer of them, is counted again from history.
fn complete(draft: &Draft<'_>, key: &Key, stored: Option<Tile>, positions: &[usize]) -> Result<Tile, Stop> {
    match (stored, key) {
        (None, _) => Ok(Tile::empty(positions.len())),
        (Some(tile), Key::Tile(entity, view, hop, start)) if tile.columns.len() < positions.len() => Ok(
            rebuilt_tile(draft.view(), (entity, *view), (*hop, *start), positions, u64::MAX)?,
        ),
        (Some(tile), _) => Ok(tile),
    }
}
