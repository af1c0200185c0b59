//! The demo's result: `report.json` for programs and a page for people.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use covey_proto::v1;
use serde::Serialize;

use super::fate::Event;
use super::page;
use super::recount::Recount;
use super::tally::{FIRST_MONTH, Model, Tally};
use super::trained::Comparison;

/// What the cluster went through, and what it says of itself.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) failover_ms: f64,
    pub(super) join_catchup_ms: f64,
    pub(super) retries: u64,
    pub(super) nodes_at_end: usize,
    pub(super) events: Vec<Event>,
    pub(super) runs: Vec<v1::PipelineRun>,
    pub(super) reports: Vec<v1::DriftReport>,
    pub(super) alerts: Vec<v1::Alert>,
    pub(super) performance: Vec<v1::Performance>,
    pub(super) model_sha256: BTreeMap<String, String>,
    /// Where the time of the live part went.
    pub(super) seconds: BTreeMap<&'static str, f64>,
}

impl Findings {
    /// Adds the time since `started` to what it was spent on.
    pub(super) fn spent(&mut self, on: &'static str, started: Instant) {
        *self.seconds.entry(on).or_default() += started.elapsed().as_secs_f64();
    }
}

/// Percentiles of request latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// The drift of one feature in one window.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DriftPoint {
    pub(super) window_start_micros: i64,
    pub(super) version: u64,
    pub(super) feature: String,
    pub(super) psi: f64,
    pub(super) js: f64,
    pub(super) drifted: bool,
}

/// How the deployment that retrains did in one window, by the cluster's own account from labels that came late.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LivePoint {
    pub(super) window_start_micros: i64,
    pub(super) version: u64,
    pub(super) labels: u64,
    pub(super) auc: f64,
    pub(super) log_loss: f64,
}

/// Everything that the demo has found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(super) rows_offered: u64,
    pub(super) rows_accepted: u64,
    pub(super) rows_rejected: u64,
    pub(super) rejection_reasons: BTreeMap<String, u64>,
    pub(super) acknowledged_writes: u64,
    pub(super) lost_writes: u64,
    pub(super) duplicated_writes: u64,
    pub(super) wrong_values: u64,
    pub(super) recounted_values: u64,
    pub(super) predictions: u64,
    pub(super) prediction_errors: u64,
    pub(super) prediction_error_reasons: BTreeMap<String, u64>,
    pub(super) predictions_by_version: BTreeMap<u64, u64>,
    pub(super) served_vectors_compared: u64,
    pub(super) served_values_compared: u64,
    pub(super) served_values_different: u64,
    pub(super) latency_ms: Latency,
    pub(super) latency_ms_by_month: BTreeMap<u32, Latency>,
    pub(super) auc_by_month: BTreeMap<u32, f64>,
    pub(super) auc_by_month_no_retrain: BTreeMap<u32, f64>,
    pub(super) auc_by_month_no_windows: BTreeMap<u32, f64>,
    pub(super) logloss_by_month: BTreeMap<u32, f64>,
    pub(super) logloss_by_month_no_retrain: BTreeMap<u32, f64>,
    pub(super) logloss_by_month_no_windows: BTreeMap<u32, f64>,
    /// Labels told after their predictions had been flushed: those that found one, and those that did not because the
    /// node that was killed had not flushed it yet.
    pub(super) labels_joined: u64,
    pub(super) labels_unmatched: u64,
    pub(super) live_performance: Vec<LivePoint>,
    pub(super) drift_alerts: u64,
    pub(super) drift: Vec<DriftPoint>,
    pub(super) retrains: u64,
    pub(super) pipeline_runs: u64,
    pub(super) events: Vec<Event>,
    pub(super) failover_ms: f64,
    pub(super) join_catchup_ms: f64,
    pub(super) client_retries: u64,
    pub(super) nodes_at_end: usize,
    /// SHA-256 of the first model with windows.
    pub(super) model_sha256: String,
    pub(super) model_sha256_no_windows: String,
    pub(super) live_seconds: BTreeMap<&'static str, f64>,
}

impl Report {
    /// Puts together what was seen.
    pub(super) fn new(
        tally: &Tally,
        found: &Findings,
        (counted, compared): (Recount, Comparison),
    ) -> Result<Self> {
        let digest = |model: &str| found.model_sha256.get(model).cloned().unwrap_or_default();
        let latency = |month| Latency {
            p50: tally.latency_ms(month, 0.5),
            p99: tally.latency_ms(month, 0.99),
        };
        let promoted = found.runs.iter().filter(|run| run.stage == "promoted").count() as u64;
        Ok(Self {
            rows_offered: tally.offered,
            rows_accepted: tally.accepted,
            rows_rejected: tally.refused,
            rejection_reasons: tally.reasons.clone(),
            acknowledged_writes: tally.accepted,
            lost_writes: counted.lost,
            duplicated_writes: counted.duplicated,
            wrong_values: counted.wrong,
            recounted_values: counted.compared,
            predictions: tally.predictions,
            prediction_errors: tally.errors,
            prediction_error_reasons: tally.error_reasons.clone(),
            predictions_by_version: tally.versions.clone(),
            served_vectors_compared: compared.vectors,
            served_values_compared: compared.values,
            served_values_different: compared.different,
            latency_ms: latency(None),
            latency_ms_by_month: (FIRST_MONTH..=12)
                .map(|month| (month, latency(Some(month))))
                .collect(),
            auc_by_month: tally.auc(Model::Retrained)?,
            auc_by_month_no_retrain: tally.auc(Model::Frozen)?,
            auc_by_month_no_windows: tally.auc(Model::Plain)?,
            logloss_by_month: tally.log_loss(Model::Retrained)?,
            logloss_by_month_no_retrain: tally.log_loss(Model::Frozen)?,
            logloss_by_month_no_windows: tally.log_loss(Model::Plain)?,
            labels_joined: tally.labels_joined,
            labels_unmatched: tally.labels_unmatched,
            live_performance: found.performance.iter().map(LivePoint::from).collect(),
            drift_alerts: found.alerts.len() as u64,
            drift: found.reports.iter().flat_map(points).collect(),
            retrains: promoted,
            pipeline_runs: found.runs.len() as u64,
            events: found.events.clone(),
            failover_ms: found.failover_ms,
            join_catchup_ms: found.join_catchup_ms,
            client_retries: found.retries,
            nodes_at_end: found.nodes_at_end,
            model_sha256: digest("flight_delay"),
            model_sha256_no_windows: digest("flight_delay_plain"),
            live_seconds: found.seconds.clone(),
        })
    }

    /// Writes `report.json` and `report.html`.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        std::fs::write(root.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(root.join("report.html"), page::render(self))?;
        Ok(())
    }
}

/// The mean over the months.
pub(super) fn mean(by_month: &BTreeMap<u32, f64>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let months = by_month.len().max(1) as f64;
    by_month.values().sum::<f64>() / months
}

impl From<&v1::Performance> for LivePoint {
    fn from(window: &v1::Performance) -> Self {
        Self {
            window_start_micros: window.window_start_micros,
            version: window.version,
            labels: window.labels,
            auc: window.auc,
            log_loss: window.log_loss,
        }
    }
}

fn points(report: &v1::DriftReport) -> Vec<DriftPoint> {
    let point = |score: &v1::FeatureScore| DriftPoint {
        window_start_micros: report.window_start_micros,
        version: report.version,
        feature: score.feature.clone(),
        psi: score.psi,
        js: score.js,
        drifted: score.drifted,
    };
    report.scores.iter().map(point).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report of a demo that went well.
    pub(in crate::demo) fn report() -> Report {
        let months =
            |value: f64| -> BTreeMap<u32, f64> { (FIRST_MONTH..=12).map(|month| (month, value)).collect() };
        let mut report = Report::new(
            &Tally::default(),
            &Findings::default(),
            (Recount::default(), Comparison::default()),
        )
        .unwrap();
        report.rows_offered = 101;
        report.rows_accepted = 100;
        report.rows_rejected = 1;
        report.recounted_values = 900;
        report.predictions = 30_000;
        report.served_vectors_compared = 10_000;
        report.labels_joined = 9_000;
        report.auc_by_month = months(0.73);
        report.auc_by_month_no_retrain = months(0.72);
        report.auc_by_month_no_windows = months(0.67);
        report.logloss_by_month = months(0.47);
        report.logloss_by_month_no_retrain = months(0.49);
        report.logloss_by_month_no_windows = months(0.56);
        report.drift_alerts = 3;
        report.retrains = 1;
        report.failover_ms = 900.0;
        report.join_catchup_ms = 2_000.0;
        report.nodes_at_end = 3;
        report.model_sha256 = "a5".repeat(32);
        report
    }

    #[test]
    fn the_report_has_the_keys_that_it_is_read_by() {
        let json = serde_json::to_value(report()).unwrap();
        for key in [
            "rows_offered",
            "rows_accepted",
            "rows_rejected",
            "acknowledged_writes",
            "lost_writes",
            "duplicated_writes",
            "predictions",
            "prediction_errors",
            "auc_by_month",
            "auc_by_month_no_retrain",
            "auc_by_month_no_windows",
            "logloss_by_month",
            "drift_alerts",
            "retrains",
            "failover_ms",
            "join_catchup_ms",
            "nodes_at_end",
            "model_sha256",
        ] {
            assert!(json.get(key).is_some_and(|value| !value.is_null()), "no `{key}`");
        }
        for percentile in ["p50", "p99"] {
            assert!(json["latency_ms"].get(percentile).is_some(), "no `{percentile}`");
        }
        let months: Vec<&str> = json["auc_by_month"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(months, ["4", "5", "6", "7", "8", "9", "10", "11", "12"]);
    }
}
