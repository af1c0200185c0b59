//! A node that is told the name of a cluster makes it when its directory is empty, as under compose and systemd, and keeps
//! what it has otherwise.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::process::{Child, Stdio};

use nodes::{Node, until};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left running.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(node: &Node, name: &str) -> Running {
    let mut command = node.command("start");
    command
        .env("COVEY_INIT", name)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_makes_its_cluster_when_it_first_starts_and_no_second_one() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::new(root.path(), 1);
    let first = start(&node, "flights");
    let made = until("the node has made its cluster", || node.status()).await;
    assert_eq!((made.name.as_str(), made.nodes.len()), ("flights", 1));
    drop(first);

    let _again = start(&node, "another");
    let kept = until("the node is back", || node.status()).await;
    assert_eq!((kept.name, kept.id), (made.name, made.id));
}
