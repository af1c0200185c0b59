//! More than a node can take: every queue has an end, and whoever finds it full is told so by name.

use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{Consistency, Error, HostConfig};
use covey_proto::peer::v1::envelope::Body;
use covey_proto::peer::v1::peer_service_client::PeerServiceClient;
use covey_proto::peer::v1::{Envelope, Frame, ProposeRequest};

use crate::harness::{Cluster, GROUP, config, deadline, eventually};

/// Offers many writes at one node at one time; tells how many were acknowledged and how many refused for now.
async fn offer(cluster: &Cluster, at: usize, writes: u64, bytes: usize) -> (u64, u64) {
    let host = cluster.nodes[at].host();
    let padding = "0".repeat(bytes);
    let offered = (0..writes).map(|number| {
        let entry = Bytes::from(format!("k{number}={padding}{number}"));
        host.propose(GROUP, entry, deadline())
    });
    let (mut acknowledged, mut refused) = (0, 0);
    for answer in futures::future::join_all(offered).await {
        match answer {
            Ok(_) => acknowledged += 1,
            Err(Error::Overloaded {
                limit, retry_after, ..
            }) => {
                assert!(limit > 0);
                assert_eq!(retry_after, Duration::from_millis(70));
                refused += 1;
            }
            Err(other) => panic!("neither an acknowledgement nor a typed refusal: {other}"),
        }
    }
    (acknowledged, refused)
}

fn tight() -> HostConfig {
    HostConfig {
        retry_after: Duration::from_millis(70),
        ..config()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_full_queue_of_a_leader_reaches_clients_of_every_node_as_a_typed_refusal() {
    let cluster = Cluster::voting(
        3,
        HostConfig {
            proposals_max: 4,
            ..tight()
        },
    )
    .await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for at in [leader, follower] {
        let (acknowledged, refused) = offer(&cluster, at, 400, 0).await;
        assert!(acknowledged > 0 && refused > 0, "{acknowledged} and {refused}");
        assert_eq!(acknowledged + refused, 400);
    }
    cluster.nodes[follower].put("afterwards", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_writes_holds_no_more_bytes_than_its_limit() {
    let cluster = Cluster::voting(
        3,
        HostConfig {
            entry_bytes_max: 8 << 10,
            proposal_bytes_max: 64 << 10,
            ..tight()
        },
    )
    .await;
    let follower = cluster.follower().await;
    let (acknowledged, refused) = offer(&cluster, follower, 2_000, 1_000).await;
    // All are offered before the first is answered, and each costs 2 KiB of the 64.
    assert!(
        acknowledged <= 64 && refused >= 1_900,
        "{acknowledged} and {refused}"
    );
    let (acknowledged, _) = offer(&cluster, follower, 10, 1_000).await;
    assert_eq!(acknowledged, 10, "afterwards there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_reads_is_refused_by_name_beyond_the_limit() {
    let cluster = Cluster::voting(
        3,
        HostConfig {
            reads_max: 10,
            ..tight()
        },
    )
    .await;
    let follower = cluster.nodes[cluster.follower().await].host();
    let reads = (0..500).map(|_| follower.read(GROUP, Consistency::Linearizable, deadline()));
    let (mut answered, mut refused) = (0, 0);
    for read in futures::future::join_all(reads).await {
        match read {
            Ok(_) => answered += 1,
            Err(Error::Overloaded { queue, limit: 10, .. }) => {
                assert_eq!(queue, "queue of reads");
                refused += 1;
            }
            Err(other) => panic!("neither an answer nor a typed refusal: {other}"),
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} and {refused}");
}

/// A frame with a proposal that is too small to matter, and its number.
fn proposal(correlation: u64) -> Frame {
    let request = ProposeRequest {
        request: "test".to_owned(),
        entry: Bytes::from_static(b"a=1"),
        timeout_ms: 60_000,
    };
    Frame {
        envelopes: vec![Envelope {
            group: GROUP.get(),
            correlation,
            body: Some(Body::Propose(request)),
        }],
        ..Frame::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_its_answers_cannot_make_a_node_keep_more_than_its_limit() {
    let cluster = Cluster::voting(
        1,
        HostConfig {
            peer_requests_max: 8,
            peer_forwarded_max: 8,
            ..tight()
        },
    )
    .await;
    let node = &cluster.nodes[0];
    let endpoint = format!("http://{}", node.peer.peer_addr);
    let mut peer = PeerServiceClient::connect(endpoint).await.unwrap();
    let frames = futures::stream::iter((1..=200_000).map(proposal));
    let mut request = tonic::Request::new(frames);
    let identity = node.host().identity();
    for (name, value) in [
        ("covey-cluster", identity.cluster.to_string()),
        ("covey-from", "n9".to_owned()),
        ("covey-incarnation", "1".to_owned()),
        ("covey-to", identity.node.to_string()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let _never_read = peer.exchange(request).await.unwrap();
    eventually("most of it is refused", || {
        (node.count("covey_raft_forwarded_refused_total") > 100_000).then_some(())
    })
    .await;
    node.put("afterwards", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_while_a_follower_takes_nothing_and_it_catches_up_afterwards() {
    let cluster = Cluster::voting(3, tight()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let other = 3 - leader - follower;
    cluster.cut(leader, follower);
    cluster.cut(other, follower);
    let (acknowledged, _) = offer(&cluster, leader, 200, 0).await;
    assert!(acknowledged > 0);
    cluster.introduce();
    let committed = cluster.nodes[leader].put("afterwards", 7).await;
    let token = Consistency::AtLeast(committed.position.index);
    let late = &cluster.nodes[follower];
    late.host().read(GROUP, token, deadline()).await.unwrap();
    assert_eq!(late.number("afterwards"), Some(7));
}
