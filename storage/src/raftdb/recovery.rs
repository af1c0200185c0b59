//! Reading logs from disk: every value verified, and at open every log checked to be without a hole.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use covey_state::GroupId;
use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use super::LogEntry;
use super::group::GroupCell;
use super::layout::{self, Kind};
use super::memory::LogMemory;
use crate::checksum;
use crate::error::{Error, Place};

/// Every group in the database, each verified. A damaged group is kept as damaged.
pub(super) fn recover(db: &DB, path: &Path) -> Result<BTreeMap<GroupId, Arc<GroupCell>>, Error> {
    let damaged = |reason| Error::Corrupt {
        place: Place::Database {
            path: path.to_owned(),
        },
        reason,
    };
    let mut groups = BTreeMap::new();
    let mut keys = db.raw_iterator();
    keys.seek_to_first();
    while let Some(key) = keys.key() {
        let group = layout::group_of(key).ok_or_else(|| {
            damaged(format!(
                "a key has {} bytes, not {}",
                key.len(),
                layout::KEY_BYTES
            ))
        })?;
        let memory = recover_group(db, group).unwrap_or_else(|error| {
            tracing::error!(group = %group, error = %error, "the log of the group is damaged");
            LogMemory::damaged(error)
        });
        groups.insert(group, Arc::new(GroupCell::new(group, memory)));
        keys.seek(layout::group_end(group));
    }
    keys.status().map_err(|error| damaged(error.into_string()))?;
    Ok(groups)
}

fn recover_group(db: &DB, group: GroupId) -> Result<LogMemory, Error> {
    if let Some(words) = marker(db, group, Kind::Damage)? {
        return Err(Error::Corrupt {
            place: Place::Log { group },
            reason: String::from_utf8_lossy(&words).into_owned(),
        });
    }
    let purged = marker(db, group, Kind::Purged)?
        .map(|payload| split_purged(group, &payload))
        .transpose()?;
    let start = purged.as_ref().map(|(through, _)| through + 1);
    let (mut first, mut last): (Option<u64>, Option<LogEntry>) = (None, None);
    for found in entries(db, group, 0..u64::MAX) {
        let entry = found?;
        let expected = last
            .as_ref()
            .map(|last| last.index + 1)
            .or(start)
            .unwrap_or(entry.index);
        if entry.index != expected {
            let reason = format!("the next entry that is there is {}", entry.index);
            return Err(Error::Corrupt {
                place: Place::LogEntry {
                    group,
                    index: expected,
                },
                reason,
            });
        }
        first = first.or(Some(entry.index));
        last = Some(entry);
    }
    let mut memory = LogMemory::recovered(purged, first.unwrap_or(0), last);
    memory.vote = marker(db, group, Kind::Vote)?;
    memory.committed = marker(db, group, Kind::Committed)?;
    memory.probation = marker(db, group, Kind::Probation)?;
    Ok(memory)
}

fn split_purged(group: GroupId, payload: &Bytes) -> Result<(u64, Bytes), Error> {
    match payload.first_chunk() {
        Some(through) => Ok((u64::from_be_bytes(*through), payload.slice(8..))),
        None => {
            let place = Place::LogMarker {
                group,
                kind: Kind::Purged.name(),
            };
            Err(Error::Corrupt {
                place,
                reason: format!("it has {} bytes", payload.len()),
            })
        }
    }
}

fn marker(db: &DB, group: GroupId, kind: Kind) -> Result<Option<Bytes>, Error> {
    let place = || Place::LogMarker {
        group,
        kind: kind.name(),
    };
    let key = layout::marker_key(group, kind);
    let Some(sealed) = db
        .get_pinned(key)
        .map_err(|source| Error::reading(place, source))?
    else {
        return Ok(None);
    };
    match checksum::unseal(&key, &sealed) {
        Ok(payload) => Ok(Some(Bytes::copy_from_slice(payload))),
        Err(reason) => Err(Error::Corrupt {
            place: place(),
            reason,
        }),
    }
}

/// The entries of a range that are on disk, in order, each verified.
pub(super) fn entries(
    db: &DB,
    group: GroupId,
    range: Range<u64>,
) -> impl Iterator<Item = Result<LogEntry, Error>> + '_ {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::entry_key(group, range.end));
    let start = layout::entry_key(group, range.start);
    // Where the reader stands, to name it when RocksDB cannot read on.
    let mut next = range.start;
    db.iterator_opt(IteratorMode::From(&start, Direction::Forward), options)
        .map(move |item| {
            let place = |index| Place::LogEntry { group, index };
            let (key, sealed) = item.map_err(|source| Error::reading(|| place(next), source))?;
            let index = layout::index_of(&key).unwrap_or(next);
            next = index.saturating_add(1);
            match checksum::unseal(&key, &sealed) {
                Ok(payload) => Ok(LogEntry {
                    index,
                    bytes: Bytes::copy_from_slice(payload),
                }),
                Err(reason) => Err(Error::Corrupt {
                    place: place(index),
                    reason,
                }),
            }
        })
}
