//! What the log database promises while nothing fails.

use std::sync::mpsc;

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{Error, GroupLog, LogEntry, RaftDb, RaftDbConfig};
use tempfile::TempDir;

use crate::sample::{done, durably, log_entries};

fn open(directory: &TempDir) -> RaftDb {
    RaftDb::open(directory.path(), RaftDbConfig::default()).unwrap()
}

fn group(number: u64) -> GroupId {
    GroupId::new(number)
}

fn append(log: &GroupLog, indexes: std::ops::Range<u64>) {
    durably(|done| log.append(log_entries(log.id(), indexes), done)).unwrap();
}

fn indexes(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index).collect()
}

fn read_all(log: &GroupLog) -> Vec<LogEntry> {
    log.read(0..u64::MAX, usize::MAX).unwrap()
}

#[test]
fn a_log_survives_closing() {
    let directory = TempDir::new().unwrap();
    let id = group(3);
    {
        let log = open(&directory).group(id);
        append(&log, 0..10);
        durably(|done| log.save_vote(Bytes::from_static(b"vote"), done)).unwrap();
        log.save_committed(Bytes::from_static(b"committed")).unwrap();
        durably(|done| log.purge(2, Bytes::from_static(b"purged"), done)).unwrap();
    }
    let db = open(&directory);
    let log = db.group(id);
    assert_eq!(db.groups().unwrap(), [id]);
    assert_eq!(read_all(&log), log_entries(id, 3..10));
    assert_eq!(log.vote().unwrap().unwrap(), "vote");
    assert_eq!(log.committed().unwrap().unwrap(), "committed");
    let bounds = log.bounds().unwrap();
    assert_eq!(bounds.purged.unwrap(), "purged");
    assert_eq!(bounds.first_index, 3);
    assert_eq!(bounds.last, log_entries(id, 9..10).pop());
}

#[test]
fn entries_are_readable_before_they_are_durable() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let release = block_committer(&db);
    let log = db.group(group(1));
    let (done, outcome) = done();
    log.append(log_entries(log.id(), 0..5), done).unwrap();
    assert_eq!(read_all(&log), log_entries(log.id(), 0..5));
    assert!(
        outcome.try_recv().is_err(),
        "nothing is durable while the committer is held up"
    );
    release.send(()).unwrap();
    outcome.recv().unwrap().unwrap();
}

/// Holds up the committer inside a callback until the sender is used.
fn block_committer(db: &RaftDb) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (blocked, is_blocked) = mpsc::channel();
    let hold = Box::new(move |_| {
        blocked.send(()).unwrap();
        released.recv().unwrap_or_default();
    });
    db.group(group(999)).save_vote(Bytes::new(), hold).unwrap();
    is_blocked.recv().unwrap();
    release
}

#[test]
fn what_waits_of_many_groups_shares_one_fsync() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let release = block_committer(&db);
    let before = (db.metrics().syncs.get(), db.metrics().jobs.get());
    let outcomes: Vec<_> = (1..=64)
        .map(|number| {
            let log = db.group(group(number));
            let (done, outcome) = done();
            log.append(log_entries(log.id(), 0..3), done).unwrap();
            outcome
        })
        .collect();
    release.send(()).unwrap();
    for outcome in outcomes {
        outcome.recv().unwrap().unwrap();
    }
    assert_eq!(db.metrics().jobs.get() - before.1, 64);
    assert_eq!(db.metrics().syncs.get() - before.0, 1);
    let registry = prometheus::Registry::new();
    db.metrics().register(&registry).unwrap();
    assert_eq!(registry.gather().len(), 10);
}

#[test]
fn callbacks_come_in_the_order_of_submission() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let (sender, order) = mpsc::channel();
    for number in 0..200u64 {
        let (sender, log) = (sender.clone(), db.group(group(number % 7)));
        log.save_vote(Bytes::new(), Box::new(move |_| sender.send(number).unwrap()))
            .unwrap();
    }
    drop(sender);
    assert!(order.iter().eq(0..200));
}

#[test]
fn a_full_queue_refuses_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let config = RaftDbConfig {
        queue_bytes_max: 1000,
        ..RaftDbConfig::default()
    };
    let db = RaftDb::open(directory.path(), config).unwrap();
    let release = block_committer(&db);
    let log = db.group(group(1));
    let (first, outcome) = done();
    log.append(log_entries(log.id(), 0..5), first).unwrap();
    let bounds = log.bounds().unwrap();
    let refusal = log.append(log_entries(log.id(), 5..10), done().0);
    assert!(
        matches!(
            refusal,
            Err(Error::Busy {
                queued_bytes: 585,
                limit_bytes: 1000
            })
        ),
        "{refusal:?}"
    );
    assert_eq!(log.bounds().unwrap(), bounds);
    assert_eq!(db.metrics().refused.get(), 1);
    release.send(()).unwrap();
    outcome.recv().unwrap().unwrap();
    append(&log, 5..10);
    assert_eq!(read_all(&log), log_entries(log.id(), 0..10));
}

#[test]
fn a_gap_is_refused() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory).group(group(1));
    append(&log, 0..3);
    let refusal = log.append(log_entries(log.id(), 4..6), done().0);
    assert!(
        matches!(
            refusal,
            Err(Error::Gap {
                expected: 3,
                found: 4,
                ..
            })
        ),
        "{refusal:?}"
    );
    let mut holed = log_entries(log.id(), 3..4);
    holed.extend(log_entries(log.id(), 5..6));
    let refusal = log.append(holed, done().0);
    assert!(
        matches!(
            refusal,
            Err(Error::Gap {
                expected: 4,
                found: 5,
                ..
            })
        ),
        "{refusal:?}"
    );
    assert_eq!(read_all(&log), log_entries(log.id(), 0..3));
}

#[test]
fn reads_stop_at_the_byte_limit_but_give_at_least_one_entry() {
    let directory = TempDir::new().unwrap();
    // Without a cache everything durable is read from disk; without closing, the rest is in memory.
    let config = RaftDbConfig {
        tail_bytes_max: 250,
        ..RaftDbConfig::default()
    };
    let log = RaftDb::open(directory.path(), config).unwrap().group(group(1));
    append(&log, 0..10);
    for start in 0..10 {
        assert_eq!(indexes(&log.read(start..10, 0).unwrap()), [start]);
        let expected: Vec<u64> = (start..10).take(3).collect();
        assert_eq!(indexes(&log.read(start..10, 300).unwrap()), expected);
    }
    assert_eq!(indexes(&log.read(4..7, usize::MAX).unwrap()), [4, 5, 6]);
    assert!(log.read(10..20, usize::MAX).unwrap().is_empty());
}

#[test]
fn many_groups_share_the_memory_for_recent_entries() {
    let directory = TempDir::new().unwrap();
    let config = RaftDbConfig {
        tails_bytes_max: 2_000,
        ..RaftDbConfig::default()
    };
    let db = RaftDb::open(directory.path(), config).unwrap();
    let log = db.group(group(1));
    append(&log, 0..10);
    assert!(
        log.read_memory(0..10, usize::MAX).unwrap().is_some(),
        "one group has it all"
    );
    let _others: Vec<_> = (2..=10).map(|number| db.group(group(number))).collect();
    append(&log, 10..20);
    assert!(log.read_memory(0..20, usize::MAX).unwrap().is_none());
    let recent = log.read_memory(18..20, usize::MAX).unwrap();
    assert_eq!(recent.map(|entries| indexes(&entries)), Some(vec![18, 19]));
    assert_eq!(
        read_all(&log),
        log_entries(log.id(), 0..20),
        "the rest is on disk"
    );
}

#[test]
fn truncation_drops_the_end_and_the_log_goes_on_from_there() {
    for reopen in [false, true] {
        let directory = TempDir::new().unwrap();
        let id = group(1);
        let mut log = open(&directory).group(id);
        append(&log, 0..10);
        if reopen {
            drop(log);
            log = open(&directory).group(id);
        }
        durably(|done| log.truncate_after(Some(4), done)).unwrap();
        assert_eq!(read_all(&log), log_entries(id, 0..5));
        assert_eq!(log.bounds().unwrap().last, log_entries(id, 4..5).pop());
        let other = LogEntry {
            index: 5,
            bytes: Bytes::from_static(b"another"),
        };
        durably(|done| log.append(vec![other.clone()], done)).unwrap();
        drop(log);
        let log = open(&directory).group(id);
        assert_eq!(log.read(5..20, usize::MAX).unwrap(), [other]);
        durably(|done| log.truncate_after(None, done)).unwrap();
        assert_eq!(log.bounds().unwrap().last, None);
        append(&log, 0..2);
        assert_eq!(read_all(&log), log_entries(id, 0..2));
    }
}

#[test]
fn a_purge_beyond_the_end_moves_the_beginning() {
    let directory = TempDir::new().unwrap();
    let id = group(1);
    let log = open(&directory).group(id);
    append(&log, 0..10);
    durably(|done| log.purge(20, Bytes::from_static(b"20"), done)).unwrap();
    durably(|done| log.purge(5, Bytes::from_static(b"5"), done)).unwrap();
    let bounds = log.bounds().unwrap();
    assert_eq!(
        (bounds.purged.as_deref(), bounds.first_index, bounds.last),
        (Some(b"20".as_slice()), 21, None)
    );
    assert!(matches!(
        log.append(log_entries(id, 10..11), done().0),
        Err(Error::Gap { expected: 21, .. })
    ));
    append(&log, 21..24);
    drop(log);
    let log = open(&directory).group(id);
    assert_eq!(indexes(&read_all(&log)), [21, 22, 23]);
    assert_eq!(log.bounds().unwrap().first_index, 21);
}

#[test]
fn groups_do_not_see_each_other() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let ids = [group(0), group(1), group(255), group(256), group(u64::MAX)];
    for id in ids {
        append(&db.group(id), 0..4);
    }
    durably(|done| db.group(ids[1]).truncate_after(Some(0), done)).unwrap();
    durably(|done| db.group(ids[2]).purge(1, Bytes::new(), done)).unwrap();
    durably(|done| {
        db.drop_group(ids[3], done);
        Ok(())
    })
    .unwrap();
    drop(db);
    let db = open(&directory);
    assert_eq!(db.groups().unwrap(), [ids[0], ids[1], ids[2], ids[4]]);
    assert_eq!(read_all(&db.group(ids[0])), log_entries(ids[0], 0..4));
    assert_eq!(read_all(&db.group(ids[1])), log_entries(ids[1], 0..1));
    assert_eq!(read_all(&db.group(ids[2])), log_entries(ids[2], 2..4));
    assert!(read_all(&db.group(ids[3])).is_empty());
    assert_eq!(read_all(&db.group(ids[4])), log_entries(ids[4], 0..4));
}

#[test]
fn a_dropped_group_may_be_written_anew() {
    let directory = TempDir::new().unwrap();
    let db = open(&directory);
    let log = db.group(group(1));
    append(&log, 0..5);
    log.save_committed(Bytes::from_static(b"old")).unwrap();
    let (gone, outcome) = done();
    db.drop_group(log.id(), gone);
    log.append(log_entries(log.id(), 2..4), done().0).unwrap();
    outcome.recv().unwrap().unwrap();
    drop((log, db));
    let log = open(&directory).group(group(1));
    assert_eq!(indexes(&read_all(&log)), [2, 3]);
    assert_eq!((log.vote().unwrap(), log.committed().unwrap()), (None, None));
}

#[test]
fn readers_never_see_a_hole_or_a_mixture_while_the_log_is_rewritten_and_purged() {
    const ROUNDS: u64 = 60;
    let directory = TempDir::new().unwrap();
    // Nothing durable stays in memory, so that readers join what is on disk with what is not yet there.
    let config = RaftDbConfig {
        tail_bytes_max: 0,
        ..RaftDbConfig::default()
    };
    let db = RaftDb::open(directory.path(), config).unwrap();
    let log = db.group(group(1));
    let entry = |round: u64, index| LogEntry {
        index,
        bytes: Bytes::copy_from_slice(&round.to_be_bytes()),
    };
    let finished = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    let mut reads = 0u64;
                    while !finished.load(std::sync::atomic::Ordering::Acquire) {
                        let entries = log.read(0..u64::MAX, usize::MAX).unwrap();
                        assert!(
                            entries.windows(2).all(|pair| pair[0].index + 1 == pair[1].index),
                            "a hole"
                        );
                        // Later rounds rewrite the end of the log, so the round never falls along it.
                        assert!(entries.is_sorted_by_key(|entry| entry.bytes.clone()), "a mixture");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for round in 0..ROUNDS {
            let start = round * 3;
            log.truncate_after(start.checked_sub(1), done().0).unwrap();
            for index in start..start + 10 {
                log.append(vec![entry(round, index)], done().0).unwrap();
            }
            let through = start.saturating_sub(20);
            durably(|done| log.purge(through, Bytes::new(), done)).unwrap();
        }
        finished.store(true, std::sync::atomic::Ordering::Release);
        let reads: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(reads > ROUNDS, "{reads} reads");
    });
}
