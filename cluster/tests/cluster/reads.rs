//! Reads: what each promise means on a follower.

use std::time::Duration;

use covey_cluster::{Consistency, Error};
use covey_state::GroupId;
use futures::FutureExt as _;

use crate::harness::{Cluster, GROUP, config, deadline, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_linearizable_read_on_a_follower_sees_the_last_write() {
    let cluster = Cluster::voting(3, config()).await;
    let follower = cluster.follower().await;
    for number in 0..30 {
        cluster.nodes[number % 3].put("a", number as u64).await;
        assert_eq!(cluster.nodes[follower].read("a").await, Some(number as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_with_a_token_sees_its_own_write() {
    let cluster = Cluster::voting(3, config()).await;
    let follower = cluster.follower().await;
    let leader = cluster.leader().await;
    let committed = cluster.nodes[leader].put("a", 7).await;
    let token = Consistency::AtLeast(committed.position.index);
    let point = cluster.nodes[follower]
        .host()
        .read(GROUP, token, deadline())
        .await
        .unwrap();
    assert!(point.index >= committed.position.index);
    assert_eq!(cluster.nodes[follower].number("a"), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_read_on_a_follower_becomes_local_once_the_leader_was_heard() {
    let cluster = Cluster::voting(3, config()).await;
    let follower = &cluster.nodes[cluster.follower().await];
    let bound = Duration::from_secs(5);
    let mut rounds = 0;
    let point = loop {
        let point = follower
            .host()
            .read(GROUP, Consistency::Bounded(bound), deadline())
            .await
            .unwrap();
        assert!(point.staleness <= bound);
        // A read that had to ask the leader is as fresh as can be; a local one knows its age.
        if point.staleness > Duration::ZERO {
            break point;
        }
        rounds += 1;
        assert!(rounds < 100_000, "heartbeats never proved freshness");
        tokio::task::yield_now().await;
    };
    assert!(point.staleness < bound);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_reads_are_answered_together() {
    let cluster = Cluster::voting(3, config()).await;
    let follower = &cluster.nodes[cluster.follower().await];
    cluster.nodes[0].put("a", 1).await;
    let reads = (0..500).map(|_| follower.host().read(GROUP, Consistency::Linearizable, deadline()));
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
    assert_eq!(follower.number("a"), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_where_there_is_no_replica_says_so() {
    let cluster = Cluster::of(1, config()).await;
    let read = cluster.nodes[0]
        .host()
        .read(GroupId::new(9), Consistency::Local, deadline())
        .await;
    assert!(matches!(read, Err(Error::NotHosted { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_applied_index_can_be_followed() {
    let cluster = Cluster::voting(1, config()).await;
    let mut applied = cluster.nodes[0].host().applied(GROUP).unwrap();
    let committed = cluster.nodes[0].put("a", 1).await;
    applied
        .wait_for(|index| *index >= committed.position.index)
        .await
        .unwrap();
    eventually("the status follows", || {
        (cluster.nodes[0].status().applied_index >= Some(committed.position.index)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_not_filled_yet_does_not_pass_its_emptiness_for_the_state() {
    let cluster = Cluster::of(2, config()).await;
    let [founder, newcomer] = cluster.nodes.as_slice() else {
        panic!("there are two")
    };
    let alone = vec![founder.peer.clone()];
    founder.host().bootstrap_group(GROUP, alone).await.unwrap();
    founder.put("a", 1).await;
    newcomer.host().open_group(GROUP).await.unwrap();
    let local = || newcomer.host().read(GROUP, Consistency::Local, deadline());
    let early = local().await;
    assert!(matches!(early, Err(Error::NotHosted { .. })), "{early:?}");
    let peer = newcomer.peer.clone();
    founder.host().add_learner(GROUP, peer, deadline()).await.unwrap();
    let seen = eventually("the newcomer is filled", || {
        let read = local().now_or_never()?;
        read.is_ok().then(|| newcomer.number("a"))
    });
    assert_eq!(seen.await, Some(1));
}
