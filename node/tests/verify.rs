//! `covey verify` on real nodes: replicas compared, differences named, damaged replicas rebuilt.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use covey_proto::node::v1::CondemnRequest;
use covey_proto::node::v1::node_peer_client::NodePeerClient;
use covey_proto::v1;
use covey_proto::v1::admin_client::AdminClient;
use covey_proto::v1::registry_client::RegistryClient;
use covey_state::{Change, GroupId, Key, Record};
use covey_storage::{StateDb, StateDbConfig};
use serde_json::Value;
use tonic::transport::Endpoint;

use nodes::{Node, Nodes, until};

const G1: GroupId = GroupId::new(1);
/// Enough that the middle of a file is the middle of their records.
const MODELS: usize = 300;

fn covey(node: &Node, arguments: &[&str]) -> Output {
    let endpoint = format!("http://{}", node.api());
    let mut command = Command::new(env!("CARGO_BIN_EXE_covey"));
    command
        .args(arguments)
        .args(["--endpoint", &endpoint, "--output", "json"]);
    command.output().unwrap()
}

/// Runs `covey verify` and gives its exit code, its rows and what it said.
fn verify(node: &Node, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = covey(node, &[&["verify"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let rows = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), rows, said)
}

async fn create_models(node: &Node) {
    let mut registry = RegistryClient::new(node.channel());
    for number in 0..MODELS {
        let request = v1::CreateModelRequest {
            name: format!("model-{number}"),
            description: format!(
                "the {number}th of many models that only fill the store, {}",
                number * 7_919
            ),
        };
        registry.create_model(request).await.unwrap();
    }
}

/// Opens the state of a node that does not run, which also moves what its write-ahead log holds into tables.
async fn open_state(node: &Node) -> StateDb {
    let path = node.dir().join("state");
    until("the state is free", || {
        std::future::ready(StateDb::open(&path, StateDbConfig::default()).ok())
    })
    .await
}

/// Whether all replicas of all groups are the same.
async fn all_equal(node: &Node) {
    until("all replicas are the same", || {
        let (code, _, _) = verify(node, &[]);
        std::future::ready((code == Some(0)).then_some(()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_differs_is_named_and_rebuilt_when_an_operator_says_so() {
    let mut cluster = Nodes::start(3, 2).await;
    create_models(cluster.node(0)).await;
    let (code, rows, said) = verify(cluster.node(0), &[]);
    assert_eq!(code, Some(0), "{said}");
    let rows = rows.as_array().unwrap();
    let groups: Vec<&str> = rows.iter().map(|row| row["group"].as_str().unwrap()).collect();
    assert_eq!(groups, ["g0", "g1", "g2"]);
    for row in rows {
        assert_eq!(
            (&row["verdict"], row["compared"].as_array().unwrap().len()),
            (&"equal".into(), 3)
        );
        assert!(
            row["keys"].as_u64().unwrap() > 0 && row["bytes"].as_u64().unwrap() > 0,
            "{row}"
        );
    }

    assert!(cluster.node_mut(2).stop().await);
    {
        let group = open_state(cluster.node(2)).await.group(G1);
        let applied = group.applied().unwrap().unwrap();
        let mut batch = group.batch();
        batch.stage(Change::Put(Key::Model("nobody".to_owned()), Record::Number(1)));
        batch.commit(applied).unwrap();
    }
    cluster.node_mut(2).start(None);
    cluster.settled(3).await;

    let (code, rows, said) = verify(cluster.node(0), &["--group", "g1"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(rows[0]["verdict"], "different");
    let finding = &rows[0]["findings"][0];
    assert!(
        finding["detail"]
            .as_str()
            .unwrap()
            .starts_with("has state of group g1, table records, key Model(\"nobody\")"),
        "{finding}"
    );
    assert!(said.contains("--repair"), "{said}");

    let (code, rows, said) = verify(cluster.node(1), &["--group", "g1", "--repair"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rows[0]["verdict"], "equal");
    let log = cluster.node(2).log();
    assert!(
        log.contains("the damaged replica is erased") && log.contains("nobody"),
        "{log}"
    );
    cluster.settled(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_state_of_one_node_is_found_in_the_background_and_repaired() {
    let mut cluster = Nodes::start_with(3, 1, &["--verify-every", "2s"]).await;
    create_models(cluster.node(0)).await;
    assert!(cluster.node_mut(1).stop().await);
    drop(open_state(cluster.node(1)).await);
    flip_in_largest(&cluster.node(1).dir().join("state").join("db"));
    cluster.node_mut(1).start(None);

    // A comparison finds it, or RocksDB does when it compacts; then the node ends, as one that should be started again.
    until("the node says what is damaged, and where", || {
        let node = cluster.node_mut(1);
        let log = node.log();
        let named = log.contains("the store of this group is damaged on this node")
            || log.contains("is stopped by a damaged block");
        std::future::ready((named && log.contains(".sst")).then_some(()))
    })
    .await;
    until("all replicas are the same", || {
        keep_running(cluster.node_mut(1));
        let (code, _, _) = verify(cluster.node(0), &[]);
        std::future::ready((code == Some(0)).then_some(()))
    })
    .await;

    // If the damaged block is still in its file, the next start writes the database anew.
    keep_running(cluster.node_mut(1));
    cluster.node_mut(1).stop().await;
    cluster.node_mut(1).start(None);
    cluster.settled(3).await;
    assert!(!cluster.node(1).dir().join("state").join("db.rewrite").exists());
    assert!(cluster.node(1).log().contains("rewriting the database"));
    all_equal(cluster.node(2)).await;
    let models = RegistryClient::new(cluster.node(1).channel())
        .list_models(v1::ListModelsRequest {})
        .await;
    assert_eq!(models.unwrap().into_inner().models.len(), MODELS);
}

/// Starts a node again that has ended by itself, as a supervisor does.
fn keep_running(node: &mut Node) {
    if !node.runs() {
        node.start(None);
    }
}

/// Flips a bit in the middle of the largest table.
fn flip_in_largest(directory: &Path) {
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst"));
    let largest = tables
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    fs::write(&largest, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_replica_is_not_erased_while_no_majority_is_intact_without_it() {
    let mut cluster = Nodes::start(3, 1).await;
    create_model(cluster.node(0), "before").await;
    // Not even when it leads: it must not hand over to the one that is away.
    lead(cluster.node(1)).await;
    assert!(cluster.node_mut(2).stop().await);
    // Of three voters one is away, and one is damaged: the group needs the damaged one's vote.
    let peer = Endpoint::from_shared(format!("http://{}", cluster.node(1).peer())).unwrap();
    let request = CondemnRequest {
        group: G1.get(),
        reason: "a test says so".to_owned(),
    };
    NodePeerClient::new(peer.connect().await.unwrap())
        .condemn(request)
        .await
        .unwrap();
    until("the node says that it cannot be rebuilt", || {
        let log = cluster.node(1).log();
        let told = log.contains("a damaged replica cannot be rebuilt yet") && log.contains("no majority");
        std::future::ready(told.then_some(()))
    })
    .await;
    create_model(cluster.node(0), "while-damaged").await;
    assert!(!cluster.node(1).log().contains("the damaged replica is erased"));

    cluster.node_mut(2).start(None);
    until("the replica is erased", || {
        let erased = cluster.node(1).log().contains("the damaged replica is erased");
        std::future::ready(erased.then_some(()))
    })
    .await;
    cluster.settled(3).await;
    all_equal(cluster.node(0)).await;
}

async fn create_model(node: &Node, name: &str) {
    until("a model is created", || async {
        let request = v1::CreateModelRequest {
            name: name.to_owned(),
            description: String::new(),
        };
        RegistryClient::new(node.channel())
            .create_model(request)
            .await
            .ok()
    })
    .await;
}

/// Has a node lead the data group.
async fn lead(node: &Node) {
    let asked = AdminClient::new(node.channel())
        .get_node(v1::GetNodeRequest {})
        .await;
    let to = asked.unwrap().into_inner().node_id;
    until("the node leads", || {
        let arguments = ["group", "transfer-leader", "g1", "--to", &to];
        std::future::ready(covey(node, &arguments).status.success().then_some(()))
    })
    .await;
}
