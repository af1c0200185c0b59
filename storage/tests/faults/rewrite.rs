//! Rewrites of the state interrupted at every step: after the next start everything is there, and it is done.

use covey_state::GroupId;
use covey_storage::{Error, StateDb, StateDbConfig};
use fail::FailScenario;
use tempfile::TempDir;

use crate::sample::{apply, contents, puts};

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
        for rest in ["rewrite", "rewriting", "db.new", "db.old"] {
            assert!(!directory.path().join(rest).exists(), "{point}: {rest}");
        }
    }
}
