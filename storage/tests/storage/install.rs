//! Exports and installs: a group arrives as it left, and nobody else notices.

use std::fs;

use covey_state::GroupId;
use covey_storage::{Error, StateDb, StateDbConfig};
use tempfile::TempDir;

use crate::sample::{apply, contents, puts};

const ID: GroupId = GroupId::new(5);

/// Small files, so that a table needs several.
fn config() -> StateDbConfig {
    StateDbConfig {
        export_file_bytes: 2_000,
        ..StateDbConfig::default()
    }
}

fn open(directory: &TempDir) -> StateDb {
    StateDb::open(directory.path(), config()).unwrap()
}

#[test]
fn a_group_arrives_key_by_key_and_replaces_what_was_there() {
    let (here, there, files) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
    );
    let source = open(&here);
    apply(&source.group(ID), puts(1, 300), "at 300");
    apply(&source.group(GroupId::new(6)), puts(9, 3), "not exported");
    let manifest = source.group(ID).export(files.path()).unwrap();
    apply(&source.group(ID), puts(2, 3), "after the export");
    assert!(manifest.files.len() > 3, "{} files", manifest.files.len());
    assert_eq!(manifest.files.iter().map(|file| file.keys).sum::<u64>(), 901);

    let target = open(&there);
    for neighbour in [4, 6] {
        apply(
            &target.group(GroupId::new(neighbour)),
            puts(neighbour, 4),
            "neighbour",
        );
    }
    apply(&target.group(ID), puts(7, 400), "old");
    let old = target.group(ID).read();
    let neighbours = [4, 6].map(|id| contents(&target.group(GroupId::new(id)).read()).unwrap());
    target.group(ID).install(&manifest, files.path()).unwrap();

    let mut expected = contents(&source.group(ID).read()).unwrap();
    let arrived = contents(&target.group(ID).read()).unwrap();
    for change in puts(2, 3) {
        if let covey_state::Change::Put(key, _) = change {
            expected.remove(&key);
        }
    }
    let mut unchanged = arrived.clone();
    unchanged.retain(|key, _| expected.contains_key(key));
    assert_eq!(unchanged, expected);
    assert_eq!(arrived.len(), 901);
    assert_eq!(target.group(ID).applied().unwrap().unwrap(), "at 300");
    assert_eq!(
        contents(&old).unwrap().len(),
        1201,
        "an older view keeps showing its moment"
    );

    drop((old, target));
    let target = open(&there);
    assert_eq!(contents(&target.group(ID).read()).unwrap(), arrived);
    assert_eq!(
        [4, 6].map(|id| contents(&target.group(GroupId::new(id)).read()).unwrap()),
        neighbours
    );
}

#[test]
fn an_install_that_outlives_the_erasure_of_its_group_brings_nothing_back() {
    let (here, there, files) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
    );
    let source = open(&here).group(ID);
    apply(&source, puts(1, 20), "source");
    let manifest = source.export(files.path()).unwrap();
    let db = open(&there);
    let late = db.group(ID);
    db.group(ID).clear().unwrap();
    let refused = late.install(&manifest, files.path());
    assert!(matches!(refused, Err(Error::Erased { .. })), "{refused:?}");
    assert!(contents(&db.group(ID).read()).unwrap().is_empty());
    drop((late, db));
    let db = open(&there);
    assert_eq!(db.groups().unwrap(), []);
    assert_eq!(fs::read_dir(there.path().join("installing")).unwrap().count(), 0);
}

#[test]
fn a_group_without_anything_exports_and_installs_too() {
    let (here, there, files) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
    );
    let manifest = open(&here).group(ID).export(files.path()).unwrap();
    assert_eq!((manifest.applied.clone(), manifest.bytes()), (None, 0));
    let target = open(&there).group(ID);
    apply(&target, puts(1, 2), "old");
    target.install(&manifest, files.path()).unwrap();
    assert!(contents(&target.read()).unwrap().is_empty());
    assert_eq!(target.applied().unwrap(), None);
}

#[test]
fn a_group_goes_on_after_an_install_and_takes_further_ones() {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (source, target) = (open(&here).group(ID), open(&there).group(ID));
    for round in 0..3 {
        let files = TempDir::new().unwrap();
        apply(&source, puts(round, 20), "source");
        let manifest = source.export(files.path()).unwrap();
        target.install(&manifest, files.path()).unwrap();
        assert_eq!(
            contents(&target.read()).unwrap(),
            contents(&source.read()).unwrap()
        );
        apply(&target, puts(round + 100, 5), "target");
        assert!(contents(&target.read()).unwrap().len() > contents(&source.read()).unwrap().len());
    }
}

#[test]
fn a_snapshot_of_another_group_or_with_damage_changes_nothing() {
    let (here, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let db = open(&here);
    apply(&db.group(ID), puts(1, 100), "applied");
    let manifest = db.group(ID).export(files.path()).unwrap();
    let before = contents(&db.group(ID).read()).unwrap();
    let refusal = db.group(GroupId::new(6)).install(&manifest, files.path());
    assert!(matches!(refusal, Err(Error::WrongGroup { .. })), "{refusal:?}");

    let name = &manifest.files.last().unwrap().name;
    let path = files.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
    let refusal = db.group(ID).install(&manifest, files.path()).unwrap_err();
    assert!(refusal.is_corruption(), "{refusal}");
    assert!(refusal.to_string().contains(name), "{refusal}");

    fs::remove_file(&path).unwrap();
    let refusal = db.group(ID).install(&manifest, files.path());
    assert!(matches!(refusal, Err(Error::File { .. })), "{refusal:?}");
    assert_eq!(contents(&db.group(ID).read()).unwrap(), before);
    drop(db);
    assert_eq!(contents(&open(&here).group(ID).read()).unwrap(), before);
}
