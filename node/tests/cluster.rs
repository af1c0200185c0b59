//! A cluster of real processes: made, joined, killed, grown and shrunk, as an operator would do it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use covey_proto::v1;
use covey_proto::v1::admin_client::AdminClient;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::registry_client::RegistryClient;
use tonic::Code;

use nodes::{Node, Nodes, until};

/// The data groups of the clusters in here; the control group comes on top.
const GROUPS: u64 = 4;

async fn set_state(node: &Node, id: &str, state: v1::NodeState) -> Result<v1::Node, tonic::Status> {
    let request = v1::SetNodeStateRequest {
        node: id.to_owned(),
        state: state.into(),
    };
    let reply = ClusterClient::new(node.channel()).set_node_state(request).await?;
    Ok(reply.into_inner().node.unwrap())
}

async fn replicas(node: &Node) -> Option<Vec<v1::list_groups_reply::Replica>> {
    let request = v1::ListGroupsRequest { all_nodes: true };
    let reply = ClusterClient::new(node.channel())
        .list_groups(request)
        .await
        .ok()?;
    Some(reply.into_inner().replicas)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_initialised_once_and_a_node_alone_makes_a_cluster() {
    let root = tempfile::tempdir().unwrap();
    let mut node = Node::new(root.path(), 1);
    node.init(GROUPS);
    let identity = std::fs::read(node.dir().join("identity.json")).unwrap();

    let again = node.command("init").output().unwrap();
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("already belongs to node n1"));
    assert_eq!(std::fs::read(node.dir().join("identity.json")).unwrap(), identity);

    node.start(None);
    let status = until("the node answers", || node.status()).await;
    assert_eq!((status.groups, status.nodes.len()), (GROUPS, 1));
    assert_eq!(
        (status.nodes[0].id.as_str(), status.nodes[0].reachable),
        ("n1", true)
    );

    let second = node.command("start").output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));

    let described = AdminClient::new(node.channel())
        .get_node(v1::GetNodeRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (described.node_id.as_str(), described.cluster_id),
        ("n1", status.id.clone())
    );
    assert!(node.stop().await, "{}", node.log());

    node.start(None);
    let as_before = |later: &v1::ClusterStatus| (&later.id, &later.nodes) == (&status.id, &status.nodes);
    until("the node is what it was, every group led again", || async {
        node.status().await.filter(as_before)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_refuses_settings_that_are_wrong_and_a_directory_without_a_cluster() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::new(root.path(), 1);
    let spaced = node
        .command("start")
        .args(["--zone", "two words"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&spaced.stderr).contains("zone is invalid"));
    let lost = node.command("start").output().unwrap();
    assert!(!lost.status.success());
    assert!(String::from_utf8_lossy(&lost.stderr).contains("covey init"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_share_every_group_and_outlive_the_death_of_one() {
    let mut cluster = Nodes::start(3, GROUPS).await;
    let status = cluster.settled(3).await;
    assert!(
        status.nodes.iter().all(|node| node.replicas == GROUPS + 1),
        "{:?}",
        status.nodes
    );
    assert_eq!(
        status.nodes.iter().map(|node| node.leaders).sum::<u64>(),
        GROUPS + 1
    );

    cluster.node_mut(1).kill();
    until("the others lead every group", || async {
        let status = cluster.status().await?;
        let dead = status
            .nodes
            .iter()
            .filter(|node| !node.reachable && node.leaders == 0)
            .count();
        (status.groups_without_leader == 0 && dead == 1).then_some(())
    })
    .await;

    cluster.node_mut(1).start(None);
    cluster.settled(3).await;
    assert!(cluster.node_mut(2).stop().await, "{}", cluster.node(2).log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_takes_over_and_the_first_one_leaves_for_good() {
    let mut cluster = Nodes::start(3, GROUPS).await;
    let fourth = cluster.join();
    cluster.settled(4).await;

    // Four nodes, three replicas: every node is asked about groups that it does not hold.
    let named = v1::CreateModelRequest {
        name: "delay".to_owned(),
        description: String::new(),
    };
    RegistryClient::new(cluster.node(fourth).channel())
        .create_model(named)
        .await
        .unwrap();
    for position in 0..=fourth {
        let mut client = RegistryClient::new(cluster.node(position).channel());
        let models = client
            .list_models(v1::ListModelsRequest {})
            .await
            .unwrap()
            .into_inner()
            .models;
        assert_eq!(
            models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(),
            ["delay"]
        );
    }

    let early = set_state(cluster.node(fourth), "n1", v1::NodeState::Removed)
        .await
        .unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early:?}");

    set_state(cluster.node(fourth), "n1", v1::NodeState::Decommissioning)
        .await
        .unwrap();
    until("n1 holds nothing", || async {
        let status = cluster.node(fourth).status().await?;
        let first = status.nodes.iter().find(|node| node.id == "n1")?;
        (first.replicas == 0 && status.groups_moving == 0 && status.groups_without_leader == 0).then_some(())
    })
    .await;
    until("n1 has erased its data", || async {
        let found = replicas(cluster.node(fourth)).await?;
        found
            .iter()
            .all(|replica| replica.node != "n1" || replica.group == 0)
            .then_some(())
    })
    .await;
    let removed = until("n1 may go", || async {
        set_state(cluster.node(fourth), "n1", v1::NodeState::Removed)
            .await
            .ok()
    })
    .await;
    assert_eq!(removed.state(), v1::NodeState::Removed);

    is_out(cluster.node(0)).await;
    cluster.node_mut(0).kill();
    cluster.node_mut(0).start(None);
    is_out(cluster.node(0)).await;
    cluster.settled(3).await;
}

/// Waits until a node answers that it has been removed.
async fn is_out(node: &Node) {
    until("the node knows that it is out", || async {
        let mut client = ClusterClient::new(node.channel());
        let refused = client.get_status(v1::GetStatusRequest {}).await.err()?;
        (refused.code() == Code::FailedPrecondition && refused.message().contains("has been removed"))
            .then_some(())
    })
    .await;
}
