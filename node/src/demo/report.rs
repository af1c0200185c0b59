//! The demo's result: `report.json` for programs, a page for people, a table on the terminal, and a verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use comfy_table::Table;
use covey_proto::v1;
use serde::Serialize;

use super::page;
use super::recount::Recount;
use super::tally::{FIRST_MONTH, Model, Tally};
use super::trained::Comparison;

/// What happened to the cluster.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) killed: bool,
    pub(super) failover_ms: f64,
    pub(super) join_catchup_ms: f64,
    pub(super) retries: u64,
    pub(super) runs: Vec<v1::PipelineRun>,
    pub(super) model_sha256: BTreeMap<String, String>,
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

/// Everything that the demo has found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) rows_offered: u64,
    pub(super) rows_accepted: u64,
    pub(super) rows_rejected: u64,
    pub(super) rejection_reasons: BTreeMap<String, u64>,
    pub(super) acknowledged_writes: u64,
    pub(super) lost_writes: u64,
    pub(super) duplicated_writes: u64,
    pub(super) recounted_values: u64,
    pub(super) predictions: u64,
    pub(super) prediction_errors: u64,
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
    pub(super) drift_alerts: u64,
    pub(super) drift: Vec<DriftPoint>,
    pub(super) retrains: u64,
    pub(super) pipeline_runs: u64,
    pub(super) failover_ms: f64,
    pub(super) join_catchup_ms: f64,
    pub(super) client_retries: u64,
    pub(super) nodes_at_end: usize,
    /// SHA-256 of the first model with windows.
    pub(super) model_sha256: String,
    pub(super) model_sha256_no_windows: String,
}

impl Report {
    /// Puts together what was seen.
    pub(super) fn new(
        tally: &Tally,
        events: &Events,
        (counted, compared): (Recount, Comparison),
        (reports, alerts): (Vec<v1::DriftReport>, Vec<v1::Alert>),
        nodes_at_end: usize,
    ) -> Result<Self> {
        let digest = |model: &str| events.model_sha256.get(model).cloned().unwrap_or_default();
        let latency = |month| Latency {
            p50: tally.latency_ms(month, 0.5),
            p99: tally.latency_ms(month, 0.99),
        };
        let promoted = events.runs.iter().filter(|run| run.stage == "promoted").count() as u64;
        Ok(Self {
            rows_offered: tally.offered,
            rows_accepted: tally.accepted,
            rows_rejected: tally.refused,
            rejection_reasons: tally.reasons.clone(),
            acknowledged_writes: tally.accepted,
            lost_writes: counted.lost,
            duplicated_writes: counted.duplicated,
            recounted_values: counted.compared,
            predictions: tally.predictions,
            prediction_errors: tally.errors,
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
            drift_alerts: alerts.len() as u64,
            drift: reports.into_iter().flat_map(points).collect(),
            retrains: promoted,
            pipeline_runs: events.runs.len() as u64,
            failover_ms: events.failover_ms,
            join_catchup_ms: events.join_catchup_ms,
            client_retries: events.retries,
            nodes_at_end,
            model_sha256: digest("flight_delay"),
            model_sha256_no_windows: digest("flight_delay_plain"),
        })
    }

    /// Writes `report.json` and `report.html`.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        std::fs::write(root.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(root.join("report.html"), page::render(self))?;
        Ok(())
    }

    /// Shows the result by month and the sums.
    pub(super) fn print(&self, took: Duration) {
        let mut months = Table::new();
        months.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
        months.set_header([
            "month",
            "AUC",
            "no retraining",
            "no windows",
            "log loss",
            "no retraining",
            "no windows",
            "p99 ms",
        ]);
        for (month, auc) in &self.auc_by_month {
            let of = |by: &BTreeMap<u32, f64>| {
                by.get(month)
                    .map_or("-".to_owned(), |value| format!("{value:.4}"))
            };
            let p99 = self
                .latency_ms_by_month
                .get(month)
                .map_or(f64::NAN, |latency| latency.p99);
            months.add_row([
                page::month_name(*month).to_owned(),
                format!("{auc:.4}"),
                of(&self.auc_by_month_no_retrain),
                of(&self.auc_by_month_no_windows),
                of(&self.logloss_by_month),
                of(&self.logloss_by_month_no_retrain),
                of(&self.logloss_by_month_no_windows),
                format!("{p99:.1}"),
            ]);
        }
        println!("\n{months}\n");
        for (name, value) in self.summary(took) {
            println!("{name:28} {value}");
        }
    }

    /// The sums, for people.
    pub(super) fn summary(&self, took: Duration) -> Vec<(&'static str, String)> {
        vec![
            (
                "rows",
                format!(
                    "{} in, {} refused with a reason",
                    self.rows_accepted, self.rows_rejected
                ),
            ),
            (
                "lost, duplicated writes",
                format!("{}, {}", self.lost_writes, self.duplicated_writes),
            ),
            (
                "predictions, errors",
                format!("{}, {}", self.predictions, self.prediction_errors),
            ),
            (
                "served is trained",
                format!(
                    "{} of {} values differ",
                    self.served_values_different, self.served_values_compared
                ),
            ),
            (
                "request latency",
                format!(
                    "p50 {:.1} ms, p99 {:.1} ms",
                    self.latency_ms.p50, self.latency_ms.p99
                ),
            ),
            ("mean AUC", format!("{:.4}", mean(&self.auc_by_month))),
            (
                "  without retraining",
                format!("{:.4}", mean(&self.auc_by_month_no_retrain)),
            ),
            (
                "  without windows",
                format!("{:.4}", mean(&self.auc_by_month_no_windows)),
            ),
            (
                "drift alerts, retrainings",
                format!("{}, {}", self.drift_alerts, self.retrains),
            ),
            ("failover", format!("{:.0} ms", self.failover_ms)),
            (
                "fourth node up to date",
                format!("{:.0} ms", self.join_catchup_ms),
            ),
            ("nodes at the end", self.nodes_at_end.to_string()),
            ("model", self.model_sha256.clone()),
            ("took", format!("{:.0} s", took.as_secs_f64())),
        ]
    }

    /// An error if anything was lost, doubled, wrong or unanswered.
    pub(super) fn verdict(&self) -> Result<()> {
        let wrong: Vec<String> = [
            ("lost writes", self.lost_writes),
            ("duplicated writes", self.duplicated_writes),
            ("prediction errors", self.prediction_errors),
            (
                "values served otherwise than trained",
                self.served_values_different,
            ),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
        if !wrong.is_empty() {
            bail!("the demo found {}", wrong.join(", "));
        }
        Ok(())
    }
}

/// The mean over the months.
pub(super) fn mean(by_month: &BTreeMap<u32, f64>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let months = by_month.len().max(1) as f64;
    by_month.values().sum::<f64>() / months
}

fn points(report: v1::DriftReport) -> Vec<DriftPoint> {
    let point = |score: v1::FeatureScore| DriftPoint {
        window_start_micros: report.window_start_micros,
        version: report.version,
        feature: score.feature,
        psi: score.psi,
        js: score.js,
        drifted: score.drifted,
    };
    report.scores.into_iter().map(point).collect()
}
