//! A slow way from the leader to a follower: what the follower shows is never called fresher than it is.

use std::time::Duration;

use covey_cluster::{Consistency, Peer};
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, config, deadline};
use crate::proxy::Proxy;

const DELAY: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_adds_the_time_that_messages_travel_to_its_staleness() {
    let cluster = Cluster::voting(3, config()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let target = cluster.nodes[follower].peer.peer_addr.clone();
    let far = Peer {
        peer_addr: Proxy::to(target, DELAY).await.address,
        ..cluster.nodes[follower].peer.clone()
    };
    cluster.nodes[leader].host().knows(far).unwrap();
    // What it heard before, over the quick way, is older than this from now on.
    let quick = Instant::now();
    let bound = Duration::from_secs(20);
    let mut seen = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while seen.len() < 50 {
        ticks.tick().await;
        let point = cluster.nodes[follower]
            .host()
            .read(GROUP, Consistency::Bounded(bound), deadline())
            .await
            .unwrap();
        if quick.elapsed() > 3 * DELAY && point.staleness > Duration::ZERO {
            seen.push(point.staleness);
        }
    }
    assert_eq!(cluster.leader().await, leader, "the way is slow, not broken");
    let freshest = seen.iter().min().unwrap();
    assert!(*freshest >= DELAY, "{freshest:?} is less than the way takes");
    assert!(*freshest < 10 * DELAY, "{freshest:?}: nothing new was heard");
}
