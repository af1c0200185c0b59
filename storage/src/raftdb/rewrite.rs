//! The logs, written anew around a damaged block: every group that is whole is copied. Of a damaged one only that is kept,
//! so that it does not pass for one that has never voted.

use covey_state::GroupId;
use rocksdb::{DB, ReadOptions, WriteBatch};

use super::layout::{self, Kind};
use super::{RaftDbConfig, open_options, recovery};
use crate::checksum;
use crate::error::Error;
use crate::rewrite::Rewrite;
use crate::wal;

/// Makes the new database.
pub(super) fn make(rewrite: &Rewrite, config: &RaftDbConfig) -> Result<(), Error> {
    let current = &rewrite.current;
    wal::check(current)?;
    let damaged = |source| Error::reading(|| wal::damaged_place(current), source);
    // Nothing is compacted while it is only read.
    let old = DB::open_for_read_only(&open_options(config), current, false).map_err(damaged)?;
    let new = DB::open(&open_options(config), &rewrite.new).map_err(Error::database("make the new log"))?;
    for (group, cell) in recovery::recover(&old, current)? {
        match cell.damage() {
            None => copy(&old, &new, group, config.batch_bytes_max)?,
            Some(damage) => {
                let key = layout::marker_key(group, Kind::Damage);
                let words = damage.to_string().into_bytes();
                new.put(key, checksum::seal(&key, words))
                    .map_err(Error::database("write to the new log"))?;
            }
        }
    }
    new.flush_wal(true).map_err(Error::database("sync the new log"))
}

/// Copies all that is stored of a group, which was verified before.
fn copy(old: &DB, new: &DB, group: GroupId, batch_bytes_max: usize) -> Result<(), Error> {
    let write = |batch: &mut WriteBatch| {
        let written = new.write(std::mem::take(batch));
        written.map_err(Error::database("write to the new log"))
    };
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(layout::group_end(group));
    let mut stored = old.raw_iterator_opt(options);
    stored.seek(layout::group_start(group));
    let mut batch = WriteBatch::default();
    while let Some((key, value)) = stored.item() {
        batch.put(key, value);
        if batch.size_in_bytes() >= batch_bytes_max {
            write(&mut batch)?;
        }
        stored.next();
    }
    stored.status().map_err(Error::database("read the old log"))?;
    write(&mut batch)
}
