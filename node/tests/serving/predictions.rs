//! Predictions: by key and by value, what is refused, and what a switch of versions or the loss of a node may not do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use covey_proto::v1;
use covey_proto::v1::value::Kind;
use tonic::Code;

use crate::cluster::{Cluster, until};
use crate::world::{self, BEGIN, DAY, inputs, keys, trips};
use crate::{learn, learnt, request};

#[tokio::test(flavor = "multi_thread")]
async fn predictions_survive_a_switch_of_versions_and_the_loss_of_a_node() {
    let mut cluster = learnt(3, 3).await;
    predictions_by_key_and_by_value_agree(&cluster).await;
    wrong_inputs_are_named(&cluster).await;
    switching_the_alias_drops_nothing(&cluster).await;
    losing_a_node_fails_nothing_and_counts_nothing_twice(&mut cluster).await;
    world::ready(&cluster, "live", (3, 2)).await;
    world::ready(&cluster, "far", (2, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_panics_is_started_again_and_its_request_is_answered() {
    let cluster = Cluster::start_with_faults(1, (0, "serving::score=2*panic")).await;
    learn(&cluster, 1).await;
    let asked = request(inputs(&trips(0..1, 0.0)[..1]), true);
    let answered = cluster.serving(0).predict(asked).await.unwrap().into_inner();
    assert_eq!(answered.predictions.len(), 1);
    let deployments = cluster
        .serving(0)
        .list_deployments(v1::ListDeploymentsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .deployments;
    let restarts: Vec<u64> = deployments[0]
        .replicas
        .iter()
        .map(|replica| replica.restarts)
        .collect();
    assert_eq!(restarts, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_although_the_supervisor_and_the_worker_of_training_panic() {
    let faults = "training::look=1*panic;training::work=1*panic";
    let cluster = Cluster::start_with_faults(1, (0, faults)).await;
    world::declare(&cluster).await;
    world::push(&cluster, &trips(0..4, 0.0)).await;
    world::build(&cluster, 4).await;
    assert_eq!(world::train(&cluster, "first", 1.0, "champion").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_cannot_be_read_answers_with_what_the_others_have() {
    let cluster = Cluster::start_with_faults(3, (1, "features::read=return")).await;
    learn(&cluster, 3).await;
    let some = &trips(1..2, 0.0)[..40];
    let by_key = || v1::PredictRequest {
        return_features: true,
        ..request(keys(some), false)
    };
    let damaged = until("the rows to be everywhere", async || {
        let reply = cluster.serving(1).predict(by_key()).await.unwrap().into_inner();
        (reply.features == Some(inputs(some))).then_some(reply)
    })
    .await;
    let whole = cluster.serving(0).predict(by_key()).await.unwrap().into_inner();
    assert_eq!(damaged.predictions, whole.predictions);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_changes_its_model_neither_answers_nor_counts_for_the_one_before() {
    let cluster = learnt(1, 1).await;
    let asked = || v1::PredictRequest {
        as_of_micros: vec![BEGIN],
        ..request(inputs(&trips(0..1, 0.0)[..1]), true)
    };
    let before = cluster.serving(0).predict(asked()).await.unwrap().into_inner();
    let version = world::train_model(&cluster, "other", "other", (0.000_1, "champion")).await;
    assert_eq!(
        (before.version, version),
        (1, 1),
        "both are the first of their model"
    );
    world::deploy_model(&cluster, "reference", "other", (1, 1)).await;
    let expected = v1::PredictRequest {
        deployment: "reference".to_owned(),
        ..asked()
    };
    let expected = cluster.serving(0).predict(expected).await.unwrap().into_inner();
    assert_ne!(expected.predictions, before.predictions);

    world::deploy_model(&cluster, "live", "other", (1, 1)).await;
    let after = until("the other model to answer", async || {
        let reply = cluster.serving(0).predict(asked()).await.unwrap().into_inner();
        (reply.model == "other").then_some(reply)
    })
    .await;
    assert_eq!(after.predictions, expected.predictions);
    flush(&cluster, 0).await.unwrap();
    let request = v1::ListDriftRequest {
        deployment: "live".to_owned(),
    };
    let reports = cluster
        .monitoring(0)
        .list_drift(request)
        .await
        .unwrap()
        .into_inner()
        .reports;
    let models: BTreeSet<String> = reports.into_iter().map(|report| report.model).collect();
    assert_eq!(models, ["delay".to_owned(), "other".to_owned()].into());
}

/// The node is lost while the others serve and flush: `live` by replicas of their own, `far` by asking each other too.
async fn losing_a_node_fails_nothing_and_counts_nothing_twice(cluster: &mut Cluster) {
    world::deploy(cluster, "far", (2, 2)).await;
    let (rows, rounds) = (&trips(0..1, 0.0)[..20], 100);
    let window = BEGIN + 50 * DAY;
    for round in 0..rounds {
        if round == rounds / 4 {
            cluster.kill(1).await;
        }
        let node = [0, 2][round % 2];
        let asked = v1::PredictRequest {
            as_of_micros: vec![window],
            ..request(keys(rows), false)
        };
        cluster.serving(node).predict(asked).await.unwrap();
        let far = v1::PredictRequest {
            deployment: "far".to_owned(),
            ..request(inputs(rows), true)
        };
        cluster.serving(node).predict(far).await.unwrap();
        if round % 5 == 0 {
            // Without a leader the flush finds nobody to take it, keeps what it has, and sends it again later.
            drop(flush(cluster, 2).await);
        }
    }
    let counted = until("the counters to be in the log", async || {
        flush(cluster, 0).await.ok()?;
        let request = v1::ListDriftRequest {
            deployment: "live".to_owned(),
        };
        let reports = cluster
            .monitoring(0)
            .list_drift(request)
            .await
            .ok()?
            .into_inner()
            .reports;
        let of_window = reports
            .iter()
            .filter(|report| report.window_start_micros == window);
        let counted = of_window.map(|report| report.rows).sum::<u64>();
        (counted >= (rounds * rows.len()) as u64).then_some(counted)
    })
    .await;
    assert_eq!(counted, (rounds * rows.len()) as u64);
}

async fn flush(
    cluster: &Cluster,
    node: usize,
) -> Result<tonic::Response<v1::FlushDriftReply>, tonic::Status> {
    let request = v1::FlushDriftRequest {
        deployment: "live".to_owned(),
    };
    cluster.monitoring(node).flush_drift(request).await
}

async fn predictions_by_key_and_by_value_agree(cluster: &Cluster) {
    let some = &trips(1..2, 0.0)[..40];
    let by_key = v1::PredictRequest {
        return_features: true,
        ..request(keys(some), false)
    };
    let by_key = until("the rows to be here", async || {
        let reply = cluster
            .serving(1)
            .predict(by_key.clone())
            .await
            .ok()?
            .into_inner();
        let features = reply.features.clone()?;
        (features == inputs(some)).then_some(reply)
    })
    .await;
    let by_value = cluster
        .serving(2)
        .predict(request(inputs(some), true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(by_key.predictions, by_value.predictions);
    assert_eq!((by_key.model.as_str(), by_key.version), ("delay", 1));
    let one = request(inputs(&some[..1]), true);
    cluster.serving(2).predict(one.clone()).await.unwrap();
    let again = cluster.serving(2).predict(one).await.unwrap().into_inner();
    assert_eq!((again.cached, again.predictions[0]), (1, by_value.predictions[0]));
    let right = some
        .iter()
        .zip(&by_value.predictions)
        .filter(|(trip, late)| trip.late == (**late > 0.5))
        .count();
    assert!(right > 28, "{right} of 40 are right");
}

async fn wrong_inputs_are_named(cluster: &Cluster) {
    let some = &trips(1..2, 0.0)[..1];
    let mut without = inputs(some);
    without.columns.retain(|column| column.name != "trips__wind");
    let refused = cluster
        .serving(0)
        .predict(request(without, true))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused
            .message()
            .contains("column `trips__wind` (a number) is missing"),
        "{}",
        refused.message()
    );
    let mut mixed = inputs(some);
    mixed.columns[0] = world::column("trips__wind", some, |_| Kind::StringValue("strong".to_owned()));
    let refused = cluster
        .serving(0)
        .predict(request(mixed, true))
        .await
        .unwrap_err();
    assert!(
        refused
            .message()
            .contains("`trips__wind` of row 0 must be a number"),
        "{}",
        refused.message()
    );
    let unknown = v1::PredictRequest {
        deployment: "nothing".to_owned(),
        ..request(inputs(some), true)
    };
    assert_eq!(
        cluster.serving(0).predict(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
}

async fn switching_the_alias_drops_nothing(cluster: &Cluster) {
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let askers: Vec<_> = (0..3)
        .map(|node| {
            let mut client = cluster.serving(node);
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut versions = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    let reply = client
                        .predict(request(inputs(&trips(0..1, 0.0)[..1]), true))
                        .await
                        .unwrap();
                    versions.insert(reply.into_inner().version);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                versions
            })
        })
        .collect();
    let second = world::train(cluster, "second", 0.01, "").await;
    let change = v1::SetAliasRequest {
        model: "delay".to_owned(),
        alias: "champion".to_owned(),
        version: second,
        expected: Some(1),
        reason: "test".to_owned(),
    };
    cluster.registry(1).set_alias(change).await.unwrap();
    world::ready(cluster, "live", (3, second)).await;
    stop.store(true, Ordering::Relaxed);
    for asker in askers {
        assert!(asker.await.unwrap().is_superset(&[1].into()));
    }
    assert!(answered.load(Ordering::Relaxed) > 10);
    let now = cluster
        .serving(0)
        .predict(request(inputs(&trips(0..1, 0.0)[..1]), true))
        .await
        .unwrap();
    assert_eq!(now.into_inner().version, second);
}
