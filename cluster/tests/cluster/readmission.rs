//! A group that moves off a node and back: what is old in its log must not be acted upon.

use bytes::Bytes;
use covey_cluster::{Error, HostConfig, Probation, Role, Wipe};
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, TestNode, config, deadline, eventually, ids};

/// Entries that were written while the node that comes back was the only voter.
const OLD_ENTRIES: u64 = 300;

/// One entry at a time, all of them, never a snapshot: the newcomer passes through every old membership.
fn slowly() -> HostConfig {
    HostConfig {
        append_entries_max: 1,
        append_window: 1,
        snapshot_every: 100_000,
        lag_max: 200_000,
        ..config()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_the_only_voter_once_does_not_elect_itself_when_it_is_readmitted() {
    let cluster = Cluster::of(3, slowly()).await;
    let [first, second, third] = [0, 1, 2].map(|place| &cluster.nodes[place]);
    let founder = vec![second.peer.clone()];
    second.host().bootstrap_group(GROUP, founder).await.unwrap();
    let old = (0..OLD_ENTRIES).map(|number| second.put("old", number));
    futures::future::join_all(old).await;

    // The group moves to the others, and the node forgets it.
    for node in [first, third] {
        node.host().open_group(GROUP).await.unwrap();
        second
            .host()
            .add_learner(GROUP, node.peer.clone(), deadline())
            .await
            .unwrap();
    }
    let others = ids([1, 3]);
    first
        .host()
        .change_voters(GROUP, others, false, deadline())
        .await
        .unwrap();
    second.host().close_group(GROUP, Wipe::Erase).await.unwrap();
    let leader = eventually("a leader among the others", || {
        [first, third]
            .into_iter()
            .find(|node| node.status().role == Role::Leader)
    })
    .await;
    leader.put("new", 1).await;
    let before = leader.status();

    // It comes back, slowly, through the time in which it was alone.
    let probation = Probation {
        term: before.term,
        index: before.last_log_index.unwrap(),
    };
    second.host().admit_group(GROUP, probation).await.unwrap();
    leader
        .host()
        .admit_learner(GROUP, second.peer.clone(), probation)
        .await
        .unwrap();
    eventually("the newcomer has everything", || second.number("new")).await;
    assert_eq!(leader.status().term, before.term, "somebody campaigned");
    assert_eq!(second.status().role, Role::Learner);

    // From now on it is a member like any other.
    leader
        .host()
        .change_voters(GROUP, ids([1, 2, 3]), true, deadline())
        .await
        .unwrap();
    leader
        .host()
        .transfer_leader(GROUP, second.peer.node, deadline())
        .await
        .unwrap();
    second.put("new", 2).await;
    assert_eq!(first.read("new").await, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_group_has_no_leader_before_it_is_begun_not_even_after_a_restart() {
    let mut cluster = Cluster::of(1, config()).await;
    let prepare = async |node: &TestNode| {
        node.host()
            .admit_group(GROUP, Probation::UNTIL_TOLD)
            .await
            .unwrap();
    };
    let begin = async |node: &TestNode| {
        let members = vec![node.peer.clone()];
        node.host().begin_prepared_group(GROUP, members).await.unwrap();
    };
    prepare(&cluster.nodes[0]).await;
    let refused = async |node: &TestNode| {
        // Longer than several elections would take.
        let soon = Instant::now() + 4 * config().election_max;
        let error = node
            .host()
            .propose(GROUP, Bytes::from_static(b"early=1"), soon)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(node.host().is_prepared(GROUP));
    };
    refused(&cluster.nodes[0]).await;
    cluster.nodes[0].stop().await;
    cluster.nodes[0].start().await;
    refused(&cluster.nodes[0]).await;

    // Repeating it changes nothing; once it is begun it stays so.
    prepare(&cluster.nodes[0]).await;
    begin(&cluster.nodes[0]).await;
    cluster.nodes[0].put("late", 1).await;
    cluster.nodes[0].stop().await;
    cluster.nodes[0].start().await;
    prepare(&cluster.nodes[0]).await;
    begin(&cluster.nodes[0]).await;
    assert!(!cluster.nodes[0].host().is_prepared(GROUP));
    assert_eq!(cluster.nodes[0].read("late").await, Some(1));
    assert_eq!(cluster.nodes[0].read("early").await, None);
}
