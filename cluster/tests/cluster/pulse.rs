//! Many idle groups: what they send, and that a beat keeps them all together.

use std::time::Duration;

use covey_cluster::{HostConfig, Role};
use covey_state::GroupId;

use crate::harness::{Cluster, TestNode, config, eventually};

const GROUPS: u64 = 64;

fn slow_beats() -> HostConfig {
    HostConfig {
        heartbeat: Duration::from_millis(200),
        ..config()
    }
}

/// Three nodes and many groups without anything to do.
async fn idle() -> Cluster {
    let cluster = Cluster::of(3, slow_beats()).await;
    let peers: Vec<_> = cluster.nodes.iter().map(|node| node.peer.clone()).collect();
    for group in (1..=GROUPS).map(GroupId::new) {
        for node in &cluster.nodes[1..] {
            node.host().open_group(group).await.unwrap();
        }
        let first = cluster.nodes[0].host();
        first.bootstrap_group(group, peers.clone()).await.unwrap();
    }
    eventually("a leader of every group", || {
        (cluster.nodes.iter().map(led).sum::<u64>() == GROUPS).then_some(())
    })
    .await;
    cluster
}

fn led(node: &TestNode) -> u64 {
    let groups = node.host().groups();
    groups.iter().filter(|status| status.role == Role::Leader).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeats_of_all_groups_share_a_frame() {
    let cluster = idle().await;
    let leader = cluster.nodes.iter().max_by_key(|node| led(node)).unwrap();
    let leads = led(leader);
    let sent = |name: &str| leader.count(name);
    let (beats, frames, messages) = (
        sent("covey_raft_beats_total"),
        sent("covey_raft_frames_sent_total"),
        sent("covey_raft_messages_sent_total"),
    );
    eventually("twenty beats", || {
        (sent("covey_raft_beats_total") >= beats + 20).then_some(())
    })
    .await;
    let beats = sent("covey_raft_beats_total") - beats;
    let frames = sent("covey_raft_frames_sent_total") - frames;
    let messages = sent("covey_raft_messages_sent_total") - messages;
    // Two peers each; the last beat may be on its way.
    assert!(
        messages >= 2 * leads * (beats - 2),
        "{messages} messages in {beats} beats of {leads} groups: the groups must beat for this to mean anything"
    );
    assert!(
        frames <= 2 * 3 * beats,
        "{frames} frames to two peers in {beats} beats of {leads} groups"
    );
    assert_eq!(led(leader), leads, "nobody had to be elected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_to_the_heartbeats_of_all_groups_share_frames() {
    let cluster = idle().await;
    let answers = |node: &TestNode| node.count("covey_raft_answer_frames_sent_total");
    let beats_of = |node: &TestNode| node.count("covey_raft_beats_total");
    let count = |of: &dyn Fn(&TestNode) -> u64| cluster.nodes.iter().map(of).sum::<u64>();
    let (frames, beats) = (count(&answers), count(&beats_of));
    eventually("twenty beats", || (count(&beats_of) >= beats + 20).then_some(())).await;
    let (frames, beats) = (count(&answers) - frames, count(&beats_of) - beats);
    assert!(frames > 0);
    // Each beat of a node is answered by two others.
    assert!(
        frames <= 2 * 5 * beats,
        "{frames} frames of answers to {beats} beats"
    );
}
