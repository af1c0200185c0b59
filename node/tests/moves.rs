//! Moves of replicas on real nodes: by hand, after deaths, and cut off by a power cut at every step.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::collections::BTreeSet;
use std::future::Future;

use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::registry_client::RegistryClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use nodes::{Node, Nodes, until};

/// Every point at which a step of a move begins or has been done.
const STEPS: [&str; 14] = [
    "move::placing",
    "move::placed",
    "move::opening",
    "move::opened",
    "move::admitting",
    "move::admitted",
    "move::voting",
    "move::voted",
    "move::handing_over",
    "move::handed_over",
    "move::dismissing",
    "move::dismissed",
    "move::erasing",
    "move::erased",
];

async fn create_model(node: &Node, name: &str) -> Result<(), Status> {
    let request = v1::CreateModelRequest {
        name: name.to_owned(),
        description: String::new(),
    };
    RegistryClient::new(node.channel())
        .create_model(request)
        .await
        .map(drop)
}

/// Creates a model; that it is there already means that an earlier try came through.
async fn write(node: &Node, name: &str) {
    until("a write is acknowledged", || async {
        match create_model(node, name).await {
            Ok(()) => Some(()),
            Err(status) => (status.code() == Code::AlreadyExists).then_some(()),
        }
    })
    .await;
}

async fn models(node: &Node) -> Option<BTreeSet<String>> {
    let reply = RegistryClient::new(node.channel())
        .list_models(v1::ListModelsRequest {})
        .await
        .ok()?;
    Some(
        reply
            .into_inner()
            .models
            .into_iter()
            .map(|model| model.name)
            .collect(),
    )
}

async fn show(node: &Node, group: u64) -> Option<v1::GroupDetail> {
    let request = v1::GetGroupRequest { group };
    ClusterClient::new(node.channel())
        .get_group(request)
        .await
        .ok()
        .map(tonic::Response::into_inner)
}

async fn move_replica(channel: Channel, group: u64, from: &str, to: &str) -> Result<(), Status> {
    let request = v1::MoveReplicaRequest {
        group,
        from: from.to_owned(),
        to: to.to_owned(),
    };
    ClusterClient::new(channel).move_replica(request).await.map(drop)
}

/// Asks again while there is no leader to take what is asked: leaders change while groups settle.
async fn taken<T, F: Future<Output = Result<T, Status>>>(mut ask: impl FnMut() -> F) -> T {
    until("a leader takes the request", || {
        let asked = ask();
        async move {
            match asked.await {
                Err(status) if status.code() == Code::Unavailable => None,
                taken => Some(taken.unwrap()),
            }
        }
    })
    .await
}

/// What a rebalance moves, or would.
async fn rebalance(node: &Node, dry_run: bool) -> Vec<v1::rebalance_reply::Move> {
    let reply = taken(|| async move {
        ClusterClient::new(node.channel())
            .rebalance(v1::RebalanceRequest { dry_run })
            .await
    });
    reply.await.into_inner().moves
}

/// Voters and leader of a group, once it is as desired.
async fn settled(node: &Node, group: u64) -> (BTreeSet<String>, String) {
    until("the group is as desired", || async {
        let detail = show(node, group).await.filter(|detail| detail.settled)?;
        let leader = detail
            .replicas
            .into_iter()
            .find(|replica| replica.role == "leader")?;
        Some((leader.voters.into_iter().collect(), leader.node))
    })
    .await
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_replication_factor_one_moves_and_is_led_where_others_find_it() {
    let mut cluster = Nodes::empty();
    let node = cluster.plan();
    cluster.found(node, 1, 1);
    until("the node answers", || cluster.node(0).status()).await;
    write(cluster.node(0), "m0").await;
    cluster.join();
    cluster.settled(2).await;
    let (voters, _) = settled(cluster.node(0), 1).await;
    let mut from = voters.first().unwrap().clone();
    for round in 1..=6 {
        let to = if from == "n1" { "n2" } else { "n1" };
        move_replica(cluster.node(0).channel(), 1, &from, to)
            .await
            .unwrap();
        let (voters, leader) = settled(cluster.node(1), 1).await;
        assert_eq!((voters, leader.as_str()), (names([to]), to));
        for position in 0..2 {
            write(cluster.node(position), &format!("m{round}-{position}")).await;
        }
        from = to.to_owned();
    }
    let found = models(cluster.node(1)).await.unwrap();
    assert_eq!(found.len(), 13, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_and_leaders_go_where_an_operator_wants_them_and_stay_there_until_a_rebalance() {
    let mut cluster = Nodes::start(3, 2).await;
    cluster.join();
    cluster.settled(4).await;
    let ask = cluster.node(0);
    let (voters, _) = settled(ask, 1).await;
    let from = voters.first().unwrap().clone();
    let outside = (1..=4)
        .map(|number| format!("n{number}"))
        .find(|node| !voters.contains(node))
        .unwrap();

    let refused = move_replica(ask.channel(), 1, &outside, &from).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("has no replica of g1"),
        "{}",
        refused.message()
    );
    let refused = move_replica(ask.channel(), 9, &from, &outside).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);

    taken(|| move_replica(ask.channel(), 1, &from, &outside)).await;
    let (moved, _) = settled(ask, 1).await;
    assert!(moved.contains(&outside) && !moved.contains(&from), "{moved:?}");
    let request = v1::TransferLeaderRequest {
        group: 1,
        to: outside.clone(),
    };
    taken(|| {
        let request = request.clone();
        async move { ClusterClient::new(ask.channel()).transfer_leader(request).await }
    })
    .await;
    until("the chosen node leads", || async {
        (settled(ask, 1).await.1 == outside).then_some(())
    })
    .await;
    let placement = show(ask, 1).await.unwrap().placement.unwrap();
    assert!(placement.replicas_pinned && placement.leader_pinned && placement.made);

    let before = rebalance(ask, true).await;
    assert!(
        show(ask, 1).await.unwrap().placement.unwrap().replicas_pinned,
        "a dry run changes nothing"
    );
    assert_eq!(before, rebalance(ask, false).await);
    assert!(!show(ask, 1).await.unwrap().placement.unwrap().replicas_pinned);
    cluster.settled(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_nodes_replicas_are_rebuilt_and_it_comes_back_harmlessly() {
    let mut cluster = Nodes::empty();
    for number in 0..4 {
        let node = cluster.plan().with(&["--dead-after", "12s"]);
        let position = if number == 0 {
            cluster.found(node, 2, 3)
        } else {
            cluster.join_as(node)
        };
        until("the node answers", || cluster.node(position).status()).await;
    }
    cluster.settled(4).await;
    write(cluster.node(0), "before").await;
    cluster.node_mut(1).kill();
    let rebuilt = until("its replicas are on the others and it counts as dead", || async {
        let status = cluster.node(0).status().await?;
        let dead = status.nodes.iter().find(|node| node.id == "n2")?;
        (dead.dead && dead.replicas == 0 && status.groups_without_leader == 0).then_some(status)
    })
    .await;
    let voters: u64 = rebuilt.nodes.iter().map(|node| node.replicas).sum();
    assert_eq!(voters, 9, "three groups of three voters: {:?}", rebuilt.nodes);
    write(cluster.node(0), "meanwhile").await;

    cluster.node_mut(1).start(None);
    until("no node counts as dead", || async {
        let status = cluster.node(0).status().await?;
        status.nodes.iter().all(|node| !node.dead).then_some(())
    })
    .await;
    cluster.settled(4).await;
    until("it has its share again", || async {
        let status = cluster.node(0).status().await?;
        let back = status.nodes.iter().find(|node| node.id == "n2")?;
        (back.replicas >= 2 && status.groups_moving == 0).then_some(())
    })
    .await;
    let found = until("it answers", || models(cluster.node(1))).await;
    assert_eq!(found, names(["before", "meanwhile"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_three_voters_need_is_not_let_go() {
    let cluster = Nodes::start(3, 1).await;
    let request = v1::SetNodeStateRequest {
        node: "n3".to_owned(),
        state: v1::NodeState::Decommissioning.into(),
    };
    let refused = ClusterClient::new(cluster.node(0).channel())
        .set_node_state(request)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let told = "without it each group would have 1 of 3 voters: add a node first";
    assert!(refused.message().contains(told), "{}", refused.message());
}

/// Something that brings a group to a step.
struct Cause {
    hands_over: bool,
    from: String,
    to: String,
}

impl Cause {
    /// Moves the leader's replica of group 1 to the node that has none; or hands leadership to another voter.
    async fn of(step: &str, ask: &Node) -> Self {
        let hands_over = step.contains("hand");
        until(
            "the group is as desired, and nothing is left of its last move",
            || async {
                let detail = show(ask, 1).await.filter(|detail| detail.settled)?;
                let from = detail
                    .replicas
                    .iter()
                    .find(|replica| replica.role == "leader")?
                    .node
                    .clone();
                let placement = detail.placement?;
                let to = (1..=4)
                    .map(|number| format!("n{number}"))
                    .find(|node| match hands_over {
                        true => {
                            placement.voters.contains(node)
                                && ![&from, &placement.preferred_leader].contains(&node)
                        }
                        // A node that has just been started may not have told of its replica yet.
                        false => {
                            let holds = placement.voters.contains(node) || placement.learners.contains(node);
                            !holds && detail.replicas.iter().all(|replica| replica.node != *node)
                        }
                    })?;
                Some(Self { hands_over, from, to })
            },
        )
        .await
    }

    async fn ask(&self, channel: Channel) -> Result<(), Status> {
        if !self.hands_over {
            return move_replica(channel, 1, &self.from, &self.to).await;
        }
        let request = v1::TransferLeaderRequest {
            group: 1,
            to: self.to.clone(),
        };
        ClusterClient::new(channel)
            .transfer_leader(request)
            .await
            .map(drop)
    }

    /// Whether it has been done.
    async fn is_done(&self, ask: Channel) -> Option<()> {
        let request = v1::GetGroupRequest { group: 1 };
        let detail = ClusterClient::new(ask)
            .get_group(request)
            .await
            .ok()?
            .into_inner();
        let leader = detail.replicas.iter().find(|replica| replica.role == "leader")?;
        let done = match self.hands_over {
            true => leader.node == self.to,
            false => leader.voters.contains(&self.to) && !leader.voters.contains(&self.from),
        };
        // What was left has been erased too.
        let erased = self.hands_over || detail.replicas.iter().all(|replica| replica.node != self.from);
        (done && erased && detail.settled).then_some(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_step_of_a_move_loses_nothing_and_the_move_goes_on() {
    let mut cluster = Nodes::start(3, 1).await;
    cluster.join();
    cluster.settled(4).await;
    let mut written = BTreeSet::new();
    for step in STEPS {
        let name = step.replace("::", "-");
        write(cluster.node(0), &name).await;
        written.insert(name);
        let cause = Cause::of(step, cluster.node(0)).await;
        // Whoever comes to this step is cut off there, once.
        for position in 0..4 {
            let node = cluster.node_mut(position);
            node.kill();
            node.break_at(&format!("{step}=1*return"));
            node.start(None);
            node.break_at("");
        }
        // Leaders go home after a restart, so a node may be cut off before anything is asked for, and be needed for the asking.
        let mut cut = 0;
        until(&format!("what leads to {step} is asked for"), || {
            cut += cluster.restart_ended();
            let channels = [0, 1, 2, 3].map(|position| cluster.node(position).channel());
            let cause = &cause;
            async move {
                for channel in channels {
                    match cause.ask(channel).await {
                        Ok(()) => return Some(()),
                        // An earlier try came through, and was cut off before it could say so.
                        Err(status) if status.code() == Code::InvalidArgument => return Some(()),
                        Err(_) => {}
                    }
                }
                None
            }
        })
        .await;
        until(
            &format!("somebody is cut off at {step}, and the move goes on"),
            || {
                cut += cluster.restart_ended();
                let done = cause.is_done(cluster.node(0).channel());
                async move { done.await.filter(|()| cut > 0) }
            },
        )
        .await;
        let found = until("every model is there", || models(cluster.node(0))).await;
        assert_eq!(found, written, "after {step}");
        println!("{step}: {cut} nodes were cut off");
    }
}
