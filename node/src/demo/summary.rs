//! The demo's result on the terminal: a table of the months, and the sums.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;

use super::report::{Report, mean};
use super::timeline::month_name;

impl Report {
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
                month_name(*month).to_owned(),
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
                "wrong values",
                format!("{} of {}", self.wrong_values, self.recounted_values),
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
            (
                "late labels",
                format!(
                    "{} found their prediction, {} did not",
                    self.labels_joined, self.labels_unmatched
                ),
            ),
            ("nodes at the end", self.nodes_at_end.to_string()),
            ("model", self.model_sha256.clone()),
            ("took", format!("{:.0} s", took.as_secs_f64())),
        ]
    }
}
