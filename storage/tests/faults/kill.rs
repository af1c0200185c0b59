//! A process killed with SIGKILL at each durable step: what it acknowledged is there afterwards, and nothing is half.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{RaftDb, RaftDbConfig, SnapshotManifest, StateDb, StateDbConfig};
use tempfile::TempDir;

use crate::sample::{apply, contents, durably, log_entries, puts};

/// Tell the child what to do, where, and at which point it dies; absent in the parent.
const TASK: &str = "COVEY_KILL_TASK";
const DIRECTORY: &str = "COVEY_KILL_DIRECTORY";
const POINT: &str = "COVEY_KILL_POINT";

/// How often a point is passed before it kills.
const PASSED_FIRST: u64 = 3;

const ID: GroupId = GroupId::new(5);
const NEIGHBOUR: GroupId = GroupId::new(6);

/// The child's part. Does nothing in the parent.
#[test]
fn child_that_is_killed_at_a_durable_step() {
    let Ok(task) = std::env::var(TASK) else { return };
    let directory = std::env::var(DIRECTORY).unwrap();
    let point = std::env::var(POINT).unwrap();
    let scenario = fail::FailScenario::setup();
    match task.as_str() {
        "log" => append_until_killed(Path::new(&directory), &point),
        "state" => apply_until_killed(Path::new(&directory), &point),
        "export" => export_until_killed(Path::new(&directory), &point),
        "install" => install_until_killed(Path::new(&directory), &point),
        unknown => panic!("there is no task {unknown}"),
    }
    scenario.teardown();
}

/// Has this process die at the point, after it was passed so often.
fn die_at(point: &str, passed_first: u64) {
    let passed = AtomicU64::new(0);
    fail::cfg_callback(point, move || {
        if passed.fetch_add(1, Ordering::SeqCst) < passed_first {
            return;
        }
        let id = std::process::id().to_string();
        Command::new("kill").args(["-9", &id]).status().unwrap();
        // The signal may take a moment; nothing may happen in it.
        loop {
            std::thread::park();
        }
    })
    .unwrap();
}

fn say(what: &str, number: u64) {
    writeln!(std::io::stdout().lock(), "{what} {number}").unwrap();
}

/// Runs the child until it has died, and gives the last number that it said of each thing.
fn run(task: &str, directory: &Path, point: &str) -> BTreeMap<String, u64> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kill::child_that_is_killed_at_a_durable_step",
            "--nocapture",
        ])
        .env(TASK, task)
        .env(DIRECTORY, directory)
        .env(POINT, point)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(signal, Some(9), "{point}: the child has to die at the point");
    let said = String::from_utf8(output.stdout).unwrap();
    // The test's own name may stand before the first of them.
    let numbers = said.lines().filter_map(|line| {
        let (before, number) = line.rsplit_once(' ')?;
        let what = before.rsplit(' ').next()?;
        Some((what.to_owned(), number.parse().ok()?))
    });
    numbers.collect()
}

fn append_until_killed(directory: &Path, point: &str) {
    let db = RaftDb::open(directory, RaftDbConfig::default()).unwrap();
    die_at(point, PASSED_FIRST);
    let log = db.group(ID);
    for index in 0.. {
        durably(|done| log.append(log_entries(ID, index..index + 1), done)).unwrap();
        durably(|done| log.save_vote(Bytes::from(index.to_string()), done)).unwrap();
        say("durable", index);
        if index % 4 == 3 {
            durably(|done| log.purge(index - 2, Bytes::from_static(b"purged"), done)).unwrap();
            say("purged", index - 2);
        }
    }
}

#[test]
fn a_committer_killed_at_any_step_keeps_every_acknowledged_entry_and_vote() {
    for point in [
        "raftdb::before_write",
        "raftdb::after_write",
        "raftdb::before_sync",
        "raftdb::after_sync",
    ] {
        let directory = TempDir::new().unwrap();
        let said = run("log", directory.path(), point);
        let log = RaftDb::open(directory.path(), RaftDbConfig::default())
            .unwrap()
            .group(ID);
        let bounds = log.bounds().unwrap();
        let Some(durable) = said.get("durable") else {
            panic!("{point}: nothing was acknowledged before the kill");
        };
        let last = bounds.last.unwrap().index;
        assert!(
            last >= *durable,
            "{point}: entry {durable} is lost, the log ends at {last}"
        );
        let vote: u64 = std::str::from_utf8(&log.vote().unwrap().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        assert!(vote >= *durable, "{point}: vote {durable} is lost");
        let kept = log.read(bounds.first_index..last + 1, usize::MAX).unwrap();
        assert_eq!(kept, log_entries(ID, bounds.first_index..last + 1), "{point}");
    }
}

fn apply_until_killed(directory: &Path, point: &str) {
    let db = StateDb::open(directory, StateDbConfig::default()).unwrap();
    let group = db.group(ID);
    die_at(point, PASSED_FIRST);
    for round in 1.. {
        let mut batch = group.batch();
        for change in puts(round, 5) {
            batch.stage(change);
        }
        batch.commit(Bytes::from(round.to_string())).unwrap();
        say("applied", round);
        db.flush().unwrap();
        say("flushed", round);
    }
}

#[test]
fn a_state_killed_at_any_step_holds_whole_batches_and_everything_flushed() {
    for point in [
        "statedb::before_commit",
        "statedb::after_commit",
        "statedb::before_flush",
        "statedb::after_flush",
    ] {
        let directory = TempDir::new().unwrap();
        let said = run("state", directory.path(), point);
        let group = StateDb::open(directory.path(), StateDbConfig::default())
            .unwrap()
            .group(ID);
        let applied = group.applied().unwrap().unwrap();
        let applied: u64 = std::str::from_utf8(&applied).unwrap().parse().unwrap();
        assert!(applied >= said["flushed"], "{point}: {applied} of {said:?}");
        let reference = TempDir::new().unwrap();
        let same = StateDb::open(reference.path(), StateDbConfig::default())
            .unwrap()
            .group(ID);
        for round in 1..=applied {
            apply(&same, puts(round, 5), "reference");
        }
        assert_eq!(
            contents(&group.read()).unwrap(),
            contents(&same.read()).unwrap(),
            "{point}: marker and state tell the same story"
        );
    }
}

/// The old data of the group and of its neighbour.
fn with_old_data(directory: &Path) -> StateDb {
    let db = StateDb::open(directory, StateDbConfig::default()).unwrap();
    apply(&db.group(ID), puts(2, 70), "old");
    apply(&db.group(NEIGHBOUR), puts(3, 5), "neighbour");
    db
}

fn export_until_killed(directory: &Path, point: &str) {
    let db = with_old_data(&directory.join("db"));
    db.flush().unwrap();
    die_at(point, 0);
    db.group(ID).export(&directory.join("first")).unwrap();
}

#[test]
fn an_export_killed_at_any_step_leaves_the_group_as_it_was_and_can_be_repeated() {
    for point in ["export::finished_one_file", "export::synced"] {
        let directory = TempDir::new().unwrap();
        run("export", directory.path(), point);
        let db = StateDb::open(&directory.path().join("db"), StateDbConfig::default()).unwrap();
        let group = db.group(ID);
        assert_eq!(
            contents(&group.read()).unwrap().len(),
            puts(2, 70).len(),
            "{point}"
        );
        let files = directory.path().join("second");
        let manifest = group.export(&files).unwrap();
        let other = TempDir::new().unwrap();
        let copy = StateDb::open(other.path(), StateDbConfig::default())
            .unwrap()
            .group(ID);
        copy.install(&manifest, &files).unwrap();
        assert_eq!(
            contents(&copy.read()).unwrap(),
            contents(&group.read()).unwrap(),
            "{point}"
        );
    }
}

/// A snapshot of the new data.
fn exported(files: &Path) -> SnapshotManifest {
    let source = TempDir::new().unwrap();
    let group = StateDb::open(source.path(), StateDbConfig::default())
        .unwrap()
        .group(ID);
    apply(&group, puts(1, 50), "new");
    group.export(files).unwrap()
}

fn install_until_killed(directory: &Path, point: &str) {
    let manifest = exported(&directory.join("files"));
    let db = with_old_data(&directory.join("db"));
    db.flush().unwrap();
    die_at(point, 0);
    db.group(ID).install(&manifest, &directory.join("files")).unwrap();
}

#[test]
fn an_install_killed_at_any_step_leaves_the_old_or_the_new_group_and_its_neighbour() {
    for (point, applied, records) in [
        ("install::copied_one_file", "old", puts(2, 70)),
        ("install::staged", "old", puts(2, 70)),
        ("install::marked", "new", puts(1, 50)),
        ("install::flushed", "new", puts(1, 50)),
        ("install::removed", "new", puts(1, 50)),
        ("install::ingested_one_table", "new", puts(1, 50)),
        ("install::ingested", "new", puts(1, 50)),
        ("install::finished", "new", puts(1, 50)),
    ] {
        let directory = TempDir::new().unwrap();
        run("install", directory.path(), point);
        let path = directory.path().join("db");
        let db = StateDb::open(&path, StateDbConfig::default()).unwrap();
        assert_eq!(db.group(ID).applied().unwrap().unwrap(), applied, "{point}");
        assert_eq!(
            contents(&db.group(ID).read()).unwrap().len(),
            records.len(),
            "{point}"
        );
        let neighbour = contents(&db.group(NEIGHBOUR).read()).unwrap();
        assert_eq!(neighbour.len(), puts(3, 5).len(), "{point}");
        let left = std::fs::read_dir(path.join("installing")).unwrap().count();
        assert_eq!(left, 0, "{point}: no file of the install is left");
    }
}
