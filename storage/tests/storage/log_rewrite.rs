//! A damaged log database is written anew, without the damage and with everything else.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{LogEntry, RaftDb, RaftDbConfig};
use tempfile::TempDir;

use crate::corruption::{files_ending, flip_where};
use crate::sample::{durably, noise};

const ID: GroupId = GroupId::new(2);
const NEIGHBOUR: GroupId = GroupId::new(3);
/// Larger than a block of a table, so that every value has a block to itself.
const LARGE: usize = 20_000;

/// Logs of two groups in tables, one of them damaged. Small memtables, so that tables are soon compacted.
fn damaged_log(home: &TempDir) -> (PathBuf, RaftDbConfig) {
    let path = home.path().join("raft");
    let config = RaftDbConfig {
        memtable_bytes: 64 << 10,
        ..RaftDbConfig::default()
    };
    {
        let db = RaftDb::open(&path, config.clone()).unwrap();
        for id in [ID, NEIGHBOUR] {
            durably(|done| db.group(id).save_vote(Bytes::from_static(b"vote"), done)).unwrap();
            let large = |index| LogEntry {
                index,
                bytes: noise(id, index, LARGE),
            };
            durably(|done| db.group(id).append((0..5).map(large).collect(), done)).unwrap();
        }
    }
    // Opening moves what the write-ahead log holds into a table.
    drop(RaftDb::open(&path, config.clone()).unwrap());
    flip_where(&files_ending(&path, ".sst"), &noise(ID, 3, LARGE)[100..140]);
    (path, config)
}

/// Whether a part of the damaged entry is still in some file.
fn has_damage(path: &Path) -> bool {
    let needle = noise(ID, 3, LARGE)[200..240].to_vec();
    files_ending(path, ".sst").iter().any(|table| {
        let bytes = fs::read(table).unwrap();
        bytes.windows(needle.len()).any(|window| *window == needle[..])
    })
}

#[test]
fn a_damaged_block_that_a_compaction_meets_stops_the_log_and_the_next_start_writes_it_anew() {
    let home = TempDir::new().unwrap();
    let (path, config) = damaged_log(&home);
    let mut written = 5;
    {
        let db = RaftDb::open(&path, config.clone()).unwrap();
        durably(|done| {
            db.drop_group(ID, done);
            Ok(())
        })
        .unwrap();
        let append = |index| {
            let bytes = noise(NEIGHBOUR, index, LARGE);
            durably(|done| db.group(NEIGHBOUR).append(vec![LogEntry { index, bytes }], done))
        };
        let failure = (5..5_000).find_map(|index| {
            written = index;
            append(index).err()
        });
        assert!(failure.unwrap().is_corruption());
        assert!(db.failure().unwrap().is_corruption());
    }
    assert!(has_damage(&path));
    let db = RaftDb::open(&path, config).unwrap();
    assert!(!has_damage(&path), "the damaged block is in no file any more");
    assert!(db.failure().is_none());
    assert_eq!(db.groups().unwrap(), [NEIGHBOUR]);
    let kept = db.group(NEIGHBOUR);
    assert_eq!(kept.vote().unwrap().as_deref(), Some(&b"vote"[..]));
    let entries = kept.read(0..u64::MAX, usize::MAX).unwrap();
    assert!(entries.len() as u64 >= written, "{} of {written}", entries.len());
    for entry in entries {
        assert_eq!(entry.bytes, noise(NEIGHBOUR, entry.index, LARGE));
    }
    assert!(
        !home.path().join("raft.rewrite").exists(),
        "it is not rewritten again"
    );
}

#[test]
fn a_log_that_is_damaged_when_the_database_is_rewritten_does_not_pass_for_one_that_never_voted() {
    let home = TempDir::new().unwrap();
    let (path, config) = damaged_log(&home);
    RaftDb::open(&path, config.clone())
        .unwrap()
        .rewrite_at_next_start()
        .unwrap();
    for _ in 0..2 {
        let db = RaftDb::open(&path, config.clone()).unwrap();
        assert!(!has_damage(&path));
        assert_eq!(db.groups().unwrap(), [ID, NEIGHBOUR]);
        let error = db.group(ID).vote().unwrap_err();
        assert!(error.is_corruption(), "{error}");
        assert!(error.to_string().contains("log entry 3 of group g2"), "{error}");
        assert_eq!(db.group(NEIGHBOUR).read(0..9, usize::MAX).unwrap().len(), 5);
    }
    let db = RaftDb::open(&path, config).unwrap();
    durably(|done| {
        db.drop_group(ID, done);
        Ok(())
    })
    .unwrap();
    assert_eq!(db.group(ID).vote().unwrap(), None, "it may begin anew");
}
