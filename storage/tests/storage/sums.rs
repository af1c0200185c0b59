//! Checksums of ranges: the same for the same contents, and different just where contents differ.

use bytes::Bytes;
use covey_state::entity::EntityKey;
use covey_state::{Change, GroupId, Key, Record, ViewId};
use covey_storage::{GroupState, GroupView, Place, Position, RangeSum, Split, StateDb, StateDbConfig};
use tempfile::TempDir;

use crate::sample::{apply, puts, row};

const ID: GroupId = GroupId::new(4);
const ENTITIES: i64 = 50;

fn replica() -> (TempDir, StateDb) {
    let directory = TempDir::new().unwrap();
    let db = StateDb::open(directory.path(), StateDbConfig::default()).unwrap();
    // A neighbour on either side must not show.
    for neighbour in [3, 5] {
        apply(&db.group(GroupId::new(neighbour)), puts(neighbour, 3), "other");
    }
    apply(&db.group(ID), puts(1, ENTITIES), "applied");
    (directory, db)
}

/// All ranges of at most so many keys, taken in pages of three.
fn pages(view: &GroupView, keys: u64) -> Vec<RangeSum> {
    let split = Split::Every {
        keys,
        bytes: u64::MAX,
        ranges: 3,
    };
    let mut all: Vec<RangeSum> = Vec::new();
    while all.last().is_none_or(|last| last.end != Position::end()) {
        let from = all.last().map(|last| last.end.clone()).unwrap_or_default();
        all.extend(view.sums(&from, &split).unwrap().ranges);
    }
    all
}

/// The same ranges as another replica's.
fn same_ranges(view: &GroupView, theirs: &[RangeSum]) -> Vec<RangeSum> {
    let ends = theirs.iter().map(|range| range.end.clone()).collect();
    view.sums(&Position::default(), &Split::At(ends)).unwrap().ranges
}

#[test]
fn equal_replicas_have_equal_sums_however_they_are_cut() {
    let ((_one, here), (_other, there)) = (replica(), replica());
    // What is in files and what is in memory sums alike.
    let files = TempDir::new().unwrap();
    let manifest = here.group(ID).export(files.path()).unwrap();
    there.group(ID).install(&manifest, files.path()).unwrap();
    let (here, there) = (here.group(ID).read(), there.group(ID).read());
    for keys in [1, 7, 1_000] {
        let ranges = pages(&here, keys);
        assert_eq!(same_ranges(&there, &ranges), ranges, "{keys} keys a range");
        let total: u64 = ranges.iter().map(|range| range.keys).sum();
        assert_eq!(total, 1 + 3 * ENTITIES.cast_unsigned(), "{keys} keys a range");
        assert!(ranges.iter().all(|range| range.keys <= keys));
    }
}

#[test]
fn an_empty_group_is_one_empty_range() {
    let (_directory, db) = replica();
    let ranges = pages(&db.group(GroupId::new(9)).read(), 10);
    assert_eq!(ranges.len(), 1);
    assert_eq!((ranges[0].keys, ranges[0].bytes), (0, 0));
}

#[test]
fn a_changed_a_missing_and_an_additional_record_show_in_their_range_alone() {
    let (_directory, reference) = replica();
    let reference = reference.group(ID).read();
    let key = Key::Latest(EntityKey::integer(20), ViewId::new(1));
    let new = Key::Latest(EntityKey::integer(20), ViewId::new(2));
    for change in [
        Change::Put(key.clone(), Record::Row(row(77))),
        Change::Delete(key.clone()),
        Change::Put(new.clone(), Record::Row(row(77))),
    ] {
        let (_directory, db) = replica();
        apply(&db.group(ID), vec![change.clone()], "applied");
        let other = db.group(ID).read();
        let ranges = pages(&reference, 5);
        let theirs = same_ranges(&other, &ranges);
        let differing: Vec<usize> = (0..ranges.len())
            .filter(|at| ranges[*at] != theirs[*at])
            .collect();
        assert_eq!(differing.len(), 1, "{change:?}");
        let (Change::Put(changed, _) | Change::Delete(changed)) = &change;
        assert_eq!(
            named(&reference, &other, &ranges, differing[0]),
            format!("{changed:?}")
        );
    }
}

/// The first key that is not the same in both, looked for within one range.
fn named(one: &GroupView, other: &GroupView, ranges: &[RangeSum], at: usize) -> String {
    let from = at
        .checked_sub(1)
        .map(|before| ranges[before].end.clone())
        .unwrap_or_default();
    // Whoever has more keys cuts the range into single ones.
    let single = Split::Every {
        keys: 1,
        bytes: u64::MAX,
        ranges: 10,
    };
    let has_more = |view: &GroupView| {
        view.sums(&from, &Split::At(vec![ranges[at].end.clone()]))
            .unwrap()
            .ranges[0]
            .keys
    };
    let (one, other) = if has_more(one) >= has_more(other) {
        (one, other)
    } else {
        (other, one)
    };
    let mut from = from.clone();
    loop {
        let mine = one.sums(&from, &single).unwrap().ranges.remove(0);
        let ends = Split::At(vec![mine.end.clone()]);
        if other.sums(&from, &ends).unwrap().ranges[0] != mine {
            return match one.sums(&from, &ends).unwrap().first {
                Some(Place::State { key, .. }) => key,
                place => format!("{place:?}"),
            };
        }
        from = mine.end;
    }
}

#[test]
fn a_view_is_summed_as_it_was_however_the_group_goes_on() {
    let (_directory, db) = replica();
    let group: GroupState = db.group(ID);
    let view = group.read();
    let before = pages(&view, 10);
    apply(&group, puts(2, ENTITIES), "later");
    assert_eq!(pages(&view, 10), before);
    assert_ne!(pages(&group.read(), 10), before);
    assert_eq!(view.applied().unwrap(), Some(Bytes::from_static(b"applied")));
}
