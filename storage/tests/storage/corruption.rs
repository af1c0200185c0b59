//! One flipped bit, wherever it lies, is noticed, named and never served.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use covey_state::{Change, GroupId, Key, Record, Row, Value, View};
use covey_storage::{
    ArtifactStore, Error, LogEntry, Position, RaftDb, RaftDbConfig, Split, StateDb, StateDbConfig,
};
use rocksdb::{DB, Options};
use tempfile::TempDir;

use crate::sample::{apply, contents, durably, noise, row, storage_error};

const ID: GroupId = GroupId::new(2);
const NEIGHBOUR: GroupId = GroupId::new(3);
/// Larger than a block of a table, so that every value has a block to itself.
const LARGE: usize = 20_000;

pub(crate) fn files_ending(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect()
}

/// Flips one bit of the only place in the files where `needle` stands.
pub(crate) fn flip_where(files: &[PathBuf], needle: &[u8]) {
    let mut flipped = 0;
    for path in files {
        let mut bytes = fs::read(path).unwrap();
        let places: Vec<usize> = bytes
            .windows(needle.len())
            .enumerate()
            .filter(|(_, window)| *window == needle)
            .map(|(at, _)| at)
            .collect();
        for at in places {
            bytes[at + needle.len() / 2] ^= 0x10;
            fs::write(path, &bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "the needle stands in exactly one place of {files:?}");
}

fn open_log(directory: &TempDir) -> Result<RaftDb, Error> {
    RaftDb::open(directory.path(), RaftDbConfig::default())
}

fn write_large_logs(directory: &TempDir) {
    let db = open_log(directory).unwrap();
    for id in [ID, NEIGHBOUR] {
        let entries = (0..5)
            .map(|index| LogEntry {
                index,
                bytes: noise(id, index, LARGE),
            })
            .collect();
        durably(|done| db.group(id).append(entries, done)).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_a_table_of_the_log_stops_that_group_alone() {
    let directory = TempDir::new().unwrap();
    write_large_logs(&directory);
    // Opening moves what the write-ahead log holds into a table.
    drop(open_log(&directory).unwrap());
    flip_where(
        &files_ending(directory.path(), ".sst"),
        &noise(ID, 3, LARGE)[100..140],
    );
    let db = open_log(&directory).unwrap();
    for error in [
        db.group(ID).bounds().unwrap_err(),
        db.group(ID).read(0..9, usize::MAX).unwrap_err(),
        db.group(ID).vote().unwrap_err(),
        durably(|done| db.group(ID).save_vote(Bytes::new(), done)).unwrap_err(),
    ] {
        assert!(error.is_corruption(), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("log entry 3 of group g2 is corrupt"),
            "{error}"
        );
    }
    assert_eq!(db.groups().unwrap(), [ID, NEIGHBOUR]);
    assert_eq!(db.group(NEIGHBOUR).read(0..9, usize::MAX).unwrap().len(), 5);
    durably(|done| {
        db.drop_group(ID, done);
        Ok(())
    })
    .unwrap();
    assert_eq!(
        db.group(ID).bounds().unwrap().last,
        None,
        "dropping the group gets rid of the damage"
    );
}

#[test]
fn a_flipped_bit_in_the_write_ahead_log_refuses_to_open_and_names_the_file_and_the_place() {
    let directory = TempDir::new().unwrap();
    write_large_logs(&directory);
    flip_where(
        &files_ending(directory.path(), ".log"),
        &noise(ID, 3, LARGE)[100..140],
    );
    let error = open_log(&directory).err().unwrap();
    assert!(error.is_corruption(), "{error}");
    let log = files_ending(directory.path(), ".log").remove(0);
    let named = format!("write-ahead log `{}` at ", log.display());
    assert!(error.to_string().contains(&named), "{error}");
}

#[test]
fn a_log_entry_that_was_damaged_before_it_was_stored_is_found_by_its_own_checksum() {
    let directory = TempDir::new().unwrap();
    write_large_logs(&directory);
    let db = open_log(&directory).unwrap();
    let log = db.group(NEIGHBOUR);
    drop(db);
    drop(log);
    let raw = DB::open(&Options::default(), directory.path()).unwrap();
    let key = raw
        .iterator(rocksdb::IteratorMode::Start)
        .nth(1)
        .unwrap()
        .unwrap()
        .0;
    flip_value(|value| raw.put(&key, value), raw.get(&key).unwrap().unwrap());
    drop(raw);
    let error = open_log(&directory).unwrap().group(ID).bounds().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("log entry 1 of group g2 is corrupt: stored checksum"),
        "{error}"
    );
}

fn flip_value(put: impl FnOnce(&[u8]) -> Result<(), rocksdb::Error>, mut value: Vec<u8>) {
    let middle = value.len() / 2;
    value[middle] ^= 1;
    put(&value).unwrap();
}

#[test]
fn a_missing_log_entry_is_found_when_the_log_opens() {
    let directory = TempDir::new().unwrap();
    write_large_logs(&directory);
    let raw = DB::open(&Options::default(), directory.path()).unwrap();
    let key = raw
        .iterator(rocksdb::IteratorMode::Start)
        .nth(2)
        .unwrap()
        .unwrap()
        .0;
    raw.delete(&key).unwrap();
    drop(raw);
    let error = open_log(&directory).unwrap().group(ID).bounds().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("log entry 2 of group g2 is corrupt"),
        "{error}"
    );
}

fn open_state(directory: &TempDir) -> StateDb {
    StateDb::open(directory.path(), StateDbConfig::default()).unwrap()
}

/// A row with a text as large as a block that does not compress.
fn large_row(number: u64) -> Row {
    let text = noise(ID, number, LARGE)
        .iter()
        .map(|byte| char::from(33 + byte % 90))
        .collect();
    Row {
        values: vec![Value::String(text)],
        ..row(number)
    }
}

fn large_key(number: i64) -> Key {
    Key::Latest(
        covey_state::entity::EntityKey::integer(number),
        covey_state::ViewId::new(1),
    )
}

fn write_large_rows(directory: &TempDir) {
    let group = open_state(directory).group(ID);
    let changes =
        (0..5).map(|number| Change::Put(large_key(number), Record::Row(large_row(number.cast_unsigned()))));
    apply(&group, changes.collect(), "applied");
}

/// The damaged row is refused however it is read, the others are served, and the group is not exported.
fn assert_row_3_is_refused(directory: &TempDir) {
    let group = open_state(directory).group(ID);
    let view = group.read();
    for fault in [
        view.get(&large_key(3)).unwrap_err(),
        view.get_many(&[large_key(2), large_key(3)]).unwrap_err(),
        contents(&view).unwrap_err(),
    ] {
        let error = storage_error(&fault);
        assert!(error.is_corruption(), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("state of group g2, table latest, key Latest("),
            "{error}"
        );
    }
    assert_eq!(view.get(&large_key(2)).unwrap(), Some(Record::Row(large_row(2))));
    let files = TempDir::new().unwrap();
    assert!(group.export(files.path()).unwrap_err().is_corruption());
    let whole = Split::At(vec![Position::end()]);
    let error = view.sums(&Position::default(), &whole).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("table latest, key Latest(") && said.contains(".sst"),
        "{said}"
    );
}

#[test]
fn a_flipped_bit_in_a_table_of_the_state_is_refused_and_named() {
    let directory = TempDir::new().unwrap();
    write_large_rows(&directory);
    drop(open_state(&directory));
    let Value::String(text) = &large_row(3).values[0] else {
        unreachable!("the row holds a text")
    };
    let tables = files_ending(&directory.path().join("db"), ".sst");
    flip_where(&tables, &text.as_bytes()[100..140]);
    assert_row_3_is_refused(&directory);
}

#[test]
fn a_flipped_bit_in_the_markers_of_the_groups_is_named_when_the_state_is_opened() {
    let directory = TempDir::new().unwrap();
    {
        let db = open_state(&directory);
        apply(
            &db.group(ID),
            crate::sample::puts(1, 3),
            "a marker that stands in one place",
        );
    }
    drop(open_state(&directory));
    let tables = files_ending(&directory.path().join("db"), ".sst");
    flip_where(&tables, b"a marker that stands in one place");
    let opened = StateDb::open(directory.path(), StateDbConfig::default());
    let error = opened.map(drop).unwrap_err();
    assert!(error.is_corruption(), "{error}");
}

#[test]
fn a_record_that_was_damaged_before_it_was_stored_is_found_by_its_own_checksum() {
    let directory = TempDir::new().unwrap();
    write_large_rows(&directory);
    let tables = ["default", "records", "latest", "history", "tiles"];
    let raw = DB::open_cf(&Options::default(), directory.path().join("db"), tables).unwrap();
    let latest = raw.cf_handle("latest").unwrap();
    let key = raw
        .iterator_cf(latest, rocksdb::IteratorMode::Start)
        .nth(3)
        .unwrap()
        .unwrap()
        .0;
    flip_value(
        |value| raw.put_cf(latest, &key, value),
        raw.get_cf(latest, &key).unwrap().unwrap(),
    );
    drop(raw);
    assert_row_3_is_refused(&directory);
}

#[test]
fn a_damaged_block_of_an_erased_group_is_gone_after_a_rewrite_and_everything_else_is_there() {
    let directory = TempDir::new().unwrap();
    write_large_rows(&directory);
    {
        let db = open_state(&directory);
        apply(&db.group(NEIGHBOUR), crate::sample::puts(1, 9), "neighbour");
    }
    drop(open_state(&directory));
    let Value::String(text) = &large_row(3).values[0] else {
        unreachable!("the row holds a text")
    };
    let tables = || files_ending(&directory.path().join("db"), ".sst");
    flip_where(&tables(), &text.as_bytes()[100..140]);
    let db = open_state(&directory);
    let expected = contents(&db.group(NEIGHBOUR).read()).unwrap();
    db.group(ID).clear().unwrap();
    db.rewrite_at_next_start().unwrap();
    drop(db);
    let db = open_state(&directory);
    assert_eq!(contents(&db.group(NEIGHBOUR).read()).unwrap(), expected);
    assert_eq!(
        db.group(NEIGHBOUR).applied().unwrap(),
        Some(Bytes::from_static(b"neighbour"))
    );
    assert_eq!(db.groups().unwrap(), [NEIGHBOUR]);
    drop(db);
    let damaged = tables()
        .iter()
        .filter(|path| {
            let bytes = fs::read(path).unwrap();
            bytes
                .windows(40)
                .any(|window| *window == text.as_bytes()[200..240])
        })
        .count();
    assert_eq!(damaged, 0, "the damaged block is in no file any more");
    assert!(
        !directory.path().join("db.rewrite").exists(),
        "it is not rewritten again"
    );
}

#[test]
fn a_group_that_is_damaged_when_the_database_is_rewritten_is_left_out_and_the_others_are_kept() {
    let directory = TempDir::new().unwrap();
    write_large_rows(&directory);
    apply(
        &open_state(&directory).group(NEIGHBOUR),
        crate::sample::puts(1, 9),
        "neighbour",
    );
    drop(open_state(&directory));
    let Value::String(text) = &large_row(3).values[0] else {
        unreachable!("the row holds a text")
    };
    flip_where(
        &files_ending(&directory.path().join("db"), ".sst"),
        &text.as_bytes()[100..140],
    );
    open_state(&directory).rewrite_at_next_start().unwrap();
    assert_eq!(open_state(&directory).groups().unwrap(), [NEIGHBOUR]);
}

#[test]
fn a_flipped_bit_in_an_artifact_is_refused_and_healed_by_storing_it_again() {
    let directory = TempDir::new().unwrap();
    let store = ArtifactStore::open(directory.path()).unwrap();
    let chunk = noise(ID, 1, 5_000);
    let digest = store.put(&chunk).unwrap();
    let shelf = directory.path().join(&digest.to_string()[..2]);
    flip_where(&files_ending(&shelf, &digest.to_string()), &chunk[100..140]);
    let error = store.get(digest).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    assert!(
        error.to_string().starts_with(&format!("artifact {digest} in")),
        "{error}"
    );
    store.put(&chunk).unwrap();
    assert_eq!(store.get(digest).unwrap(), chunk);
}
