//! Real nodes of which one has a wrong clock: it writes nothing, and nobody else notices.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::process::Command;

use covey_proto::v1;
use covey_proto::v1::registry_client::RegistryClient;
use tonic::{Code, Status};

use nodes::{Node, Nodes, until};

/// The data groups of the clusters in here.
const GROUPS: u64 = 4;
/// As many models are in every group, nearly for sure.
const MODELS: usize = 16;

/// Writes by way of a node.
async fn create(node: &Node, name: &str) -> Result<(), Status> {
    let request = v1::CreateModelRequest {
        name: name.to_owned(),
        description: String::new(),
    };
    let created = RegistryClient::new(node.channel()).create_model(request).await;
    created.map(drop)
}

/// Writes to all groups by way of a node.
async fn create_everywhere(node: &Node, prefix: &str) {
    for number in 0..MODELS {
        create(node, &format!("{prefix}-{number}")).await.unwrap();
    }
}

/// Whether it is the refusal of a node whose clock is doubted, and says which and by how much.
fn is_of_clock(refused: &Status, node: &str) -> bool {
    let code = refused.metadata().get("covey-code").map(|code| code.as_bytes());
    let node = format!("node {node}");
    let parts = [node.as_str(), "86400.0 s ahead", "10.0 s", "NTP"];
    refused.code() == Code::Unavailable
        && code == Some(b"clock_skew")
        && parts.iter().all(|part| refused.message().contains(part))
}

/// The node with this id, when it says that its clock is doubted and leads nothing any more.
async fn given_up(seen_by: &Node, id: &str) -> Option<v1::Node> {
    let status = seen_by.status().await?;
    let node = status.nodes.into_iter().find(|node| node.id == id)?;
    (node.clock_doubted && node.leaders == 0 && status.groups_without_leader == 0).then_some(node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_a_day_ahead_writes_nothing_until_its_clock_is_right_and_the_others_go_on() {
    let mut cluster = Nodes::start(3, GROUPS).await;
    let settled = cluster.settled(3).await;
    // Who joins first gets the lower id.
    let is_it = |node: &&v1::Node| node.api_addr == cluster.node(2).api();
    let id = settled.nodes.iter().find(is_it).unwrap().id.clone();
    cluster.node_mut(2).kill();
    cluster.node_mut(2).break_at("clock::wall=return(86400)");
    cluster.node_mut(2).start(None);
    until("the node answers", || cluster.node(2).status()).await;
    // Its very first write: it has compared its clock before.
    let refused = create(cluster.node(2), "of-tomorrow").await.unwrap_err();
    assert!(is_of_clock(&refused, &id), "{refused:?}");
    create_everywhere(cluster.node(0), "first").await;
    create_everywhere(cluster.node(1), "second").await;

    let skewed = until("the node leads nothing", || given_up(cluster.node(0), &id)).await;
    assert!(
        (86_399_000..=86_401_000).contains(&skewed.clock_ahead_ms),
        "{skewed:?}"
    );
    let listed = Command::new(env!("CARGO_BIN_EXE_covey"))
        .args(["node", "list", "--endpoint"])
        .arg(format!("http://{}", cluster.node(0).api()))
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("s, doubted"), "{listed}");

    cluster.node_mut(2).kill();
    cluster.node_mut(2).break_at("");
    cluster.node_mut(2).start(None);
    cluster.settled(3).await;
    create_everywhere(cluster.node(2), "third").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_jumps_a_day_ahead_hands_over_and_no_request_is_too_old() {
    let mut cluster = Nodes::empty();
    let mut first = cluster.plan();
    // The clock jumps when it has been read so often: by itself after some minutes, and sooner the more is written.
    first.break_at("clock::wall=1500*off->return(86400)");
    cluster.found(first, GROUPS, 3);
    cluster.join();
    cluster.join();
    let settled = cluster.settled(3).await;
    assert!(
        settled.nodes.iter().all(|node| !node.clock_doubted),
        "{settled:?}"
    );

    let mut number = 0;
    let refused = until("the clock has jumped", || {
        number += 1;
        let (node, first) = (cluster.node(0), number * 100);
        async move {
            for number in first..first + 100 {
                if let Err(refused) = create(node, &format!("before-{number}")).await {
                    return Some(refused);
                }
            }
            None
        }
    })
    .await;
    assert!(is_of_clock(&refused, "n1"), "{refused:?}");
    // It may still lead: what the others write is measured with the clocks of the majority.
    create_everywhere(cluster.node(1), "second").await;
    create_everywhere(cluster.node(2), "third").await;
    until("the node has handed over", || given_up(cluster.node(1), "n1")).await;
    create_everywhere(cluster.node(2), "fourth").await;
}
