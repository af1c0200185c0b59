//! Installs interrupted at every step: after the next start the group is the old one or the new one, whole.

use bytes::Bytes;
use covey_state::{GroupId, View};
use covey_storage::{Error, SnapshotManifest, StateDb, StateDbConfig};
use fail::FailScenario;
use tempfile::TempDir;

use crate::sample::{apply, contents, puts, storage_error};

const ID: GroupId = GroupId::new(5);
const NEIGHBOUR: GroupId = GroupId::new(6);

/// The step after which the install fails, and what the group is after the next start.
const STEPS: [(&str, Whole); 8] = [
    ("install::copied_one_file", Whole::Old),
    ("install::staged", Whole::Old),
    ("install::marked", Whole::New),
    ("install::flushed", Whole::New),
    ("install::removed", Whole::New),
    ("install::ingested_one_table", Whole::New),
    ("install::ingested", Whole::New),
    ("install::finished", Whole::New),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Whole {
    Old,
    New,
}

fn open(directory: &TempDir) -> StateDb {
    StateDb::open(directory.path(), StateDbConfig::default()).unwrap()
}

/// A snapshot of the new data in a directory of its own.
fn exported(files: &TempDir) -> SnapshotManifest {
    let source = TempDir::new().unwrap();
    let group = open(&source).group(ID);
    apply(&group, puts(1, 50), "new");
    group.export(files.path()).unwrap()
}

fn with_old_data(directory: &TempDir) -> StateDb {
    let db = open(directory);
    apply(&db.group(ID), puts(2, 70), "old");
    apply(&db.group(NEIGHBOUR), puts(3, 5), "neighbour");
    db
}

fn assert_whole(db: &StateDb, which: Whole, point: &str) {
    let (applied, changes) = match which {
        Whole::Old => ("old", puts(2, 70)),
        Whole::New => ("new", puts(1, 50)),
    };
    assert_eq!(db.group(ID).applied().unwrap().unwrap(), applied, "{point}");
    let found = contents(&db.group(ID).read()).unwrap();
    assert_eq!(found.len(), changes.len(), "{point}");
    for change in changes {
        if let covey_state::Change::Put(key, record) = change {
            assert_eq!(found.get(&key), Some(&record), "{point}");
        }
    }
    assert_eq!(
        contents(&db.group(NEIGHBOUR).read()).unwrap().len(),
        puts(3, 5).len(),
        "{point}"
    );
}

fn staged_directories(directory: &TempDir) -> usize {
    std::fs::read_dir(directory.path().join("installing"))
        .unwrap()
        .count()
}

#[test]
fn an_install_interrupted_at_any_step_leaves_a_whole_group() {
    for (point, expected) in STEPS {
        let scenario = FailScenario::setup();
        let (directory, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let manifest = exported(&files);
        let db = with_old_data(&directory);
        fail::cfg(point, "1*return").unwrap();
        assert!(
            matches!(
                db.group(ID).install(&manifest, files.path()),
                Err(Error::Injected(_))
            ),
            "{point}"
        );
        drop(db);
        // The sender's files are not needed again.
        drop(files);
        let db = open(&directory);
        assert_whole(&db, expected, point);
        assert_eq!(staged_directories(&directory), 0, "{point}");
        scenario.teardown();
    }
}

#[test]
fn finishing_an_install_may_be_interrupted_too() {
    for (point, _) in &STEPS[4..7] {
        let scenario = FailScenario::setup();
        let (directory, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let manifest = exported(&files);
        let db = with_old_data(&directory);
        fail::cfg(*point, "3*return").unwrap();
        assert!(db.group(ID).install(&manifest, files.path()).is_err());
        drop(db);
        for _ in 0..2 {
            assert!(
                StateDb::open(directory.path(), StateDbConfig::default()).is_err(),
                "{point}"
            );
        }
        assert_whole(&open(&directory), Whole::New, point);
        scenario.teardown();
    }
}

#[test]
fn a_damaged_file_of_an_interrupted_install_costs_its_group_and_not_the_node() {
    let scenario = FailScenario::setup();
    let (directory, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let manifest = exported(&files);
    let db = with_old_data(&directory);
    fail::cfg("install::removed", "1*return").unwrap();
    assert!(db.group(ID).install(&manifest, files.path()).is_err());
    drop(db);
    let staging = std::fs::read_dir(directory.path().join("installing")).unwrap();
    let staged = staging.map(|entry| entry.unwrap().path()).next().unwrap();
    let file = staged.join(&manifest.files[0].name);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let db = open(&directory);
    assert_eq!(db.group(ID).applied().unwrap(), None, "it has to be filled anew");
    assert!(contents(&db.group(ID).read()).unwrap().is_empty());
    assert_eq!(
        contents(&db.group(NEIGHBOUR).read()).unwrap().len(),
        puts(3, 5).len()
    );
    scenario.teardown();
}

#[test]
fn a_group_in_the_midst_of_a_failed_install_answers_nothing_until_it_is_whole() {
    let scenario = FailScenario::setup();
    let (directory, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let manifest = exported(&files);
    let db = with_old_data(&directory);
    let before = db.group(ID).read();
    fail::cfg("install::ingested_one_table", "1*return").unwrap();
    assert!(db.group(ID).install(&manifest, files.path()).is_err());
    let key = covey_state::Key::Clock;
    for view in [db.group(ID).read(), db.snapshot().group(ID)] {
        let fault = view.get(&key).unwrap_err();
        assert!(
            matches!(storage_error(&fault), Error::InstallUnfinished { group: ID }),
            "{fault:?}"
        );
        assert!(contents(&view).is_err());
    }
    assert!(matches!(
        db.group(ID).batch().commit(Bytes::new()),
        Err(Error::InstallUnfinished { .. })
    ));
    assert_eq!(
        contents(&before).unwrap().len(),
        puts(2, 70).len(),
        "an older view keeps showing its moment"
    );
    assert!(contents(&db.group(NEIGHBOUR).read()).is_ok());
    // A second attempt needs no restart.
    db.group(ID).install(&manifest, files.path()).unwrap();
    assert_whole(&db, Whole::New, "second attempt");
    drop(before);
    drop(db);
    let db = open(&directory);
    assert_whole(&db, Whole::New, "after a restart");
    assert_eq!(staged_directories(&directory), 0);
    scenario.teardown();
}
