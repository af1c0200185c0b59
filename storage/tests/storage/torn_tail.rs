//! Write-ahead logs that end too early, as after a crash in the midst of a write.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use covey_state::{Change, GroupId, Key, Record, View};
use covey_storage::{RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use tempfile::TempDir;

use crate::sample::{contents, durably, log_entries};

const ID: GroupId = GroupId::new(1);
const JOBS: u64 = 20;

/// The write-ahead log in a directory that holds one.
fn write_ahead_log(directory: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Cuts bytes off the end of a file.
fn cut(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(bytes)).unwrap();
}

#[test]
fn a_torn_record_at_the_end_of_the_log_is_dropped_as_a_whole() {
    // A job is a little over 600 bytes: the cuts hit its end, its middle, and the job before it.
    for bytes in [1, 3, 100, 400, 700, 1000] {
        let directory = TempDir::new().unwrap();
        {
            let log = RaftDb::open(directory.path(), RaftDbConfig::default())
                .unwrap()
                .group(ID);
            for job in 0..JOBS {
                durably(|done| log.append(log_entries(ID, job * 5..job * 5 + 5), done)).unwrap();
            }
        }
        cut(&write_ahead_log(directory.path()), bytes);
        let log = RaftDb::open(directory.path(), RaftDbConfig::default())
            .unwrap()
            .group(ID);
        let lost = bytes.div_ceil(650);
        assert_eq!(
            log.read(0..u64::MAX, usize::MAX).unwrap(),
            log_entries(ID, 0..(JOBS - lost) * 5),
            "{bytes}"
        );
        durably(|done| log.append(log_entries(ID, (JOBS - lost) * 5..JOBS * 5), done)).unwrap();
    }
}

/// The state after a number of batches, which each touch three tables.
fn changes(batch: u64) -> Vec<Change> {
    let mut changes = crate::sample::puts(batch, 2);
    changes.push(Change::Put(Key::Job("counter".to_owned()), Record::Number(batch)));
    changes
}

#[test]
fn whatever_a_power_loss_takes_the_state_is_the_one_its_marker_names() {
    for bytes in (0..4000).step_by(173) {
        let directory = TempDir::new().unwrap();
        {
            let db = StateDb::open(directory.path(), StateDbConfig::default()).unwrap();
            for number in 1..=JOBS {
                let mut batch = db.group(ID).batch();
                changes(number).into_iter().for_each(|change| batch.stage(change));
                batch
                    .commit(Bytes::copy_from_slice(&number.to_be_bytes()))
                    .unwrap();
            }
        }
        cut(&write_ahead_log(&directory.path().join("db")), bytes);
        let group = StateDb::open(directory.path(), StateDbConfig::default())
            .unwrap()
            .group(ID);
        let applied = group.applied().unwrap().map_or(0, |marker| {
            marker.as_ref().try_into().map(u64::from_be_bytes).unwrap()
        });
        assert!(
            applied <= JOBS && (bytes > 0 || applied == JOBS),
            "{applied} batches after losing {bytes} bytes"
        );
        let mut expected = covey_state::MemoryView::default();
        (1..=applied)
            .flat_map(changes)
            .for_each(|change| expected.apply(change));
        let found = contents(&group.read()).unwrap();
        assert!(found.iter().eq(expected.entries()), "after losing {bytes} bytes");
        let counter = group.read().get(&Key::Job("counter".to_owned())).unwrap();
        assert_eq!(counter, (applied > 0).then_some(Record::Number(applied)));
    }
}
