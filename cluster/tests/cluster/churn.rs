//! Everything at once: writers that never pause, while nodes stop, start, hand over and take snapshots.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::Host;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, config, deadline, eventually};

const SEED: u64 = 7;
const STEPS: usize = 12;
const WRITERS: usize = 8;

/// The hosts that run at the moment.
type Hosts = Arc<Mutex<Vec<Option<Host>>>>;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_nodes_come_and_go() {
    let mut cluster = Cluster::voting(3, config()).await;
    let hosts: Hosts = Arc::new(Mutex::new(
        cluster
            .nodes
            .iter()
            .map(|node| Some(node.host().clone()))
            .collect(),
    ));
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(number, Arc::clone(&hosts), Arc::clone(&over))))
        .collect();

    let mut random = StdRng::seed_from_u64(SEED);
    for step in 0..STEPS {
        let place = random.random_range(0..3);
        match step % 3 {
            0 => restart(&mut cluster, &hosts, place).await,
            1 => {
                let to = cluster.nodes[place].peer.node;
                let host = cluster.nodes[(place + 1) % 3].host();
                host.transfer_leader(GROUP, to, deadline()).await.unwrap();
            }
            _ => cluster.nodes[place].host().snapshot(GROUP).await.unwrap(),
        }
        cluster.nodes[place].put("step", step as u64).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(
        acknowledged.len() > STEPS,
        "seed {SEED}: only {} writes came through",
        acknowledged.len()
    );
    for (place, node) in cluster.nodes.iter().enumerate() {
        assert_eq!(node.read("step").await, Some(STEPS as u64 - 1));
        for key in &acknowledged {
            assert!(
                node.number(key).is_some(),
                "seed {SEED}: {key} is lost on node {}",
                place + 1
            );
        }
    }
}

async fn restart(cluster: &mut Cluster, hosts: &Hosts, place: usize) {
    hosts.lock().unwrap()[place] = None;
    cluster.nodes[place].stop().await;
    let survivor = (place + 1) % 3;
    cluster.nodes[survivor].put("survivor", 1).await;
    cluster.nodes[place].start().await;
    cluster.introduce();
    eventually("the group is back", || cluster.nodes[place].host().group(GROUP)).await;
    hosts.lock().unwrap()[place] = Some(cluster.nodes[place].host().clone());
}

/// Writes new keys through any host until it is over; returns those that were acknowledged.
async fn write(writer: usize, hosts: Hosts, over: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let host = hosts.lock().unwrap()[(writer + number) % 3].clone();
        let key = format!("w{writer}-{number}");
        let entry = Bytes::from(format!("{key}={number}"));
        let soon = Instant::now() + Duration::from_secs(2);
        match host {
            Some(host) if host.propose(GROUP, entry, soon).await.is_ok() => acknowledged.push(key),
            // The host is down or going down; what was not acknowledged may be there or not.
            Some(_) | None => tokio::task::yield_now().await,
        }
    }
    acknowledged
}
