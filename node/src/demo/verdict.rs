//! Whether the demo has shown what it promises. Every promise that was broken is named, with its figure.

use anyhow::{Result, bail};

use super::report::{Report, mean};
use super::tally::FIRST_MONTH;

/// Served vectors that are compared at least.
const VECTORS_MIN: u64 = 10_000;
/// The least area under the ROC curve of a month.
const AUC_MIN: f64 = 0.65;
/// What windows must add to it, on average.
const WINDOWS_WORTH: f64 = 0.03;
/// Nodes at the end: three, one more, one less.
const NODES: usize = 3;
/// Months that are predicted.
const MONTHS: usize = 13 - FIRST_MONTH as usize;

/// An error that names what the demo did not show, if there is anything.
pub(super) fn of(report: &Report) -> Result<()> {
    let broken: Vec<String> = [counts(report), events(report), quality(report)]
        .into_iter()
        .flatten()
        .collect();
    if !broken.is_empty() {
        bail!("the demo found {}", broken.join("; "));
    }
    Ok(())
}

/// What must not have happened, and what must have been looked at.
fn counts(report: &Report) -> Vec<String> {
    let mut broken: Vec<String> = [
        ("lost writes", report.lost_writes),
        ("duplicated writes", report.duplicated_writes),
        ("values that the input does not say", report.wrong_values),
        ("prediction errors", report.prediction_errors),
        (
            "values served otherwise than trained",
            report.served_values_different,
        ),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(what, count)| format!("{count} {what}"))
    .collect();
    for (what, count, least) in [
        (
            "served vectors compared",
            report.served_vectors_compared,
            VECTORS_MIN,
        ),
        ("values recounted", report.recounted_values, 1),
        ("predictions", report.predictions, 1),
        ("labels joined", report.labels_joined, 1),
    ] {
        if count < least {
            broken.push(format!("{count} {what}, not {least}"));
        }
    }
    if report.rows_accepted + report.rows_rejected != report.rows_offered {
        let answered = report.rows_accepted + report.rows_rejected;
        broken.push(format!("{answered} of {} rows answered for", report.rows_offered));
    }
    broken
}

/// What must have happened.
fn events(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if report.nodes_at_end != NODES {
        broken.push(format!("{} nodes at the end, not {NODES}", report.nodes_at_end));
    }
    for (what, happened) in [
        ("write after the kill", report.failover_ms > 0.0),
        ("fourth node that is up to date", report.join_catchup_ms > 0.0),
        ("drift alert", report.drift_alerts > 0),
        ("retraining", report.retrains > 0),
        ("digest of the model", report.model_sha256.len() == 64),
    ] {
        if !happened {
            broken.push(format!("no {what}"));
        }
    }
    broken
}

/// How good the models must have been.
fn quality(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    for (model, by_month) in [
        ("retrained", &report.auc_by_month),
        ("never retrained", &report.auc_by_month_no_retrain),
    ] {
        if by_month.len() != MONTHS {
            broken.push(format!(
                "{} months of the model {model}, not {MONTHS}",
                by_month.len()
            ));
        }
        for (month, auc) in by_month.iter().filter(|(_, auc)| auc.is_nan() || **auc < AUC_MIN) {
            broken.push(format!(
                "an AUC of {auc:.4} in month {month} of the model {model}, not {AUC_MIN}"
            ));
        }
    }
    let windows = mean(&report.auc_by_month_no_retrain) - mean(&report.auc_by_month_no_windows);
    if windows.is_nan() || windows < WINDOWS_WORTH {
        broken.push(format!("windows worth {windows:.4} of AUC, not {WINDOWS_WORTH}"));
    }
    let saved = mean(&report.logloss_by_month_no_retrain) - mean(&report.logloss_by_month);
    if saved.is_nan() || saved <= 0.0 {
        broken.push(format!("retraining lowering the log loss by {saved:.4}"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::report::tests::report;

    fn broken(change: impl FnOnce(&mut Report)) -> String {
        let mut report = report();
        change(&mut report);
        of(&report).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_good_report_passes() {
        assert_eq!(broken(|_| {}), "");
    }

    #[test]
    fn what_was_lost_doubled_wrong_or_unanswered_is_told_with_its_count() {
        assert_eq!(
            broken(|report| report.lost_writes = 2),
            "the demo found 2 lost writes"
        );
        assert!(broken(|report| report.duplicated_writes = 1).contains("1 duplicated writes"));
        assert!(broken(|report| report.wrong_values = 3).contains("3 values that the input"));
        assert!(broken(|report| report.prediction_errors = 4).contains("4 prediction errors"));
        assert!(broken(|report| report.served_values_different = 5).contains("5 values served"));
        assert!(broken(|report| report.rows_accepted -= 1).contains("rows answered for"));
    }

    #[test]
    fn what_was_not_looked_at_does_not_pass() {
        assert!(broken(|report| report.served_vectors_compared = 0).contains("0 served vectors compared"));
        assert!(broken(|report| report.recounted_values = 0).contains("0 values recounted"));
        assert!(broken(|report| report.labels_joined = 0).contains("0 labels joined"));
        assert!(broken(|report| report.auc_by_month.clear()).contains("0 months of the model retrained"));
    }

    #[test]
    fn what_did_not_happen_is_told() {
        assert!(broken(|report| report.nodes_at_end = 4).contains("4 nodes at the end"));
        assert!(broken(|report| report.failover_ms = 0.0).contains("no write after the kill"));
        assert!(broken(|report| report.join_catchup_ms = 0.0).contains("no fourth node"));
        assert!(broken(|report| report.retrains = 0).contains("no retraining"));
        assert!(broken(|report| report.model_sha256.clear()).contains("no digest"));
    }

    #[test]
    fn a_model_that_is_not_good_enough_is_told_with_its_month() {
        let weak = broken(|report| {
            report.auc_by_month.insert(10, 0.64);
        });
        assert!(
            weak.contains("0.6400 in month 10 of the model retrained"),
            "{weak}"
        );
        let nan = broken(|report| {
            report.auc_by_month_no_retrain.insert(5, f64::NAN);
        });
        assert!(nan.contains("NaN in month 5"), "{nan}");
        let windows = broken(|report| {
            report.auc_by_month_no_windows = report.auc_by_month_no_retrain.clone();
        });
        assert!(windows.contains("windows worth 0.0000"), "{windows}");
        let retraining = broken(|report| {
            report.logloss_by_month = report.logloss_by_month_no_retrain.clone();
        });
        assert!(
            retraining.contains("retraining lowering the log loss by 0.0000"),
            "{retraining}"
        );
    }
}
