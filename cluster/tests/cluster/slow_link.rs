//! A slow way from the leader to a follower: what the follower shows is never called fresher than it is.

use std::time::Duration;

use covey_cluster::{Consistency, Peer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, config, deadline};

const DELAY: Duration = Duration::from_millis(300);

/// An address at which connections to `target` begin whose bytes arrive late, while the answers do not.
async fn late(target: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&target).await else {
                continue;
            };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((near_read, mut near_write), (mut far_read, far_write)) =
                (near.into_split(), far.into_split());
            tokio::spawn(delayed(near_read, far_write));
            tokio::spawn(async move { tokio::io::copy(&mut far_read, &mut near_write).await });
        }
    });
    address
}

async fn delayed(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(10_000);
    tokio::spawn(async move {
        while let Some((due, bytes)) = waiting.recv().await {
            // Nothing else ends this wait than its time.
            let _ = tokio::time::timeout_at(due, std::future::pending::<()>()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        let late = (Instant::now() + DELAY, buffer[..count].to_vec());
        if count == 0 || sender.send(late).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_adds_the_time_that_messages_travel_to_its_staleness() {
    let cluster = Cluster::voting(3, config()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let far = Peer {
        peer_addr: late(cluster.nodes[follower].peer.peer_addr.clone()).await,
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
