//! Serving, drift and pipelines as a client meets them: the built binary, several nodes, real processes.

mod cluster;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cluster::{Cluster, until};
use covey_proto::v1;
use covey_proto::v1::value::Kind;
use tonic::Code;
use world::{BEGIN, DAY, Trip, inputs, keys, trips};

fn request(rows: v1::Table, raw: bool) -> v1::PredictRequest {
    v1::PredictRequest {
        deployment: "live".to_owned(),
        rows: Some(rows),
        raw,
        ..v1::PredictRequest::default()
    }
}

/// A cluster that has learnt four days and serves the result.
async fn learnt(nodes: usize, replicas: u32) -> Cluster {
    let cluster = Cluster::start(nodes).await;
    world::declare(&cluster).await;
    world::push(&cluster, &trips(0..4, 0.0)).await;
    world::build(&cluster, 4).await;
    let version = world::train(&cluster, "first", 1.0, "champion").await;
    world::deploy(&cluster, replicas, version).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_survive_a_switch_of_versions_and_the_loss_of_a_node() {
    let mut cluster = learnt(3, 3).await;
    predictions_by_key_and_by_value_agree(&cluster).await;
    wrong_inputs_are_named(&cluster).await;
    switching_the_alias_drops_nothing(&cluster).await;
    losing_a_node_fails_nothing_and_counts_nothing_twice(&mut cluster).await;
    world::ready(&cluster, 0, (3, 2)).await;
}

/// The node is lost while the others serve and flush, and with it, for half of the names, the leader of the counters.
async fn losing_a_node_fails_nothing_and_counts_nothing_twice(cluster: &mut Cluster) {
    let (rows, rounds) = (&trips(0..1, 0.0)[..20], 100);
    let window = BEGIN + 50 * DAY;
    for round in 0..rounds {
        if round == rounds / 4 {
            cluster.kill(2).await;
        }
        let asked = v1::PredictRequest {
            as_of_micros: vec![window],
            ..request(keys(rows), false)
        };
        cluster.serving(round % 2).predict(asked).await.unwrap();
        if round % 5 == 0 {
            // Without a leader the flush finds nobody to take it, keeps what it has, and sends it again later.
            let request = v1::FlushDriftRequest {
                deployment: "live".to_owned(),
            };
            drop(cluster.monitoring(1).flush_drift(request).await);
        }
    }
    let counted = until("the counters to be in the log", async || {
        let request = v1::FlushDriftRequest {
            deployment: "live".to_owned(),
        };
        cluster.monitoring(0).flush_drift(request).await.ok()?;
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
    world::ready(cluster, 0, (3, second)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_counted_once_and_leads_to_a_better_champion() {
    let cluster = learnt(1, 2).await;
    watch(&cluster).await;
    // The world changes: the wind is stronger, and what counts as late with it.
    let changed = trips(4..7, 8.0);
    world::push(&cluster, &changed).await;
    for (number, chunk) in changed.chunks(30).enumerate() {
        serve(&cluster, chunk).await;
        if number % 4 == 0 {
            flush(&cluster).await;
        }
    }
    flush(&cluster).await;
    let reports = reports(&cluster).await;
    let rows: Vec<(i64, u64)> = reports
        .iter()
        .map(|report| ((report.window_start_micros - BEGIN) / DAY, report.rows))
        .collect();
    assert_eq!(rows, [(4, 200), (5, 200), (6, 200)]);
    assert!(reports.iter().all(|report| report.drifted), "{reports:?}");
    labels_tell_how_good_the_predictions_were(&cluster, &changed).await;
    an_alert_has_started_the_pipeline(&cluster).await;
}

/// Declares a pipeline and a monitor that starts it.
async fn watch(cluster: &Cluster) {
    let pipeline = v1::Pipeline {
        name: "retrain".to_owned(),
        model: "delay".to_owned(),
        alias: "champion".to_owned(),
        dataset: "history".to_owned(),
        lookback_micros: DAY,
        algorithm: "logistic_regression".to_owned(),
        holdout_micros: DAY / 4,
        gate_metric: "log_loss".to_owned(),
        gate_margin: 0.01,
        cooldown_micros: 100 * DAY,
        ..v1::Pipeline::default()
    };
    let request = v1::ApplyPipelineRequest {
        pipeline: Some(pipeline),
    };
    cluster.monitoring(0).apply_pipeline(request).await.unwrap();
    let monitor = v1::Monitor {
        name: "wind".to_owned(),
        deployment: "live".to_owned(),
        window_micros: DAY,
        rows_min: 100,
        psi_threshold: 0.25,
        js_threshold: 0.5,
        drift_share: 0.5,
        watch: vec!["trips__wind".to_owned()],
        pipeline: "retrain".to_owned(),
    };
    cluster
        .monitoring(0)
        .apply_monitor(v1::ApplyMonitorRequest {
            monitor: Some(monitor),
        })
        .await
        .unwrap();
}

async fn serve(cluster: &Cluster, trips: &[Trip]) {
    let asked = v1::PredictRequest {
        as_of_micros: trips.iter().map(|trip| trip.at).collect(),
        ids: trips.iter().map(|trip| trip.id.clone()).collect(),
        ..request(keys(trips), false)
    };
    cluster.serving(0).predict(asked).await.unwrap();
}

async fn flush(cluster: &Cluster) {
    let request = v1::FlushDriftRequest {
        deployment: "live".to_owned(),
    };
    cluster.monitoring(0).flush_drift(request).await.unwrap();
}

async fn reports(cluster: &Cluster) -> Vec<v1::DriftReport> {
    let request = v1::ListDriftRequest {
        deployment: "live".to_owned(),
    };
    cluster
        .monitoring(0)
        .list_drift(request)
        .await
        .unwrap()
        .into_inner()
        .reports
}

async fn labels_tell_how_good_the_predictions_were(cluster: &Cluster, served: &[Trip]) {
    let label = |trip: &Trip| v1::Label {
        id: trip.id.clone(),
        label: f64::from(u8::from(trip.late)),
    };
    let mut labels: Vec<v1::Label> = served.iter().map(label).collect();
    labels.push(v1::Label {
        id: "nobody".to_owned(),
        label: 1.0,
    });
    let request = v1::RecordLabelsRequest {
        deployment: "live".to_owned(),
        labels,
        request_id: vec![7; 16].into(),
    };
    for _ in 0..2 {
        let reply = cluster
            .monitoring(0)
            .record_labels(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (reply.joined, reply.unmatched),
            (served.len() as u64, 1),
            "a repeat gets the same answer"
        );
    }
    let request = v1::ListDriftRequest {
        deployment: "live".to_owned(),
    };
    let windows = cluster
        .monitoring(0)
        .get_performance(request)
        .await
        .unwrap()
        .into_inner()
        .windows;
    assert_eq!(
        windows.iter().map(|window| window.labels).sum::<u64>(),
        served.len() as u64
    );
    assert!(
        windows
            .iter()
            .all(|window| window.auc > 0.8 && window.log_loss > 0.5),
        "{windows:?}"
    );
}

async fn an_alert_has_started_the_pipeline(cluster: &Cluster) {
    let request = v1::ListDriftRequest {
        deployment: "live".to_owned(),
    };
    let alerts = cluster
        .monitoring(0)
        .list_alerts(request)
        .await
        .unwrap()
        .into_inner()
        .alerts;
    assert_eq!(alerts.len(), 3);
    assert!(
        alerts[0].features.contains(&"trips__wind".to_owned()),
        "{alerts:?}"
    );
    let request = v1::ListPipelineRunsRequest {
        pipeline: "retrain".to_owned(),
    };
    let run = until("the run to end", async || {
        let runs = cluster
            .monitoring(0)
            .list_pipeline_runs(request.clone())
            .await
            .ok()?
            .into_inner()
            .runs;
        assert!(runs.len() <= 1, "the cool-down allows one run");
        runs.into_iter()
            .next()
            .filter(|run| ["promoted", "kept", "failed"].contains(&run.stage.as_str()))
    })
    .await;
    assert_eq!(
        (run.stage.as_str(), run.candidate, run.champion),
        ("promoted", 2, 1),
        "{run:?}"
    );
    assert!(run.candidate_metric < run.champion_metric, "{run:?}");
    world::ready(cluster, 0, (2, 2)).await;
}
