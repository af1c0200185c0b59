//! Flipped bits in the heads of records at the end of a write-ahead log, which look like a crash but are none.

use std::fs;
use std::path::PathBuf;

use covey_state::GroupId;
use covey_storage::{Error, RaftDb, RaftDbConfig};
use tempfile::TempDir;

use crate::sample::{durably, log_entries};

const ID: GroupId = GroupId::new(1);
/// Checksum, length and type come before the bytes of a record.
const LENGTH_AT: usize = 4;
const TYPE_AT: usize = 6;

fn open(directory: &TempDir) -> Result<RaftDb, Error> {
    RaftDb::open(directory.path(), RaftDbConfig::default())
}

/// A log of three synced jobs; gives the file and where in it the last record begins.
fn written(directory: &TempDir) -> (PathBuf, usize) {
    let db = open(directory).unwrap();
    let mut begins = 0;
    let files = || {
        fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let file = files()
        .find(|path| path.extension().is_some_and(|ending| ending == "log"))
        .unwrap();
    for job in 0..3 {
        begins = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
        durably(|done| db.group(ID).append(log_entries(ID, job * 2..job * 2 + 2), done)).unwrap();
    }
    (file, begins)
}

fn flip(file: &PathBuf, at: usize, bit: u32) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_the_length_of_the_last_record_is_not_taken_for_a_torn_tail() {
    for at in [LENGTH_AT, LENGTH_AT + 1] {
        for bit in 0..8 {
            let directory = TempDir::new().unwrap();
            let (file, begins) = written(&directory);
            flip(&file, begins + at, bit);
            let error = open(&directory).err().unwrap();
            assert!(error.is_corruption(), "byte {at}, bit {bit}: {error}");
            assert!(
                error.to_string().contains(&*directory.path().to_string_lossy()),
                "{error}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_in_the_type_of_a_record_is_refused_and_not_read_for_ever() {
    for bit in 0..8 {
        let directory = TempDir::new().unwrap();
        let (file, begins) = written(&directory);
        flip(&file, begins + TYPE_AT, bit);
        let error = open(&directory).err().unwrap();
        assert!(error.is_corruption(), "bit {bit}: {error}");
    }
}
