//! What tools that know nothing of Covey meet at a node's port: health, reflection, metrics, and the id of a request.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::collections::BTreeMap;
use std::time::Duration;

use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::registry_client::RegistryClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use nodes::{Node, Nodes, until};

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_of_each_service_whether_it_serves_and_that_it_stops() {
    let mut cluster = Nodes::start(1, 2).await;
    // Without a limit of its own, for a watch has no end.
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.node(0).api())).unwrap();
    let mut health = HealthClient::new(endpoint.connect_lazy());
    for service in ["", "covey.v1.Features", "covey.v1.Serving", "covey.v1.Monitoring"] {
        let answer = health.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(asked("covey.v1.Nothing")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut watch = health
        .watch(asked("covey.v1.Serving"))
        .await
        .unwrap()
        .into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let told = tokio::spawn(async move { watch.message().await });
    assert!(cluster.node_mut(0).stop().await, "{}", cluster.node(0).log());
    let last = told.await.unwrap().unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
}

/// Asks a server for its services, in one version of the protocol of reflection.
macro_rules! reflected {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let request = tonic_reflection::pb::$version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut answers = ServerReflectionClient::new($channel)
            .server_reflection_info(futures::stream::iter([request]))
            .await
            .unwrap()
            .into_inner();
        let answer = answers
            .message()
            .await
            .unwrap()
            .unwrap()
            .message_response
            .unwrap();
        let MessageResponse::ListServicesResponse(listed) = answer else {
            panic!("{answer:?} is no list of services");
        };
        listed
            .service
            .into_iter()
            .map(|service| service.name)
            .collect::<Vec<_>>()
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_and_old_clients_of_reflection_find_the_services() {
    let cluster = Nodes::start(1, 2).await;
    let channel = || cluster.node(0).channel();
    for listed in [reflected!(v1, channel()), reflected!(v1alpha, channel())] {
        for name in ["covey.v1.Cluster", "covey.v1.Serving", "grpc.health.v1.Health"] {
            assert!(
                listed.iter().any(|known| known == name),
                "no {name} in {listed:?}"
            );
        }
    }
}

/// The head and the body of a page, as a browser or Prometheus gets it.
async fn page(node: &Node, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(node.api()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        node.api()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// The type of each family of metrics; every one must have a help text too.
fn families(text: &str) -> BTreeMap<&str, &str> {
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let typed: BTreeMap<&str, &str> = typed.filter_map(|line| line.split_once(' ')).collect();
    let helped = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    let helped: Vec<&str> = helped.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(helped, typed.keys().copied().collect::<Vec<_>>());
    typed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_in_the_format_and_with_the_names_that_prometheus_expects() {
    let cluster = Nodes::start(1, 2).await;
    let mut registry = RegistryClient::new(cluster.node(0).channel());
    registry.list_models(v1::ListModelsRequest {}).await.unwrap();
    let (head, text) = page(cluster.node(0), "/metrics").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for (name, kind) in families(&text) {
        assert!(name.starts_with("covey_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        let has_unit = ["_seconds", "_bytes", "_groups", "_jobs", "_entries"]
            .iter()
            .any(|unit| name.ends_with(unit));
        assert!(kind != "histogram" || has_unit, "{name} has no unit");
    }
    let counted = text.lines().find(|line| {
        line.starts_with("covey_requests_total{") && line.contains("covey.v1.Registry/ListModels")
    });
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
    let (head, html) = page(cluster.node(0), "/").await;
    assert!(
        head.contains("content-type: text/html") && html.contains("<h2>Nodes</h2>"),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_keeps_its_id_on_every_node_that_it_passes() {
    let cluster = Nodes::start(3, 2).await;
    let id = "0123456789abcdef0123456789abcdef";
    let create = |name: &str, id: &str| {
        let mut request = Request::new(v1::CreateModelRequest {
            name: name.to_owned(),
            description: String::new(),
        });
        request
            .metadata_mut()
            .insert("covey-request-id", id.parse().unwrap());
        request
    };
    for position in 0..3 {
        let mut registry = RegistryClient::new(cluster.node(position).channel());
        let answer = registry.create_model(create("delay", id)).await.unwrap();
        assert_eq!(answer.metadata().get("covey-request-id").unwrap(), id);
    }
    let without = RegistryClient::new(cluster.node(0).channel())
        .create_model(create("delay", "no id at all"))
        .await
        .unwrap();
    let given = without.metadata().get("covey-request-id").unwrap();
    assert_eq!(
        given.to_str().unwrap().len(),
        32,
        "a request without an id gets one"
    );

    // Asked of a follower, the leader's node names the request too.
    let names = |position: usize, text: &str| cluster.node(position).log().contains(text);
    until(
        "a leader's node to name a request that came to another",
        || async {
            let id = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
            for position in 0..3 {
                let mut registry = RegistryClient::new(cluster.node(position).channel());
                registry
                    .create_model(create(&format!("model-{id}"), &id))
                    .await
                    .ok()?;
            }
            let proposal = format!("proposal{{id={id}");
            (0..3).any(|position| names(position, &proposal)).then_some(())
        },
    )
    .await;
}

/// Requests that never end, more and more, until one of them is refused.
async fn fill(node: &Node) -> (JoinSet<tonic::Status>, tonic::Status) {
    let mut unanswered = JoinSet::new();
    // A node takes 200 of a connection at one time, and 2,048 in all.
    for _ in 0..15 {
        let endpoint = Endpoint::from_shared(format!("http://{}", node.api())).unwrap();
        let channel = endpoint.connect().await.unwrap();
        for _ in 0..200 {
            let mut features = FeaturesClient::new(channel.clone());
            let mut request = Request::new(futures::stream::pending::<v1::PushRequest>());
            request.set_timeout(Duration::from_secs(600));
            unanswered.spawn(async move { features.push_stream(request).await.unwrap_err() });
        }
    }
    let refused = tokio::time::timeout(Duration::from_secs(60), unanswered.join_next());
    let refused = refused.await.unwrap().unwrap().unwrap();
    (unanswered, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_too_many_unanswered_requests_says_so_and_still_answers_its_operator() {
    let cluster = Nodes::start(1, 2).await;
    let node = cluster.node(0);
    let (unanswered, refused) = fill(node).await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.metadata().get("covey-code").unwrap(), "busy");
    assert!(refused.metadata().contains_key("retry-after-ms"), "{refused:?}");
    assert!(node.status().await.is_some());

    drop(unanswered);
    until("a node that has room again to answer", || async {
        let mut registry = RegistryClient::new(node.channel());
        registry.list_models(v1::ListModelsRequest {}).await.ok()
    })
    .await;
}
