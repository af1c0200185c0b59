//! Drift: counted once, scored, alerted on, answered by a pipeline; and labels that come late.

use covey_proto::v1;

use crate::cluster::{Cluster, until};
use crate::world::{self, BEGIN, DAY, Trip, keys, trips};
use crate::{learnt, request};

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
        ks_threshold: None,
        new_category_share: None,
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
    world::ready(cluster, "live", (2, 2)).await;
}
