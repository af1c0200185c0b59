//! Sample logs and states for the tests.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc;

use bytes::Bytes;
use covey_state::entity::EntityKey;
use covey_state::{Change, Fault, GroupId, Key, Record, Row, Timestamp, Value, View, ViewId};
use covey_storage::{Done, Error, GroupState, GroupView, LogEntry};

/// A callback, and where its outcome arrives.
pub(crate) fn done() -> (Done, mpsc::Receiver<Result<(), Error>>) {
    let (sender, receiver) = mpsc::channel();
    (
        Box::new(move |outcome| sender.send(outcome).unwrap_or_default()),
        receiver,
    )
}

/// Submits a log job and waits until it is durable.
pub(crate) fn durably(submit: impl FnOnce(Done) -> Result<(), Error>) -> Result<(), Error> {
    let (done, outcome) = done();
    submit(done)?;
    outcome.recv().expect("the committer answers every job it took")
}

/// Bytes that do not compress and that tell a group and an index apart.
pub(crate) fn noise(group: GroupId, index: u64, length: usize) -> Bytes {
    let mut state = group.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_add(1);
    let bytes = (0..length).map(|_| {
        // SplitMix64, one byte per step.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 56) as u8
    });
    bytes.collect()
}

/// Entries of the given indexes.
pub(crate) fn log_entries(group: GroupId, indexes: std::ops::Range<u64>) -> Vec<LogEntry> {
    indexes
        .map(|index| LogEntry {
            index,
            bytes: noise(group, index, 100),
        })
        .collect()
}

/// A row that differs by `number`.
pub(crate) fn row(number: u64) -> Row {
    Row {
        schema_version: 1,
        event_time: Timestamp::from_micros(1_000 * number.cast_signed()),
        created_time: Timestamp::from_micros(7),
        log_index: number,
        ordinal: 0,
        values: vec![
            Value::Int64(number.cast_signed()),
            Value::Null,
            Value::String(format!("text of row {number}")),
        ],
    }
}

/// Changes that put something into three tables; `seed` sets the values apart.
pub(crate) fn puts(seed: u64, entities: i64) -> Vec<Change> {
    let mut changes = vec![Change::Put(
        Key::Clock,
        Record::Time(Timestamp::from_micros(seed.cast_signed())),
    )];
    for entity in 0..entities {
        let (key, view) = (EntityKey::integer(entity), ViewId::new(1));
        let row = row(seed * 1000 + entity.cast_unsigned());
        let history = Key::History(key.clone(), view, std::cmp::Reverse(row.version()));
        changes.push(Change::Put(Key::Latest(key, view), Record::Row(row.clone())));
        changes.push(Change::Put(history, Record::Row(row)));
        changes.push(Change::Put(
            Key::Model(format!("model-{entity}-{seed}")),
            Record::Number(seed),
        ));
    }
    changes
}

/// Stages and commits changes.
pub(crate) fn apply(group: &GroupState, changes: Vec<Change>, applied: &'static str) {
    let mut batch = group.batch();
    for change in changes {
        batch.stage(change);
    }
    batch.commit(Bytes::from_static(applied.as_bytes())).unwrap();
}

/// Everything a view shows, over all tables.
pub(crate) fn contents(view: &GroupView) -> Result<BTreeMap<Key, Record>, Fault> {
    let nobody = || EntityKey(Vec::new());
    let newest = covey_state::row::RowVersion {
        event_time: Timestamp::MAX,
        created_time: Timestamp::MAX,
        log_index: u64::MAX,
        ordinal: u32::MAX,
    };
    let starts = [
        Key::Clock,
        Key::Latest(nobody(), ViewId::new(0)),
        Key::History(nobody(), ViewId::new(0), std::cmp::Reverse(newest)),
        Key::Tile(
            nobody(),
            ViewId::new(0),
            covey_state::window::Hop::FiveMinutes,
            Timestamp::MIN,
        ),
    ];
    let mut found = BTreeMap::new();
    for start in starts {
        view.scan(&start, &mut |key, record| {
            found.insert(key, record);
            ControlFlow::Continue(())
        })?;
    }
    Ok(found)
}

/// The storage error behind a fault.
pub(crate) fn storage_error(fault: &Fault) -> &Error {
    fault.0.downcast_ref().expect("storage reports its own errors")
}
