//! Rewrites of the state and of the logs interrupted at every step: after the next start everything is there, and it is done.

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{Error, LogEntry, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use fail::FailScenario;
use tempfile::TempDir;

use crate::sample::{apply, contents, durably, puts};

const GROUPS: [GroupId; 2] = [GroupId::new(5), GroupId::new(6)];
const STEPS: [&str; 3] = ["rewrite::made", "rewrite::moved_aside", "rewrite::moved"];

fn open(directory: &TempDir) -> Result<StateDb, Error> {
    StateDb::open(directory.path(), StateDbConfig::default())
}

#[test]
fn a_rewrite_that_is_cut_off_at_any_step_loses_nothing_and_is_done_by_the_next_start() {
    for point in STEPS {
        let directory = TempDir::new().unwrap();
        let expected = {
            let db = open(&directory).unwrap();
            for (seed, group) in (1..).zip(GROUPS) {
                apply(&db.group(group), puts(seed, 30), "applied");
            }
            db.rewrite_at_next_start().unwrap();
            GROUPS.map(|group| contents(&db.group(group).read()).unwrap())
        };
        let scenario = FailScenario::setup();
        fail::cfg(point, "1*return").unwrap();
        let failure = open(&directory).err();
        assert!(
            matches!(failure, Some(Error::Injected(at)) if at == point),
            "{point}: {failure:?}"
        );
        scenario.teardown();
        let db = open(&directory).unwrap();
        let found = GROUPS.map(|group| contents(&db.group(group).read()).unwrap());
        assert!(found == expected, "{point}");
        for rest in ["db.rewrite", "db.rewriting", "db.new", "db.old"] {
            assert!(!directory.path().join(rest).exists(), "{point}: {rest}");
        }
    }
}

#[test]
fn a_rewrite_of_the_logs_that_is_cut_off_at_any_step_loses_nothing_and_is_done_by_the_next_start() {
    for point in STEPS {
        let home = TempDir::new().unwrap();
        let open = || RaftDb::open(&home.path().join("raft"), RaftDbConfig::default());
        let entries: Vec<LogEntry> = (0..30)
            .map(|index| LogEntry {
                index,
                bytes: Bytes::from(format!("entry {index}")),
            })
            .collect();
        {
            let db = open().unwrap();
            for group in GROUPS {
                durably(|done| db.group(group).save_vote(Bytes::from_static(b"vote"), done)).unwrap();
                durably(|done| db.group(group).append(entries.clone(), done)).unwrap();
            }
            db.rewrite_at_next_start().unwrap();
        }
        let scenario = FailScenario::setup();
        fail::cfg(point, "1*return").unwrap();
        let failure = open().err();
        assert!(
            matches!(failure, Some(Error::Injected(at)) if at == point),
            "{point}: {failure:?}"
        );
        scenario.teardown();
        let db = open().unwrap();
        for group in GROUPS {
            let log = db.group(group);
            assert_eq!(log.read(0..u64::MAX, usize::MAX).unwrap(), entries, "{point}");
            assert_eq!(log.vote().unwrap().as_deref(), Some(&b"vote"[..]), "{point}");
        }
        for rest in ["raft.rewrite", "raft.new", "raft.old"] {
            assert!(!home.path().join(rest).exists(), "{point}: {rest}");
        }
    }
}
