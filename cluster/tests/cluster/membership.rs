//! Members: learners, voters, leaving, and what is refused.

use covey_cluster::{Error, Role, Wipe};
use covey_state::NodeId;

use crate::harness::{Cluster, GROUP, config, deadline, eventually, ids};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_as_a_learner_becomes_a_voter_and_leaves_again() {
    let cluster = Cluster::of(3, config()).await;
    let [first, second, third] = &cluster.nodes[..] else {
        unreachable!()
    };
    first
        .host()
        .bootstrap_group(GROUP, vec![first.peer.clone()])
        .await
        .unwrap();
    first.put("a", 1).await;
    for node in [second, third] {
        node.host().open_group(GROUP).await.unwrap();
        // From a node that is not the leader, and may not even be a member yet.
        third
            .host()
            .add_learner(GROUP, node.peer.clone(), deadline())
            .await
            .unwrap();
    }
    assert_eq!(first.status().learners, [NodeId::new(2), NodeId::new(3)]);
    eventually("the learner follows", || {
        (second.number("a") == Some(1)).then_some(())
    })
    .await;
    assert_eq!(second.status().role, Role::Learner);

    second
        .host()
        .change_voters(GROUP, ids([1, 2, 3]), true, deadline())
        .await
        .unwrap();
    eventually("three voters", || {
        (third.status().voters.len() == 3).then_some(())
    })
    .await;
    third.put("a", 2).await;

    first
        .host()
        .change_voters(GROUP, ids([1, 2]), true, deadline())
        .await
        .unwrap();
    first
        .host()
        .remove_learner(GROUP, NodeId::new(3), deadline())
        .await
        .unwrap();
    eventually("two members", || {
        (second.status().learners.is_empty()).then_some(())
    })
    .await;
    assert_eq!(second.status().voters, [NodeId::new(1), NodeId::new(2)]);

    third.host().close_group(GROUP, Wipe::Erase).await.unwrap();
    assert!(third.host().group(GROUP).is_none());
    assert_eq!(third.put("a", 3).await.answer, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_can_be_taken_out_of_the_voters() {
    let cluster = Cluster::voting(3, config()).await;
    let leader = cluster.leader().await;
    let rest = ids((1..=3).filter(|number| *number != leader as u64 + 1));
    cluster.nodes[leader]
        .host()
        .change_voters(GROUP, rest.clone(), true, deadline())
        .await
        .unwrap();
    let other = cluster
        .nodes
        .iter()
        .find(|node| rest.contains(&node.peer.node))
        .unwrap();
    eventually("another leader", || {
        other.status().leader.filter(|id| rest.contains(id))
    })
    .await;
    other.put("a", 1).await;
    assert_eq!(cluster.nodes[leader].read("a").await, Some(1));
}

/// The simulation's seed 2468: a damaged replica's dismissal was begun, its leader replaced, the replica voted for again, and then
/// the dismissal was asked for once more, of a leader that had not decided it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_decided_in_an_earlier_term_is_not_made_in_a_later_one() {
    let cluster = Cluster::voting(3, config()).await;
    let leader = &cluster.nodes[cluster.leader().await];
    let host = leader.host();
    let decided = host.group(GROUP).unwrap();
    let other = decided.voters.iter().find(|voter| **voter != leader.peer.node);
    for heir in [*other.unwrap(), leader.peer.node] {
        host.transfer_leader(GROUP, heir, deadline()).await.unwrap();
    }
    // Whoever is elected leads once its vote is synced.
    leader.put("a", 1).await;
    let rest = ids([leader.peer.node.get(), other.unwrap().get()]);
    let earlier = host.tenure(GROUP, decided.term);
    let late = earlier.change_voters(rest.clone(), false, deadline()).await;
    assert!(matches!(late, Err(Error::Refused { .. })), "{late:?}");
    assert_eq!(leader.status().voters, decided.voters);

    // On a busy machine it may have been replaced meanwhile.
    let changed = async {
        loop {
            host.transfer_leader(GROUP, leader.peer.node, deadline())
                .await
                .unwrap();
            let now = host.tenure(GROUP, leader.status().term);
            if now.change_voters(rest.clone(), false, deadline()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout_at(deadline(), changed).await.unwrap();
    eventually("two voters", || {
        (leader.status().voters.len() == rest.len()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_cannot_be_are_refused() {
    let cluster = Cluster::voting(3, config()).await;
    let host = cluster.nodes[0].host();
    let stranger = host.change_voters(GROUP, ids([1, 2, 9]), true, deadline()).await;
    assert!(matches!(stranger, Err(Error::Refused { .. })), "{stranger:?}");
    let nobody = host.change_voters(GROUP, ids([]), true, deadline()).await;
    assert!(matches!(nobody, Err(Error::Refused { .. })), "{nobody:?}");
    let voter = host.remove_learner(GROUP, NodeId::new(2), deadline()).await;
    assert!(matches!(voter, Err(Error::Refused { .. })), "{voter:?}");
    let no_voter = host.transfer_leader(GROUP, NodeId::new(9), deadline()).await;
    assert!(matches!(no_voter, Err(Error::Refused { .. })), "{no_voter:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_replica_that_keeps_its_data_opens_with_it() {
    let cluster = Cluster::voting(1, config()).await;
    let node = &cluster.nodes[0];
    node.put("a", 1).await;
    node.host().close_group(GROUP, Wipe::Keep).await.unwrap();
    node.host().open_group(GROUP).await.unwrap();
    assert_eq!(node.read("a").await, Some(1));
}
