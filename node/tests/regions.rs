//! Regions that are 40 to 120 ms apart: what a namespace is to survive is survived, leaders fail over within its policy,
//! and reads near the user do not cross the sea.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "features/definitions.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod definitions;
#[path = "support/distance.rs"]
mod distance;
#[path = "support/nodes.rs"]
mod nodes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::features_client::FeaturesClient;
use tonic::Code;

use definitions::{HOUR, NOON, catalog, float, integer, push, table, text, winds};
use distance::Map;
use nodes::{Node, Nodes, until};

/// The data groups of `default`; the control group comes on top.
const GROUPS: u64 = 2;
/// Round trips between the regions, in milliseconds.
const ROUND_TRIPS: [(&str, &str, u64); 3] = [("eu", "us", 80), ("ap", "eu", 120), ("ap", "us", 40)];

/// A cluster over regions, and where each of its nodes is.
struct World {
    map: Map,
    nodes: Nodes,
    regions: Vec<&'static str>,
}

impl World {
    /// Nodes in regions and zones, in this order, all of them settled.
    async fn start(places: &[(&'static str, &'static str)]) -> Self {
        let map = Map::new(&ROUND_TRIPS);
        let mut world = Self {
            map,
            nodes: Nodes::empty(),
            regions: Vec::new(),
        };
        for (region, zone) in places {
            let node = world.nodes.plan().with(&["--region", region, "--zone", zone]);
            let relay = world.map.relay(node.peer().to_owned(), region).await;
            let node = node.with(&["--peer-advertise", &relay]);
            let position = match world.regions.is_empty() {
                true => world.nodes.found(node, GROUPS, 3),
                false => world.nodes.join_as(node),
            };
            world.regions.push(region);
            world
                .map
                .put(world.nodes.node(position).process().unwrap(), region);
            until("the node answers", || world.nodes.node(position).status()).await;
        }
        world.nodes.settled(places.len()).await;
        world
    }

    /// The first node of a region.
    fn at(&self, region: &str) -> &Node {
        let position = self.regions.iter().position(|each| *each == region);
        self.nodes.node(position.expect("a region with nodes"))
    }

    /// Kills every node of a region, or of one zone of it.
    fn lose(&mut self, lost: impl Fn(usize) -> bool) {
        for position in (0..self.regions.len()).filter(|position| lost(*position)) {
            self.nodes.node_mut(position).kill();
        }
    }

    fn region_of(&self, node: &str) -> &'static str {
        let number: usize = node.trim_start_matches('n').parse().unwrap();
        self.regions[number - 1]
    }

    /// Voters and learners of a group by region, as its leader has them, and where it is led.
    async fn members(&self, ask: &Node, group: u64) -> Option<(Counts, Counts, &'static str)> {
        let request = v1::GetGroupRequest { group };
        let detail = ClusterClient::new(ask.channel())
            .get_group(request)
            .await
            .ok()?
            .into_inner();
        let leader = detail.replicas.iter().find(|replica| replica.role == "leader")?;
        let count = |nodes: &[String]| {
            let mut counts = Counts::new();
            for node in nodes {
                *counts.entry(self.region_of(node)).or_default() += 1;
            }
            counts
        };
        Some((
            count(&leader.voters),
            count(&leader.learners),
            self.region_of(&leader.node),
        ))
    }
}

type Counts = BTreeMap<&'static str, usize>;

async fn put_namespace(
    node: &Node,
    (name, groups): (&str, u64),
    (home, survive): (&str, v1::Survival),
) -> Result<v1::Namespace, tonic::Status> {
    let request = v1::PutNamespaceRequest {
        name: name.to_owned(),
        home: home.to_owned(),
        survive: survive.into(),
        groups,
    };
    let reply = ClusterClient::new(node.channel()).put_namespace(request).await?;
    Ok(reply.into_inner().namespace.unwrap())
}

/// Declares the weather in a namespace, once that is made.
async fn declare(node: &Node, namespace: &str) {
    until("the catalog is declared", || async {
        let mut catalog = catalog();
        for entity in &mut catalog.entities {
            entity.namespace = namespace.to_owned();
        }
        FeaturesClient::new(node.channel())
            .apply_catalog(catalog)
            .await
            .ok()
    })
    .await;
}

/// Writes one row per airport; true when all of them are in.
async fn write(node: &Node, airports: &[&str], wind: f64) -> bool {
    let rows: Vec<_> = airports.iter().map(|airport| (*airport, -1, wind)).collect();
    let pushed = FeaturesClient::new(node.channel())
        .push(push("weather", winds(&rows)))
        .await;
    pushed.is_ok_and(|reply| reply.into_inner().accepted == airports.len() as u64)
}

async fn read(
    node: &Node,
    airports: &[&str],
    kind: &v1::consistency::Kind,
) -> Option<v1::GetOnlineFeaturesReply> {
    let entities = table([
        ("origin", airports.iter().map(|airport| text(airport)).collect()),
        ("hour", airports.iter().map(|_| integer(12)).collect()),
    ]);
    let request = v1::GetOnlineFeaturesRequest {
        service: "delays".to_owned(),
        entities: Some(entities),
        as_of_micros: vec![NOON + HOUR],
        consistency: Some(v1::Consistency {
            kind: Some(kind.clone()),
        }),
    };
    let reply = FeaturesClient::new(node.channel())
        .get_online_features(request)
        .await;
    reply.ok().map(tonic::Response::into_inner)
}

fn wind(reply: &v1::GetOnlineFeaturesReply) -> Vec<v1::Value> {
    let columns = &reply.features.as_ref().unwrap().columns;
    columns
        .iter()
        .find(|column| column.name == "weather__wind")
        .unwrap()
        .values
        .clone()
}

const AIRPORTS: [&str; 6] = ["JFK", "LGA", "EWR", "BOS", "SFO", "TXL"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_the_home_region_is_survived_and_led_from_elsewhere_until_it_is_back() {
    let places = [("eu", "a"), ("eu", "b"), ("us", "a"), ("us", "b"), ("ap", "a")];
    let mut world = World::start(&places).await;
    let refused = put_namespace(world.at("us"), ("payments", 2), ("ap", v1::Survival::Region))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("1 nodes at home"),
        "{}",
        refused.message()
    );

    let made = put_namespace(world.at("us"), ("payments", 2), ("eu", v1::Survival::Region))
        .await
        .unwrap();
    let groups = made.first_group..made.first_group + made.groups;
    assert_eq!(groups, GROUPS + 1..GROUPS + 3);
    declare(world.at("us"), "payments").await;
    for group in groups.clone() {
        until(
            "two voters are at home, two in us and one in ap, and home leads",
            || async {
                let (voters, learners, leads) = world.members(world.at("us"), group).await?;
                let wanted = Counts::from([("ap", 1), ("eu", 2), ("us", 2)]);
                (voters == wanted && learners.is_empty() && leads == "eu").then_some(())
            },
        )
        .await;
    }
    world.nodes.settled(places.len()).await;
    until("a write is acknowledged", || async {
        write(world.at("us"), &AIRPORTS, 3.0).await.then_some(())
    })
    .await;

    world.lose(|position| places[position].0 == "eu");
    let lost_at = Instant::now();
    until("writes go on without the home region", || async {
        write(world.at("us"), &AIRPORTS[..3], 4.0).await.then_some(())
    })
    .await;
    println!(
        "writes go on {} ms after the loss of the home region",
        lost_at.elapsed().as_millis()
    );
    let fresh = v1::consistency::Kind::Linearizable(v1::consistency::Linearizable {});
    let found = until("what was acknowledged is there", || {
        read(world.at("ap"), &AIRPORTS, &fresh)
    })
    .await;
    assert_eq!(wind(&found), [4.0, 4.0, 4.0, 3.0, 3.0, 3.0].map(float));

    for position in 0..2 {
        let node = world.nodes.node_mut(position);
        node.start(None);
        world.map.put(node.process().unwrap(), "eu");
    }
    for group in groups {
        until("home leads again", || async {
            let (.., leads) = world.members(world.at("us"), group).await?;
            (leads == "eu").then_some(())
        })
        .await;
    }
    world.nodes.settled(places.len()).await;
}

/// How often the replicas of data groups were read, by node.
async fn reads(node: &Node) -> BTreeMap<String, u64> {
    let request = v1::ListGroupsRequest { all_nodes: true };
    let reply = ClusterClient::new(node.channel())
        .list_groups(request)
        .await
        .unwrap();
    let mut by_node: BTreeMap<String, u64> = BTreeMap::new();
    for replica in reply
        .into_inner()
        .replicas
        .into_iter()
        .filter(|replica| replica.group > 0)
    {
        *by_node.entry(replica.node).or_default() += replica.reads;
    }
    by_node
}

/// A read that may be two seconds old is answered where it is asked: the way across takes twice as long as it does.
async fn reads_stay_in_the_region(world: &World) {
    let bounded = v1::consistency::Kind::BoundedMs(2_000);
    until("the learner has what was written", || async {
        let found = read(world.at("ap"), &AIRPORTS, &bounded).await?;
        (wind(&found) == [3.0; 6].map(float)).then_some(())
    })
    .await;
    let before = reads(world.at("ap")).await;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        let found = read(world.at("ap"), &AIRPORTS, &bounded).await.unwrap();
        times.push(asked.elapsed());
        assert!(found.read_point.unwrap().staleness_micros <= 2_000_000);
    }
    times.sort();
    println!(
        "a bounded read in ap takes {} us, the way to eu and back 120 ms",
        times[10].as_micros()
    );
    assert!(times[10] < Duration::from_millis(60), "{times:?}");
    let after = reads(world.at("ap")).await;
    assert!(
        after["n4"] >= before["n4"] + 20,
        "the learner was not read: {before:?} {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_a_zone_at_home_is_survived_and_the_other_region_reads_its_own_learner() {
    let places = [("eu", "a"), ("eu", "b"), ("eu", "c"), ("ap", "a")];
    let mut world = World::start(&places).await;
    put_namespace(world.at("ap"), ("default", 0), ("eu", v1::Survival::Zone))
        .await
        .unwrap();
    declare(world.at("ap"), "default").await;
    for group in 1..=GROUPS {
        until("three voters are at home and a learner is in ap", || async {
            let (voters, learners, leads) = world.members(world.at("ap"), group).await?;
            let wanted = (Counts::from([("eu", 3)]), Counts::from([("ap", 1)]));
            ((voters, learners) == wanted && leads == "eu").then_some(())
        })
        .await;
    }
    world.nodes.settled(places.len()).await;
    until("a write is acknowledged", || async {
        write(world.at("ap"), &AIRPORTS, 3.0).await.then_some(())
    })
    .await;

    reads_stay_in_the_region(&world).await;

    // The node of a zone that leads a group is the one whose loss is felt.
    let led = until("somebody at home leads", || async {
        let request = v1::GetGroupRequest { group: 1 };
        let detail = ClusterClient::new(world.at("ap").channel())
            .get_group(request)
            .await
            .ok()?
            .into_inner();
        detail
            .replicas
            .into_iter()
            .find(|replica| replica.role == "leader")
            .map(|replica| replica.node)
    })
    .await;
    let lost: usize = led.trim_start_matches('n').parse::<usize>().unwrap() - 1;
    world.lose(|position| position == lost);
    until("writes go on without the zone", || async {
        write(world.at("ap"), &AIRPORTS, 5.0).await.then_some(())
    })
    .await;
    let (.., leads) = until("somebody leads", || world.members(world.at("ap"), 1)).await;
    assert_eq!(leads, "eu", "a learner cannot lead");
}
