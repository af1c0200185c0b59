//! Decides pushed rows: good ones become the current row, history and tiles; bad ones become dead letters.
//!
//! This is the hot path. The rows are checked first; then every current row and tile that they touch is read once, in
//! two rounds, and moved in hand; then each is written once. So a row sees the earlier rows of its own command.
//!
//! Invariants: the current row is the newest of history by [`RowVersion`]; a tile counts each row of its hop once.

mod check;
mod tiles;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::answer::{Answer, RefusedRow};
use crate::catalog::InstalledView;
use crate::command::IncomingRow;
use crate::entity::EntityKey;
use crate::id::ViewId;
use crate::key::Key;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::within;
use crate::record::DeadLetter;
use crate::rejection::Rejection;
use crate::row::{Row, RowVersion};

pub use self::check::{AGGREGATED_MAGNITUDE_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The most rows of one command.
pub const ROWS_MAX: usize = 10_000;

/// A row that has passed every check.
struct GoodRow {
    /// Its entity's place in [`Batch::entities`].
    entity: usize,
    row: Row,
}

/// The good rows of a command, and the entities they are about.
#[derive(Default)]
struct Batch {
    entities: Vec<EntityKey>,
    rows: Vec<GoodRow>,
}

/// Takes rows of one view, each decided by itself.
pub(super) fn push(
    draft: &mut Draft<'_>,
    view: ViewId,
    schema_version: u32,
    incoming: &[IncomingRow],
) -> Decided {
    within(incoming.len(), ROWS_MAX, "rows of one command")?;
    let schema = installed(draft, view, schema_version)?;
    let head = newest(draft, view, schema_version)?;
    let (batch, refused) = sort_out(draft, &schema, head.as_ref().unwrap_or(&schema), incoming);
    let accepted = u32::try_from(batch.rows.len()).unwrap_or(u32::MAX);
    draft.reserve(batch.rows.len() + 2 * batch.entities.len());
    put_current(draft, view, &batch)?;
    tiles::put(draft, head.as_ref().unwrap_or(&schema), &batch)?;
    for GoodRow { entity, row } in batch.rows {
        let place = Key::History(batch.entities[entity].clone(), view, Reverse(row.version()));
        draft.put(place, row);
    }
    Ok(Answer::Rows { accepted, refused })
}

/// Splits the command into good rows and refusals; the bad rows are put aside as dead letters.
fn sort_out(
    draft: &mut Draft<'_>,
    schema: &InstalledView,
    head: &InstalledView,
    incoming: &[IncomingRow],
) -> (Batch, Vec<RefusedRow>) {
    let checker = check::Checker::new(schema, &head.definition, draft.now);
    let mut batch = Batch {
        entities: Vec::new(),
        rows: Vec::with_capacity(incoming.len()),
    };
    let mut known: BTreeMap<EntityKey, usize> = BTreeMap::new();
    let mut refused = Vec::new();
    for (ordinal, row) in (0u32..).zip(incoming) {
        match checker.check(row) {
            Ok((key, values)) => {
                let entity = match known.get(&key) {
                    Some(entity) => *entity,
                    None => {
                        batch.entities.push(key.clone());
                        known.insert(key, batch.entities.len() - 1);
                        batch.entities.len() - 1
                    }
                };
                let row = Row {
                    schema_version: schema.schema_version,
                    event_time: row.event_time,
                    created_time: row.created_time,
                    log_index: draft.position.index,
                    ordinal,
                    values,
                };
                batch.rows.push(GoodRow { entity, row });
            }
            Err(reason) => {
                let letter = DeadLetter {
                    row: row.clone(),
                    reason: reason.clone(),
                    at: draft.now,
                };
                draft.put(Key::DeadLetter(schema.id, draft.position.index, ordinal), letter);
                refused.push(RefusedRow { ordinal, reason });
            }
        }
    }
    (batch, refused)
}

/// Writes the current row of every entity that got a newer one: last write wins by row version.
fn put_current(draft: &mut Draft<'_>, view: ViewId, batch: &Batch) -> Result<(), Stop> {
    let keys: Vec<Key> = batch
        .entities
        .iter()
        .map(|entity| Key::Latest(entity.clone(), view))
        .collect();
    let current = draft.get_many::<Row>(&keys)?;
    let mut newest: Vec<Option<RowVersion>> =
        current.iter().map(|row| row.as_ref().map(Row::version)).collect();
    let mut winners: Vec<Option<&Row>> = vec![None; batch.entities.len()];
    for GoodRow { entity, row } in &batch.rows {
        if newest[*entity].is_none_or(|newest| newest < row.version()) {
            newest[*entity] = Some(row.version());
            winners[*entity] = Some(row);
        }
    }
    for (key, winner) in keys.into_iter().zip(winners) {
        if let Some(row) = winner {
            draft.put(key, row.clone());
        }
    }
    Ok(())
}

/// The schema that the command's values follow.
fn installed(draft: &Draft<'_>, view: ViewId, schema_version: u32) -> Result<InstalledView, Stop> {
    draft.get(&Key::Schema(view, schema_version))?.ok_or_else(|| {
        let kind = format!(
            "schema in {} (a view can be pushed to when it is active)",
            draft.position.group
        );
        Rejection::NotFound {
            kind,
            name: format!("{view} version {schema_version}"),
        }
        .into()
    })
}

/// The newest schema known here, which says what tiles are kept; `None` when it is `schema_version` itself.
fn newest(draft: &Draft<'_>, view: ViewId, schema_version: u32) -> Result<Option<InstalledView>, Stop> {
    let head = draft
        .get::<u64>(&Key::SchemaHead(view))?
        .unwrap_or(u64::from(schema_version));
    match u32::try_from(head) {
        Ok(head) if head != schema_version => Ok(draft.get(&Key::Schema(view, head))?),
        Ok(_) | Err(_) => Ok(None),
    }
}
