//! What a search does with each answer, told by a call whose answers are written down. Finding a leader among real nodes is
//! tested from outside the crate.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use covey_storage as storage;
use covey_storage::{GroupBatch, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::host::Stores;
use crate::identity::Identity;
use crate::machine::{LogPosition, StateMachine};

const GROUP: GroupId = GroupId::new(3);
const PATIENCE: Duration = Duration::from_secs(5);

struct NothingToDo;

impl StateMachine for NothingToDo {
    fn apply(&self, _: LogPosition, _: &[u8], _: &mut GroupBatch) -> Result<Bytes, storage::Error> {
        Ok(Bytes::new())
    }
}

/// A call that the other node answers so, one answer after the other; after the last it has no replica of the group.
struct Answers(Mutex<VecDeque<Outcome<u64>>>);

impl Answers {
    fn of(answers: impl IntoIterator<Item = Outcome<u64>>) -> Self {
        Self(Mutex::new(answers.into_iter().collect()))
    }

    fn next(&self) -> Option<Outcome<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl LeaderCall for Answers {
    type Answer = u64;

    const NAME: &'static str = "a test's call";

    fn patience(&self, _: &HostConfig) -> Duration {
        PATIENCE
    }

    async fn here(&self, _: Arc<Replica>, _: Instant) -> Outcome<u64> {
        Outcome::NotHosted
    }

    async fn there(&self, _: &Transport, _: NodeId, _: Instant) -> Outcome<u64> {
        self.next().unwrap_or(Outcome::NotHosted)
    }
}

/// A node that hosts nothing and knows one other, and where it keeps that.
fn node() -> (TempDir, Inner) {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores {
        raftdb: RaftDb::open(&dir.path().join("raft"), RaftDbConfig::default()).unwrap(),
        statedb: StateDb::open(&dir.path().join("state"), StateDbConfig::default()).unwrap(),
        snapshot_dir: dir.path().join("snapshots"),
    };
    let identity = Identity {
        cluster: Uuid::from_u128(1),
        node: NodeId::new(1),
        incarnation: 1,
    };
    let inner = Inner::new(HostConfig::default(), identity, stores, Arc::new(NothingToDo)).unwrap();
    inner.transport.heard_of(&Peer {
        node: NodeId::new(2),
        peer_addr: "127.0.0.1:1".to_owned(),
        api_addr: "127.0.0.1:2".to_owned(),
    });
    (dir, inner)
}

fn full() -> Outcome<u64> {
    Outcome::Busy(Busy {
        queue: "a test's queue".into(),
        limit: 1,
        retry_after: Duration::from_millis(10),
    })
}

async fn lead_to_the_end(call: &Answers) -> Result<u64, Error> {
    let (_dir, inner) = node();
    lead(&inner, GROUP, call, Instant::now() + Duration::from_secs(60)).await
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_the_answer_when_nothing_was_tried_before() {
    let call = Answers::of([full(), Outcome::Done(7)]);
    let answer = lead_to_the_end(&call).await;
    assert!(
        matches!(answer, Err(Error::Overloaded { limit: 1, .. })),
        "{answer:?}"
    );
    assert!(call.next().is_some(), "nobody was asked again");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_after_a_try_without_an_answer_is_not_taken_for_a_refusal() {
    let unanswered = Outcome::Unavailable("no answer".to_owned());
    let call = Answers::of([unanswered, full(), Outcome::Done(7)]);
    assert_eq!(lead_to_the_end(&call).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_after_a_try_without_an_answer_is_not_taken_for_a_refusal() {
    let unanswered = Outcome::Unavailable("no answer".to_owned());
    let (by, limit) = (Duration::from_secs(60), Duration::from_secs(10));
    let call = Answers::of([unanswered, Outcome::Ahead(Ahead { by, limit }), Outcome::Done(7)]);
    assert_eq!(lead_to_the_end(&call).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_may_have_been_carried_out_ends_as_unknown_and_names_the_obstacle() {
    let unanswered = Outcome::Unavailable("no answer".to_owned());
    let answer = lead_to_the_end(&Answers::of([unanswered])).await;
    let Err(Error::Deadline { obstacle, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert!(obstacle.contains("has no running replica"), "{obstacle}");
}
