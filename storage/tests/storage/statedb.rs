//! What the state database promises: it is the map that the laws are tested on, on disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use covey_state::entity::EntityKey;
use covey_state::{Change, GroupId, Key, MemoryView, Record, Timestamp, View, ViewId};
use covey_storage::{Error, GroupView, StateDb, StateDbConfig, StateSnapshot};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::sample::{apply, contents, puts, row};

fn open(directory: &TempDir) -> StateDb {
    StateDb::open(directory.path(), StateDbConfig::default()).unwrap()
}

fn model(number: u64) -> Key {
    Key::Model(format!("model-{number}"))
}

#[test]
fn changes_and_the_applied_marker_survive_closing_together() {
    let directory = TempDir::new().unwrap();
    let id = GroupId::new(1);
    let before = {
        let db = open(&directory);
        let group = db.group(id);
        assert_eq!(group.applied().unwrap(), None);
        apply(&group, puts(1, 5), "first");
        apply(&group, vec![Change::Delete(Key::Clock)], "second");
        db.flush().unwrap();
        contents(&group.read()).unwrap()
    };
    let db = open(&directory);
    assert_eq!(db.groups().unwrap(), [id]);
    assert_eq!(db.group(id).applied().unwrap().unwrap(), "second");
    assert_eq!(contents(&db.group(id).read()).unwrap(), before);
    assert_eq!(before.len(), 15);
}

#[test]
fn a_batch_reads_its_own_changes_and_nobody_else_does() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let group = db.group(GroupId::new(1));
    apply(
        &group,
        vec![
            Change::Put(model(1), Record::Number(1)),
            Change::Put(model(2), Record::Number(2)),
        ],
        "1",
    );
    let mut batch = group.batch();
    assert!(batch.is_empty());
    batch.stage(Change::Delete(model(1)));
    batch.stage(Change::Put(model(2), Record::Number(20)));
    batch.stage(Change::Put(model(3), Record::Number(3)));
    let keys = [model(3), model(1), model(2), model(4)];
    let staged = vec![Some(Record::Number(3)), None, Some(Record::Number(20)), None];
    assert_eq!(batch.get_many(&keys).unwrap(), staged);
    assert_eq!(batch.len(), 3);
    assert!(batch.bytes() > 0);
    let unchanged = vec![None, Some(Record::Number(1)), Some(Record::Number(2)), None];
    assert_eq!(group.read().get_many(&keys).unwrap(), unchanged);
    batch.commit(Bytes::from_static(b"2")).unwrap();
    assert_eq!(group.read().get_many(&keys).unwrap(), staged);
}

#[test]
fn a_dropped_batch_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let group = db.group(GroupId::new(1));
    let mut batch = group.batch();
    batch.stage(Change::Put(model(1), Record::Number(1)));
    drop(batch);
    assert!(contents(&group.read()).unwrap().is_empty());
}

#[test]
fn a_snapshot_shows_one_moment_of_all_groups() {
    fn shareable<T: Send + Sync + Clone + 'static>() {}
    shareable::<GroupView>();
    shareable::<StateSnapshot>();

    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let (one, two) = (db.group(GroupId::new(1)), db.group(GroupId::new(2)));
    apply(&one, puts(1, 2), "one");
    let snapshot = db.snapshot();
    apply(&one, puts(2, 3), "more");
    apply(&two, puts(3, 1), "two");
    two.clear().unwrap();
    // The snapshot keeps the database open.
    drop(db);
    let seen = std::thread::spawn(move || {
        let applied = (
            snapshot.applied(GroupId::new(1)).unwrap(),
            snapshot.applied(GroupId::new(2)).unwrap(),
        );
        (applied, contents(&snapshot.group(GroupId::new(1))).unwrap())
    });
    let (applied, seen) = seen.join().unwrap();
    assert_eq!(applied, (Some(Bytes::from_static(b"one")), None));
    let expected: BTreeMap<_, _> = puts(1, 2)
        .into_iter()
        .filter_map(|change| match change {
            Change::Put(key, record) => Some((key, record)),
            Change::Delete(_) => None,
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_batch_that_was_begun_before_its_group_was_erased_is_not_written_after() {
    let directory = TempDir::new().unwrap();
    let group = open(&directory).group(GroupId::new(1));
    apply(&group, puts(1, 2), "first");
    let mut late = group.batch();
    late.stage(Change::Put(model(7), Record::Marker));
    group.clear().unwrap();
    let refused = late.commit(Bytes::from_static(b"late"));
    assert!(matches!(refused, Err(Error::Erased { .. })), "{refused:?}");
    assert_eq!(group.applied().unwrap(), None);
    assert!(contents(&group.read()).unwrap().is_empty());
}

#[test]
fn whoever_has_a_groups_state_from_before_its_erasure_writes_nothing_into_its_next_life() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let worker = db.group(GroupId::new(1));
    apply(&worker, puts(1, 2), "first");
    db.group(GroupId::new(1)).clear().unwrap();
    // It goes on with the next entries of a log that is erased, too.
    let mut late = worker.batch();
    late.stage(Change::Put(model(7), Record::Marker));
    let refused = late.commit(Bytes::from_static(b"late"));
    assert!(matches!(refused, Err(Error::Erased { .. })), "{refused:?}");
    let anew = db.group(GroupId::new(1));
    assert_eq!(anew.applied().unwrap(), None);
    assert!(contents(&anew.read()).unwrap().is_empty());
    apply(&anew, puts(2, 2), "anew");
    assert_eq!(anew.applied().unwrap().unwrap(), "anew");
}

#[test]
fn groups_do_not_see_each_other_and_clear_alone() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let ids = [0, 1, 255, 256, u64::MAX].map(GroupId::new);
    for (seed, id) in ids.iter().enumerate() {
        apply(&db.group(*id), puts(seed as u64, 3), "applied");
    }
    let before: Vec<_> = ids
        .iter()
        .map(|id| contents(&db.group(*id).read()).unwrap())
        .collect();
    db.group(ids[2]).clear().unwrap();
    drop(db);
    let db = open(&directory);
    assert_eq!(db.groups().unwrap(), [ids[0], ids[1], ids[3], ids[4]]);
    for (position, id) in ids.iter().enumerate() {
        let now = contents(&db.group(*id).read()).unwrap();
        if position == 2 {
            assert!(now.is_empty());
        } else {
            assert_eq!(now, before[position]);
        }
    }
}

/// Keys over all tables that collide often.
fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(Key::Clock),
        (0..6u64).prop_map(model),
        (0..4i64, 0..3u32)
            .prop_map(|(entity, view)| Key::Latest(EntityKey::integer(entity), ViewId::new(view))),
        (0..3i64, 0..8u64).prop_map(|(entity, number)| {
            let version = std::cmp::Reverse(row(number).version());
            Key::History(EntityKey::integer(entity), ViewId::new(1), version)
        }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (key(), any::<u64>()).prop_map(|(key, number)| {
            let record = match key.table() {
                covey_state::key::Table::Records => Record::Number(number),
                _ => Record::Row(row(number % 1_000_000)),
            };
            Change::Put(key, record)
        }),
        1 => key().prop_map(Change::Delete),
    ]
}

/// At most `limit` entries from `from` on, as a scan shows them.
fn scan(view: &dyn View, from: &Key, limit: usize) -> Vec<(Key, Record)> {
    let mut seen = Vec::new();
    view.scan(from, &mut |key, record| {
        seen.push((key, record));
        if seen.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .unwrap();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn batches_and_views_equal_the_map_in_memory(
        batches in prop::collection::vec(prop::collection::vec(change(), 0..12), 1..6),
        probes in prop::collection::vec(key(), 1..8),
        limit in 1..20usize,
    ) {
        let directory = TempDir::new().unwrap();
        let db = open(&directory);
        let group = db.group(GroupId::new(7));
        apply(&db.group(GroupId::new(6)), puts(6, 2), "neighbour");
        apply(&db.group(GroupId::new(8)), puts(8, 2), "neighbour");
        let mut map = MemoryView::default();
        for changes in batches {
            let mut batch = group.batch();
            for change in changes {
                map.apply(change.clone());
                batch.stage(change);
            }
            for probe in &probes {
                prop_assert_eq!(batch.get(probe).unwrap(), map.get(probe).unwrap());
                prop_assert_eq!(scan(&batch, probe, limit), scan(&map, probe, limit));
            }
            prop_assert_eq!(batch.get_many(&probes).unwrap(), map.get_many(&probes).unwrap());
            batch.commit(Bytes::new()).unwrap();
            let view = group.read();
            prop_assert_eq!(view.get_many(&probes).unwrap(), map.get_many(&probes).unwrap());
            for probe in &probes {
                prop_assert_eq!(scan(&view, probe, limit), scan(&map, probe, limit));
            }
        }
    }
}

#[test]
fn a_time_record_keeps_its_time() {
    let directory = TempDir::new().unwrap();
    let group = open(&directory).group(GroupId::CONTROL);
    let record = Record::Time(Timestamp::from_micros(-5));
    apply(&group, vec![Change::Put(Key::Clock, record.clone())], "1");
    assert_eq!(group.read().get(&Key::Clock).unwrap(), Some(record));
}
