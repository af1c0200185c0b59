//! Where things lie: `[group u64][key]` in the column family of the key's table, and markers of groups in the default
//! one as `[kind u8][group u64]`.

use bytes::Bytes;
use covey_state::key::Table;
use covey_state::{GroupId, Key};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions, WriteBatch};

use super::family;
use crate::checksum;
use crate::error::{Error, Place};
use crate::key;

/// Every table, in the order in which a snapshot holds them.
pub(super) const TABLES: [Table; 4] = [Table::Records, Table::Latest, Table::History, Table::Tiles];

/// Sorts after the first byte of every key.
const KEYS_END: u8 = 0xff;

/// The length of a group's prefix.
pub(super) const PREFIX_BYTES: usize = 8;

/// What is known of a group beside its keys. The numbers are on disk and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// What was applied last, in the caller's own words.
    Applied = 0,
    /// The manifest of the snapshot being installed.
    Installing = 1,
}

impl Marker {
    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied marker",
            Self::Installing => "installing marker",
        }
    }
}

/// The name of a table's column family.
pub(super) const fn table_name(table: Table) -> &'static str {
    match table {
        Table::Records => "records",
        Table::Latest => "latest",
        Table::History => "history",
        Table::Tiles => "tiles",
    }
}

/// The bytes under which a key of a group is stored.
pub(super) fn stored_key(group: GroupId, key: &Key) -> Vec<u8> {
    key::encode(group.get().to_be_bytes().to_vec(), key)
}

/// The key in stored bytes, or the place to blame.
pub(super) fn parse_key(group: GroupId, table: Table, stored: &[u8]) -> Result<Key, Error> {
    key::decode(stored.get(PREFIX_BYTES..).unwrap_or_default()).map_err(|error| Error::Corrupt {
        place: place(group, table, stored),
        reason: error.to_string(),
    })
}

/// Stored bytes as a place that errors name.
pub(super) fn place(group: GroupId, table: Table, stored: &[u8]) -> Place {
    let body = stored.get(PREFIX_BYTES..).unwrap_or_default();
    let key = key::decode(body).map_or_else(|_| format!("{body:02x?}"), |key| format!("{key:?}"));
    Place::State {
        group,
        table: table_name(table),
        key,
    }
}

/// The first possible key of a group in a table, and the exclusive upper bound of all of them.
pub(super) fn group_bounds(group: GroupId) -> (Vec<u8>, Vec<u8>) {
    let start = group.get().to_be_bytes().to_vec();
    let mut end = start.clone();
    end.push(KEYS_END);
    (start, end)
}

/// Adds the removal of everything that a group has in its tables.
pub(super) fn remove_tables(db: &DB, group: GroupId, batch: &mut WriteBatch) {
    let (start, end) = group_bounds(group);
    for table in TABLES {
        batch.delete_range_cf(family(db, table), &start, &end);
    }
}

fn marker_key(group: GroupId, marker: Marker) -> Vec<u8> {
    let mut key = vec![marker as u8];
    key.extend_from_slice(&group.get().to_be_bytes());
    key
}

/// Adds the setting of a marker.
pub(super) fn put_marker(group: GroupId, marker: Marker, payload: &[u8], batch: &mut WriteBatch) {
    let key = marker_key(group, marker);
    let value = checksum::seal(&key, payload.to_vec());
    batch.put(key, value);
}

/// Adds the removal of a marker.
pub(super) fn remove_marker(group: GroupId, marker: Marker, batch: &mut WriteBatch) {
    batch.delete(marker_key(group, marker));
}

/// The marker of what a group has applied, now or at the snapshot in `options`.
pub(super) fn applied(db: &DB, group: GroupId, options: &ReadOptions) -> Result<Option<Bytes>, Error> {
    let marker = Marker::Applied;
    let key = marker_key(group, marker);
    let stored = db
        .get_pinned_opt(&key, options)
        .map_err(|source| Error::reading(|| marker_place(group, marker), source))?;
    stored
        .map(|stored| open_marker(group, marker, &key, &stored))
        .transpose()
}

/// The groups that have a marker, with it, in ascending order.
pub(super) fn markers(db: &DB, marker: Marker) -> Result<Vec<(GroupId, Bytes)>, Error> {
    let mut found = Vec::new();
    for item in db.iterator(IteratorMode::From(&[marker as u8], Direction::Forward)) {
        let place = || Place::Database {
            path: db.path().to_owned(),
        };
        let (key, stored) = item.map_err(|source| Error::reading(place, source))?;
        let Some(group) = key
            .strip_prefix(&[marker as u8])
            .and_then(|rest| rest.first_chunk())
        else {
            break;
        };
        let group = GroupId::new(u64::from_be_bytes(*group));
        found.push((group, open_marker(group, marker, &key, &stored)?));
    }
    Ok(found)
}

fn open_marker(group: GroupId, marker: Marker, key: &[u8], stored: &[u8]) -> Result<Bytes, Error> {
    match checksum::unseal(key, stored) {
        Ok(payload) => Ok(Bytes::copy_from_slice(payload)),
        Err(reason) => Err(Error::Corrupt {
            place: marker_place(group, marker),
            reason,
        }),
    }
}

fn marker_place(group: GroupId, marker: Marker) -> Place {
    Place::State {
        group,
        table: "markers",
        key: marker.name().to_owned(),
    }
}
