//! Writes: from any node, through restarts.

use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{Error, SlotMap, slot_of};
use covey_state::GroupId;
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, HOLD, TOMORROW, config, deadline, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_from_any_node_is_applied_on_every_node_in_one_order() {
    let cluster = Cluster::voting(3, config()).await;
    for (number, node) in cluster.nodes.iter().enumerate() {
        let committed = node.put("a", number as u64).await;
        let before = number
            .checked_sub(1)
            .map_or("none".to_owned(), |before| before.to_string());
        assert_eq!(committed.answer, Bytes::from(before));
        assert_eq!(committed.position.group, GROUP);
    }
    for node in &cluster.nodes {
        eventually("the last write everywhere", || {
            (node.number("a") == Some(2)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_restart_of_every_node() {
    let mut cluster = Cluster::voting(3, config()).await;
    for number in 0..20 {
        cluster.nodes[number % 3]
            .put(&format!("k{number}"), number as u64)
            .await;
    }
    for node in &mut cluster.nodes {
        node.stop().await;
    }
    for node in &mut cluster.nodes {
        node.start().await;
    }
    cluster.introduce();
    for number in 0..20 {
        assert_eq!(
            cluster.nodes[(number + 1) % 3].read(&format!("k{number}")).await,
            Some(number as u64)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_without_one_node_and_that_node_catches_up() {
    let mut cluster = Cluster::voting(3, config()).await;
    cluster.nodes[0].put("before", 1).await;
    let lost = cluster.leader().await;
    cluster.nodes[lost].stop().await;
    let other = cluster.leader().await;
    cluster.nodes[other].put("meanwhile", 2).await;
    cluster.nodes[lost].start().await;
    cluster.introduce();
    assert_eq!(cluster.nodes[lost].read("before").await, Some(1));
    assert_eq!(cluster.nodes[lost].read("meanwhile").await, Some(2));
    cluster.nodes[lost].put("after", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_replica_writes_to_the_groups_of_others() {
    let cluster = Cluster::of(3, config()).await;
    let group = SlotMap::new(4).unwrap().group_of(slot_of(b"entity"));
    cluster.nodes[0]
        .host()
        .bootstrap_group(group, vec![cluster.nodes[0].peer.clone()])
        .await
        .unwrap();
    let entry = Bytes::from_static(b"a=1");
    let committed = cluster.nodes[2]
        .host()
        .propose(group, entry, deadline())
        .await
        .unwrap();
    assert_eq!(committed.position.group, group);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_a_group_that_nobody_has_fails_at_its_deadline_and_says_why() {
    let cluster = Cluster::of(1, config()).await;
    let soon = Instant::now() + Duration::from_millis(200);
    let error = cluster.nodes[0]
        .host()
        .propose(GroupId::new(9), Bytes::from_static(b"a=1"), soon)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("no running replica"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_groups_share_one_host_and_many_writers_share_their_batches() {
    let cluster = Cluster::of(1, config()).await;
    let host = cluster.nodes[0].host();
    let groups: Vec<GroupId> = (1..=8).map(GroupId::new).collect();
    for group in &groups {
        host.bootstrap_group(*group, vec![cluster.nodes[0].peer.clone()])
            .await
            .unwrap();
    }
    let writes = groups.iter().flat_map(|group| {
        (0..25)
            .map(move |number| host.propose(*group, Bytes::from(format!("k{number}={number}")), deadline()))
    });
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(host.groups().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_no_message_could_carry_is_refused() {
    let cluster = Cluster::voting(1, config()).await;
    let huge = Bytes::from(vec![b'0'; config().entry_bytes_max + 1]);
    let error = cluster.nodes[0]
        .host()
        .propose(GROUP, huge, deadline())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_refuses_an_entry_of_tomorrow_wherever_it_comes_from_and_goes_on() {
    let cluster = Cluster::voting(3, config()).await;
    let leader = cluster.leader().await;
    for node in &cluster.nodes {
        let entry = Bytes::from_static(b"tomorrow=1");
        let error = node.host().propose(GROUP, entry, deadline()).await.unwrap_err();
        let Error::ClockAhead {
            node: from,
            leader: to,
            ahead,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((from, to), (&node.peer.node, &cluster.nodes[leader].peer.node));
        assert_eq!(ahead.by, TOMORROW);
        assert!(error.to_string().contains("86400.0 s ahead"), "{error}");
        node.put("today", 2).await;
    }
    assert_eq!(cluster.nodes[leader].read("tomorrow").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_leader_that_is_alive_is_not_asked_to_do_it_again() {
    let cluster = Cluster::voting(3, config()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let first = cluster.nodes[leader].put("first", 1).await.position.index;
    for at in [leader, follower] {
        let held = HOLD.lock().await;
        let mut slow = std::pin::pin!(cluster.nodes[at].put("held", 1));
        // Three times as long as a leader may be silent.
        let waited = tokio::time::timeout(3 * config().election_max, &mut slow).await;
        assert!(waited.is_err(), "it was answered before it was applied");
        drop(held);
        slow.await;
    }
    let last = cluster.nodes[leader].put("last", 1).await.position.index;
    assert_eq!(last, first + 3, "each stands in the log once");
}
