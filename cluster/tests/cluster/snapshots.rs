//! Snapshots: for a follower that was away too long, and for a new member.

use std::time::Duration;

use covey_cluster::{HostConfig, Peer};

use crate::harness::{Cluster, GROUP, config, deadline, eventually, ids};
use crate::proxy::Proxy;

/// More entries than any log keeps.
const MANY: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_too_long_gets_a_snapshot() {
    let mut cluster = Cluster::voting(3, config()).await;
    let away = cluster.follower().await;
    cluster.nodes[away].stop().await;
    let leader = cluster.leader().await;
    write_many(&cluster, leader).await;
    cluster.nodes[away].start().await;
    cluster.introduce();
    // It may have been stopped before it had anything on disk.
    cluster.nodes[away].host().open_group(GROUP).await.unwrap();
    eventually("a snapshot on the late follower", || {
        cluster.nodes[away].status().snapshot_index
    })
    .await;
    for number in [0, MANY / 2, MANY - 1] {
        assert_eq!(
            cluster.nodes[away].read(&format!("k{number}")).await,
            Some(number)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_learner_gets_a_snapshot_and_becomes_a_voter() {
    let cluster = Cluster::of(2, config()).await;
    cluster.nodes[0]
        .host()
        .bootstrap_group(GROUP, vec![cluster.nodes[0].peer.clone()])
        .await
        .unwrap();
    cluster.leader().await;
    write_many(&cluster, 0).await;
    let (leader, learner) = (&cluster.nodes[0], &cluster.nodes[1]);
    learner.host().open_group(GROUP).await.unwrap();
    leader
        .host()
        .add_learner(GROUP, learner.peer.clone(), deadline())
        .await
        .unwrap();
    leader
        .host()
        .change_voters(GROUP, ids([1, 2]), true, deadline())
        .await
        .unwrap();
    assert_eq!(learner.read("k0").await, Some(0));
    assert!(learner.status().snapshot_index.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_survives_a_restart() {
    let mut cluster = Cluster::voting(1, config()).await;
    write_many(&cluster, 0).await;
    let taken = cluster.nodes[0].status().snapshot_index;
    cluster.nodes[0].stop().await;
    cluster.nodes[0].start().await;
    eventually("the same snapshot", || {
        (cluster.nodes[0].status().snapshot_index >= taken).then_some(())
    })
    .await;
    assert_eq!(cluster.nodes[0].read("k0").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_written_stops_no_replica() {
    let cluster = Cluster::voting(1, config()).await;
    write_many(&cluster, 0).await;
    let node = &cluster.nodes[0];
    let taken = node.status().snapshot_index;
    // No directory can be made where a file is.
    let place = node.snapshot_dir().join(GROUP.to_string());
    let aside = place.with_extension("aside");
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, b"").unwrap();
    write_many(&cluster, 0).await;
    assert_eq!(node.status().fault, None);
    assert_eq!(node.read("k0").await, Some(0));
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    write_many(&cluster, 0).await;
    eventually("a later snapshot", || {
        (node.status().snapshot_index > taken).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let slow = HostConfig {
        snapshot_bytes_per_second: 10_000,
        snapshot_chunk_bytes: 200,
        ..config()
    };
    let cluster = Cluster::of(2, slow).await;
    let (leader, learner) = (&cluster.nodes[0], &cluster.nodes[1]);
    leader
        .host()
        .bootstrap_group(GROUP, vec![leader.peer.clone()])
        .await
        .unwrap();
    cluster.leader().await;
    write_many(&cluster, 0).await;
    learner.host().open_group(GROUP).await.unwrap();
    let proxy = Proxy::to(learner.peer.peer_addr.clone(), Duration::ZERO).await;
    let peer = Peer {
        peer_addr: proxy.address.clone(),
        ..learner.peer.clone()
    };
    leader.host().knows(peer.clone()).unwrap();
    leader.host().add_learner(GROUP, peer, deadline()).await.unwrap();
    let received = || learner.count("covey_raft_snapshot_received_bytes_total");
    let before = eventually("some chunks", || Some(received()).filter(|bytes| *bytes >= 1_000)).await;
    assert_eq!(learner.status().snapshot_index, None, "the transfer is under way");
    // Writes go on meanwhile.
    leader.put("meanwhile", 1).await;
    proxy.break_all();
    eventually("the snapshot", || learner.status().snapshot_index).await;
    let resumed = learner.count("covey_raft_snapshot_resumed_bytes_total");
    assert!(
        resumed >= before,
        "{resumed} of at least {before} bytes were kept"
    );
    assert_eq!(learner.read("k0").await, Some(0));
    assert_eq!(learner.read("meanwhile").await, Some(1));
}

/// Writes until the log of the leader no longer begins at its beginning.
async fn write_many(cluster: &Cluster, leader: usize) {
    let host = cluster.nodes[leader].host();
    let give_up = deadline();
    let writes = (0..MANY).map(|number| {
        let entry = format!("k{number}={number}");
        host.propose(GROUP, entry.into(), deadline())
    });
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    // A snapshot that is asked for while another one is being built is not built: ask until one holds everything.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let holds_all = |index: u64| index + 1 >= MANY;
    while !cluster.nodes[leader]
        .status()
        .snapshot_index
        .is_some_and(holds_all)
    {
        assert!(
            tokio::time::Instant::now() < give_up,
            "never came: a snapshot of nearly everything"
        );
        host.snapshot(GROUP).await.unwrap();
        ticks.tick().await;
    }
}
