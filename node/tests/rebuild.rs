//! A node whose write-ahead log is damaged: it begins anew from the others, and not before they can do without it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::fs;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::process::Command;

use covey_proto::v1;
use covey_proto::v1::registry_client::RegistryClient;

use nodes::{Node, Nodes, until};

/// Enough that the middle of the log is the middle of their entries.
const MODELS: usize = 200;

async fn create_models(node: &Node) {
    let mut registry = RegistryClient::new(node.channel());
    for number in 0..MODELS {
        let request = v1::CreateModelRequest {
            name: format!("model-{number}"),
            description: "one of many that only fill the log".to_owned(),
        };
        registry.create_model(request).await.unwrap();
    }
}

/// The largest write-ahead log of the log database.
fn largest_log(node: &Node) -> PathBuf {
    let files = fs::read_dir(node.dir().join("raft"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    logs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    fs::write(path, bytes).unwrap();
}

/// Whether all replicas of all groups are the same, as `covey verify` says.
fn all_equal(node: &Node) -> bool {
    let endpoint = format!("http://{}", node.api());
    let verified = Command::new(env!("CARGO_BIN_EXE_covey"))
        .args(["verify", "--endpoint", &endpoint, "--output", "json"])
        .output();
    verified.unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_damaged_write_ahead_log_begins_anew_but_not_while_its_entries_are_needed() {
    let mut cluster = Nodes::start(3, 2).await;
    create_models(cluster.node(0)).await;
    // The first node was alone when it was made: whom it can ask it has learned since.
    cluster.node_mut(0).kill();
    cluster.node_mut(2).kill();
    let damaged = largest_log(cluster.node(0));
    flip(&damaged);
    let witness = damaged.with_file_name("witness");
    fs::write(&witness, "what is erased with the log").unwrap();
    cluster.node_mut(0).start(None);

    // Of three voters one is away, and one is damaged: the groups need the damaged one's entries.
    until("the node says that it cannot begin anew", || {
        let log = cluster.node(0).log();
        ready(log.contains("this node cannot begin anew yet").then_some(()))
    })
    .await;
    let said = cluster.node(0).log();
    assert!(said.contains(&damaged.display().to_string()), "{said}");
    assert!(witness.exists());

    cluster.node_mut(2).start(None);
    cluster.settled(3).await;
    until("all replicas are the same", || {
        ready(all_equal(cluster.node(1)).then_some(()))
    })
    .await;
    assert!(!witness.exists());
    assert!(cluster.node(0).log().contains("it begins anew with nothing"));
    let models = RegistryClient::new(cluster.node(0).channel())
        .list_models(v1::ListModelsRequest {})
        .await;
    assert_eq!(models.unwrap().into_inner().models.len(), MODELS);
}
