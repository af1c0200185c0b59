//! Failing writes and syncs of the log, of state batches and of artifacts.

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{ArtifactStore, Error, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use fail::FailScenario;
use tempfile::TempDir;

use crate::sample::{apply, contents, done, durably, log_entries, puts};

const POINTS: [&str; 4] = [
    "raftdb::before_write",
    "raftdb::after_write",
    "raftdb::before_sync",
    "raftdb::after_sync",
];

#[test]
fn after_a_failed_write_or_sync_the_log_stops_for_good() {
    for point in POINTS {
        let scenario = FailScenario::setup();
        let directory = TempDir::new().unwrap();
        let db = RaftDb::open(directory.path(), RaftDbConfig::default()).unwrap();
        let (one, two) = (db.group(GroupId::new(1)), db.group(GroupId::new(2)));
        durably(|done| one.append(log_entries(one.id(), 0..3), done)).unwrap();
        fail::cfg(point, "1*return").unwrap();
        let failure = durably(|done| one.append(log_entries(one.id(), 3..6), done)).unwrap_err();
        assert!(
            matches!(failure, Error::Injected(at) if at == point),
            "{failure:?}"
        );
        // The point fails once only: what follows is refused because of the first failure, in every group.
        let (gone, outcome) = done();
        db.drop_group(two.id(), gone);
        for refusal in [
            durably(|done| one.append(log_entries(one.id(), 6..7), done)),
            durably(|done| two.save_vote(Bytes::new(), done)),
            outcome.recv().unwrap(),
        ] {
            let Err(Error::Stopped { cause }) = refusal else {
                panic!("{point}: {refusal:?}")
            };
            assert!(matches!(*cause, Error::Injected(at) if at == point), "{cause:?}");
        }
        drop((one, two, db));
        scenario.teardown();
        let log = RaftDb::open(directory.path(), RaftDbConfig::default())
            .unwrap()
            .group(GroupId::new(1));
        let kept = log.read(0..9, usize::MAX).unwrap();
        assert_eq!(
            kept[..3],
            log_entries(log.id(), 0..3),
            "{point}: what was acknowledged is there"
        );
        assert!(
            kept.len() == 3 || kept.len() == 6,
            "{point}: a job is there as a whole or not at all"
        );
    }
}

#[test]
fn jobs_that_waited_behind_a_failure_fail_with_it() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let db = RaftDb::open(directory.path(), RaftDbConfig::default()).unwrap();
    fail::cfg("raftdb::before_write", "1*pause").unwrap();
    let outcomes: Vec<_> = (0..20)
        .map(|number| {
            let (done, outcome) = done();
            db.group(GroupId::new(number))
                .save_vote(Bytes::new(), done)
                .unwrap();
            outcome
        })
        .collect();
    fail::cfg("raftdb::before_sync", "1*return").unwrap();
    fail::remove("raftdb::before_write");
    let failures: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.recv().unwrap().unwrap_err())
        .collect();
    assert!(
        failures
            .iter()
            .any(|failure| matches!(failure, Error::Injected("raftdb::before_sync")))
    );
    for failure in failures {
        assert!(
            matches!(failure, Error::Injected(_) | Error::Stopped { .. }),
            "{failure:?}"
        );
    }
    scenario.teardown();
}

#[test]
fn a_disk_that_is_behind_shows_in_the_backlog_and_at_last_in_a_refusal() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let config = RaftDbConfig {
        queue_bytes_max: 2_000,
        ..RaftDbConfig::default()
    };
    let db = RaftDb::open(directory.path(), config).unwrap();
    let log = db.group(GroupId::new(1));
    fail::cfg("raftdb::before_write", "pause").unwrap();
    let mut outcomes = Vec::new();
    let (mut next, mut was_long) = (0, false);
    let refusal = loop {
        let (done, outcome) = done();
        let entries = log_entries(log.id(), next..next + 1);
        match log.append(entries, done) {
            Ok(()) => outcomes.push(outcome),
            Err(refusal) => break refusal,
        }
        was_long |= log.backlog().is_long();
        next += 1;
        assert!(next < 100, "the queue has no end");
    };
    assert!(was_long, "the backlog is long before anything is refused");
    assert!(
        matches!(
            refusal,
            Error::Busy {
                limit_bytes: 2_000,
                ..
            }
        ),
        "{refusal:?}"
    );
    fail::remove("raftdb::before_write");
    for outcome in outcomes {
        outcome.recv().unwrap().unwrap();
    }
    assert!(!log.backlog().is_long());
    scenario.teardown();
}

#[test]
fn a_state_batch_that_fails_before_its_write_leaves_nothing() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let db = StateDb::open(directory.path(), StateDbConfig::default()).unwrap();
    let group = db.group(GroupId::new(1));
    apply(&group, puts(1, 3), "first");
    let before = contents(&group.read()).unwrap();
    fail::cfg("statedb::before_commit", "1*return").unwrap();
    let mut batch = group.batch();
    for change in puts(2, 3) {
        batch.stage(change);
    }
    assert!(matches!(
        batch.commit(Bytes::from_static(b"second")),
        Err(Error::Injected(_))
    ));
    assert_eq!(contents(&group.read()).unwrap(), before);
    assert_eq!(group.applied().unwrap().unwrap(), "first");
    scenario.teardown();
}

#[test]
fn an_artifact_that_was_never_finished_is_not_there_and_is_swept() {
    let scenario = FailScenario::setup();
    let directory = TempDir::new().unwrap();
    let store = ArtifactStore::open(directory.path()).unwrap();
    fail::cfg("artifacts::before_rename", "1*return").unwrap();
    assert!(matches!(store.put(b"weights"), Err(Error::Injected(_))));
    let unfinished = || {
        std::fs::read_dir(directory.path().join("unfinished"))
            .unwrap()
            .count()
    };
    assert_eq!(unfinished(), 1);
    let digest = covey_state::Digest::of(b"weights");
    assert!(!store.contains(digest));
    let store = ArtifactStore::open(directory.path()).unwrap();
    assert_eq!(unfinished(), 0);
    store.put(b"weights").unwrap();
    assert_eq!(store.get(digest).unwrap(), "weights");
    scenario.teardown();
}
