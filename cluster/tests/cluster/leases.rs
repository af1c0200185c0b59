//! Reads by lease: what they spare, and the restart that would break them without the guard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covey_cluster::{Consistency, HostConfig};
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, TestNode, config, eventually};

/// Long leases, so that the machine's own pauses do not end them.
fn leases() -> HostConfig {
    HostConfig {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(2_500),
        lease_reads: true,
        ..config()
    }
}

/// Whether a linearizable read is answered soon.
async fn reads(node: &TestNode) -> bool {
    let soon = Instant::now() + Duration::from_millis(200);
    node.host()
        .read(GROUP, Consistency::Linearizable, soon)
        .await
        .is_ok()
}

/// Cuts the leader from everybody and tells its place.
async fn lonely_leader(cluster: &Cluster) -> usize {
    let leader = cluster.leader().await;
    cluster.nodes[leader].put("a", 1).await;
    for other in (0..3).filter(|place| *place != leader) {
        cluster.cut(leader, other);
    }
    leader
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_confirmed_a_moment_ago_reads_without_asking_and_stops_when_its_lease_is_over() {
    let cluster = Cluster::voting(3, leases()).await;
    let leader = lonely_leader(&cluster).await;
    assert!(reads(&cluster.nodes[leader]).await, "its lease holds");
    let give_up = Instant::now() + Duration::from_secs(30);
    while reads(&cluster.nodes[leader]).await {
        assert!(Instant::now() < give_up, "the lease never ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leases_a_leader_that_reaches_nobody_answers_no_read() {
    let cluster = Cluster::voting(
        3,
        HostConfig {
            lease_reads: false,
            ..leases()
        },
    )
    .await;
    let leader = lonely_leader(&cluster).await;
    assert!(!reads(&cluster.nodes[leader]).await);
}

/// A leads and only B confirms it. B is started anew and reaches only C, which has long given A up. If B voted at
/// once, C would lead and take writes while A still reads by the lease that B gave it before.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_voter_elects_nobody_while_the_leader_it_confirmed_may_read_by_lease() {
    let mut cluster = Cluster::voting(3, leases()).await;
    let a = cluster.leader().await;
    let (b, c) = ((a + 1) % 3, (a + 2) % 3);
    cluster.nodes[a].put("x", 1).await;
    cluster.cut(a, c);
    let silence = Instant::now();
    eventually("C has given A up", || {
        (silence.elapsed() > 2 * leases().election_max).then_some(())
    })
    .await;
    assert_eq!(cluster.leader().await, a, "B still confirms A");

    cluster.cut(a, b);
    cluster.nodes[b].stop().await;
    cluster.nodes[b].start().await;
    let restarted = Instant::now();
    cluster.cut(a, b);
    let c_peer = cluster.nodes[c].peer.clone();
    cluster.nodes[b].host().knows(c_peer).unwrap();

    let acknowledged = AtomicBool::new(false);
    let write = async {
        cluster.nodes[c].put("x", 2).await;
        acknowledged.store(true, Ordering::SeqCst);
    };
    let read = async {
        let mut by_lease = 0;
        loop {
            let late = acknowledged.load(Ordering::SeqCst);
            if reads(&cluster.nodes[a]).await {
                assert!(
                    !late,
                    "A answered a read after C had acknowledged a write that A does not know"
                );
                by_lease += 1;
            } else if late {
                return by_lease;
            }
        }
    };
    let ((), by_lease) = tokio::join!(write, read);
    assert!(by_lease > 0, "A has to read by lease for this to mean anything");
    assert!(
        restarted.elapsed() >= leases().election_max,
        "B voted {:?} after its start",
        restarted.elapsed()
    );
}
