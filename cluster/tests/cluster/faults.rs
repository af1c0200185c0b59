//! Faults: they stop what they must and nothing else, and a wrong peer is turned away.

use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{Consistency, Error, Role};
use covey_state::{GroupId, NodeId};
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, config, deadline, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_stops_one_group_on_one_node_and_the_rest_go_on() {
    let cluster = Cluster::voting(3, config()).await;
    let other = GroupId::new(2);
    let (first, rest) = cluster.nodes.split_first().unwrap();
    rest[0].host().open_group(other).await.unwrap();
    rest[1].host().open_group(other).await.unwrap();
    let peers = cluster.nodes.iter().map(|node| node.peer.clone()).collect();
    first.host().bootstrap_group(other, peers).await.unwrap();

    first.put("fault on n2", 1).await;
    let broken = &cluster.nodes[1];
    let status = eventually("the fault shows", || {
        Some(broken.status()).filter(|status| status.fault.is_some())
    })
    .await;
    assert_eq!(status.role, Role::Stopped);
    assert!(status.fault.unwrap().contains("a test's fault"));
    let read = broken.host().read(GROUP, Consistency::Local, deadline()).await;
    assert!(matches!(read, Err(Error::Stopped { .. })), "{read:?}");

    assert_eq!(
        broken.put("a", 1).await.answer,
        "none",
        "the others still lead the group"
    );
    broken
        .host()
        .propose(other, Bytes::from_static(b"a=1"), deadline())
        .await
        .unwrap();
    broken
        .host()
        .read(other, Consistency::Linearizable, deadline())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_refused_by_name() {
    let ours = Cluster::of(1, config()).await;
    let theirs = Cluster::voting(1, config()).await;
    // The address of node 2 has gone to a node of another cluster, which has the same group.
    let mut peer = theirs.nodes[0].peer.clone();
    peer.node = NodeId::new(2);
    let host = ours.nodes[0].host();
    host.knows(peer).unwrap();
    let soon = Instant::now() + Duration::from_secs(2);
    let error = host
        .propose(GROUP, Bytes::from_static(b"a=1"), soon)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert_eq!(theirs.nodes[0].number("a"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_at_the_address_of_a_stranger_never_gets_an_entry() {
    let ours = Cluster::voting(1, config()).await;
    let theirs = Cluster::of(1, config()).await;
    theirs.nodes[0].host().open_group(GROUP).await.unwrap();
    let mut peer = theirs.nodes[0].peer.clone();
    peer.node = NodeId::new(2);
    ours.nodes[0]
        .host()
        .add_learner(GROUP, peer, deadline())
        .await
        .unwrap();
    ours.nodes[0].put("a", 1).await;
    let soon = Instant::now() + Duration::from_secs(2);
    let promoted = ours.nodes[0]
        .host()
        .change_voters(GROUP, crate::harness::ids([1, 2]), true, soon)
        .await
        .unwrap_err();
    assert!(matches!(promoted, Error::Deadline { .. }), "{promoted}");
    assert_eq!(theirs.nodes[0].number("a"), None);
    assert_eq!(theirs.nodes[0].status().last_log_index, None);
}
