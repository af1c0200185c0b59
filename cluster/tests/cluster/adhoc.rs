use crate::harness::{Cluster, GROUP, deadline};
use bytes::Bytes;
use covey_cluster::{HostConfig, Consistency};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn adhoc_speed() {
    let cluster = Cluster::voting(3, HostConfig::default()).await;
    let leader = cluster.leader().await;
    for (what, node) in [("leader", leader), ("follower", (leader + 1) % 3)] {
        for clients in [1usize, 64, 512] {
            let begin = Instant::now();
            let run = |c: usize| { let host = cluster.nodes[node].host(); async move {
                let mut n = 0u64; let mut worst = Duration::ZERO;
                while begin.elapsed() < Duration::from_secs(3) {
                    let at = Instant::now();
                    host.propose(GROUP, Bytes::from(format!("k{c}={n}")), deadline()).await.unwrap();
                    worst = worst.max(at.elapsed());
                    n += 1;
                }
                (n, worst)
            }};
            let done = futures::future::join_all((0..clients).map(run)).await;
            let n: u64 = done.iter().map(|d| d.0).sum();
            let worst = done.iter().map(|d| d.1).max().unwrap();
            println!("write via {what} clients {clients}: {}/s worst {worst:?}", n / 3);
            let begin = Instant::now();
            let run = |_c: usize| { let host = cluster.nodes[node].host(); async move {
                let mut n = 0u64;
                while begin.elapsed() < Duration::from_secs(2) {
                    host.read(GROUP, Consistency::Linearizable, deadline()).await.unwrap();
                    n += 1;
                }
                n
            }};
            let n: u64 = futures::future::join_all((0..clients).map(run)).await.iter().sum();
            println!("read via {what} clients {clients}: {}/s", n / 2);
        }
    }
}
