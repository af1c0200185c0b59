//! Comparing replicas, and what becomes of one that is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use covey_cluster::{Error, Finding, HostConfig, Probation, Role, Verification, Wipe};
use covey_state::{Change, Key, NodeId, Record};

use crate::harness::{Cluster, GROUP, TestNode, config, deadline, eventually, ids};

/// Enough for more than one range, and for the differences between them to be somewhere in the middle.
const MANY: u64 = 5_000;

/// No snapshots while a test runs, unless it asks for one.
fn quiet() -> HostConfig {
    HostConfig {
        snapshot_every: 100_000,
        lag_max: 200_000,
        ..config()
    }
}

fn key(name: &str) -> Key {
    Key::ProducerFloor(name.to_owned())
}

async fn fill(node: &TestNode, count: u64) {
    let puts = (0..count).map(|number| async move { node.put(&format!("k{number:05}"), number).await });
    futures::future::join_all(puts).await;
}

async fn verify(cluster: &Cluster, from: usize) -> Verification {
    let nodes: Vec<NodeId> = cluster.nodes.iter().map(|node| node.peer.node).collect();
    let host = cluster.nodes[from].host();
    host.verify(GROUP, &nodes, deadline(), |_| ()).await.unwrap()
}

fn equal(nodes: impl IntoIterator<Item = u64>) -> BTreeMap<NodeId, Finding> {
    ids(nodes)
        .into_iter()
        .map(|node| (node, Finding::Equal))
        .collect()
}

/// Waits until every replica has applied what the leader has.
async fn level(cluster: &Cluster) {
    let leader = cluster.leader().await;
    let last = cluster.nodes[leader].status().applied_index;
    for node in &cluster.nodes {
        eventually("all replicas have applied everything", || {
            (node.status().applied_index >= last).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_found_equal_while_they_are_written_to() {
    let cluster = Cluster::voting(3, quiet()).await;
    fill(&cluster.nodes[0], MANY).await;
    let writing = async {
        for number in 0.. {
            cluster.nodes[1]
                .put(&format!("k{:05}", number % 97), number)
                .await;
        }
    };
    let verifying = async {
        for from in [0, 1, 2, 0, 1] {
            let found = verify(&cluster, from).await;
            assert_eq!(found.replicas, equal(1..=3));
            assert_eq!(found.compared.keys, MANY);
        }
    };
    tokio::select! {
        () = writing => unreachable!("it writes for ever"),
        () = verifying => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_that_differs_and_the_first_key_in_which_it_does_are_named() {
    let cluster = Cluster::voting(3, quiet()).await;
    fill(&cluster.nodes[0], MANY).await;
    let put = |name: &str, number| Change::Put(key(name), Record::Number(number));
    let cases = [
        (
            put("k03217", 7),
            "at state of group g1, table records, key ProducerFloor(\"k03217\")",
            put("k03217", 3_217),
        ),
        (
            Change::Delete(key("k00000")),
            "lacks state of group g1, table records, key ProducerFloor(\"k00000\")",
            put("k00000", 0),
        ),
        (
            put("k04000-more", 1),
            "has state of group g1, table records, key ProducerFloor(\"k04000-more\")",
            Change::Delete(key("k04000-more")),
        ),
    ];
    for (wrong, place, right) in cases {
        level(&cluster).await;
        cluster.nodes[2].tamper(wrong);
        let found = verify(&cluster, 0).await;
        let Finding::Different { place: said } = &found.replicas[&NodeId::new(3)] else {
            panic!("{found:?}")
        };
        assert!(said.starts_with(place), "{said}");
        assert_eq!(
            found
                .replicas
                .values()
                .filter(|finding| **finding == Finding::Equal)
                .count(),
            2
        );
        cluster.nodes[2].tamper(right);
        assert!(verify(&cluster, 1).await.is_equal());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_majority_agrees_nobody_is_blamed() {
    let cluster = Cluster::voting(2, quiet()).await;
    fill(&cluster.nodes[0], 10).await;
    level(&cluster).await;
    cluster.nodes[1].tamper(Change::Put(key("k00004"), Record::Number(9)));
    let found = verify(&cluster, 0).await;
    for finding in found.replicas.values() {
        let Finding::Disputed { place } = finding else {
            panic!("{found:?}")
        };
        assert!(place.contains("k00004"), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_be_asked_is_not_said_to_be_equal() {
    let mut cluster = Cluster::voting(3, quiet()).await;
    fill(&cluster.nodes[0], 10).await;
    let away = cluster.follower().await;
    cluster.nodes[away].stop().await;
    let leader = cluster.leader().await;
    let found = verify(&cluster, leader).await;
    assert!(!found.is_equal());
    for (place, node) in cluster.nodes.iter().enumerate() {
        let missed = matches!(found.replicas[&node.peer.node], Finding::Missed { .. });
        assert_eq!(missed, place == away, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_in_the_log_are_applied_again_after_a_restart_and_skipped_by_a_snapshot() {
    let mut cluster = Cluster::voting(3, config()).await;
    let away = cluster.follower().await;
    fill(&cluster.nodes[0], 20).await;
    assert!(verify(&cluster, 0).await.is_equal());
    cluster.nodes[away].stop().await;
    let leader = cluster.leader().await;
    // More than the log keeps: the one that is away gets a snapshot that is past these marks.
    for _ in 0..4 {
        fill(&cluster.nodes[leader], 60).await;
        verify(&cluster, leader).await;
    }
    for place in 0..3 {
        if place != away {
            cluster.nodes[place].stop().await;
            cluster.nodes[place].start().await;
        }
    }
    cluster.nodes[away].start().await;
    cluster.introduce();
    let leader = cluster.leader().await;
    cluster.nodes[leader].put("after", 1).await;
    level(&cluster).await;
    let found = verify(&cluster, leader).await;
    assert_eq!(found.replicas, equal(1..=3));
    assert_eq!(cluster.nodes[away].read("k00059").await, Some(59));
}

/// Flips a bit in the middle of the largest file of the state.
fn flip_in_state(node: &TestNode) {
    let files = fs::read_dir(node.state_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst"));
    let largest = tables
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    flip(&largest);
}

/// Flips a bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_state_is_found_named_never_spread_and_gone_when_the_replica_is_rebuilt() {
    let mut cluster = Cluster::voting(3, quiet()).await;
    fill(&cluster.nodes[0], MANY).await;
    level(&cluster).await;
    let broken = cluster.follower().await;
    cluster.nodes[broken].stop().await;
    // Opening moves what the write-ahead log holds into tables.
    cluster.nodes[broken].open_and_close_state().await;
    flip_in_state(&cluster.nodes[broken]);
    cluster.nodes[broken].start().await;
    cluster.introduce();
    let leader = cluster.leader().await;
    cluster.nodes[leader].put("after", 1).await;

    // Either the comparison finds it, or RocksDB meets it first in a compaction and stops writing.
    let found = verify(&cluster, leader).await;
    let finding = found.replicas[&cluster.nodes[broken].peer.node].clone();
    let said = match finding {
        Finding::Missed { .. } => eventually("why it stopped", || cluster.nodes[broken].status().fault).await,
        found => found.to_string(),
    };
    assert!(said.contains(".sst"), "{said}");
    let equals = found
        .replicas
        .values()
        .filter(|finding| **finding == Finding::Equal);
    assert_eq!(equals.count(), 2, "{found:?}");

    // Nothing of it goes into a snapshot: the replica stops instead, if it has not before.
    let _ = cluster.nodes[broken].host().snapshot(GROUP).await;
    let status = eventually("the replica stops", || {
        Some(cluster.nodes[broken].status()).filter(|status| status.role == Role::Stopped)
    })
    .await;
    assert!(status.fault.unwrap().contains(".sst"));
    assert_eq!(status.snapshot_index, None);

    if status.damaged.is_some() {
        rebuild(&cluster, broken).await;
    }
    // Now, or after the next start has left the damaged state out, everything is there again.
    cluster.nodes[broken].stop().await;
    cluster.nodes[broken].start().await;
    cluster.introduce();
    cluster.nodes[broken].read("after").await.unwrap();
    let leader = cluster.leader().await;
    let found = verify(&cluster, leader).await;
    assert_eq!(found.replicas, equal(1..=3));
    assert_eq!(cluster.nodes[broken].read("k02500").await, Some(2_500));
}

/// Lets a replica begin anew, as a learner first.
async fn rebuild(cluster: &Cluster, broken: usize) {
    let leader = cluster.leader().await;
    assert_ne!(leader, broken);
    let (host, peer) = (cluster.nodes[leader].host(), cluster.nodes[broken].peer.clone());
    let everybody = cluster.nodes.iter().map(|node| node.peer.node.get());
    let others = ids(everybody.clone().filter(|node| *node != peer.node.get()));
    host.change_voters(GROUP, others, false, deadline())
        .await
        .unwrap();
    cluster.nodes[broken]
        .host()
        .close_group(GROUP, Wipe::Erase)
        .await
        .unwrap();
    let status = cluster.nodes[leader].status();
    let probation = Probation {
        term: status.term,
        index: status.last_log_index.unwrap(),
    };
    cluster.nodes[broken]
        .host()
        .admit_group(GROUP, probation)
        .await
        .unwrap();
    host.admit_learner(GROUP, peer, probation).await.unwrap();
    host.change_voters(GROUP, ids(everybody), true, deadline())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_lost_what_its_log_no_longer_has_does_not_go_on_with_a_hole() {
    let mut cluster = Cluster::voting(3, config()).await;
    let broken = cluster.follower().await;
    fill(&cluster.nodes[0], 200).await;
    level(&cluster).await;
    let purged = || {
        cluster.nodes[broken]
            .status()
            .snapshot_index
            .filter(|index| *index > 100)
    };
    eventually("the log is purged", purged).await;
    cluster.nodes[broken].stop().await;
    cluster.nodes[broken].lose_state().await;
    fs::remove_dir_all(cluster.nodes[broken].snapshot_dir()).unwrap();
    cluster.nodes[broken].start().await;
    cluster.introduce();
    let status = cluster.nodes[broken].status();
    assert_eq!(status.role, Role::Stopped);
    let damage = status.damaged.unwrap();
    assert!(
        damage.contains("is empty, and its log begins at entry"),
        "{damage}"
    );
    let refused = cluster.nodes[broken]
        .host()
        .admit_group(GROUP, Probation { term: 9, index: 9 })
        .await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");

    rebuild(&cluster, broken).await;
    let leader = cluster.leader().await;
    assert_eq!(verify(&cluster, leader).await.replicas, equal(1..=3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_a_flipped_bit_is_not_sent_but_taken_anew() {
    let mut cluster = Cluster::voting(3, config()).await;
    let away = cluster.follower().await;
    cluster.nodes[away].stop().await;
    let leader = cluster.leader().await;
    fill(&cluster.nodes[leader], 300).await;
    let leader = cluster.leader().await;
    let node = &cluster.nodes[leader];
    eventually("a snapshot", || node.status().snapshot_index).await;
    // Whoever is not stopped may lead when the one that was away comes back.
    for node in cluster
        .nodes
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != away)
    {
        for file in files_below(&node.1.snapshot_dir()) {
            if file.extension().is_some_and(|ending| ending == "sst") {
                flip(&file);
            }
        }
    }
    cluster.nodes[away].start().await;
    cluster.introduce();
    cluster.nodes[away].host().open_group(GROUP).await.unwrap();
    let caught_up = cluster.nodes[away].read("k00299").await;
    assert_eq!(caught_up, Some(299));
    let leader = cluster.leader().await;
    assert_eq!(verify(&cluster, leader).await.replicas, equal(1..=3));
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|path| files_below(path)));
    files
}
