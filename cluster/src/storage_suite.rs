//! The consensus library's own storage suite, over the stores that every group runs on.

use std::sync::Arc;

use bytes::Bytes;
use covey_state::{GroupId, NodeId};
use covey_storage as storage;
use covey_storage::{GroupBatch, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::config::HostConfig;
use crate::consensus::TypeConfig;
use crate::damage::Damage;
use crate::flush::StateFlush;
use crate::log_store::LogStore;
use crate::machine::{LogPosition, StateMachine};
use crate::metrics::HostMetrics;
use crate::snapshot::SnapshotStore;
use crate::state_store::{StateParts, StateStore};

struct NothingToDo;

impl StateMachine for NothingToDo {
    fn apply(&self, _: LogPosition, _: &[u8], _: &mut GroupBatch) -> Result<Bytes, storage::Error> {
        Ok(Bytes::new())
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateStore), StorageError<TypeConfig>> {
        let group = GroupId::new(3);
        let dir = tempfile::tempdir().unwrap();
        let raftdb = RaftDb::open(&dir.path().join("raft"), RaftDbConfig::default()).unwrap();
        let statedb = StateDb::open(&dir.path().join("state"), StateDbConfig::default()).unwrap();
        let config = Arc::new(HostConfig::default());
        let flush = StateFlush::new(statedb.clone());
        let state = StateStore::open(StateParts {
            node: NodeId::new(1),
            state: statedb.group(group),
            machine: Arc::new(NothingToDo),
            snapshots: Arc::new(SnapshotStore::open(&dir.path().join("snapshots"), group).unwrap()),
            flush: flush.clone(),
            marks: Arc::default(),
            damage: Damage::default(),
            config: Arc::clone(&config),
            metrics: HostMetrics::new(None).unwrap(),
        });
        let log = LogStore::new(
            raftdb.group(group),
            flush,
            Damage::default(),
            config.append_bytes_max,
        );
        Ok((dir, log, state.unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_pass_the_suite_of_the_consensus_library() {
    Suite::test_all(Builder).await.unwrap();
}
