//! What three processes hold when one of them dies in the middle: every row that was acknowledged, each once.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[allow(dead_code, reason = "the feature store's own tests use the rest")]
#[path = "features/definitions.rs"]
mod definitions;
#[path = "support/nodes.rs"]
mod nodes;

use std::time::Duration;

use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::features_client::FeaturesClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use definitions::{NOON, catalog, integer, push, table, text, winds};
use nodes::{Node, Nodes, until};

/// Airports, so that every group has some.
const AIRPORTS: usize = 16;

fn airport(number: usize) -> String {
    format!("A{}", number % AIRPORTS)
}

/// The push with this number: one row for each airport, a producer's next one.
fn numbered(number: u64) -> v1::PushRequest {
    let airports: Vec<String> = (0..AIRPORTS).map(airport).collect();
    let rows: Vec<(&str, i64, f64)> = airports
        .iter()
        .map(|name| (name.as_str(), 0, number as f64))
        .collect();
    v1::PushRequest {
        producer: "station".to_owned(),
        sequence: number,
        ..push("weather", winds(&rows))
    }
}

/// Has a push acknowledged by one of some nodes, whatever happens to the others.
async fn acknowledged(nodes: &[&Node], request: v1::PushRequest) {
    let mut turn = 0;
    let reply = until("a push to be acknowledged", || {
        turn += 1;
        let mut features = FeaturesClient::new(nodes[turn % nodes.len()].channel());
        let request = request.clone();
        // Only seen when the test fails.
        async move {
            features
                .push(request)
                .await
                .inspect_err(|status| println!("{status}"))
                .ok()
        }
    })
    .await;
    assert_eq!(reply.into_inner().accepted, AIRPORTS as u64);
}

/// How many rows each airport's window holds as this node's own replicas know it.
async fn counted(node: &Node) -> Option<Vec<v1::Value>> {
    let airports = || (0..AIRPORTS).map(|number| text(&airport(number))).collect();
    let entities = table([
        ("origin", airports()),
        ("hour", (0..AIRPORTS).map(|_| integer(12)).collect()),
    ]);
    let local = v1::consistency::Kind::Local(v1::consistency::Local {});
    let request = v1::GetOnlineFeaturesRequest {
        service: "delays".to_owned(),
        entities: Some(entities),
        as_of_micros: vec![NOON],
        consistency: Some(v1::Consistency { kind: Some(local) }),
    };
    let mut features = FeaturesClient::new(node.channel());
    let columns = features
        .get_online_features(request)
        .await
        .ok()?
        .into_inner()
        .features?
        .columns;
    let count = columns
        .into_iter()
        .find(|column| column.name == "weather__wind_count_3h")?;
    Some(count.values)
}

/// Waits until every node holds that many rows of each airport, and shows that it holds no more.
async fn all_hold(cluster: &Nodes, rows: u64) {
    let expected = vec![integer(rows.cast_signed()); AIRPORTS];
    for position in 0..3 {
        let node = cluster.node(position);
        let at_least = |counts: &Vec<v1::Value>| {
            let number = |value: &v1::Value| match value.kind {
                Some(v1::value::Kind::Int64Value(number)) => number,
                _ => 0,
            };
            counts.iter().all(|count| number(count) >= rows.cast_signed())
        };
        let counts = until("every acknowledged row to be here", || async {
            counted(node).await.filter(at_least)
        })
        .await;
        assert_eq!(counts, expected, "node {position}");
    }
}

/// A counter on the metrics page of a node.
async fn measured(node: &Node, name: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(node.api()).await.ok()?;
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        node.api()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let line = answer.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_gets_a_snapshot_and_no_acknowledged_row_is_lost() {
    let mut cluster = Nodes::start_with(3, 2, &["--snapshot-every", "40"]).await;
    FeaturesClient::new(cluster.node(0).channel())
        .apply_catalog(catalog())
        .await
        .unwrap();
    for number in 1..=10 {
        acknowledged(&[cluster.node(0), cluster.node(1)], numbered(number)).await;
    }
    cluster.node_mut(1).kill();
    // Each push is an entry in both groups, so the log that the dead node needs is purged meanwhile.
    for number in 11..=150 {
        acknowledged(&[cluster.node(0), cluster.node(2)], numbered(number)).await;
    }
    cluster.node_mut(1).start(None);
    cluster.settled(3).await;
    acknowledged(&[cluster.node(1)], numbered(151)).await;
    all_hold(&cluster, 151).await;
    let received = measured(cluster.node(1), "covey_raft_snapshots_received_total").await;
    assert!(received.is_some_and(|snapshots| snapshots >= 1.0), "{received:?}");
    a_node_that_drains_hands_everything_over(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_cannot_be_synced_ends_and_says_so_instead_of_running_on() {
    a_node_that_cannot_write_ends("raftdb::before_sync=40*off->return").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_state_cannot_be_written_ends_and_says_so_instead_of_running_on() {
    a_node_that_cannot_write_ends("statedb::write=60*off->return").await;
}

/// It ends, says why, and once it is started again holds every row that was acknowledged meanwhile.
async fn a_node_that_cannot_write_ends(fault: &str) {
    let mut cluster = Nodes::start(3, 2).await;
    FeaturesClient::new(cluster.node(0).channel())
        .apply_catalog(catalog())
        .await
        .unwrap();
    let broken = cluster.node_mut(1);
    broken.kill();
    broken.break_at(fault);
    broken.start(None);
    broken.break_at("");

    let mut pushes = 0;
    let ended = tokio::time::timeout(Duration::from_secs(90), async {
        while cluster.node_mut(1).runs() {
            pushes += 1;
            acknowledged(&[cluster.node(0), cluster.node(2)], numbered(pushes)).await;
        }
    });
    ended.await.expect("a node that cannot write ends");
    assert!(!cluster.node_mut(1).ended().await, "it must not end well");
    let log = cluster.node(1).log();
    assert!(log.contains("start the node again"), "{log}");

    cluster.node_mut(1).start(None);
    cluster.settled(3).await;
    all_hold(&cluster, pushes).await;
}

/// It leads nothing any more, rows that come meanwhile are acknowledged, and it leads again when it is back.
async fn a_node_that_drains_hands_everything_over(cluster: &Nodes) {
    let set = async |state: v1::NodeState| {
        let request = v1::SetNodeStateRequest {
            node: "n1".to_owned(),
            state: state.into(),
        };
        ClusterClient::new(cluster.node(2).channel())
            .set_node_state(request)
            .await
            .unwrap();
    };
    let led = async || {
        let status = cluster.node(2).status().await?;
        (status.groups_without_leader == 0).then_some(())?;
        status
            .nodes
            .into_iter()
            .find(|node| node.id == "n1")
            .map(|node| node.leaders)
    };
    set(v1::NodeState::Draining).await;
    until("the draining node to lead nothing", || async {
        led().await.filter(|led| *led == 0)
    })
    .await;
    for number in 152..=156 {
        acknowledged(&[cluster.node(0), cluster.node(2)], numbered(number)).await;
    }
    all_hold(cluster, 156).await;
    assert_eq!(led().await, Some(0));
    set(v1::NodeState::Active).await;
    until("the node to lead again", || async {
        led().await.filter(|led| *led > 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_push_through_several_nodes_while_the_leader_dies_counts_once() {
    let mut cluster = Nodes::start(3, 2).await;
    FeaturesClient::new(cluster.node(0).channel())
        .apply_catalog(catalog())
        .await
        .unwrap();
    let rounds = 60;
    for number in 1..=rounds {
        if number == rounds / 2 {
            // In the middle of a push: through all three nodes at once, of which one dies.
            let on_the_way: Vec<_> = (0..3)
                .map(|position| {
                    let mut features = FeaturesClient::new(cluster.node(position).channel());
                    tokio::spawn(async move { features.push(numbered(number)).await.is_ok() })
                })
                .collect();
            let leader = leader_of(&cluster, 1).await;
            cluster.node_mut(leader).kill();
            acknowledged(&survivors(&cluster, leader), numbered(number)).await;
            for push in on_the_way {
                // Whether it was acknowledged or not, it must have counted once.
                push.await.unwrap();
            }
            for number in number + 1..number + 10 {
                acknowledged(&survivors(&cluster, leader), numbered(number)).await;
            }
            cluster.node_mut(leader).start(None);
            cluster.settled(3).await;
        }
        // Those from after the kill come a second time here.
        let all: Vec<&Node> = (0..3).map(|position| cluster.node(position)).collect();
        for node in &all {
            acknowledged(&[node], numbered(number)).await;
        }
    }
    all_hold(&cluster, rounds).await;
}

async fn leader_of(cluster: &Nodes, group: u64) -> usize {
    let leader = until("the group to have a leader", || async {
        let request = v1::ListGroupsRequest { all_nodes: true };
        let mut client = ClusterClient::new(cluster.node(0).channel());
        let replicas = client.list_groups(request).await.ok()?.into_inner().replicas;
        replicas
            .into_iter()
            .find(|replica| replica.group == group && replica.role == "leader")
    })
    .await;
    let status = cluster.status().await.expect("the cluster's status");
    let leader = status
        .nodes
        .into_iter()
        .find(|node| node.id == leader.node)
        .expect("the leader");
    (0..3)
        .find(|position| cluster.node(*position).api() == leader.api_addr)
        .expect("its process")
}

fn survivors(cluster: &Nodes, dead: usize) -> Vec<&Node> {
    (0..3)
        .filter(|position| *position != dead)
        .map(|position| cluster.node(position))
        .collect()
}
