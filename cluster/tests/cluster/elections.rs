//! Leadership: handed over on purpose, and lost.

use crate::harness::{Cluster, GROUP, config, deadline, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_from_any_node() {
    let cluster = Cluster::voting(3, config()).await;
    for place in [0, 1, 2, 0] {
        let to = cluster.nodes[place].peer.node;
        cluster.nodes[(place + 1) % 3]
            .host()
            .transfer_leader(GROUP, to, deadline())
            .await
            .unwrap();
        eventually("the new leader knows", || {
            (cluster.nodes[place].status().leader == Some(to)).then_some(())
        })
        .await;
        cluster.nodes[(place + 2) % 3].put("a", place as u64).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_to_hand_over_to_itself_leads_on() {
    let cluster = Cluster::voting(3, config()).await;
    let leader = &cluster.nodes[cluster.leader().await];
    let (own, term) = (leader.peer.node, leader.status().term);
    leader
        .host()
        .transfer_leader(GROUP, own, deadline())
        .await
        .unwrap();
    leader.put("a", 1).await;
    assert_eq!((leader.status().leader, leader.status().term), (Some(own), term));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_through_the_loss_of_a_leader() {
    let mut cluster = Cluster::voting(3, config()).await;
    for number in 0..3 {
        let leader = cluster.leader().await;
        cluster.nodes[leader].stop().await;
        let survivor = (leader + 1) % 3;
        cluster.nodes[survivor].put("a", number).await;
        assert_eq!(cluster.nodes[survivor].read("a").await, Some(number));
        cluster.nodes[leader].start().await;
        cluster.introduce();
    }
}
